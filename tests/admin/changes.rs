//! What a change does: to the tables, to the next statement on every gate, and to the audit.

use crate::gate::{World, token};
use serde_json::json;

const SUM: &str = "SELECT sum(amount)::text FROM invoices";

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_and_a_revocation_hold_for_the_next_statement_on_every_gate() {
    let world = World::new("next").await;
    let (first, second) = (world.serve().await, world.serve().await);
    let here = first.connect(&world.database, "eve").await;
    let there = second.connect(&world.database, "eve").await;
    let sum = async |client: &tokio_postgres::Client| -> Option<String> {
        client.query_one(SUM, &[]).await.unwrap().get(0)
    };
    assert_eq!((sum(&here).await, sum(&there).await), (None, None));
    let body = json!({"user": "eve", "role": "HR Manager"});
    let granted = first.post("/api/roles/grant", &token("olga"), &body).await;
    assert_eq!(granted.status, 200, "{granted:?}");
    assert_eq!(granted.body["result"], "granted");
    assert!(sum(&here).await.is_some());
    assert_eq!(sum(&here).await, sum(&there).await);
    let revoked = second
        .post("/api/roles/revoke", &token("olga"), &body)
        .await;
    assert_eq!(
        (revoked.status, &revoked.body["result"]),
        (200, &json!("revoked"))
    );
    assert_eq!((sum(&here).await, sum(&there).await), (None, None));
}
