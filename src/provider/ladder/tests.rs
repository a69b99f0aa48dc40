//! What the validator finds, and what each role carries in the fixtures.

use super::*;
use std::path::Path;

struct Files {
    folder: tempfile::TempDir,
    files: LadderFiles,
}

const GOOD: [(&str, &str); 4] = [
    (
        "permissions.json",
        r#"[{"api": "chat", "title": "Chat"}, {"api": "fetch_loan"}, {"api": "fetch_product"}]"#,
    ),
    (
        "actions.json",
        r#"[{"name": "Loans", "description": "", "permissions": ["chat", "fetch_loan"]},
            {"name": "Products", "permissions": ["fetch_product"]}]"#,
    ),
    (
        "category.json",
        r#"[{"name": "Assess", "actions": ["Loans"]}, {"name": "All", "actions": ["Loans", "Products"]}]"#,
    ),
    (
        "roles.json",
        r#"[{"name": "Clerk", "categories": ["Assess"]}, {"name": "Boss", "categories": ["All", "Assess"]}]"#,
    ),
];

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let files = LadderFiles {
            permissions: path("permissions.json"),
            actions: path("actions.json"),
            categories: path("category.json"),
            roles: Some(path("roles.json")),
        };
        let files = Self { folder, files };
        GOOD.iter().for_each(|(name, text)| files.write(name, text));
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// The problems, each without the folder.
    fn problems(&self) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        let problems = self.files.problems();
        problems
            .iter()
            .map(|problem| problem.to_string().replace(&folder, ""))
            .collect()
    }
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

#[test]
fn each_level_carries_what_is_below_it() {
    let files = Files::new();
    assert_eq!(files.problems(), [""; 0]);
    let ladder = files.files.read().unwrap();
    for (held, expected) in [
        (&["Clerk"][..], &["chat", "fetch_loan"][..]),
        (&["Boss"], &["chat", "fetch_loan", "fetch_product"]),
        (&["Assess"], &["chat", "fetch_loan"]),
        (&["Clerk", "All"], &["chat", "fetch_loan", "fetch_product"]),
        // An action or a permission is no role, and neither are other spellings.
        (
            &[
                "Loans", "chat", "clerk", "CLERK", "Clerk ", "*", "Clerk*", "",
            ],
            &[],
        ),
    ] {
        assert_eq!(ladder.carried(&set(held)), set(expected), "{held:?}");
    }
}

/// (file, its content, what is told)
#[test]
fn everything_wrong_is_named_with_file_and_key() {
    for (file, text, expected) in [
        (
            "actions.json",
            r#"[{"name": "Loans", "permissions": ["chat", "fetch_lon"]}, {"name": "Products", "permissions": ["x"]}]"#,
            &[
                r#"actions.json: [0] "Loans".permissions[1]: "fetch_lon" is no permission; did you mean "fetch_loan"?"#,
                r#"actions.json: [1] "Products".permissions[0]: "x" is no permission"#,
            ][..],
        ),
        (
            "category.json",
            r#"[{"name": "Assess", "actions": ["Loan"]}, {"name": "All", "actions": ["chat", "Loans", "Loans"]}]"#,
            &[
                r#"category.json: [0] "Assess".actions[0]: "Loan" is no action; did you mean "Loans"?"#,
                r#"category.json: [1] "All".actions[0]: "chat" is a permission, not an action"#,
                r#"category.json: [1] "All".actions[2]: "Loans" stands twice"#,
            ],
        ),
        (
            "category.json",
            r#"[{"name": "Assess", "actions": ["Assess"]}, {"name": "All", "actions": ["Clerk"]}]"#,
            &[
                r#"category.json: [0] "Assess".actions[0]: goes in a circle: Assess -> Assess"#,
                r#"category.json: [1] "All".actions[0]: "Clerk" is a role, not an action"#,
            ],
        ),
        (
            "actions.json",
            r#"[{"name": "Loans", "permissions": ["Clerk"]}, {"name": "Products", "permissions": ["Products"]}]"#,
            &[
                r#"actions.json: [0] "Loans".permissions[0]: goes in a circle: Loans -> Clerk -> Assess -> Loans"#,
                r#"actions.json: [1] "Products".permissions[0]: goes in a circle: Products -> Products"#,
            ],
        ),
        (
            "permissions.json",
            r#"[{"api": "chat"}, {"api": "fetch_loan"}, {"api": "fetch_product"}, {"api": "chat"}, {"api": "Chat"},
                {"api": "ch\u200bat"}, {"api": ""}, {"api": "*"}, {"api": "fetch:*"}, {"api": " x"}]"#,
            &[
                r#"permissions.json: [3] "chat": this permission stands twice, first as [0]"#,
                r#"permissions.json: [4] "Chat": looks like "chat" of [0], and is another permission"#,
                r#"permissions.json: [5] "ch\u{200b}at": looks like "chat" of [0], and is another permission"#,
                r#"permissions.json: [6] "": is empty"#,
                r#"permissions.json: [7] "*": holds a *: a permission is one thing, a wildcard is given to somebody"#,
                r#"permissions.json: [8] "fetch:*": holds a *: a permission is one thing, a wildcard is given to somebody"#,
                r#"permissions.json: [9] " x": holds control characters, or white space at an end"#,
            ],
        ),
        (
            "roles.json",
            r#"[{"name": "assess", "categories": []}, {"name": "Clerk", "categories": ["Nothing"]}]"#,
            &[
                r#"roles.json: [0] "assess": is also a category's name, and a category can be held as a role"#,
                r#"roles.json: [1] "Clerk".categories[0]: "Nothing" is no category"#,
            ],
        ),
    ] {
        let files = Files::new();
        files.write(file, text);
        assert_eq!(files.problems(), expected, "{file} {text}");
    }
}

#[test]
fn what_cannot_be_read_is_named_too() {
    for (file, text, says) in [
        (
            "actions.json",
            "[{\"name\": \"Loans\"}]",
            "missing field `permissions`",
        ),
        (
            "actions.json",
            "[\n{\"name\": \"L\", \"permission\": []}]",
            "unknown field `permission`",
        ),
        ("category.json", "{", "category.json"),
        (
            "category.json",
            "[{\"name\": \"A\", \"name\": \"B\", \"actions\": []}]",
            "duplicate field",
        ),
        ("permissions.json", "[{\"api\": 5}]", "line 1"),
        ("roles.json", "null", "roles.json"),
    ] {
        let files = Files::new();
        files.write(file, text);
        let problems = files.problems();
        assert_eq!(
            problems.len(),
            1,
            "a level that is not there makes no other wrong: {problems:?}"
        );
        assert!(
            problems[0].contains(says) && problems[0].contains(file),
            "{problems:?}"
        );
    }
    let files = Files::new();
    std::fs::remove_file(&files.files.actions).unwrap();
    assert!(
        files.problems()[0].contains("cannot read actions.json"),
        "{:?}",
        files.problems()
    );
}

#[tokio::test]
async fn a_broken_level_leaves_the_last_good_ones_in_force_for_a_while() {
    let files = Files::new();
    let while_ = Duration::from_millis(80);
    let provider = AiPermissions::open("ladder", files.files.clone(), while_).unwrap();
    let held = set(&["Clerk"]);
    let good = set(&["chat", "fetch_loan"]);
    assert!(provider.generation().is_some());
    files.write(
        "category.json",
        r#"[{"name": "Assess", "actions": ["Gone"]}]"#,
    );
    let told = provider.reload().unwrap_err().to_string();
    assert!(told.contains("\"Gone\" is no action"), "{told}");
    assert_eq!(provider.role_permissions(&held).await.unwrap(), good);
    assert_eq!(provider.generation(), None, "asked for each time meanwhile");
    tokio::time::sleep(while_).await;
    let refused = provider.role_permissions(&held).await;
    assert!(
        matches!(refused, Err(ProviderError::Stale(_))),
        "{refused:?}"
    );
    let refused = provider.find(&Caller::assumed("bob")).await;
    assert!(
        matches!(refused, Err(ProviderError::Stale(_))),
        "{refused:?}"
    );
    files.write(
        "category.json",
        r#"[{"name": "Assess", "actions": ["Products"]}]"#,
    );
    files.write(
        "roles.json",
        r#"[{"name": "Clerk", "categories": ["Assess"]}]"#,
    );
    provider.reload().unwrap();
    let now = provider.role_permissions(&held).await.unwrap();
    assert_eq!(now, set(&["fetch_product"]));
}

#[test]
fn the_fixtures_are_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let files = LadderFiles {
        permissions: folder.join("permissions.json"),
        actions: folder.join("actions.json"),
        categories: folder.join("category.json"),
        roles: Some(folder.join("roles.json")),
    };
    assert_eq!(files.problems(), []);
    let ladder = files.read().unwrap();
    assert_eq!(
        ladder.actions["Use Loan Analysis Tool"],
        set(&[
            "access_ai_chat",
            "use_ai_loan_tool",
            "fetch_loan",
            "fetch_loan_product"
        ])
    );
    let supervisor = ladder.carried(&set(&["Agent Supervisor"]));
    assert!(supervisor.contains("fetch_account") && !supervisor.contains("read_customer_contact"));
}
