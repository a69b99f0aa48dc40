//! n8n's workflows in `examples/n8n`, without n8n: their expressions, their SQL through pg-promise as the Postgres node
//! sets it up, and their HTTP request, each with the token they sign, over TLS.
//!
//! `.ci/setup tests` installs pg-promise into target/clients.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "a test fails by panicking, and nobody links against it"
)]

#[path = "../support/mod.rs"]
mod support;

use rowgate::config::{Config, Enforcement, Http, Tls};
use rowgate::demo::Setup;
use rowgate::identity::{Login, Proof, TokenAlgorithm, TokenKey};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use support::http::{Running, SECRET, serve, tokens};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The example's views, and one table that only Anne may see.
fn setup(folder: &Path) -> Setup {
    let views = folder.join("views");
    std::fs::create_dir(&views).unwrap();
    let own = root().join("tests/clients/views/sales_targets.sql");
    let example = std::fs::read_dir(root().join("views")).unwrap();
    let files = example.map(|file| file.unwrap().path());
    for file in files.filter(|file| file.is_file()).chain([own]) {
        std::fs::copy(&file, views.join(file.file_name().unwrap())).unwrap();
    }
    let mut setup = Setup::example("n8n", ([127, 0, 0, 1], 0).into(), Enforcement::Barrier);
    setup.views = Some(views);
    setup.sql.push(
        "CREATE TABLE public.sales_targets (quarter text PRIMARY KEY, quota numeric(12,2) NOT NULL);
         INSERT INTO public.sales_targets VALUES ('2025Q1', 1000.00);"
            .to_owned(),
    );
    setup.configuration = format!(
        "\n[[providers]]\nkind = \"file\"\npath = {:?}\n",
        root().join("tests/clients/permissions.json")
    );
    setup
}

/// As `examples/n8n/rowgate.toml` has it: TLS, a login that shows tokens, the example's key.
fn change(config: &mut Config, folder: &Path) -> PathBuf {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.join("server.pem"), folder.join("server.key"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    config.tls = Some(Tls {
        cert: cert.clone(),
        key,
        require: true,
    });
    config.http = Some(Http {
        listen: ([127, 0, 0, 1], 0).into(),
        hosts: Vec::new(),
        connections_max: 64,
        body_bytes_max: 262_144,
        json_rows_max: 5_000,
        json_bytes_max: 1_000_000,
    });
    let agent = Login {
        may_delegate: false,
        proof: Proof::Token,
        user_id: None,
        superuser: false,
    };
    config.identity.logins.insert("agent".to_owned(), agent);
    let mut tokens = tokens();
    tokens.keys = vec![
        TokenKey::new(
            Some("n8n".to_owned()),
            TokenAlgorithm::Hs256,
            &SECRET.into(),
        )
        .unwrap(),
    ];
    config.identity.tokens = Some(tokens);
    config.identity.token_requires_tls = true;
    cert
}

/// Runs node.js for one user; what it printed.
async fn node(gate: &Running, cert: &Path, expected: &Value) -> String {
    let modules = root().join("target/clients/node_modules");
    let output = tokio::process::Command::new("node")
        .arg(root().join("tests/n8n/node.js"))
        .env("NODE_PATH", modules)
        .env("NODE_EXTRA_CA_CERTS", cert)
        .env("GATE_PORT", gate.addresses.clients.port().to_string())
        .env(
            "GATE_HTTP_PORT",
            gate.addresses.http.unwrap().port().to_string(),
        )
        .env("GATE_DATABASE", "n8n")
        .env("TOKEN_SECRET", SECRET)
        .env("EXAMPLE", root().join("examples/n8n"))
        .env("EXPECTED", expected.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("node is missing ({error}); `.ci/setup tests` installs it"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{expected}\n{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workflows_give_each_user_their_own_rows() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path());
    let mut config = support::prepare(support::cluster(), &setup).await;
    let cert = change(&mut config, folder.path());
    let gate = serve(config).await.unwrap();
    let tables = [
        "customers",
        "departments",
        "employees",
        "invoices",
        "permissions",
        "transactions",
        "user_roles",
    ];
    let with_targets = [&tables[..5], &["sales_targets"], &tables[5..]].concat();
    for expected in [
        json!({"user": "bob", "sum": "1300.00", "invoices": "6", "hrm": "1000.00", "sales": null, "tables": tables}),
        json!({"user": "anne", "sum": "3900.00", "invoices": "10", "hrm": "1000.00", "sales": "2600.00", "tables": with_targets}),
        json!({"user": "eve", "sum": null, "invoices": "0", "hrm": null, "sales": null, "tables": tables}),
    ] {
        let seen = node(&gate, &cert, &expected).await;
        assert!(seen.ends_with("ok\n"), "{seen}");
    }
}
