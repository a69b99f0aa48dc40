//! `[tags]`: where tag definitions come from, a file or tables.

use super::check::{Check, join};
use super::database::{self, Database};
use super::{Upstream, raw};
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
    /// Its own login.
    pub database: Database,
    /// Four columns: name, access, owner, allowed (`text[]`).
    pub query: String,
    /// Two columns: group and member.
    pub groups_query: Option<String>,
    /// How long an answer may be reused; zero = asked for every statement.
    pub cache: Duration,
    /// LISTEN on `rowgate_invalidate` to forget at once.
    pub listen: bool,
    /// How long an answer may be reused while that connection is down.
    pub unheard_cache: Duration,
}

const SECTION: &str = "tags";

pub(super) fn tags(
    check: &mut Check,
    top: &mut Table,
    upstream: Option<&Upstream>,
) -> Option<Tags> {
    let mut table = check.table(top, "", SECTION)?;
    let written: Vec<&'static str> = database::KEYS
        .iter()
        .copied()
        .filter(|key| table.contains_key(*key))
        .collect();
    let login = database::take(check, SECTION, &mut table);
    let mut raw: raw::Tags = check.section_beside(SECTION, table, database::KEYS);
    let hint = "Name a file with `file`, or write `query` and a login for a table; not both.";
    match (raw.file.take(), raw.query.take()) {
        (Some(file), None) => file_source(check, &file, &raw, &written),
        (None, Some(query)) => {
            let table = table_source(check, query, raw, (login, upstream))?;
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

fn file_source(
    check: &mut Check,
    file: &str,
    raw: &raw::Tags,
    login: &[&'static str],
) -> Option<Tags> {
    let for_tables = [
        ("groups_query", raw.groups_query.is_some()),
        ("cache_ms", raw.cache_ms.is_some()),
        ("listen", raw.listen.is_some()),
        ("unheard_cache_ms", raw.unheard_cache_ms.is_some()),
    ];
    let for_tables = for_tables
        .into_iter()
        .filter_map(|(key, given)| given.then_some(key));
    for key in for_tables.chain(login.iter().copied()) {
        let hint = "Leave it out, or write `query` instead of `file`.";
        check.problem(join(SECTION, key), "goes with `query` only", hint);
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
    (login, upstream): (database::Raw, Option<&Upstream>),
) -> Option<TagTable> {
    if raw.stale_s_max.is_some() {
        let hint = "A table that cannot be asked refuses; see cache_ms.";
        check.problem("tags.stale_s_max", "goes with `file` only", hint);
    }
    let hint = "Give the tags a login of their own, which may read only their tables.";
    let database = login.check(check, SECTION, upstream, (hint, 2_000));
    let cache = check.within("tags.cache_ms", raw.cache_ms, 0, 0, 3_600_000);
    let unheard = raw.unheard_cache_ms;
    let unheard = check.within("tags.unheard_cache_ms", unheard, 0, 0, 3_600_000);
    Some(TagTable {
        unheard_cache: Duration::from_millis(unheard),
        database: database?,
        query,
        groups_query: raw.groups_query,
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
            (table.database.port, table.database.database.as_str()),
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
