//! What does not work is found when the gate starts.

use crate::facts;
use crate::worlds::{Harm, Kind, SECRET, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_does_not_work_is_found_at_start() {
    for (kind, harm) in [
        (Kind::FileJson, Harm::Outage),
        (Kind::FileJson, Harm::Garbage),
        (Kind::FileToml, Harm::Oversize),
        (Kind::Sql, Harm::Outage),
    ] {
        let world = World::new(kind).await;
        world.tell(&facts()).await;
        world.harm(harm).await;
        let error = rowgate::app::providers(&[world.settings("p")])
            .await
            .err()
            .unwrap();
        let text = format!("{error:#} {error:?}");
        assert!(text.contains("provider \"p\" does not work"), "{text}");
        assert!(!text.contains(SECRET), "{text}");
    }
    let world = World::new(Kind::Sql).await;
    for (wrong, says) in [
        ("SELECT role FROM nowhere WHERE $1 = ''", "does not exist"),
        (
            "SELECT role FROM user_roles WHERE name = $1; DROP TABLE user_roles",
            "syntax error",
        ),
        (
            "DELETE FROM user_roles WHERE name = $1 RETURNING role",
            "syntax error",
        ),
        ("not SQL", "syntax error"),
    ] {
        let mut settings = world.settings("p");
        if let rowgate::config::ProviderKind::Sql(sql) = &mut settings.kind {
            sql.queries.roles = Some(wrong.to_owned());
        }
        let error = rowgate::app::providers(&[settings]).await.err().unwrap();
        assert!(format!("{error:#}").contains(says), "{wrong}: {error:#}");
    }
}
