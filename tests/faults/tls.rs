//! TLS on both sides, with certificates made here.

use crate::clients::{token, tokens};
use crate::program::{BOBS, SUM, Served, Site, code};
use crate::support;
use crate::wire::{Client, startup};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::path::PathBuf;
use std::process::Command;

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

#[test]
fn the_gate_verifies_the_database() {
    let cluster = support::start();
    let site = Site::on(&cluster, "tls_upstream");
    let ours = authority("ours");
    let (certificate, key) = ours.sign("localhost");
    let certificate = cluster.private_file("tls.pem", &certificate).unwrap();
    let key = cluster.private_file("tls.key", &key).unwrap();
    for (name, value) in [
        ("ssl_cert_file", certificate.display().to_string()),
        ("ssl_key_file", key.display().to_string()),
        ("ssl", "on".to_owned()),
    ] {
        site.sql(&format!("ALTER SYSTEM SET {name} = '{value}'"));
    }
    site.sql("SELECT pg_reload_conf()");
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
