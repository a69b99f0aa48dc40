//! `[tags]`: where tag definitions come from, a file or tables.

use super::check::{Check, join};
use super::sections::upstream_tls;
use super::{Upstream, UpstreamTls, raw};
use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;
use toml::Table;

/// Where tag definitions come from.
#[derive(Debug, Clone)]
pub enum Tags {
    /// A JSON, YAML or TOML file.
    File {
        /// The file.
        path: PathBuf,
        /// How long the last good content may serve after the file became unusable.
        stale_max: Duration,
    },
    /// Queries on the customer's own tables.
    Table(Box<TagTable>),
}

/// Tag definitions in tables.
#[derive(Debug, Clone)]
pub struct TagTable {
    /// Host, port, database, TLS: those of `[upstream]` unless given.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database name.
    pub database: String,
    /// Its own login.
    pub user: String,
    /// Its password.
    pub password: Option<SecretString>,
    /// TLS towards it.
    pub tls: UpstreamTls,
    /// Four columns: name, access, owner, allowed (`text[]`).
    pub query: String,
    /// Two columns: group and member.
    pub groups_query: Option<String>,
    /// How long an answer may take, connecting included.
    pub timeout: Duration,
    /// How long an answer may be reused; zero = asked for every statement.
    pub cache: Duration,
    /// LISTEN on `rowgate_invalidate` to forget at once.
    pub listen: bool,
}

const SECTION: &str = "tags";

pub(super) fn tags(
    check: &mut Check,
    top: &mut Table,
    upstream: Option<&Upstream>,
) -> Option<Tags> {
    let table = check.table(top, "", SECTION)?;
    let mut raw: raw::Tags = check.section(SECTION, table);
    let hint = "Name a file with `file`, or write `query` and a login for a table; not both.";
    match (raw.file.take(), raw.query.take()) {
        (Some(file), None) => file_source(check, &file, &raw),
        (None, Some(query)) => {
            let table = table_source(check, query, raw, upstream)?;
            Some(Tags::Table(Box::new(table)))
        }
        (None, None) => {
            check.problem(SECTION, "defines no tag", hint);
            None
        }
        (Some(_), Some(_)) => {
            check.problem(SECTION, "has two sources", hint);
            None
        }
    }
}

fn file_source(check: &mut Check, file: &str, raw: &raw::Tags) -> Option<Tags> {
    let for_tables = [
        ("groups_query", raw.groups_query.is_some()),
        ("host", raw.host.is_some()),
        ("port", raw.port.is_some()),
        ("database", raw.database.is_some()),
        ("tls", raw.tls.is_some()),
        ("tls_ca", raw.tls_ca.is_some()),
        ("user", raw.user.is_some()),
        ("password", raw.password.is_some()),
        ("timeout_ms", raw.timeout_ms.is_some()),
        ("cache_ms", raw.cache_ms.is_some()),
        ("listen", raw.listen.is_some()),
    ];
    for (key, given) in for_tables {
        if given {
            let hint = "Leave it out, or write `query` instead of `file`.";
            check.problem(join(SECTION, key), "goes with `query` only", hint);
        }
    }
    let stale = check.within("tags.stale_s_max", raw.stale_s_max, 300, 0, 86_400);
    let path = check.file("tags.file", file);
    let ending = path.extension().and_then(|ending| ending.to_str());
    if !matches!(ending, Some("json" | "yaml" | "yml" | "toml")) {
        check.problem(
            "tags.file",
            "has to end in .json, .yaml or .toml",
            "The ending says how it is read.",
        );
    }
    Some(Tags::File {
        path,
        stale_max: Duration::from_secs(stale),
    })
}

fn table_source(
    check: &mut Check,
    query: String,
    raw: raw::Tags,
    upstream: Option<&Upstream>,
) -> Option<TagTable> {
    if raw.stale_s_max.is_some() {
        let hint = "A table that cannot be asked refuses; see cache_ms.";
        check.problem("tags.stale_s_max", "goes with `file` only", hint);
    }
    let hint = "Give the tags a login of their own, which may read only their tables.";
    let user = check.required("tags.user", raw.user, hint);
    let password = check.secret("tags.password", raw.password);
    let timeout = check.within("tags.timeout_ms", raw.timeout_ms, 2_000, 10, 60_000);
    let cache = check.within("tags.cache_ms", raw.cache_ms, 0, 0, 3_600_000);
    let upstream = upstream?;
    let own = raw.host.is_some() || raw.tls.is_some() || raw.tls_ca.is_some();
    let host = raw.host.unwrap_or_else(|| upstream.host.clone());
    let tls = match own {
        false => upstream.tls.clone(),
        true => upstream_tls(
            check,
            SECTION,
            &host,
            raw.tls.as_deref(),
            raw.tls_ca.as_deref(),
        ),
    };
    Some(TagTable {
        host,
        port: raw.port.unwrap_or(upstream.port),
        database: raw.database.unwrap_or_else(|| upstream.database.clone()),
        user: user?,
        password,
        tls,
        query,
        groups_query: raw.groups_query,
        timeout: Duration::from_millis(timeout),
        cache: Duration::from_millis(cache),
        listen: raw.listen.unwrap_or(cache > 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// What a `[tags]` section comes to, or `key: message` of every problem.
    fn read(section: &str) -> Result<Option<Tags>, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("views")).unwrap();
        for file in ["roles.json", "tags.yaml", "tags.txt"] {
            std::fs::write(folder.path().join(file), "{}").unwrap();
        }
        let text = format!(
            "[upstream]\ndatabase = 'd'\nuser = 'u'\nport = 7\n[logins.bob]\npassword = 'p'\n\
             [[providers]]\nkind = 'file'\npath = 'roles.json'\n{section}"
        );
        let config = Config::parse(&text, &folder.path().join("rowgate.toml"));
        config.map(|config| config.tags).map_err(|errors| {
            let problems = errors.problems.into_iter();
            problems
                .map(|p| format!("{}: {}", p.key, p.message))
                .collect()
        })
    }

    #[test]
    fn one_source_or_none() {
        assert!(read("").unwrap().is_none());
        let file = read("[tags]\nfile = 'tags.yaml'\nstale_s_max = 5\n").unwrap();
        let Some(Tags::File { path, stale_max }) = file else {
            panic!("{file:?}");
        };
        assert!(path.ends_with("tags.yaml"));
        assert_eq!(stale_max, Duration::from_secs(5));
        let table = read("[tags]\nquery = 'SELECT 1'\nuser = 'r'\ncache_ms = 10\n").unwrap();
        let Some(Tags::Table(table)) = table else {
            panic!("{table:?}");
        };
        assert_eq!(
            (table.port, table.database.as_str()),
            (7, "d"),
            "the upstream's"
        );
        assert!(table.listen, "what is kept is listened for");
        assert_eq!(table.groups_query, None);
    }

    #[test]
    fn what_is_not_taken() {
        for (section, says) in [
            ("[tags]\n", "tags: defines no tag"),
            (
                "[tags]\nfile = 'tags.yaml'\nquery = 'x'\n",
                "tags: has two sources",
            ),
            ("[tags]\nfile = 'gone.yaml'\n", "tags.file: cannot read"),
            ("[tags]\nfile = 'tags.txt'\n", "tags.file: has to end in"),
            (
                "[tags]\nfile = 'tags.yaml'\nuser = 'r'\n",
                "tags.user: goes with `query` only",
            ),
            (
                "[tags]\nfile = 'tags.yaml'\ncache_ms = 1\n",
                "tags.cache_ms: goes with",
            ),
            (
                "[tags]\nfile = 'tags.yaml'\nstale_s_max = 86401\n",
                "tags.stale_s_max: 86401",
            ),
            ("[tags]\nquery = 'x'\n", "tags.user: is missing"),
            (
                "[tags]\nquery = 'x'\nuser = 'r'\nstale_s_max = 1\n",
                "tags.stale_s_max: goes with",
            ),
            (
                "[tags]\nquery = 'x'\nuser = 'r'\ntimeout_ms = 1\n",
                "tags.timeout_ms: 1 is not",
            ),
            ("[tags]\nfiel = 'tags.yaml'\n", "tags.fiel: is not a key"),
            ("tags = 'tags.yaml'\n", "providers[0].tags"),
        ] {
            let problems = read(section).unwrap_err();
            let found = problems.iter().any(|problem| problem.starts_with(says));
            assert!(found, "{section}: {problems:?}");
        }
    }
}
