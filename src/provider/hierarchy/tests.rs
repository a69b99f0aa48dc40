//! Circles, bounds and what is inherited through what.

use super::*;

fn brings(pairs: &[(&str, &[&str])]) -> Brings {
    pairs
        .iter()
        .map(|(name, brought)| ((*name).to_owned(), set(brought)))
        .collect()
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn roles(pairs: &[(&str, &[&str])]) -> Result<Hierarchy, HierarchyError> {
    Hierarchy::new(brings(pairs), Brings::new())
}

fn permissions(pairs: &[(&str, &[&str])]) -> Hierarchy {
    Hierarchy::new(Brings::new(), brings(pairs)).unwrap()
}

#[test]
fn roles_bring_others_along_and_say_from_whom() {
    let hierarchy = roles(&[
        ("Director", &["Sales Manager", "HR Manager"]),
        ("Sales Manager", &["Sales"]),
        ("HR Manager", &["Staff"]),
        ("Other", &["Secret"]),
    ])
    .unwrap();
    let held = brings(&[("Director", &["sql"]), ("HR Manager", &["file"])]);
    let all = hierarchy.roles(held.clone(), |_| true).unwrap();
    assert_eq!(
        all,
        brings(&[
            ("Director", &["sql"]),
            ("HR Manager", &["file", "inherited from Director"]),
            ("Sales", &["inherited from Sales Manager"]),
            ("Sales Manager", &["inherited from Director"]),
            ("Staff", &["inherited from HR Manager"]),
        ])
    );
    let all = hierarchy
        .roles(held.clone(), |role| role != "Sales Manager")
        .unwrap();
    assert_eq!(
        all.keys().collect::<Vec<_>>(),
        ["Director", "HR Manager", "Staff"],
        "what a denied role would have brought does not come either"
    );
    let all = hierarchy.roles(held, |role| role != "Director").unwrap();
    assert_eq!(
        all,
        brings(&[
            ("HR Manager", &["file"]),
            ("Staff", &["inherited from HR Manager"])
        ])
    );
}

#[test]
fn names_are_taken_byte_by_byte_and_a_star_is_no_wildcard_over_roles() {
    let hierarchy = roles(&[("Director", &["Sales"])]).unwrap();
    for held in [
        "director",
        "DIRECTOR",
        "Director ",
        "Dire\u{ad}ctor",
        "*",
        "D*",
    ] {
        let all = hierarchy
            .roles(brings(&[(held, &["p"])]), |_| true)
            .unwrap();
        assert_eq!(all.len(), 1, "{held}");
    }
}

#[test]
fn permissions_bring_others_along_also_through_wildcards() {
    let hierarchy = permissions(&[
        (
            "admin:posts",
            &["read:posts", "write:posts", "delete:posts"],
        ),
        ("write:posts", &["draft:posts"]),
        ("root", &["*"]),
        ("admin:all", &["admin:*"]),
        ("administer", &["other"]),
    ]);
    let posts = [
        "admin:posts",
        "delete:posts",
        "draft:posts",
        "read:posts",
        "write:posts",
    ];
    // (held, denied, what comes of it)
    for (held, denied, expected) in [
        ("admin:posts", "", posts.to_vec()),
        ("admin:*", "", [&posts[1..], &["admin:*"]].concat()),
        (
            "admin:all",
            "",
            [&posts[1..], &["admin:*", "admin:all"]].concat(),
        ),
        ("admin:posts:*", "", vec!["admin:posts:*"]),
        ("Admin:posts", "", vec!["Admin:posts"]),
        ("admin*", "", vec!["admin*"]),
        ("read:posts", "", vec!["read:posts"]),
        (
            "admin:posts",
            "write:posts",
            vec!["admin:posts", "delete:posts", "read:posts"],
        ),
        ("admin:posts", "admin:posts", vec![]),
        ("admin:all", "admin:*", vec!["admin:all"]),
        (
            "root",
            "",
            [&posts[1..], &["*", "admin:*", "other", "root"]].concat(),
        ),
    ] {
        let all = hierarchy
            .permissions(set(&[held]), |p| p != denied)
            .unwrap();
        assert_eq!(all, set(&expected), "{held} without {denied}");
    }
}

#[test]
fn a_circle_is_named() {
    for (pairs, expected) in [
        (&[("a", &["a"][..])][..], "roles go in a circle: a -> a"),
        (
            &[("a", &["b"]), ("b", &["a"])],
            "roles go in a circle: a -> b -> a",
        ),
        (
            &[
                ("a", &["x", "b"]),
                ("b", &["c"]),
                ("c", &["d", "b"]),
                ("d", &["e"]),
            ],
            "roles go in a circle: b -> c -> b",
        ),
    ] {
        assert_eq!(roles(pairs).unwrap_err().to_string(), expected);
    }
    let diamond = roles(&[
        ("a", &["b", "c"]),
        ("b", &["d"]),
        ("c", &["d"]),
        ("d", &["e"]),
    ]);
    assert!(diamond.is_ok(), "two ways to the same role are no circle");
    let one = roles(&[("a", &["b"])]).unwrap();
    let two = roles(&[("b", &["c"]), ("c", &["a"])]).unwrap();
    assert_eq!(
        one.united(two).unwrap_err().to_string(),
        "roles go in a circle: a -> b -> c -> a",
        "also through two sources"
    );
}

#[test]
fn bounds_hold() {
    let chain = |length: usize| -> Brings {
        (0..length)
            .map(|n| (format!("r{n:05}"), set(&[&format!("r{:05}", n + 1)])))
            .collect()
    };
    let new = |roles| Hierarchy::new(roles, Brings::new());
    assert!(new(chain(DEPTH_MAX)).is_ok());
    assert!(matches!(
        new(chain(DEPTH_MAX + 1)),
        Err(HierarchyError::TooDeep { .. })
    ));
    assert!(
        matches!(new(chain(ENTRIES_MAX)), Err(HierarchyError::TooDeep { .. })),
        "and the stack holds"
    );
    assert!(matches!(
        new(chain(ENTRIES_MAX + 1)),
        Err(HierarchyError::TooLarge { .. })
    ));
    let many: Vec<String> = (0..=ANSWER_ITEMS_MAX).map(|n| n.to_string()).collect();
    let wide = Brings::from([("a".to_owned(), many.into_iter().collect())]);
    let wide = new(wide).unwrap();
    let _too_many = wide.roles(brings(&[("a", &["p"])]), |_| true).unwrap_err();
}

#[test]
fn names_that_cannot_be_meant_are_refused() {
    for (kind, name) in [
        ("roles", ""),
        ("roles", "*"),
        ("roles", "Sales*"),
        ("roles", " Sales"),
        ("roles", "Sa\nles"),
        ("permissions", ""),
        ("permissions", "read*"),
        ("permissions", "*:posts"),
        ("permissions", "read:posts "),
    ] {
        for pair in [(name, "x"), ("x", name)] {
            let pairs = brings(&[(pair.0, &[pair.1])]);
            let hierarchy = match kind {
                "roles" => Hierarchy::new(pairs, Brings::new()),
                _ => Hierarchy::new(Brings::new(), pairs),
            };
            let error = hierarchy.unwrap_err();
            assert!(matches!(error, HierarchyError::Name { .. }), "{error}");
        }
    }
}

#[test]
fn a_broken_file_leaves_the_last_good_one_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hierarchy.json");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write(r#"{"roles": {"b": ["c"]}}"#);
    let live = LiveHierarchy::open(roles(&[("a", &["b"])]).unwrap(), Some(path.clone())).unwrap();
    let good = roles(&[("a", &["b"]), ("b", &["c"])]).unwrap();
    assert_eq!(*live.current(), good);
    let before = live.generation();
    for (text, says) in [
        (
            r#"{"roles": {"b": ["a"]}}"#,
            "roles go in a circle: a -> b -> a",
        ),
        (r#"{"roles": {"b": ["c"], "b": []}}"#, "\"b\" stands twice"),
        (r#"{"rolls": {}}"#, "unknown field `rolls`"),
        (r#"{"roles": {"b": ["#, "line 1"),
        (
            r#"{"permissions": {"read*": ["x"]}}"#,
            "\"read*\" is no wildcard",
        ),
    ] {
        write(text);
        let error = live.reload().unwrap_err().to_string();
        assert!(
            error.contains(says) && error.contains("hierarchy.json"),
            "{error}"
        );
        assert_eq!(*live.current(), good);
        assert_eq!(live.generation(), before);
    }
    std::fs::remove_file(&path).unwrap();
    let _unreadable = live.reload().unwrap_err();
    assert_eq!(*live.current(), good);
    write(r#"{"roles": {"b": ["d"]}}"#);
    live.reload().unwrap();
    assert_eq!(
        *live.current(),
        roles(&[("a", &["b"]), ("b", &["d"])]).unwrap()
    );
    assert!(live.generation() > before, "so no principal is kept");
}
