//! What ties a SCRAM exchange to the TLS connection it runs in: the hash of the server's certificate
//! (`tls-server-end-point`, RFC 5929 section 4.1).

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// The hash of the certificate the database showed; `None` where the RFC defines none.
pub(super) fn end_point(stream: &TlsStream<TcpStream>) -> Option<Vec<u8>> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    let read = Certificate::from_der(certificate).ok()?;
    let algorithm = algorithm(&read.signature_algorithm.oid.to_string())?;
    Some(digest(algorithm, certificate).as_ref().to_vec())
}

/// The hash of a signature algorithm, by object identifier (RFC 4055, RFC 5758); SHA-256 stands in for SHA-1.
fn algorithm(signature: &str) -> Option<&'static Algorithm> {
    match signature {
        // sha1WithRSAEncryption, sha256WithRSAEncryption, ecdsa-with-SHA256
        "1.2.840.113549.1.1.5" | "1.2.840.113549.1.1.11" | "1.2.840.10045.4.3.2" => Some(&SHA256),
        // sha384WithRSAEncryption, ecdsa-with-SHA384
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(&SHA384),
        // sha512WithRSAEncryption, ecdsa-with-SHA512
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(&SHA512),
        // Ed25519 has none of its own; RSASSA-PSS names it in its parameters.
        _ => None,
    }
}
