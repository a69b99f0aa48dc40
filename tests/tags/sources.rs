//! Where definitions come from: followed when they change, refused when they cannot be had.

use crate::{gate, ids};
use rowgate::config::{Config, Database, ProviderKind, TagTable, Tags};
use rowgate::provider::{ProviderError, TagFile};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// Waits until a user sees these documents; within ten seconds, or the test fails.
async fn comes_to(client: &Client, expected: Result<&str, &str>) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let seen = ids(client).await;
        let seen = seen.as_ref().map(String::as_str).map_err(String::as_str);
        if seen == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{seen:?} is not {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_followed_and_a_broken_one_changes_nothing_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tags.yaml");
    let good = std::fs::read_to_string("examples/tags/tags.yaml").unwrap();
    replace(&path, &good);
    let tags = Tags::File {
        path: path.clone(),
        stale_max: Duration::from_secs(3),
    };
    let gate = gate("tags_file", |config| config.tags = Some(tags)).await;
    let carol = gate.connect("carol").await;
    assert_eq!(ids(&carol).await.as_deref(), Ok("1 4 5 7 11 12"));
    // A partner no more.
    replace(&path, &good.replace(", partner.example", ""));
    comes_to(&carol, Ok("1 5 7 11 12")).await;
    // One definition that cannot be understood: all of the last good ones stay, and none of the new.
    let broken = good.replace("access: public", "access: pulbic");
    replace(&path, &broken);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(ids(&carol).await.as_deref(), Ok("1 5 7 11 12"));
    // Longer than that it does not serve.
    comes_to(&carol, Err("58000")).await;
    replace(&path, &good);
    comes_to(&carol, Ok("1 4 5 7 11 12")).await;
    std::fs::remove_file(&path).unwrap();
    comes_to(&carol, Err("58000")).await;
}

/// A file's name and text, and a word of what is said.
const NOT_TAKEN: &[(&str, &str, &str)] = &[
    ("a.yaml", "tags:\n  x: {access: everyone}\n", "\"x\""),
    ("a.yaml", "tags:\n  x: {acces: public}\n", "acces"),
    ("a.yaml", "tags:\n  x: {}\n", "access"),
    ("a.yaml", "tags:\n  x: {access: domain}\n", "`domain`"),
    (
        "a.yaml",
        "tags:\n  x: {access: domain, domains: [a.com]}\n",
        "`domains`",
    ),
    (
        "a.yaml",
        "tags:\n  x: {access: domains, domains: [a.com.]}\n",
        "a.com.",
    ),
    (
        "a.yaml",
        "tags:\n  x: {access: specific, groups: [a]}\n",
        "`groups`",
    ),
    (
        "a.yaml",
        "tags:\n  x: {access: public, users: [bob]}\n",
        "`users`",
    ),
    ("a.yaml", "tags:\n  x: {access: private}\n", "owner"),
    (
        "a.yaml",
        "tags:\n  x: {access: public}\n  x: {access: public}\n",
        "x",
    ),
    ("a.yaml", "tags:\n  a b: {access: public}\n", "a b"),
    ("a.yaml", "groups:\n  g: ['']\n", "\"g\""),
    ("a.yaml", "tag:\n  x: {access: public}\n", "tag"),
    ("a.yaml", "tags: [", "a.yaml"),
    (
        "a.json",
        "{\"tags\": {\"x\": {\"access\": \"public\"}, \"x\": {\"access\": \"public\"}}}",
        "twice",
    ),
    ("a.json", "", "a.json"),
    ("a.toml", "[tags.x]\naccess = 'pub'\n", "pub"),
];

#[test]
fn files_that_are_not_taken_say_why() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, words) in NOT_TAKEN {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let error = TagFile::open(&path, Duration::ZERO).err().unwrap();
        assert!(
            matches!(error, ProviderError::Garbage(_)),
            "{text}: {error}"
        );
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
    let gone = TagFile::open(&folder.path().join("gone.yaml"), Duration::ZERO);
    assert!(matches!(gone.err(), Some(ProviderError::Unavailable(_))));
    for (name, text) in [
        (
            "b.yaml",
            "tags:\n  x: {access: group, groups: [g]}\ngroups: {g: [bob]}\n",
        ),
        ("b.yml", "tags: {}\n"),
        (
            "b.json",
            "{\"tags\": {\"x\": {\"access\": \"private\", \"owner\": \"bob\"}}}",
        ),
        (
            "b.toml",
            "[tags.x]\naccess = 'domain'\ndomain = 'company.com'\n",
        ),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        assert!(TagFile::open(&path, Duration::ZERO).is_ok(), "{text}");
    }
}

/// The example's definitions from its tables, kept for `cache`.
fn from_tables(cache: Duration, listen: bool) -> impl FnOnce(&mut Config) {
    move |config| {
        let upstream = &config.upstream;
        config.tags = Some(Tags::Table(Box::new(TagTable {
            database: Database {
                host: upstream.host.clone(),
                port: upstream.port,
                database: upstream.database.clone(),
                user: upstream.admin_user.clone().unwrap(),
                password: upstream.admin_password.clone(),
                tls: upstream.tls.clone(),
                timeout: Duration::from_secs(2),
            },
            query: "SELECT name, access, owner, allowed FROM public.tags".to_owned(),
            groups_query: Some("SELECT \"group\", member FROM public.group_members".to_owned()),
            cache,
            unheard_cache: Duration::ZERO,
            listen,
        })));
    }
}

/// A change of the tables, and what Dave sees in his next statement.
const CHANGES: &[(&str, Result<&str, &str>)] = &[
    // Six is Dave's own; eight is staff's, too.
    ("DELETE FROM group_members", Ok("1 2 4 6 7 8 10")),
    (
        "UPDATE documents SET owner = 'x' WHERE id IN (6, 8)",
        Ok("1 2 4 7 8 10"),
    ),
    (
        "INSERT INTO group_members VALUES ('lawyers', 'dave')",
        Ok("1 2 4 6 7 8 10"),
    ),
    (
        "UPDATE tags SET allowed = '{example.com}' WHERE name = 'staff'",
        Ok("1 4 6 7 8 10"),
    ),
    ("DELETE FROM tags WHERE name = 'press'", Ok("1 4 6 8 10")),
    (
        "ALTER TABLE tags DROP CONSTRAINT tags_access_check",
        Ok("1 4 6 8 10"),
    ),
    ("INSERT INTO tags VALUES ('new', 'Public')", Err("58000")),
    (
        "UPDATE tags SET access = 'private' WHERE name = 'new'",
        Err("58000"),
    ),
    (
        "UPDATE tags SET owner = 'dave' WHERE name = 'new'",
        Ok("1 4 6 8 10"),
    ),
    (
        "UPDATE tags SET allowed = '{NULL}' WHERE name = 'staff'",
        Err("58000"),
    ),
    (
        "UPDATE tags SET allowed = '{}' WHERE name = 'staff'",
        Err("58000"),
    ),
    (
        "UPDATE tags SET access = 'domains' WHERE name = 'staff'",
        Ok("1 4 6 8 10"),
    ),
    (
        "INSERT INTO group_members VALUES ('lawyers', '')",
        Err("58000"),
    ),
    (
        "DELETE FROM group_members WHERE member = ''",
        Ok("1 4 6 8 10"),
    ),
    ("ALTER TABLE tags RENAME TO away", Err("58000")),
    ("ALTER TABLE away RENAME TO tags", Ok("1 4 6 8 10")),
    ("LOCK TABLE tags", Ok("1 4 6 8 10")),
];

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_asked_for_every_statement() {
    let gate = gate("tags_table", from_tables(Duration::ZERO, false)).await;
    assert!(matches!(
        gate.config.providers[0].kind,
        ProviderKind::File { .. }
    ));
    for (user, documents, _, _) in crate::SEEN {
        let client = gate.connect(user).await;
        assert_eq!(ids(&client).await.as_deref(), Ok(*documents), "{user}");
    }
    let dave = gate.connect("dave").await;
    let owner = crate::support::cluster()
        .connect(&gate.database)
        .await
        .unwrap();
    for (change, seen) in CHANGES {
        if change.starts_with("LOCK") {
            // Slow is bounded, and a refusal.
            owner
                .batch_execute(&format!("BEGIN; {change}"))
                .await
                .unwrap();
            assert_eq!(ids(&dave).await, Err("58000".to_owned()));
            owner.batch_execute("ROLLBACK").await.unwrap();
        } else {
            owner.batch_execute(change).await.unwrap();
        }
        let now = ids(&dave).await;
        let now = now.as_ref().map(String::as_str).map_err(String::as_str);
        assert_eq!(now, *seen, "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_goes_at_a_notification_and_at_its_age() {
    let for_long = gate("tags_notify", from_tables(Duration::from_secs(3600), true)).await;
    let for_short = gate("tags_age", from_tables(Duration::from_millis(300), false)).await;
    for (gate, notify) in [(&for_long, "NOTIFY rowgate_invalidate"), (&for_short, "")] {
        let carol = gate.connect("carol").await;
        assert_eq!(ids(&carol).await.as_deref(), Ok("1 4 5 7 11 12"));
        let owner = crate::support::cluster()
            .connect(&gate.database)
            .await
            .unwrap();
        let closed = "DELETE FROM tags WHERE name = 'partners'";
        owner
            .batch_execute(&format!("{closed}; {notify}"))
            .await
            .unwrap();
        comes_to(&carol, Ok("1 5 7 11 12")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_definitions_no_tag_is_anybodys() {
    let gate = gate("tags_none", |config| config.tags = None).await;
    for (user, documents) in [("anne", "1 2 3 4 5 7"), ("bob", "1 9 13"), ("mallory", "1")] {
        let client = gate.connect(user).await;
        assert_eq!(ids(&client).await.as_deref(), Ok(documents), "{user}");
        let minutes = crate::ask(&client, "SELECT * FROM board_minutes").await;
        assert_eq!(minutes.unwrap_err().0, "42P01");
    }
}
