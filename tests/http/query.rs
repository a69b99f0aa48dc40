//! What is answered, to whom, and what the audit says about it.

use crate::gate::{KEY, OWN_KEY, bearer, gate};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn each_sees_their_own_rows_and_is_told_which_tables_were_filtered() {
    let gate = gate("rows", |_| {}).await;
    let anne = gate
        .query("anne", "SELECT SUM(amount) FROM invoices;")
        .await;
    assert_eq!(anne.status, 200, "{anne:?}");
    let id = anne.header("x-request-id").unwrap();
    let expected = json!({
        "columns": [{"name": "sum", "type": "numeric"}],
        "rows": [["3900.00"]],
        "row_count": 1,
        "truncated": false,
        "filtered": ["public.invoices"],
        "request_id": id,
    });
    assert_eq!(anne.body, expected);
    let bob = gate.query("bob", "SELECT SUM(amount) FROM invoices").await;
    assert_eq!(bob.value(), "1300.00");
    let eve = gate.query("eve", "SELECT * FROM invoices").await;
    assert_eq!(
        (&eve.body["rows"], &eve.body["row_count"]),
        (&json!([]), &json!(0))
    );
    let nothing = gate.query("eve", "SELECT 1").await;
    assert_eq!(
        nothing.body["filtered"],
        json!([]),
        "no table, nothing filtered"
    );
    let admin = gate
        .query("admin", "SELECT SUM(amount) FROM invoices")
        .await;
    assert_eq!(
        (admin.status, &admin.body["sqlstate"]),
        (403, &json!("28000")),
        "not by this login"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_json_and_keep_every_digit() {
    let gate = gate("values", |_| {}).await;
    let sql = "SELECT 7::int2, -7::int4, 9007199254740993::int8, 1.10::numeric, 0.1::float8, 'NaN'::float8, \
               true, NULL, 'a\"b', '{\"a\": [1, null]}'::jsonb, '{\"a\":\n1}'::json, DATE '2024-02-29', \
               ARRAY[1,2], 'Infinity'::float4, 'NaN'::numeric";
    let answer = gate.query("eve", sql).await;
    let expected = json!([[
        7, -7, "9007199254740993", "1.10", 0.1, "NaN", true, null, "a\"b", {"a": [1, null]}, {"a": 1},
        "2024-02-29", "{1,2}", "Infinity", "NaN"
    ]]);
    assert_eq!(answer.body["rows"], expected, "{answer:?}");
    let types: Vec<&str> = answer.body["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["type"].as_str().unwrap())
        .collect();
    let expected = [
        "int2", "int4", "int8", "numeric", "float8", "float8", "bool", "text", "text", "jsonb",
        "json", "date", "int4[]", "float4", "numeric",
    ];
    assert_eq!(types, expected);
    let twice = gate.query("eve", "SELECT 1 AS a, 2 AS a").await;
    assert_eq!(
        twice.body["rows"],
        json!([[1, 2]]),
        "columns of one name are all there"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_values_of_the_types_the_statement_infers() {
    let gate = gate("params", |_| {}).await;
    let ask = async |sql: &str, params: serde_json::Value| {
        gate.ask("anne", &json!({"sql": sql, "params": params}))
            .await
    };
    let by = "SELECT count(*) FROM invoices WHERE department = $1 AND amount > $2";
    assert_eq!(ask(by, json!(["Sales", 0])).await.value(), "4");
    assert_eq!(
        ask(by, json!(["' OR true --", 0])).await.value(),
        "0",
        "a value is never SQL"
    );
    assert_eq!(ask(by, json!([null, 0])).await.value(), "0");
    assert_eq!(ask("SELECT $1::numeric", json!([1.5])).await.value(), "1.5");
    assert_eq!(
        ask("SELECT $1::jsonb", json!([{"a": [1]}])).await.value(),
        &json!({"a": [1]})
    );
    assert_eq!(
        ask("SELECT $1::boolean", json!([true])).await.value(),
        &json!(true)
    );
    assert_eq!(
        ask("SELECT $1::int4 + 1", json!(["41"])).await.value(),
        &json!(42)
    );
    for (sql, params) in [
        (by, json!([])),
        (by, json!(["Sales"])),
        ("SELECT 1", json!([1])),
        (by, json!([1, 2, 3])),
    ] {
        let refused = ask(sql, params.clone()).await;
        assert_eq!(
            (refused.status, &refused.body["sqlstate"]),
            (400, &json!("42P02")),
            "{params}"
        );
        assert_eq!(
            refused.body["type"],
            "urn:rowgate:problem:parameter_unknown"
        );
    }
    let wrong = ask("SELECT $1::int4", json!(["CANARY"])).await;
    assert_eq!(
        (wrong.status, &wrong.body["sqlstate"]),
        (400, &json!("22P02"))
    );
    assert!(
        !wrong.text.contains("CANARY"),
        "no value comes back: {}",
        wrong.text
    );
    let zero = ask("SELECT $1::text", json!(["a\u{0}b"])).await;
    assert_eq!(
        (zero.status, &zero.body["sqlstate"]),
        (400, &json!("22021")),
        "{zero:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_speaks_for_others_only_where_its_login_may() {
    let gate = gate("keys", |_| {}).await;
    let body = json!({"sql": "SELECT SUM(amount) FROM invoices"}).to_string();
    let (key, own) = (format!("X-API-Key: {KEY}"), format!("X-API-Key: {OWN_KEY}"));
    let sum = async |headers: &[&str]| {
        let answer = gate.send(headers, &body).await;
        (
            answer.status,
            answer.body["rows"][0][0].as_str().map(str::to_owned),
        )
    };
    assert_eq!(
        sum(&[&key, "X-User-Id: bob"]).await,
        (200, Some("1300.00".to_owned()))
    );
    assert_eq!(
        sum(&[&own]).await,
        (200, Some("9000.00".to_owned())),
        "carol herself"
    );
    // Never a superuser, whoever is named.
    assert_eq!(sum(&[&key, "X-User-Id: admin"]).await, (403, None));
    let bob = bearer("bob");
    let refused: &[&[&str]] = &[
        &[],
        &[&key],
        &[&key, "X-User-Id;"],
        &[&key, "X-User-Id: bob", "X-User-Id: anne"],
        &[&own, "X-User-Id: bob"],
        &[
            "X-API-Key: 00000000000000000000000000000000",
            "X-User-Id: bob",
        ],
        &["X-User-Id: bob"],
        &[&bob, "X-User-Id: anne"],
        &[&bob, "X-User-Id: bob"],
        &[&bob, &key],
        &[&bob, &bob],
        &["Authorization: Basic Ym9iOmRlbW8="],
        &["Authorization: Bearer x.y.z"],
    ];
    for headers in refused.iter().copied() {
        let answer = gate.send(headers, &body).await;
        assert_eq!(
            (answer.status, &answer.body["sqlstate"]),
            (401, &json!("28P01")),
            "{headers:?}"
        );
        assert_eq!(
            answer.body["detail"], "authentication failed",
            "{headers:?}"
        );
        assert!(answer.header("www-authenticate").is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_has_one_line_and_what_ran_one_outcome() {
    let gate = gate("audit", |config| config.audit.parameters = true).await;
    let body = json!({"sql": "SELECT id FROM invoices WHERE department = $1 ORDER BY id", "params": ["HRM"]});
    let answer = gate.ask("bob", &body).await;
    let (request, outcome) = gate.recorded(&answer).await;
    assert_eq!((request.len(), outcome.len()), (1, 1));
    assert_eq!(request[0]["decision"], "allow");
    assert_eq!(
        (&request[0]["user_id"], &request[0]["login"]),
        (&json!("bob"), &json!("agent"))
    );
    assert_eq!(request[0]["sql"], body["sql"]);
    assert_eq!(request[0]["parameters"], json!(["HRM"]));
    assert_eq!(outcome[0]["rows"], answer.body["row_count"]);
    for (sql, reason) in [
        ("SELECT * FROM nowhere", "relation_unknown"),
        ("SELECT 1; SELECT 2", "multiple_statements"),
        ("BEGIN", "feature_not_supported"),
        ("", "syntax_error"),
        ("DELETE FROM invoices", "not_a_read"),
        ("SELECT $1", "parameter_unknown"),
    ] {
        let (request, outcome) = gate.recorded(&gate.query("bob", sql).await).await;
        assert_eq!((request.len(), outcome.len()), (1, 0), "{sql}");
        assert_eq!(
            (&request[0]["decision"], &request[0]["reason"]),
            (&json!("refuse"), &json!(reason)),
            "{sql}"
        );
    }
    let failed = gate.query("bob", "SELECT 1/0").await;
    assert_eq!(
        (failed.status, &failed.body["detail"]),
        (400, &json!("division by zero"))
    );
    let (request, outcome) = gate.recorded(&failed).await;
    assert_eq!(
        (request.len(), outcome.len(), &outcome[0]["sqlstate"]),
        (1, 1, &json!("22012"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_is_cut_off_and_says_so() {
    let gate = gate("cut", |_| {}).await;
    let rows = "SELECT g FROM generate_series(1, 20000) g";
    let cut = gate.query("eve", rows).await;
    assert_eq!(
        (&cut.body["row_count"], &cut.body["truncated"]),
        (&json!(5_000), &json!(true))
    );
    assert_eq!(cut.body["rows"].as_array().unwrap().len(), 5_000);
    let exact = gate
        .query("eve", "SELECT g FROM generate_series(1, 5000) g")
        .await;
    assert_eq!(
        (&exact.body["row_count"], &exact.body["truncated"]),
        (&json!(5_000), &json!(false))
    );
    let wide = gate
        .query(
            "eve",
            "SELECT repeat('x', 300000) FROM generate_series(1, 20)",
        )
        .await;
    assert_eq!(
        (&wide.body["row_count"], &wide.body["truncated"]),
        (&json!(3), &json!(true))
    );
    let (_, outcome) = gate.recorded(&wide).await;
    assert_eq!(
        (&outcome[0]["rows"], &outcome[0]["sqlstate"]),
        (&json!(3), &json!("54000"))
    );
    // The connection is fit for the next.
    assert_eq!(gate.query("eve", "SELECT 1").await.value(), &json!(1));
}
