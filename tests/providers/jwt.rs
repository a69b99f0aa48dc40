//! What only tokens have: claims of any kind, and keys that are taken back.

use crate::facts;
use crate::worlds::jwt::JwtSource;
use crate::worlds::{Refused, Source, settings};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_cannot_be_understood_refuse() {
    let source = JwtSource::new().await;
    let providers = rowgate::app::providers(&[settings("jwt", &source)]).await;
    let resolver = providers.unwrap().resolver();
    for (said, why) in [
        (
            json!({"roles": {"HR Manager": true}}),
            "cannot be understood",
        ),
        (json!({"roles": ["s3cret", 1]}), "cannot be understood"),
        (json!({"permissions": ["x".repeat(2_000)]}), "too large"),
    ] {
        let shows = source.show("bob", source.sign("bob", &said)).await;
        let asked = resolver.principal(&shows.unwrap()).await;
        let Refused { told: _, logged } = asked.map_err(Refused::from).unwrap_err();
        assert!(
            logged.contains(why) && !logged.contains("s3cret"),
            "{logged}"
        );
    }
    // More than a token may hold does not even open the door.
    let many: Vec<String> = (0..10_001).map(|number| number.to_string()).collect();
    let token = source.sign("bob", &json!({"roles": many}));
    assert!(source.show("bob", token).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_taken_back_opens_no_door() {
    let source = JwtSource::new().await;
    source.tell(&facts()).await;
    let old = source.token("bob");
    source.show("bob", old.clone()).await.unwrap();
    // The issuer publishes another key instead; with the next token of somebody's it is looked for.
    source.tell(&facts()).await;
    source.show("anne", source.token("anne")).await.unwrap();
    let refusal = source.show("bob", old).await.unwrap_err();
    let told = "authentication failed for user \"agent.bob\"";
    assert_eq!(refusal.to_string(), told);
    source.show("bob", source.token("bob")).await.unwrap();
    // Nobody else's token, and none that was changed.
    assert!(source.show("anne", source.token("bob")).await.is_err());
    let (rest, signature) = source
        .token("bob")
        .rsplit_once('.')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let turned: String = signature.chars().rev().collect();
    assert!(
        source
            .show("bob", format!("{rest}.{turned}"))
            .await
            .is_err()
    );
}
