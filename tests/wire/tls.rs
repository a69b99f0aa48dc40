//! TLS: required where asked for, and nothing sent in clear is taken for something sent inside it.

use crate::client::{Client, startup};
use crate::gate;
use rowgate::config::{Config, Tls};
use rowgate::demo::PASSWORD;
use std::sync::Arc;

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

struct Certificates {
    folder: tempfile::TempDir,
    roots: rustls::RootCertStore,
}

fn certificates() -> Certificates {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(
        folder.path().join("key.pem"),
        made.signing_key.serialize_pem(),
    )
    .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    Certificates { folder, roots }
}

fn with_tls(config: &mut Config, certificates: &Certificates, require: bool) {
    config.tls = Some(Tls {
        cert: certificates.folder.path().join("cert.pem"),
        key: certificates.folder.path().join("key.pem"),
        require,
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_clear_is_taken_into_tls() {
    let certificates = certificates();
    let gate = gate(|config| with_tls(config, &certificates, false)).await;
    // A start-up packet in the same segment as the SSLRequest (CVE-2021-23214, STACK S8).
    let mut client = Client::open(gate.address);
    let injected = startup(&[("user", "anne"), ("database", &gate.database)]);
    client.send(&[&SSL_REQUEST[..], &injected].concat());
    let answer = client.answer();
    assert!(answer.closed);
    assert_eq!(
        answer.error().map(|error| error.code).as_deref(),
        Some("08P01")
    );
    // The same behind a GSSENCRequest.
    let mut client = Client::open(gate.address);
    client.send(&[&[0, 0, 0, 8, 4, 210, 22, 48][..], &injected].concat());
    assert!(client.answer().closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_works_and_is_required_where_asked_for() {
    let certificates = certificates();
    let gate = gate(|config| with_tls(config, &certificates, true)).await;
    let Err(answer) = Client::login(gate.address, "bob", PASSWORD, &gate.database) else {
        panic!("let in without TLS");
    };
    assert_eq!(answer.error().unwrap().code, "28000");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(certificates.roots.clone())
        .with_no_client_auth();
    let mut config = tokio_postgres::Config::new();
    config
        .host("localhost")
        .hostaddr([127, 0, 0, 1].into())
        .port(gate.address.port())
        .user("bob")
        .password(PASSWORD)
        .dbname(&gate.database)
        .ssl_mode(tokio_postgres::config::SslMode::Require);
    let connector = tokio_postgres_rustls::MakeRustlsConnect::new(tls);
    let (client, connection) = config.connect(connector).await.unwrap();
    tokio::spawn(connection);
    let row = client
        .query_one("SELECT sum(amount)::text FROM invoices", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "1300.00");
}

/// A start-up packet sent inside TLS that was not asked for first; what comes back, or why TLS failed.
async fn direct(
    gate: &crate::support::Gate,
    roots: &rustls::RootCertStore,
    alpn: &[&[u8]],
) -> Result<u8, String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let tcp = tokio::net::TcpStream::connect(gate.address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
    let mut stream = connector
        .connect(name, tcp)
        .await
        .map_err(|e| e.to_string())?;
    let packet = startup(&[("user", "bob"), ("database", &gate.database)]);
    stream.write_all(&packet).await.map_err(|e| e.to_string())?;
    stream.read_u8().await.map_err(|e| e.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_from_the_first_byte_on_has_to_name_the_protocol() {
    let certificates = certificates();
    let gate = gate(|config| with_tls(config, &certificates, true)).await;
    let roots = &certificates.roots;
    assert_eq!(direct(&gate, roots, &[b"postgresql"]).await, Ok(b'R'));
    assert_eq!(
        direct(&gate, roots, &[b"h2", b"postgresql"]).await,
        Ok(b'R')
    );
    // Another protocol, or none: nobody is asked for a password.
    assert!(direct(&gate, roots, &[b"http/1.1"]).await.is_err());
    assert!(direct(&gate, roots, &[]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_a_handshake_is_not_answered() {
    let gate = gate(|_| {}).await;
    let roots = certificates().roots;
    assert!(direct(&gate, &roots, &[b"postgresql"]).await.is_err());
    let mut client = Client::open(gate.address);
    client.send(&[22, 3, 1, 0, 5, 1, 2, 3, 4, 5]);
    let answer = client.answer();
    assert!(answer.closed && answer.messages.is_empty());
}
