//! Tags defined and dropped: what it takes, what it opens on every gate, and what the audit keeps.

use crate::commands;
use crate::gate::{World, token};
use rowgate::config::{Database, TagTable, Tags};
use serde_json::{Value, json};
use std::time::Duration;

/// The tags of the world's table, kept for an hour unless somebody tells.
fn from_the_table(world: &mut World) {
    let upstream = &world.config.upstream;
    world.config.tags = Some(Tags::Table(Box::new(TagTable {
        database: Database {
            host: upstream.host.clone(),
            port: upstream.port,
            database: upstream.database.clone(),
            user: upstream.admin_user.clone().unwrap(),
            password: upstream.admin_password.clone(),
            tls: upstream.tls.clone(),
            timeout: Duration::from_secs(5),
        },
        query: "SELECT name, access, owner, allowed FROM public.tags".to_owned(),
        groups_query: Some("SELECT \"group\", member FROM public.group_members".to_owned()),
        cache: Duration::from_secs(3_600),
        listen: true,
        unheard_cache: Duration::ZERO,
    })));
}

async fn tags(client: &tokio_postgres::Client) -> Vec<String> {
    let shown = client.query_one("SHOW rowgate.principal", &[]).await;
    let principal: Value = serde_json::from_str(shown.unwrap().get(0)).unwrap();
    let tags = principal["tags"].as_array().unwrap();
    tags.iter()
        .map(|tag| tag.as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_holds_for_the_next_statement_on_every_gate() {
    let mut world = World::new("define").await;
    // Whoever reads may not write, so the reader of tags is not the superuser that would be found to.
    from_the_table(&mut world);
    let reader = "DO $$ BEGIN PERFORM pg_advisory_xact_lock(7); \
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rowgate_roles') THEN CREATE ROLE rowgate_roles LOGIN; END IF; END $$; \
        GRANT SELECT ON tags, group_members TO rowgate_roles";
    world.owner().await.batch_execute(reader).await.unwrap();
    as_the_roles_reader(&mut world);
    let (first, second) = (world.serve().await, world.serve().await);
    let there = second.connect(&world.database, "bob").await;
    assert_eq!(tags(&there).await, ["open"]);
    let body = json!({"tag": "deal-7", "access": "specific", "allowed": ["carol", "bob"], "owner": "anne"});
    for (path, body, result, seen) in [
        ("define", &body, "defined", &["deal-7", "open"][..]),
        ("define", &body, "already defined so", &["deal-7", "open"]),
        (
            "define",
            &json!({"tag": "deal-7", "access": "private", "owner": "anne"}),
            "defined",
            &["open"],
        ),
        (
            "define",
            &json!({"tag": "deal-7", "access": "domain", "allowed": ["b.example"]}),
            "defined",
            &["open"],
        ),
        ("drop", &json!({"tag": "open"}), "dropped", &[]),
        ("drop", &json!({"tag": "open"}), "already not defined", &[]),
    ] {
        let done = first
            .post(&format!("/api/tags/{path}"), &token("olga"), body)
            .await;
        assert_eq!(done.status, 200, "{done:?}");
        assert_eq!(done.body["result"], result, "{body}");
        let mut tries = 0;
        // PostgreSQL tells the other gate after the commit; the hour of its cache is far away.
        while tags(&there).await != seen {
            tries += 1;
            assert!(tries < 500, "{body}: never {seen:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let listed = first.get("/api/tags", &token("olga")).await;
    let names = listed.body["tags"].as_array().unwrap().iter();
    let names: Vec<&Value> = names.map(|tag| &tag["tag"]).collect();
    assert_eq!(names, ["deal-7", "launch"]);
    let lines = world.admin_lines();
    let line = lines.iter().find(|line| line["action"] == "define");
    let line = line.unwrap();
    assert_eq!(line["before"], Value::Null);
    assert_eq!(line["after"]["access"], "specific");
    assert_eq!(line["after"]["owner"], "anne");
    assert_eq!(line["user_id"], "olga");
    let dropped = lines.iter().find(|line| line["action"] == "drop").unwrap();
    assert_eq!(dropped["before"]["access"], "public");
    assert_eq!(dropped["after"], Value::Null);
}

/// The login that reads roles reads tags, too.
fn as_the_roles_reader(world: &mut World) {
    let roles = world.config.providers.iter().find_map(|provider| {
        if let rowgate::config::ProviderKind::Sql(sql) = &provider.kind {
            Some(sql.database.clone())
        } else {
            None
        }
    });
    if let (Some(Tags::Table(table)), Some(roles)) = (&mut world.config.tags, roles) {
        table.database = roles;
    }
}

/// What olga may not define or drop over HTTP: what, the body, status, and words of the answer.
const REFUSED: &str = r#"[
    ["define", {"tag": "t", "access": "public"}, 403, "nobody opens"],
    ["define", {"tag": "t", "access": "private", "owner": "olga"}, 403, "nobody opens"],
    ["define", {"tag": "t", "access": "specific", "allowed": ["olga"]}, 403, "nobody opens"],
    ["define", {"tag": "t", "access": "group", "allowed": ["hers"]}, 403, "nobody opens"],
    ["define", {"tag": "root:role", "access": "specific", "allowed": ["bob"]}, 403, "operator"],
    ["drop", {"tag": "root:role"}, 403, "operator"],
    ["define", {"tag": "t", "access": "everybody"}, 422, "not an access"],
    ["define", {"tag": "t", "access": "private"}, 422, "needs an owner"],
    ["define", {"tag": "t", "access": "domain", "allowed": ["@x.example"]}, 422, "not a domain"],
    ["define", {"tag": "t", "access": "private", "owner": "anne", "allowed": ["bob"]}, 422, "without a list"],
    ["define", {"tag": "a, b", "access": "specific"}, 422, "cannot have"],
    ["define", {"tag": "'; DROP TABLE tags; --", "access": "specific"}, 422, "cannot have"],
    ["define", {"tag": "LONG", "access": "specific"}, 422, "longer"],
    ["define", {"tag": "t", "access": "specific", "allowed": ["MANY"]}, 413, "longer than 4096"],
    ["define", {"tag": "t"}, 422, "tag and access"],
    ["drop", {"tag": "t", "access": "public"}, 422, "nothing else"],
    ["drop", {"tag": ""}, 422, "not a tag"]
]"#;

fn refused() -> Vec<(String, Value, u16, String)> {
    let text = REFUSED
        .replace("LONG", &"x".repeat(257))
        .replace("MANY", &"u".repeat(5_000));
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_opens_a_tag_to_themselves_and_nonsense_changes_nothing() {
    let world = World::new("define_not").await;
    let owner = world.owner().await;
    owner
        .batch_execute("INSERT INTO group_members VALUES ('olga', 'hers')")
        .await
        .unwrap();
    let gate = world.serve().await;
    let table = "SELECT string_agg(t::text, ';' ORDER BY name) FROM tags t";
    let before: String = owner.query_one(table, &[]).await.unwrap().get(0);
    for (path, body, status, says) in refused() {
        let path = format!("/api/tags/{path}");
        let answer = gate.post(&path, &token("olga"), &body).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(
            answer.body.to_string().contains(&says),
            "{says}: {answer:?}"
        );
    }
    let define = json!({"tag": "t", "access": "specific", "allowed": ["bob"]});
    for user in ["bob", "eve"] {
        let answer = gate.post("/api/tags/define", &token(user), &define).await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert_eq!(gate.get("/api/tags", &token(user)).await.status, 403);
    }
    let after: String = owner.query_one(table, &[]).await.unwrap().get(0);
    assert_eq!(before, after);
    let lines = world.admin_lines();
    assert_eq!(lines.len(), refused().len() + 4, "one line each");
    assert!(lines.iter().all(|line| line["decision"] == "refuse"));
    let huge = lines.iter().map(|line| line.to_string().len()).max();
    assert!(huge < Some(4_000), "{huge:?}");
}

/// How a command ended, what it printed, and what it complained of.
fn told_by(config: &std::path::PathBuf, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = commands::run(config, arguments);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (
        output.status.code(),
        commands::printed(&output).to_owned(),
        told,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_defines_drops_and_lists_by_command() {
    let world = World::new("define_by_command").await;
    let config = commands::config_with(&world, "[admin.tags]\n");
    let run = |arguments: &[&str]| told_by(&config, arguments);
    let define = ["tags", "define", "press", "--access", "public"];
    assert_eq!(run(&define).1, "defined: tag \"press\"\n");
    assert_eq!(run(&define).1, "already defined so: tag \"press\"\n");
    let staff = [
        "tags",
        "define",
        "staff",
        "--access",
        "domains",
        "--allow",
        "b.example",
        "--allow",
        "a.example",
        "--owner",
        "anne",
    ];
    assert_eq!(run(&staff).0, Some(0));
    let turned = [
        "tags",
        "define",
        "staff",
        "--access",
        "domains",
        "--allow",
        "a.example",
        "--allow",
        "b.example",
        "--owner",
        "anne",
    ];
    assert!(run(&turned).1.starts_with("already"), "order means nothing");
    assert_eq!(
        run(&["tags", "show"]).1,
        "launch\tspecific\tanne\tanne\nopen\tpublic\t-\npress\tpublic\t-\nstaff\tdomains\tanne\tb.example a.example\n"
    );
    let (code, _, told) = run(&["tags", "define", "x", "--access", "open"]);
    assert_eq!(code, Some(2));
    assert!(
        told.contains("is not an access; choose public, private"),
        "{told}"
    );
    assert_eq!(
        run(&["tags", "drop", "press"]).1,
        "dropped: tag \"press\"\n"
    );
    assert_eq!(
        run(&["tags", "drop", "press"]).1,
        "already not defined: tag \"press\"\n"
    );
    assert!(
        run(&["tags", "--user", "anne"])
            .1
            .starts_with("anne\tlaunch"),
        "the list of users as before"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_hold_a_definition_gets_none() {
    let world = World::new("define_odd").await;
    let config = commands::config_with(&world, "[admin.tags]\n");
    let run = |arguments: &[&str]| told_by(&config, arguments);
    // A table without a column for owners keeps none, and says so instead of forgetting one.
    world
        .owner()
        .await
        .batch_execute("ALTER TABLE tags DROP COLUMN owner")
        .await
        .unwrap();
    let (code, _, told) = run(&[
        "tags", "define", "y", "--access", "private", "--owner", "anne",
    ]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("no column for it"), "{told}");
    assert_eq!(
        run(&[
            "tags", "define", "y", "--access", "specific", "--allow", "bob"
        ])
        .0,
        Some(0)
    );
    // Two rows of one name are nobody's to choose between.
    world.owner().await.batch_execute("ALTER TABLE tags DROP CONSTRAINT tags_pkey; INSERT INTO tags VALUES ('y', 'public', '{}')").await.unwrap();
    let (code, _, told) = run(&["tags", "drop", "y"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("more than once"), "{told}");
}
