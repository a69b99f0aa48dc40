//! TLS on both sides, with certificates made here.

use crate::clients::{token, tokens};
use crate::program::{BOBS, SUM, Served, Site, code};
use crate::support;
use crate::wire::{Client, startup};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use secrecy::ExposeSecret as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    Authority { pem, issuer }
}

impl Authority {
    /// Certificate and key for a host name.
    fn sign(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

fn write(site: &Site, name: &str, text: &str) -> PathBuf {
    let path = site.beside(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// psql with a connection string; its standard output, or what it complained of.
fn psql(served: &Served, site: &Site, rest: &str, password: &str) -> Result<String, String> {
    let (port, database) = (served.address.port(), &site.database);
    let output = Command::new("psql")
        .args(["-X", "-At", "-c", SUM, "-d"])
        .arg(format!(
            "hostaddr=127.0.0.1 port={port} dbname={database} {rest}"
        ))
        .env("PGPASSWORD", password)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

#[track_caller]
fn refused(answer: &Result<String, String>, words: &str) {
    let complaint = answer.as_ref().unwrap_err();
    assert!(complaint.contains(words), "{complaint}");
}

/// A gate with a certificate for gate.example, and the file with the roots that signed it.
fn site(database: &str) -> (Site, PathBuf) {
    let site = Site::new(database);
    let ours = authority("ours");
    let (certificate, key) = ours.sign("gate.example");
    write(&site, "server.pem", &certificate);
    write(&site, "server.key", &key);
    let ca = write(&site, "ca.pem", &ours.pem);
    site.set("tls", "cert = \"server.pem\"\nkey = \"server.key\"");
    (site, ca)
}

fn bobs() -> Result<String, String> {
    Ok(BOBS.to_owned())
}

#[test]
fn clients_can_verify_the_gate_and_cannot_go_without_tls() {
    let (site, ca) = site("tls_clients");
    let other = write(&site, "other.pem", &authority("other").pem);
    let served = site.serve();
    let ask =
        |rest: &str, password: &str| psql(&served, &site, &format!("user=bob {rest}"), password);
    let (ca, other) = (ca.display(), other.display());
    let full = format!("sslmode=verify-full sslrootcert={ca}");
    assert_eq!(ask("host=127.0.0.1 sslmode=require", "demo"), bobs());
    assert_eq!(ask(&format!("host=gate.example {full}"), "demo"), bobs());
    let wrong_name = ask(&format!("host=else.example {full}"), "demo");
    refused(&wrong_name, "does not match host name");
    let wrong = format!("host=gate.example sslmode=verify-full sslrootcert={other}");
    refused(&ask(&wrong, "demo"), "certificate verify failed");
    let wrong = ask("host=127.0.0.1 sslmode=require", "wrong");
    refused(&wrong, "authentication failed");
    // `require` is the default as soon as there is a certificate.
    let clear = ask("host=127.0.0.1 sslmode=disable", "demo");
    refused(&clear, "encrypted connections only");
    stuffed(&served, &site);
}

#[test]
fn a_token_is_a_password_over_tls_and_not_even_asked_for_without() {
    let (site, ca) = site("tls_tokens");
    // Offered, not required: a password may come without TLS, by SCRAM.
    site.set("tls", "require = false");
    tokens(&site, true);
    let served = site.serve();
    let ask = |rest: &str, password: &str| psql(&served, &site, rest, password);
    let full = format!(
        "host=gate.example sslmode=verify-full sslrootcert={}",
        ca.display()
    );
    let token = token("bob");
    assert_eq!(ask(&format!("user=agent.bob {full}"), &token), bobs());
    let other = ask(&format!("user=agent.anne {full}"), &token);
    refused(&other, "authentication failed");
    assert_eq!(
        ask("user=bob host=127.0.0.1 sslmode=disable", "demo"),
        bobs()
    );
    let clear = ask("user=agent.bob host=127.0.0.1 sslmode=disable", &token);
    refused(&clear, "authentication failed");
    let mut raw = Client::open(served.address);
    raw.send(&startup(&[
        ("user", "agent.bob"),
        ("database", &site.database),
    ]));
    let (kind, body) = raw.message().unwrap();
    assert_eq!((kind, body[3]), (b'R', 10), "SCRAM, as for anybody");
}

/// What was sent in clear behind an SSLRequest is never taken for the TLS client's.
fn stuffed(served: &Served, site: &Site) {
    let request = [&8_u32.to_be_bytes()[..], &80_877_103_u32.to_be_bytes()].concat();
    let login = startup(&[("user", "bob"), ("database", &site.database)]);
    let mut client = Client::open(served.address);
    client.send(&[request, login].concat());
    let answer = client.answer();
    assert!(answer.closed);
    assert_eq!(code(&answer), "08P01");
    assert!(
        answer.messages.iter().all(|(kind, _)| *kind == b'E'),
        "{answer:?}"
    );
}

/// The database offers TLS, with a certificate for localhost.
fn encrypted(cluster: &rowgate::demo::Cluster, site: &Site, authority: &Authority) {
    let (certificate, key) = authority.sign("localhost");
    let certificate = cluster.private_file("tls.pem", &certificate).unwrap();
    let key = cluster.private_file("tls.key", &key).unwrap();
    for (name, value) in [
        ("ssl_cert_file", certificate.display().to_string()),
        ("ssl_key_file", key.display().to_string()),
        ("ssl", "on".to_owned()),
        ("log_line_prefix", "user=%u ".to_owned()),
    ] {
        site.sql(&format!("ALTER SYSTEM SET {name} = '{value}'"));
    }
    site.sql("SELECT pg_reload_conf()");
}

/// Somebody in between: takes TLS connections with a certificate of the same authority for the same name, and passes
/// what they say on over TLS of its own.
async fn between(certificate: String, key: String, ca: String, port: u16) -> u16 {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let provider = || Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
        .unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (acceptor, connector) = (acceptor.clone(), connector.clone());
            tokio::spawn(async move {
                let mut request = [0; 8];
                near.read_exact(&mut request).await?;
                near.write_all(b"S").await?;
                let mut near = acceptor.accept(near).await?;
                let mut far = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
                far.write_all(&request).await?;
                assert_eq!(far.read_u8().await?, b'S');
                let name = ServerName::try_from("localhost").unwrap();
                let mut far = connector.connect(name, far).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    own
}

/// The login to the database is tied to the TLS connection it runs in (SCRAM-SHA-256-PLUS), so that a certificate
/// which an authority gave to the wrong one is not enough to sit in between.
#[test]
fn a_login_that_somebody_passes_on_does_not_count() {
    let cluster = support::start();
    let site = Site::on(&cluster, "tls_between");
    let ours = authority("ours");
    encrypted(&cluster, &site, &ours);
    let ca = write(&site, "ca.pem", &ours.pem);
    let (certificate, key) = ours.sign("localhost");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let port = runtime.block_on(between(certificate, key, ours.pem.clone(), cluster.port()));

    // It does pass on: a client that does not ask for more is let in.
    let ask = |binding: &str| {
        let output = Command::new("psql")
            .args(["-X", "-At", "-c", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "-d"])
            .arg(format!(
                "host=localhost port={port} dbname=tls_between user=postgres sslmode=verify-full sslrootcert={} \
                 channel_binding={binding}",
                ca.display()
            ))
            .env("PGPASSWORD", cluster.password().expose_secret())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(
        (ask("disable").as_str(), ask("require").as_str()),
        ("t", "")
    );

    site.edit("host = \"127.0.0.1\"", "host = \"localhost\"");
    site.set("upstream", "tls_ca = \"ca.pem\"");
    drop(site.serve());
    let direct = cluster.port();
    site.edit(&format!("port = {direct}"), &format!("port = {port}"));
    let (_, log) = site.refusal();
    assert!(log.contains("channel binding check failed"), "{log}");
    // The logins of providers go elsewhere: now it is the one queries run as.
    let provider = format!("kind = \"sql\"\nport = {direct}");
    site.edit("kind = \"sql\"", &provider);
    let (code, log) = site.refusal();
    assert_eq!(code, 3, "{log}");
    let server = std::fs::read_to_string(cluster.folder().join("server.log")).unwrap();
    let refused = |user: &str| {
        let said = format!("user={user} FATAL:  SCRAM channel binding check failed");
        server.lines().any(|line| line == said)
    };
    for user in ["postgres", "rowgate_roles", "rowgate"] {
        assert!(refused(user), "{user}: {log}\n{server}");
    }
}

#[test]
fn the_gate_verifies_the_database() {
    let cluster = support::start();
    let site = Site::on(&cluster, "tls_upstream");
    let ours = authority("ours");
    encrypted(&cluster, &site, &ours);
    write(&site, "ca.pem", &ours.pem);
    write(&site, "other.pem", &authority("other").pem);
    site.edit("host = \"127.0.0.1\"", "host = \"localhost\"");
    site.set("upstream", "tls_ca = \"ca.pem\"");
    let served = site.serve();
    let mut bob = served.connect(&site, "bob");
    crate::program::sees(&mut bob, BOBS);
    let in_clear: i64 = site.one(
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE usename LIKE 'rowgate%' AND NOT ssl",
    );
    let encrypted: i64 = site.one(
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE usename LIKE 'rowgate%' AND ssl",
    );
    assert_eq!(in_clear, 0);
    // Queries and roles.
    assert!(encrypted >= 2, "{encrypted}");
    drop(bob);

    site.edit("tls_ca = \"ca.pem\"", "tls_ca = \"other.pem\"");
    let (code, log) = site.refusal();
    assert_eq!(code, 3, "{log}");
    assert!(log.contains("certificate"), "{log}");
    // The right authority, but not this host's certificate.
    site.edit("tls_ca = \"other.pem\"", "tls_ca = \"ca.pem\"");
    site.edit("host = \"localhost\"", "host = \"127.0.0.1\"");
    let (code, log) = site.refusal();
    assert_eq!(code, 3, "{log}");
    assert!(log.contains("certificate"), "{log}");
    // A database that offers no TLS at all.
    site.edit("host = \"127.0.0.1\"", "host = \"localhost\"");
    site.sql("ALTER SYSTEM SET ssl = off");
    site.sql("SELECT pg_reload_conf()");
    let (code, log) = site.refusal();
    assert_eq!(code, 3, "{log}");
}
