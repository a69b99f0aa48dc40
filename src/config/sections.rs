//! Each section of `rowgate.toml`: defaults, bounds and what must not be combined.

use super::check::{Check, Problem, join};
use super::{
    Audit, AuditSink, Config, Enforcement, Gate, Provider, ProviderKind, SqlProvider, Tls,
    Upstream, UpstreamTls, raw,
};
use crate::identity::{
    IdentitySettings, Login, Proof, ScramVerifier, StatementToken, TokenAlgorithm, TokenKey,
    TokenVerifier, valid_name,
};
use crate::limits::Limits;
use secrecy::ExposeSecret;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use toml::Table;

/// Every section there is, for near misses.
const SECTIONS: &[&str] = &[
    "listen",
    "enforcement",
    "views",
    "tls",
    "upstream",
    "logins",
    "tokens",
    "statement_token",
    "providers",
    "audit",
    "gate",
    "limits",
];

pub(super) fn read(text: &str, path: &Path) -> Result<Config, Vec<Problem>> {
    let mut check = Check::new(path);
    let mut top: Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            // Only the library's message: its full text quotes the line, and the line may hold a secret.
            let error: toml::de::Error = error;
            let line = error.span().map_or(1, |span| {
                1 + text
                    .bytes()
                    .take(span.start)
                    .filter(|&byte| byte == b'\n')
                    .count()
            });
            check.problem(
                format!("line {line}"),
                error.message().to_owned(),
                "The file has to be TOML 1.0.",
            );
            return Err(check.problems);
        }
    };
    let tls = tls(&mut check, &mut top);
    let upstream = upstream(&mut check, &mut top);
    let identity = identity(&mut check, &mut top);
    let providers = providers(&mut check, &mut top, upstream.as_ref());
    let audit = audit(&mut check, &mut top);
    let gate = gate(&mut check, &mut top);
    let limits = limits(&mut check, &mut top);
    let (listen, enforcement, views) = top_level(&mut check, top);
    if let (Some(listen), None) = (listen, &tls)
        && !listen.ip().is_loopback()
    {
        check.warnings.push(format!(
            "listen = \"{listen}\" is reachable from other machines and [tls] is not set: rows travel in clear"
        ));
    }
    match (listen, enforcement, upstream) {
        (Some(listen), Some(enforcement), Some(upstream)) if check.problems.is_empty() => {
            Ok(Config {
                file: None,
                listen,
                tls,
                upstream,
                enforcement,
                views,
                identity,
                providers,
                audit,
                gate,
                limits,
                warnings: check.warnings,
            })
        }
        _ => Err(check.problems),
    }
}

fn top_level(
    check: &mut Check,
    mut top: Table,
) -> (Option<SocketAddr>, Option<Enforcement>, std::path::PathBuf) {
    let known = ["listen", "enforcement", "views"];
    let strangers: Vec<String> = top
        .keys()
        .filter(|key| !known.contains(&key.as_str()))
        .cloned()
        .collect();
    for key in strangers {
        top.remove(&key);
        check.unknown(&key, &key, SECTIONS);
    }
    let had_listen = top.contains_key("listen");
    let raw: raw::Top = check.section("", top);
    let text = raw
        .listen
        .or_else(|| (!had_listen).then(|| "127.0.0.1:6432".to_owned()));
    let listen = text.and_then(|text| match text.parse() {
        Ok(listen) => Some(listen),
        Err(_) => {
            let says = format!("\"{text}\" is not an address and a port");
            check.problem(
                "listen",
                says,
                "Write it as \"127.0.0.1:6432\" or \"[::1]:6432\".",
            );
            None
        }
    });
    let enforcement = match raw.enforcement.as_deref() {
        None | Some("barrier") => Some(Enforcement::Barrier),
        Some("inline") => Some(Enforcement::Inline),
        Some(other) => {
            let says = format!("\"{other}\" is not an enforcement");
            check.problem("enforcement", says, "Choose \"barrier\" or \"inline\".");
            None
        }
    };
    let views = check.path(raw.views.as_deref().unwrap_or("views"));
    if !views.is_dir() {
        let says = format!("{} is not a folder", views.display());
        check.problem(
            "views",
            says,
            "It holds one permission view a file, such as views/invoices.sql.",
        );
    }
    (listen, enforcement, views)
}

fn tls(check: &mut Check, top: &mut Table) -> Option<Tls> {
    let table = check.table(top, "", "tls")?;
    let raw: raw::Tls = check.section("tls", table);
    let cert = check.required(
        "tls.cert",
        raw.cert,
        "Name a PEM file with the certificate chain.",
    );
    let key = check.required("tls.key", raw.key, "Name a PEM file with the private key.");
    let cert = check.file("tls.cert", &cert?);
    let key = check.file("tls.key", &key?);
    Some(Tls {
        cert,
        key,
        require: raw.require.unwrap_or(true),
    })
}

fn upstream(check: &mut Check, top: &mut Table) -> Option<Upstream> {
    let table = check.table(top, "", "upstream").unwrap_or_default();
    let raw: raw::Upstream = check.section("upstream", table);
    let host = raw.host.unwrap_or_else(|| "127.0.0.1".to_owned());
    let tls = upstream_tls(
        check,
        "upstream",
        &host,
        raw.tls.as_deref(),
        raw.tls_ca.as_deref(),
    );
    let database = check.required(
        "upstream.database",
        raw.database,
        "Name the database to read from.",
    );
    let user = check.required(
        "upstream.user",
        raw.user,
        "Name the low-privilege login queries run as; `rowgate apply` creates \"rowgate\".",
    );
    let password = check.secret("upstream.password", raw.password);
    let superuser_password = check.secret("upstream.superuser_password", raw.superuser_password);
    let admin_password = check.secret("upstream.admin_password", raw.admin_password);
    if raw.superuser_user.is_some() && raw.superuser_user == user {
        check.problem(
            "upstream.superuser_user",
            "is the same login as upstream.user, which must never see unfiltered rows",
            "`rowgate apply` creates \"rowgate_super\" for it.",
        );
    }
    let pool_size = check.within("upstream.pool_size", raw.pool_size, 10, 1, 10_000);
    let pool_wait = check.within("upstream.pool_wait_ms", raw.pool_wait_ms, 5_000, 1, 600_000);
    let connect = check.within("upstream.connect_ms", raw.connect_ms, 5_000, 1, 600_000);
    Some(Upstream {
        host,
        port: raw.port.unwrap_or(5432),
        database: database?,
        user: user?,
        password,
        superuser_user: raw.superuser_user,
        superuser_password,
        admin_user: raw.admin_user,
        admin_password,
        tls,
        pool_size,
        pool_wait: Duration::from_millis(pool_wait),
        connect_timeout: Duration::from_millis(connect),
    })
}

fn upstream_tls(
    check: &mut Check,
    section: &str,
    host: &str,
    mode: Option<&str>,
    ca: Option<&str>,
) -> UpstreamTls {
    let near = host.starts_with('/')
        || host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let ca = ca.map(|ca| check.file(&join(section, "tls_ca"), ca));
    match mode {
        Some("off") => UpstreamTls::Off,
        None if near && ca.is_none() => UpstreamTls::Off,
        None | Some("verify") => UpstreamTls::Verify { ca },
        Some(other) => {
            let says = format!("\"{other}\" is not a way to use TLS");
            check.problem(join(section, "tls"), says, "Choose \"verify\" or \"off\".");
            UpstreamTls::Verify { ca }
        }
    }
}

fn identity(check: &mut Check, top: &mut Table) -> IdentitySettings {
    let (tokens, token_requires_tls) = tokens(check, top);
    let mut logins = BTreeMap::new();
    let mut section = check.table(top, "", "logins").unwrap_or_default();
    let names: Vec<String> = section.keys().cloned().collect();
    for name in names {
        let path = format!("logins.{name}");
        if !valid_name(&name) {
            check.problem(
                format!("logins.{name:?}"),
                "is not a login name",
                "Use 1 to 256 bytes without control or invisible characters.",
            );
        }
        if let Some(table) = check.table(&mut section, "logins", &name)
            && let Some(login) = login(check, &path, &name, table, tokens.is_some())
        {
            logins.insert(name, login);
        }
    }
    for name in logins.keys() {
        let speaks = |head: &str| {
            logins
                .get(head)
                .is_some_and(|l: &Login| l.may_delegate || matches!(l.proof, Proof::Token))
        };
        if let Some((head, _)) = name.split_once('.')
            && speaks(head)
        {
            let says = format!("could also mean that login \"{head}\" speaks for somebody");
            check.problem(format!("logins.{name}"), says, "Rename one of the two.");
        }
    }
    if logins.is_empty() && check.problems.is_empty() {
        check.problem(
            "logins",
            "has no login, so nobody could connect",
            "Add [logins.bob] with a password.",
        );
    }
    let statement_token = statement_token(check, top, &logins, tokens.is_some());
    IdentitySettings {
        logins,
        tokens,
        token_requires_tls,
        statement_token,
    }
}

fn login(check: &mut Check, path: &str, name: &str, table: Table, tokens: bool) -> Option<Login> {
    let had_proof = ["password", "scram", "token"]
        .iter()
        .any(|key| table.contains_key(*key));
    let raw: raw::Login = check.section(path, table);
    let proof = match (raw.password, raw.scram, raw.token) {
        (Some(password), None, None | Some(false)) => {
            let password = check.secret(&join(path, "password"), Some(password))?;
            Some(Proof::Password(password))
        }
        (None, Some(scram), None | Some(false)) => {
            let scram = check.secret(&join(path, "scram"), Some(scram))?;
            match ScramVerifier::parse(scram.expose_secret()) {
                Ok(verifier) => Some(Proof::Scram(verifier)),
                Err(error) => {
                    check.problem(
                        join(path, "scram"),
                        error,
                        "Copy it from pg_authid.rolpassword.",
                    );
                    None
                }
            }
        }
        (None, None, Some(true)) => Some(Proof::Token),
        _ if !had_proof => None,
        (None, None, _) => None,
        _ => {
            check.problem(
                path,
                "has more than one way to prove itself",
                "Keep one of password, scram and token.",
            );
            return None;
        }
    };
    let is_token = matches!(proof, Some(Proof::Token));
    let may_delegate = raw.may_delegate.unwrap_or(false);
    if proof.is_none() {
        check.problem(
            path,
            "has no usable way to prove itself",
            "Give it password, scram, or token = true.",
        );
    }
    if is_token && !tokens {
        check.problem(
            join(path, "token"),
            "needs a [tokens] section that is right",
            "Say there which tokens are accepted.",
        );
    }
    if is_token && (may_delegate || raw.user_id.is_some()) {
        check.problem(
            path,
            "shows tokens, so the token alone says for whom",
            "Leave may_delegate and user_id out.",
        );
    }
    if let Some(user_id) = &raw.user_id
        && !valid_name(user_id)
    {
        check.problem(
            join(path, "user_id"),
            "is not a user id",
            "Use 1 to 256 bytes without control or invisible characters.",
        );
    }
    let own = (!may_delegate && !is_token).then(|| name.to_owned());
    Some(Login {
        proof: proof?,
        user_id: raw.user_id.or(own),
        may_delegate,
        superuser: raw.superuser.unwrap_or(false),
    })
}

fn tokens(check: &mut Check, top: &mut Table) -> (Option<TokenVerifier>, bool) {
    let Some(mut table) = check.table(top, "", "tokens") else {
        return (None, true);
    };
    let entries = check.tables(&mut table, "tokens", "keys");
    let raw: raw::Tokens = check.section("tokens", table);
    let audience = check.required(
        "tokens.audience",
        raw.audience.filter(|audience| !audience.is_empty()),
        "Name this gate, such as \"rowgate\", so that a token made for another service is refused.",
    );
    let leeway = check.within("tokens.leeway_s", raw.leeway_s, 30, 0, 300);
    let lifetime = check.within(
        "tokens.lifetime_s_max",
        raw.lifetime_s_max,
        3_600,
        1,
        31_536_000,
    );
    let mut keys: Vec<TokenKey> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let path = format!("tokens.keys[{index}]");
        if let Some(key) = token_key(check, &path, entry) {
            if keys.iter().any(|known| known.id() == key.id()) {
                check.problem(
                    join(&path, "id"),
                    "is another key's too",
                    "Give each key its own id, the token's `kid`.",
                );
            }
            keys.push(key);
        }
    }
    if keys.is_empty() {
        check.problem(
            "tokens.keys",
            "has no usable key",
            "Add [[tokens.keys]] with algorithm and secret or public_key.",
        );
    }
    let verifier = audience
        .filter(|_| !keys.is_empty())
        .map(|audience| TokenVerifier {
            keys,
            issuer: raw.issuer,
            audience,
            leeway: Duration::from_secs(leeway),
            lifetime_max: Duration::from_secs(lifetime),
        });
    (verifier, raw.require_tls.unwrap_or(true))
}

fn token_key(check: &mut Check, path: &str, table: Table) -> Option<TokenKey> {
    let raw: raw::TokenKey = check.section(path, table);
    let key = join(path, "algorithm");
    let hint = "Choose HS256, RS256, ES256 or EdDSA; each key serves exactly one.";
    let name = check.required(key.clone(), raw.algorithm, hint)?;
    let Some(algorithm) = TokenAlgorithm::parse(&name) else {
        check.problem(
            key,
            format!("\"{name}\" is not an algorithm this gate accepts"),
            hint,
        );
        return None;
    };
    let (field, material, other) = match algorithm {
        TokenAlgorithm::Hs256 => ("secret", raw.secret, raw.public_key),
        _ => ("public_key", raw.public_key, raw.secret),
    };
    let field = join(path, field);
    if other.is_some() {
        check.problem(path, format!("takes only {field} with {name}"), hint);
    }
    let material = check.required(field.clone(), material, "Give it as env:NAME or file:PATH.")?;
    let material = check.secret(&field, Some(material))?;
    TokenKey::new(raw.id, algorithm, &material)
        .map_err(|error| {
            check.problem(
                field,
                error,
                "HS256 takes a long random secret, the others a public key as PEM.",
            )
        })
        .ok()
}

fn statement_token(
    check: &mut Check,
    top: &mut Table,
    logins: &BTreeMap<String, Login>,
    tokens: bool,
) -> StatementToken {
    let table = check.table(top, "", "statement_token").unwrap_or_default();
    let raw: raw::StatementToken = check.section("statement_token", table);
    let enabled = raw.enabled.unwrap_or(false);
    if enabled && !tokens {
        check.problem(
            "statement_token.enabled",
            "needs a [tokens] section that is right",
            "Say there which tokens are accepted.",
        );
    }
    let allowed = raw.logins.unwrap_or_default();
    for name in &allowed {
        if !logins.contains_key(name) {
            check.problem(
                "statement_token.logins",
                format!("\"{name}\" is not a login"),
                "Name logins of [logins].",
            );
        }
    }
    StatementToken {
        enabled,
        logins: allowed,
    }
}

fn providers(check: &mut Check, top: &mut Table, upstream: Option<&Upstream>) -> Vec<Provider> {
    let mut providers = Vec::new();
    let mut names = BTreeSet::new();
    for (index, mut table) in check.tables(top, "", "providers").into_iter().enumerate() {
        let path = format!("providers[{index}]");
        let kind = table.remove("kind");
        let provider = match kind.as_ref().and_then(toml::Value::as_str) {
            Some("file") => file_provider(check, &path, table),
            Some("sql") => sql_provider(check, &path, table, upstream),
            _ => {
                check.problem(
                    join(&path, "kind"),
                    "is missing or not a kind of provider",
                    "Choose \"file\" or \"sql\".",
                );
                None
            }
        };
        if let Some(provider) = provider {
            if !names.insert(provider.name.clone()) {
                let says = format!("\"{}\" is another provider's name too", provider.name);
                check.problem(
                    join(&path, "name"),
                    says,
                    "Give each provider a name of its own.",
                );
            }
            providers.push(provider);
        }
    }
    if providers.is_empty() && check.problems.is_empty() {
        check.problem(
            "providers",
            "has no provider, so nobody would have a role or a permission",
            "Add [[providers]] with kind = \"file\" or kind = \"sql\".",
        );
    }
    providers
}

fn file_provider(check: &mut Check, path: &str, table: Table) -> Option<Provider> {
    let raw: raw::FileProvider = check.section(path, table);
    let stale = check.within(&join(path, "stale_s_max"), raw.stale_s_max, 300, 0, 86_400);
    let file = check.required(join(path, "path"), raw.path, "Name a .json or .toml file.")?;
    let file = check.file(&join(path, "path"), &file);
    if !file
        .extension()
        .is_some_and(|extension| extension == "json" || extension == "toml")
    {
        check.problem(
            join(path, "path"),
            "has to end in .json or .toml",
            "The ending says how it is read.",
        );
    }
    let kind = ProviderKind::File {
        path: file,
        stale_max: Duration::from_secs(stale),
    };
    Some(Provider {
        name: raw.name.unwrap_or_else(|| "file".to_owned()),
        kind,
    })
}

/// The queries a preset stands for, in the order roles, permissions.
fn preset(name: &str) -> Option<(Option<&'static str>, Option<&'static str>)> {
    match name {
        "user_roles" => Some((
            Some(r#"SELECT role FROM public.user_roles WHERE "user" = $1"#),
            None,
        )),
        "authz_permissions" => Some((
            None,
            Some("SELECT permission FROM public.authz_permissions WHERE username = $1"),
        )),
        _ => None,
    }
}

fn sql_provider(
    check: &mut Check,
    path: &str,
    table: Table,
    upstream: Option<&Upstream>,
) -> Option<Provider> {
    let raw: raw::SqlProvider = check.section(path, table);
    let preset = match raw.preset.as_deref() {
        None => (None, None),
        Some(name) => preset(name).unwrap_or_else(|| {
            let says = format!("\"{name}\" is not a preset");
            check.problem(
                join(path, "preset"),
                says,
                "Choose \"user_roles\" or \"authz_permissions\", or write queries.",
            );
            (None, None)
        }),
    };
    let roles = raw.roles.or(preset.0.map(str::to_owned));
    let permissions = raw.permissions.or(preset.1.map(str::to_owned));
    let queries = [
        &roles,
        &permissions,
        &raw.attributes,
        &raw.superuser,
        &raw.role_permissions,
    ];
    if queries.iter().all(|query| query.is_none()) {
        check.problem(
            path,
            "asks nothing",
            "Give a preset, or a query such as roles = \"SELECT role FROM ...\".",
        );
    }
    let user_hint = "Give the provider its own login, which may read only its tables.";
    let user = check.required(join(path, "user"), raw.user, user_hint);
    let password = check.secret(&join(path, "password"), raw.password);
    let pool_size = check.within(&join(path, "pool_size"), raw.pool_size, 4, 1, 100);
    let timeout = check.within(&join(path, "timeout_ms"), raw.timeout_ms, 2_000, 10, 60_000);
    let cache = check.within(&join(path, "cache_ms"), raw.cache_ms, 0, 0, 3_600_000);
    let upstream = upstream?;
    let host = raw.host.clone().unwrap_or_else(|| upstream.host.clone());
    let tls = if raw.host.is_none() && raw.tls.is_none() && raw.tls_ca.is_none() {
        upstream.tls.clone()
    } else {
        upstream_tls(
            check,
            path,
            &host,
            raw.tls.as_deref(),
            raw.tls_ca.as_deref(),
        )
    };
    let sql = SqlProvider {
        host,
        port: raw.port.unwrap_or(upstream.port),
        database: raw.database.unwrap_or_else(|| upstream.database.clone()),
        user: user?,
        password,
        tls,
        roles,
        permissions,
        attributes: raw.attributes,
        superuser: raw.superuser,
        role_permissions: raw.role_permissions,
        pool_size,
        timeout: Duration::from_millis(timeout),
        cache: Duration::from_millis(cache),
        listen: raw.listen.unwrap_or(cache > 0),
    };
    let name = raw.name.unwrap_or_else(|| "sql".to_owned());
    Some(Provider {
        name,
        kind: ProviderKind::Sql(Box::new(sql)),
    })
}

fn audit(check: &mut Check, top: &mut Table) -> Audit {
    let table = check.table(top, "", "audit").unwrap_or_default();
    let raw: raw::Audit = check.section("audit", table);
    let sink = match raw.path.as_deref() {
        None | Some("-") => AuditSink::Stdout,
        Some(path) => AuditSink::File(check.path(path)),
    };
    let required = raw.required.unwrap_or(true);
    if !required {
        check.warnings.push(
            "audit.required = false: requests run even when they cannot be recorded".to_owned(),
        );
    }
    let sql_bytes_max = check.within(
        "audit.sql_bytes_max",
        raw.sql_bytes_max,
        16_384,
        0,
        1_048_576,
    );
    Audit {
        sink,
        required,
        parameters: raw.parameters.unwrap_or(false),
        sql_bytes_max,
    }
}

fn gate(check: &mut Check, top: &mut Table) -> Gate {
    let table = check.table(top, "", "gate").unwrap_or_default();
    let raw: raw::Gate = check.section("gate", table);
    Gate {
        connect_requires: raw.connect_requires,
    }
}

fn limits(check: &mut Check, top: &mut Table) -> Limits {
    let table = check.table(top, "", "limits").unwrap_or_default();
    // Where 0 is no limit it says so; everywhere else it would stop the gate or free it.
    for (key, value) in &table {
        if value.as_integer() == Some(0) && !matches!(key.as_str(), "rows_max" | "result_bytes_max")
        {
            check.problem(
                format!("limits.{key}"),
                "is 0",
                "Only rows_max and result_bytes_max may be 0, which means no limit.",
            );
        }
    }
    check.section("limits", table)
}
