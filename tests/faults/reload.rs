//! Views, logins and roles change while sessions are open and statements are prepared.

use crate::program::{ANNES, BOBS, Served, Site, code, replace, sees, until, value};
use crate::wire::{Answer, Client, frame};
use nix::sys::signal::Signal;

/// Parse of a named statement, and Sync.
fn parse(client: &mut Client, name: &str, sql: &str) -> Answer {
    client.send(&frame(b'P', format!("{name}\0{sql}\0\0\0").as_bytes()));
    client.send(&frame(b'S', b""));
    client.answer()
}

/// Bind, Execute and Sync of a named statement.
fn run(client: &mut Client, name: &str) -> Answer {
    client.send(&frame(b'B', format!("\0{name}\0\0\0\0\0\0\0").as_bytes()));
    client.send(&frame(b'E', b"\0\0\0\0\0"));
    client.send(&frame(b'S', b""));
    client.answer()
}

#[test]
fn a_broken_view_changes_nothing_and_a_new_one_everything() {
    let site = Site::new("views_change");
    let served = site.serve();
    let mut bob = served.connect(&site, "bob");
    let mut anne = served.connect(&site, "anne");
    for _ in 0..3 {
        // Often enough to be prepared in the database.
        sees(&mut bob, BOBS);
        sees(&mut anne, ANNES);
    }
    assert_eq!(
        code(&parse(&mut bob, "sum", "SELECT sum(amount) FROM invoices")),
        ""
    );
    assert_eq!(
        code(&parse(&mut bob, "note", "SELECT max(note) FROM invoices")),
        ""
    );
    assert_eq!(value(&run(&mut bob, "sum")).as_deref(), Some(BOBS));
    assert_eq!(value(&run(&mut bob, "note")).as_deref(), Some("8102"));

    // Broken: the last good ones stay, and the operator is told.
    let file = site.view("invoices");
    let good = std::fs::read_to_string(&file).unwrap();
    replace(&file, "SELECT nonsense");
    served.until_logged("VIEWS NOT RELOADED");
    sees(&mut bob, BOBS);
    assert_eq!(value(&run(&mut bob, "sum")).as_deref(), Some(BOBS));
    replace(&file, &good);

    // One column less and some rows less: installed, then in force, under the open sessions.
    let narrow = good
        .replace(", note", "")
        .replace("WHERE ", "WHERE amount < 400 AND ");
    assert_ne!(narrow, good);
    replace(&file, &narrow);
    site.apply();
    // Until the gate has looked, the old column list meets the new view: an error, never a row too many.
    until("the new view is in force", || {
        let answer = bob.simple("SELECT sum(amount) FROM invoices");
        assert!(
            ["", "42703"].contains(&code(&answer).as_str()),
            "{:?}",
            answer.error()
        );
        answer.error().is_none() && value(&answer).as_deref() == Some("900.00")
    });
    assert_eq!(value(&run(&mut bob, "sum")).as_deref(), Some("900.00"));
    // Anne's 3900.00 without 400, 1200 and 800.
    sees(&mut anne, "1500.00");
    until("the column is unknown", || {
        code(&bob.simple("SELECT note FROM invoices")) == "42703"
    });
    let answer = run(&mut bob, "note");
    assert_eq!(code(&answer), "42703", "{:?}", answer.error());

    // And back.
    replace(&file, &good);
    site.apply();
    until("the old view is in force", || {
        code(&bob.simple("SELECT note FROM invoices")).is_empty()
    });
    assert_eq!(value(&run(&mut bob, "note")).as_deref(), Some("8102"));
    assert_eq!(value(&run(&mut bob, "sum")).as_deref(), Some(BOBS));
}

#[test]
fn a_view_dropped_behind_our_back_is_an_error_until_it_is_back() {
    let site = Site::new("view_dropped");
    let served = site.serve();
    let mut bob = served.connect(&site, "bob");
    sees(&mut bob, BOBS);
    let sum = "SELECT sum(amount) FROM invoices";
    assert_eq!(code(&parse(&mut bob, "sum", sum)), "");
    assert_eq!(value(&run(&mut bob, "sum")).as_deref(), Some(BOBS));
    site.sql("DROP VIEW rowgate.invoices, rowgate_open.invoices");
    for answer in [
        bob.simple("SELECT sum(amount) FROM invoices"),
        run(&mut bob, "sum"),
    ] {
        let error = answer.error().unwrap();
        assert_eq!(
            (error.code.as_str(), answer.status()),
            ("XX000", Some(b'I'))
        );
        assert_eq!(error.message, "internal error");
        assert!(!answer.contains("rowgate_open") && !answer.contains("rowgate.invoices"));
    }
    assert!(
        served.log().contains("does not exist"),
        "the operator is told"
    );
    site.apply();
    sees(&mut bob, BOBS);
    assert_eq!(value(&run(&mut bob, "sum")).as_deref(), Some(BOBS));
}

#[test]
fn views_are_installed_in_two_databases_of_a_cluster_at_once() {
    // The login is a role of both, and `apply` sets its password.
    let sites = [Site::new("at_once_1"), Site::new("at_once_2")];
    std::thread::scope(|scope| {
        for site in &sites {
            scope.spawn(|| (0..8).for_each(|_| site.apply()));
        }
    });
}

#[test]
fn without_installed_views_a_new_file_is_enough() {
    let site = Site::inline("inline_views");
    let served = site.serve();
    let mut bob = served.connect(&site, "bob");
    assert_eq!(
        code(&parse(&mut bob, "sum", "SELECT sum(amount) FROM invoices")),
        ""
    );
    assert_eq!(value(&run(&mut bob, "sum")).as_deref(), Some(BOBS));
    let file = site.view("invoices");
    let good = std::fs::read_to_string(&file).unwrap();
    replace(&file, &good.replace("WHERE ", "WHERE amount < 400 AND "));
    until("the new view is in force", || {
        value(&bob.simple("SELECT sum(amount) FROM invoices")).as_deref() == Some("900.00")
    });
    assert_eq!(value(&run(&mut bob, "sum")).as_deref(), Some("900.00"));
    // A view taken away takes its table away.
    std::fs::remove_file(&file).unwrap();
    until("the table is unknown", || {
        code(&bob.simple("SELECT sum(amount) FROM invoices")) == "42P01"
    });
    assert_eq!(code(&run(&mut bob, "sum")), "42P01");
}

#[test]
fn the_rights_of_an_open_session_go_with_the_next_statement() {
    let site = Site::new("revoked");
    let served = site.serve();
    let mut bob = served.connect(&site, "bob");
    assert_eq!(
        code(&parse(&mut bob, "sum", "SELECT sum(amount) FROM invoices")),
        ""
    );
    assert_eq!(code(&parse(&mut bob, "ids", "SELECT id FROM invoices")), "");
    assert_eq!(
        bob.simple("BEGIN ISOLATION LEVEL REPEATABLE READ").status(),
        Some(b'T')
    );
    sees(&mut bob, BOBS);
    assert_eq!(value(&run(&mut bob, "sum")).as_deref(), Some(BOBS));
    // A portal with rows still to come.
    bob.send(&frame(b'B', b"p\0ids\0\0\0\0\0\0\0"));
    bob.send(&frame(b'E', b"p\0\0\0\0\x02"));
    bob.send(&frame(b'S', b""));
    let first = bob.answer();
    assert_eq!((first.rows().len(), first.status()), (2, Some(b'T')));

    site.sql("DELETE FROM user_roles WHERE \"user\" = 'bob'");
    assert_eq!(value(&bob.simple("SELECT sum(amount) FROM invoices")), None);
    assert_eq!(value(&run(&mut bob, "sum")), None);
    bob.send(&frame(b'E', b"p\0\0\0\0\0"));
    bob.send(&frame(b'S', b""));
    let rest = bob.answer();
    assert_eq!((code(&rest).as_str(), rest.rows().len()), ("28000", 0));
    assert_eq!(rest.status(), Some(b'E'));
    assert_eq!(bob.simple("ROLLBACK").status(), Some(b'I'));

    site.sql("INSERT INTO user_roles VALUES ('bob', 'HR Manager')");
    assert_eq!(value(&run(&mut bob, "sum")).as_deref(), Some(BOBS));
}

#[test]
fn sighup_brings_new_logins_and_a_broken_file_brings_nothing() {
    let site = Site::new("sighup");
    let served = site.serve();
    let mut bob = served.connect(&site, "bob");
    let login = |served: &Served, user: &str, password: &str| {
        Client::login(served.address, user, password, &site.database)
            .map_err(|answer| code(&answer))
    };
    assert_eq!(login(&served, "zoe", "new").err().unwrap(), "28P01");
    let good = std::fs::read_to_string(&site.file).unwrap();
    site.set("logins.zoe", "password = \"new\"\nuser_id = \"anne\"");
    served.signal(Signal::SIGHUP);
    served.until_logged("logins, tokens and providers reloaded");
    sees(&mut login(&served, "zoe", "new").ok().unwrap(), ANNES);
    sees(&mut bob, BOBS);

    replace(&site.file, "listen = 1\nnonsense = true\n");
    served.signal(Signal::SIGHUP);
    served.until_logged("CONFIGURATION NOT RELOADED");
    let log = served.log();
    assert!(log.contains("nonsense"), "what is wrong is named: {log}");
    sees(&mut login(&served, "zoe", "new").ok().unwrap(), ANNES);
    sees(&mut bob, BOBS);

    // A login taken away lets nobody in any more.
    replace(&site.file, &good);
    served.signal(Signal::SIGHUP);
    until("the login is gone", || {
        login(&served, "zoe", "new").is_err()
    });
    sees(&mut bob, BOBS);
}
