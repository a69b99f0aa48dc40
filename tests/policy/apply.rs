//! `apply`, twice, and what two users then see.

use crate::support;
use rowgate::config::Enforcement;
use rowgate::install::{self, InstallOptions, Passwords};
use rowgate::policy::PermissionView;
use secrecy::SecretString;
use tokio_postgres::Client;

fn example() -> Vec<PermissionView> {
    install::read_views(std::path::Path::new("views")).unwrap()
}

#[tokio::test]
async fn example_views_apply_twice() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = InstallOptions::default();
    let views = example();
    println!("{}", install::plan(&admin, &views, &options).await.unwrap());
    install::apply(&mut admin, &views, &options, &Passwords::default())
        .await
        .unwrap();
    let first = install::plan(&admin, &views, &options).await.unwrap();
    install::apply(&mut admin, &views, &options, &Passwords::default())
        .await
        .unwrap();
    assert_eq!(
        first,
        install::plan(&admin, &views, &options).await.unwrap()
    );
    let policy = install::policy_of(&views, &admin, Enforcement::Barrier)
        .await
        .unwrap();
    println!("{:#?}", policy.views()[5].columns);
    let inline = install::policy_of(&views, &admin, Enforcement::Inline)
        .await
        .unwrap();
    let _ = (inline, SecretString::from("x"), None::<Client>);
}
