//! What callers may know of their own rights: `GET /v1/schema` and `POST /v1/explain`.

use crate::gate::{Answer, Gate, KEY, OWN_KEY, bearer, gate};
use serde_json::{Value, json};

async fn schema(gate: &Gate, user: &str, accept: &str) -> Answer {
    let (bearer, accept) = (bearer(user), format!("Accept: {accept}"));
    gate.curl("/v1/schema", &["-H", &bearer, "-H", &accept], b"")
        .await
}

async fn explain(gate: &Gate, headers: &[&str], body: &Value) -> Answer {
    let mut arguments = vec![
        "-H",
        "Content-Type: application/json",
        "--data-binary",
        "@-",
    ];
    for header in headers {
        arguments.extend(["-H", header]);
    }
    let body = body.to_string();
    gate.curl("/v1/explain", &arguments, body.as_bytes()).await
}

/// Nothing of the example that bob may not know: tables without a view, columns that are left out.
const HIDDEN: &[&str] = &["api_keys", "payroll", "tax_number", "salary"];

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_shows_what_its_reader_may_read_and_nothing_else() {
    let gate = gate("schema", |_| {}).await;
    let json = schema(&gate, "bob", "application/json").await;
    assert_eq!(
        (json.status, json.header("content-type")),
        (200, Some("application/json"))
    );
    let tables = json.body["tables"].as_array().unwrap();
    let names: Vec<&str> = tables.iter().map(|t| t["name"].as_str().unwrap()).collect();
    let expected = [
        "customers",
        "departments",
        "employees",
        "invoices",
        "permissions",
        "transactions",
        "user_roles",
    ];
    assert_eq!(names, expected);
    let invoices = &tables[3];
    assert_eq!(
        (&invoices["schema"], &invoices["primary_key"]),
        (&json!("public"), &json!(["id"]))
    );
    assert_eq!(
        invoices["columns"][1],
        json!({"name": "amount", "type": "numeric(12,2)", "description": "total in euro, tax included"})
    );
    let customers = tables[0]["columns"].as_array().unwrap();
    let masked = customers.iter().filter(|column| column["masked"] == true);
    assert!(masked.count() > 0, "{customers:?}");
    let markdown = schema(&gate, "bob", "text/markdown").await;
    assert_eq!(
        markdown.header("content-type"),
        Some("text/markdown; charset=utf-8")
    );
    assert!(
        markdown
            .text
            .contains("\n- Table invoices: id bigint, amount numeric"),
        "{}",
        markdown.text
    );
    for answer in [&json, &markdown] {
        for hidden in HIDDEN {
            assert!(!answer.text.contains(hidden), "{hidden}: {}", answer.text);
        }
        let (line, ran) = gate.recorded_once(answer).await;
        assert_eq!(
            (&line["operation"], &line["user_id"], ran),
            (&json!("schema"), &json!("bob"), false)
        );
    }
    assert_eq!(schema(&gate, "bob", "image/png").await.status, 406);
    let stranger = gate.curl("/v1/schema", &[], b"").await;
    assert_eq!(stranger.status, 401);
    assert_eq!(
        gate.curl("/v1/schema?user=anne", &[], b"").await.status,
        401
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_says_what_the_query_would_get_and_runs_nothing() {
    let gate = gate("explain", |_| {}).await;
    let bob = bearer("bob");
    let sum =
        json!({"sql": "SELECT SUM(amount) FROM invoices WHERE department = $1", "params": ["HRM"]});
    let allowed = explain(&gate, &[&bob], &sum).await;
    assert_eq!(
        allowed.body,
        json!({
            "decision": "allowed",
            "tables": ["public.invoices"],
            "filtered": ["public.invoices"],
            "parameters": 1,
            "user_id": "bob",
            "roles": ["HR Manager"],
            "superuser": false,
            "request_id": allowed.header("x-request-id").unwrap(),
        })
    );
    let (line, outcome) = gate.recorded_once(&allowed).await;
    assert_eq!(
        (&line["operation"], &line["decision"], outcome),
        (&json!("explain"), &json!("allow"), false)
    );
    for sql in [
        "SELECT * FROM api_keys",
        "SELECT * FROM nowhere",
        "SELECT salary FROM employees",
        "SELECT nothing FROM invoices",
        "DELETE FROM invoices",
        "SELECT 1; SELECT 2",
        "BEGIN",
        "",
        "SELECT pg_sleep(1)",
        "SELECT $1::int",
        "  SELECT * FROM nowhere",
    ] {
        let asked = json!({"sql": sql});
        let (explained, ran) = (
            explain(&gate, &[&bob], &asked).await,
            gate.ask("bob", &asked).await,
        );
        assert_eq!(explained.status, 200, "{sql}: {explained:?}");
        let of = |answer: &Answer, name: &str| answer.body[name].clone();
        for name in ["sqlstate", "detail", "hint", "position"] {
            assert_eq!(of(&explained, name), of(&ran, name), "{sql}: {name}");
        }
        assert_eq!(explained.body["decision"], "refused", "{sql}");
        let slug = ran.body["type"].as_str().unwrap();
        assert!(
            slug.ends_with(explained.body["reason"].as_str().unwrap()),
            "{sql}: {slug}"
        );
        let (line, _) = gate.recorded_once(&explained).await;
        assert_eq!(
            (&line["decision"], &line["sql"]),
            (&json!("refuse"), &json!(sql))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_tells_nothing_of_views_or_of_others() {
    let gate = gate("explain_hidden", |_| {}).await;
    let (key, own) = (format!("X-API-Key: {KEY}"), format!("X-API-Key: {OWN_KEY}"));
    let sum = json!({"sql": "SELECT SUM(amount) FROM invoices"});
    let bob = explain(&gate, &[&key, "X-User-Id: bob"], &sum).await;
    for word in ["rowgate", "allowed_role", "WITH", "views/", "anne"] {
        assert!(!bob.text.contains(word), "{word}: {}", bob.text);
    }
    let carol = explain(&gate, &[&own], &sum).await;
    assert_eq!(carol.body["user_id"], "carol");
    // What hides and what is not there are told in the same words.
    let ask = async |sql: &str| explain(&gate, &[&bearer("bob")], &json!({"sql": sql})).await;
    let (hidden, missing) = (
        ask("SELECT * FROM api_keys").await.text,
        ask("SELECT * FROM api_keyz").await.text,
    );
    let blind = |text: &str| {
        let mut value: Value = serde_json::from_str(text).unwrap();
        value["request_id"] = Value::Null;
        value.to_string().replace("api_keyz", "api_keys")
    };
    assert_eq!(blind(&hidden), blind(&missing));
    for (headers, body, status) in [
        (vec![], json!({"sql": "SELECT 1"}), 401),
        (vec![key.as_str()], json!({"sql": "SELECT 1"}), 401),
        (
            vec![key.as_str(), "X-User-Id: admin"],
            json!({"sql": "SELECT 1"}),
            403,
        ),
        (
            vec![key.as_str(), "X-User-Id: bob"],
            json!({"sql": "SELECT 1", "user_id": "anne"}),
            422,
        ),
        (
            vec![key.as_str(), "X-User-Id: bob", "Accept: text/csv"],
            json!({"sql": "SELECT 1"}),
            406,
        ),
    ] {
        let answer = explain(&gate, &headers, &body).await;
        assert_eq!(answer.status, status, "{headers:?} {answer:?}");
        gate.recorded_once(&answer).await;
    }
}
