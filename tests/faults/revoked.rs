//! A role taken away, with two gates that cache what they were told.

use crate::program::{ANNES, BOBS, SUM, Served, Site, sees, until, value};
use crate::wire::Client;
use std::process::Command;

/// The SQL that `rowgate provider triggers` prints for the example's table.
fn triggers() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rowgate"))
        .args(["provider", "triggers", "--table", "public.user_roles"])
        .args(["--user-column", "\"user\""])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn bobs(client: &mut Client) -> Option<String> {
    value(&client.simple(SUM))
}

/// Bob's role is taken away and given back while two gates serve him, and Anne.
fn taken_away_and_given_back(site: &Site) {
    let gates: [Served; 2] = [site.serve(), site.serve()];
    let mut bob = [0, 1].map(|number: usize| gates[number].connect(site, "bob"));
    let mut anne = gates[0].connect(site, "anne");
    bob.iter_mut().for_each(|client| sees(client, BOBS));
    sees(&mut anne, ANNES);
    for (statement, expected) in [
        ("DELETE FROM user_roles WHERE \"user\" = 'bob'", None),
        (
            "INSERT INTO user_roles VALUES ('bob', 'HR Manager')",
            Some(BOBS),
        ),
        (
            "UPDATE user_roles SET \"user\" = 'bobby' WHERE \"user\" = 'bob'",
            None,
        ),
        (
            "UPDATE user_roles SET \"user\" = 'bob' WHERE \"user\" = 'bobby'",
            Some(BOBS),
        ),
        ("TRUNCATE user_roles", None),
    ] {
        site.sql(statement);
        for client in &mut bob {
            until(statement, || bobs(client).as_deref() == expected);
        }
    }
}

#[test]
fn with_notify_it_is_gone_at_once_on_every_gate() {
    let site = Site::new("revoked_notify");
    // Far longer than the test waits: only the notification can end it.
    site.edit("cache_ms = 0", "cache_ms = 3600000");
    site.sql(&triggers());
    site.sql(&triggers());
    taken_away_and_given_back(&site);
}

#[test]
fn without_notify_it_is_gone_when_its_time_is_over() {
    let site = Site::new("revoked_ttl");
    site.edit("cache_ms = 0", "cache_ms = 1000\nlisten = false");
    taken_away_and_given_back(&site);
}

#[test]
fn a_listener_that_lost_its_connection_forgets_what_it_may_have_missed() {
    let site = Site::new("revoked_lost");
    site.edit("cache_ms = 0", "cache_ms = 3600000");
    site.sql(&triggers());
    let gate = site.serve();
    let mut bob = gate.connect(&site, "bob");
    sees(&mut bob, BOBS);
    // The listener's connection dies, the role goes without a word, and the listener comes back.
    site.sql(
        "ALTER TABLE user_roles DISABLE TRIGGER USER;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND usename = 'rowgate_roles' AND query LIKE 'LISTEN%';
         DELETE FROM user_roles WHERE \"user\" = 'bob'",
    );
    until("the role is gone", || bobs(&mut bob).is_none());
}

/// The listener cannot come back, so nothing is heard; what that means is the operator's to say, and by default nothing
/// that was kept serves.
#[test]
fn while_nothing_is_heard_of_nothing_kept_serves_unless_asked_for() {
    for (name, more, left) in [
        ("revoked_deaf", "", None),
        (
            "revoked_hard_of_hearing",
            "\nunheard_cache_ms = 3600000",
            Some(BOBS),
        ),
    ] {
        let site = Site::new(name);
        let database = &site.database;
        site.edit("cache_ms = 0", &format!("cache_ms = 3600000{more}"));
        site.sql(&triggers());
        let gate = site.serve();
        let mut bob = gate.connect(&site, "bob");
        let listening = "SELECT 1 / count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        site.sql(listening);
        sees(&mut bob, BOBS);
        site.sql(&format!(
            "ALTER TABLE user_roles DISABLE TRIGGER USER;
             ALTER DATABASE {database} CONNECTION LIMIT 0;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND usename = 'rowgate_roles' AND query LIKE 'LISTEN%';
             DELETE FROM user_roles WHERE \"user\" = 'bob'"
        ));
        match left {
            None => until("the role is gone", || bobs(&mut bob).is_none()),
            Some(_) => std::thread::sleep(std::time::Duration::from_secs(1)),
        }
        assert_eq!(bobs(&mut bob).as_deref(), left, "{name}");
    }
}
