//! `SHOW rowgate.principal`.

use crate::{SEEN, ask, gate};
use rowgate::config::AuditSink;
use serde_json::{Value, json};
use tokio_postgres::Client;

const SHOW: &str = "SHOW rowgate.principal";

async fn shown(client: &Client) -> Value {
    let text = ask(client, SHOW).await.unwrap().unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_what_one_is_and_sees_and_nothing_else() {
    let gate = gate("tags_show", |_| {}).await;
    let carol = gate.connect("carol").await;
    let table = |name: &str, columns: &[(&str, &str)]| {
        let columns: Vec<Value> = columns
            .iter()
            .map(|(name, type_)| json!({"name": name, "type": type_}))
            .collect();
        json!({"schema": "public", "name": name, "columns": columns})
    };
    let documents = [("id", "bigint"), ("title", "text"), ("owner", "text")];
    let people = [("id", "bigint"), ("name", "text")];
    let seen = shown(&carol).await;
    assert_eq!(seen["login"], "carol");
    assert_eq!(seen["user_id"], "carol");
    assert_eq!(seen["superuser"], false);
    assert_eq!(seen["tags"], json!(["deal-7", "partners", "press"]));
    assert_eq!(
        seen["attributes"],
        json!({"email": ["carol@partner.example"]})
    );
    assert_eq!(
        seen["tables"],
        json!([table("documents", &documents), table("people", &people)])
    );
    let text = seen.to_string();
    for hidden in ["board", "phone", "legal", "diary", "staff", "group_members"] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    let admin = shown(&gate.connect("admin").await).await;
    assert_eq!(admin["superuser"], true);
    assert_eq!(admin["tables"].as_array().unwrap().len(), 3);
    // By the extended protocol, and spelled as one likes.
    for spelling in [
        SHOW,
        "show RowGate.Principal",
        "SHOW \"rowgate\".principal;",
    ] {
        let row = carol.query_one(spelling, &[]).await.unwrap();
        assert_eq!(row.columns()[0].name(), "rowgate.principal");
        let text: &str = row.get(0);
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), seen);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_refused_where_a_query_would_be_and_recorded_once() {
    let gate = gate("tags_show_audit", |_| {}).await;
    let bob = gate.connect("bob").await;
    let AuditSink::File(path) = &gate.config.audit.sink else {
        panic!("the demo's audit is a file");
    };
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let lines = lines.filter(|line: &Value| line["sql"] == SHOW);
        lines.collect()
    };
    shown(&bob).await;
    let recorded = lines();
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    assert_eq!(recorded[0]["user_id"], "bob");
    assert_eq!(recorded[0]["decision"], "allow");
    for sql in ["BEGIN", "SELECT 1/0"] {
        let _fails = ask(&bob, sql).await;
    }
    assert_eq!(ask(&bob, SHOW).await.unwrap_err().0, "25P02");
    let recorded = lines();
    assert_eq!(recorded.len(), 2, "{recorded:?}");
    assert_eq!(recorded[1]["decision"], "refuse");
    ask(&bob, "ROLLBACK").await.unwrap();
    assert_eq!(shown(&bob).await["user_id"], "bob");
    for (sql, sqlstate) in [
        ("SET rowgate.principal = '{\"superuser\": true}'", "42501"),
        ("RESET rowgate.principal", "42501"),
        ("SHOW rowgate.principals", "42501"),
        ("SHOW rowgate.tags", "42501"),
    ] {
        assert_eq!(ask(&bob, sql).await.unwrap_err().0, sqlstate, "{sql}");
    }
    let all = bob.simple_query("SHOW ALL").await.unwrap();
    assert!(!format!("{all:?}").contains("rowgate"));
}

/// What tells of tables and columns, in the catalogue as clients ask it.
const CATALOGUE: &[&str] = &[
    "SELECT * FROM pg_class",
    "SELECT * FROM pg_attribute",
    "SELECT * FROM pg_type",
    "SELECT * FROM pg_description",
    "SELECT * FROM pg_constraint",
    "SELECT indexrelid::regclass, indrelid::regclass FROM pg_index",
    "SELECT pg_get_indexdef(indexrelid) FROM pg_index",
    "SELECT pg_get_constraintdef(oid) FROM pg_constraint",
    "SELECT * FROM pg_tables",
    "SELECT * FROM pg_views",
    "SELECT * FROM pg_indexes",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM information_schema.columns",
    "SELECT * FROM information_schema.table_constraints",
    "SELECT * FROM information_schema.key_column_usage",
];

/// What a tag denies is in none of it, and what it opens is there.
#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_shows_what_tags_open_and_hides_what_they_deny() {
    let gate = gate("tags_catalogue", |_| {}).await;
    for (user, _, board, phone) in SEEN {
        let client = gate.connect(user).await;
        let mut told = String::new();
        for sql in CATALOGUE {
            let rows = client.simple_query(sql).await;
            told += &format!(
                "{:?}",
                rows.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
            );
        }
        assert!(told.contains("people_pkey"), "{user}");
        for (word, shown) in [("board", board), ("phone", phone)] {
            assert_eq!(told.contains(word), *shown, "{user}: {word}");
        }
        let looked_up = ask(&client, "SELECT to_regclass('public.board_minutes')").await;
        assert_eq!(looked_up.unwrap().is_some(), *board, "{user}");
    }
}
