//! SQL and Rust say the same of a principal.

use crate::{apply, ask, options, principal, support, view};
use rowgate::identity::{Findings, Principal};

/// Held permissions, asked permission, answer.
const PERMISSIONS: &[(&[&str], &str, bool)] = &[
    (&[], "read:posts", false),
    (&["read:posts"], "read:posts", true),
    (&["read:posts"], "read:post", false),
    (&["read:posts"], "READ:POSTS", false),
    (&["read:posts"], "read:posts:own", false),
    (&["read:*"], "read:posts", true),
    (&["read:*"], "read:posts:own", true),
    (&["read:*"], "read", false),
    (&["read:*"], "read:", true),
    (&["read:*"], "reader:posts", false),
    (&["read:posts:*"], "read:posts", false),
    (&["read:posts:*"], "read:posts:own", true),
    (&["read*"], "read:posts", false),
    (&["read:p*"], "read:posts", false),
    (&["*"], "anything at all", true),
    (&["*"], "", true),
    (&[":*"], ":x", true),
    (&[":*"], "x:y", false),
    (&["a_b:*"], "axb:c", false),
    (&["a%:*"], "abc:c", false),
    (&["é:*"], "é:ü", true),
    (&["write", "admin:*"], "admin:users", true),
    (&["x,y"], "x", false),
    (&["a\"b", "c\\d"], "c\\d", true),
    (&["NULL"], "NULL", true),
    (&["{x}"], "x", false),
    // What LIKE reads in its own way.
    (&["a_b"], "axb", false),
    (&["a_b"], "a_b", true),
    (&["a%"], "ab", false),
    (&["a%"], "a%", true),
    (&["%"], "x", false),
    (&["a\\%:*"], "a\\%:b", true),
    (&["a\\%:*"], "ab:b", false),
    (&["a\\"], "a\\", true),
    (&["a*"], "ab", false),
    (&["a*"], "a*", true),
    (&["*:a"], "b:a", false),
    (&["a:*"], "a:b\nc", true),
    (&["a:*"], "A:b", false),
    (&["\"a\":*"], "\"a\":b", true),
];

#[tokio::test(flavor = "multi_thread")]
async fn has_permission_is_the_same_in_sql_and_in_rust() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("has");
    apply(
        &mut admin,
        &[view(
            "departments.sql",
            "SELECT name FROM public.departments",
        )],
        &options,
    )
    .await;
    for (held, asked, answer) in PERMISSIONS {
        let principal = principal("u", &[], held);
        assert_eq!(
            principal.has_permission(asked),
            *answer,
            "Rust: {held:?} {asked}"
        );
        let sql = format!("SELECT rowgate.has_permission('{asked}')");
        let expected = if *answer { "t" } else { "f" };
        let got = ask(&mut admin, &options.login, &principal, &sql).await;
        assert_eq!(got, [expected], "SQL: {held:?} {asked}");
    }
    let findings = Findings {
        superuser: true,
        ..Findings::default()
    };
    let superuser = Principal::new("a", "a", findings);
    assert!(superuser.has_permission("x"));
    assert_eq!(
        ask(
            &mut admin,
            &options.login,
            &superuser,
            "SELECT rowgate.has_permission('x')"
        )
        .await,
        ["t"]
    );
}

/// A call that stays a call has its body planned anew for each query.
#[tokio::test(flavor = "multi_thread")]
async fn postgresql_inlines_every_function() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("inlined");
    let departments = view("departments.sql", "SELECT name FROM public.departments");
    apply(&mut admin, &[departments], &options).await;
    let who = principal("u", &["r"], &["p"]);
    for call in [
        "user_id()",
        "roles()",
        "permissions()",
        "tags()",
        "has_permission('p')",
        "attribute('a')",
        "attributes('a')",
    ] {
        let sql = format!("EXPLAIN (VERBOSE) SELECT rowgate.{call}");
        let plan = ask(&mut admin, &options.login, &who, &sql).await.join("\n");
        let name = call.split('(').next().unwrap();
        assert!(plan.contains("Output: "), "{plan}");
        assert!(!plan.contains(&format!("rowgate.{name}(")), "{plan}");
    }
}

/// Strings that a sloppy literal would take apart.
const HARD: &[&str] = &[
    "o'brien",
    "back\\slash",
    "\\",
    "\"",
    "{x,y}",
    "NULL",
    "null",
    "",
    " lead",
    "trail ",
    "new\nline",
    "tab\t",
    ",",
    "a,b",
    "{}",
    "}{",
    "\u{1f600}",
    "e\u{301}",
    "$1",
    "--",
    "/*",
    "'; DROP TABLE x; --",
    "\u{202e}rtl",
    "\"quoted\"",
    "\\\"",
    "%s",
];

#[tokio::test(flavor = "multi_thread")]
async fn hard_strings_arrive_as_they_are() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("hard");
    apply(
        &mut admin,
        &[view(
            "departments.sql",
            "SELECT name FROM public.departments",
        )],
        &options,
    )
    .await;
    for text in HARD {
        let mut findings = Findings::default();
        findings.attributes.insert(
            (*text).to_owned(),
            vec![(*text).to_owned(), "second".to_owned()],
        );
        findings.attributes.insert("none".to_owned(), Vec::new());
        for role in [*text, "Z"] {
            findings.roles.insert(role.to_owned(), Default::default());
        }
        let who = Principal::new("u", *text, findings);
        // Hexadecimal, so that the comparison does not depend on another quoting.
        let hex = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
        let literal = format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
        let sql = format!(
            "SELECT encode(convert_to(rowgate.user_id(), 'UTF8'), 'hex'), \
                    (SELECT string_agg(encode(convert_to(r, 'UTF8'), 'hex'), ',' ORDER BY n) FROM unnest(rowgate.roles()) WITH ORDINALITY AS r(r, n)), \
                    encode(convert_to(rowgate.attribute({literal}), 'UTF8'), 'hex'), \
                    cardinality(rowgate.attributes({literal})), cardinality(rowgate.attributes('none')), \
                    rowgate.attribute('none') IS NULL, cardinality(rowgate.attributes('unknown')), {literal} = ANY (rowgate.roles())"
        );
        let mut roles = [*text, "Z"];
        roles.sort_unstable();
        let user = if text.is_empty() {
            "NULL".to_owned()
        } else {
            hex(text)
        };
        let expected = format!(
            "{user}|{},{}|{}|2|0|t|0|t",
            hex(roles[0]),
            hex(roles[1]),
            hex(text)
        );
        assert_eq!(
            ask(&mut admin, &options.login, &who, &sql).await,
            [expected],
            "{text:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_known_means_no_rows() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("nobody");
    apply(
        &mut admin,
        &[view(
            "departments.sql",
            "SELECT name FROM public.departments",
        )],
        &options,
    )
    .await;
    // No settings at all, then settings left behind as empty strings by an earlier transaction.
    let sql = "SELECT rowgate.user_id() IS NULL, rowgate.roles() = '{}', rowgate.permissions() = '{}', rowgate.tags() = '{}', \
               rowgate.attribute('x') IS NULL, rowgate.attributes('x') = '{}', rowgate.has_permission('x')";
    for _ in 0..2 {
        let row = admin.query_one(sql, &[]).await.unwrap();
        let got: Vec<bool> = (0..7).map(|column| row.get(column)).collect();
        assert_eq!(got, [true, true, true, true, true, true, false]);
        ask(
            &mut admin,
            &options.login,
            &principal("bob", &["r"], &["*"]),
            "SELECT 1",
        )
        .await;
    }
}
