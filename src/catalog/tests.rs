//! The list can be read, and the bodies are made of nothing but what they may be made of.

use super::*;
use std::collections::HashSet;

/// Types whose input looks nothing up, and whose output names nothing.
const TYPES: &str = "name oid text int2 int4 int8 bool varchar float4 float8 timestamptz xid bytea int2vector oidvector \
    inet interval pg_lsn numeric \"char\"";

#[test]
fn the_list_can_be_read_and_names_nothing_twice() {
    let file: File = toml::from_str(include_str!("relations.toml")).unwrap();
    let mut seen = HashSet::new();
    for entry in &file.shadow {
        assert!(!entry._reason.is_empty() && seen.insert(entry.name.clone()));
        assert_eq!(
            entry.columns.lines().count(),
            entry.columns.lines().filter_map(Column::parse).count(),
            "{}",
            entry.name
        );
        for block in entry.with.split_whitespace() {
            let made = [
                "granted_tables",
                "granted_columns",
                "granted_descriptions",
                CALLER,
            ]
            .contains(&block);
            assert!(made || file.block.contains_key(block), "{block}");
        }
    }
    for entry in &file.absent {
        for name in entry.names.split_whitespace() {
            assert!(seen.insert(name.to_owned()), "{name} is listed twice");
        }
        assert!(entry.reason.ends_with('.'));
    }
}

#[test]
fn no_column_has_a_type_that_looks_names_up() {
    let types: HashSet<&str> = TYPES.split_whitespace().collect();
    let list = load().unwrap();
    assert!(list.shadows.len() > 100);
    for shadow in list.shadows.values() {
        for column in &shadow.columns {
            let element = column.type_.trim_end_matches("[]");
            assert!(
                types.contains(element),
                "{}.{}: {}",
                shadow.relation,
                column.name,
                column.type_
            );
        }
    }
}

#[test]
fn what_carries_values_activity_or_secrets_does_not_exist() {
    for name in "pg_stats pg_statistic pg_statistic_ext_data pg_stats_ext pg_stat_activity pg_stat_user_tables pg_authid \
                 pg_shadow pg_user_mapping pg_largeobject pg_hba_file_rules pg_locks pg_cursors \
                 pg_prepared_statements pg_file_settings pg_depend"
        .split_whitespace()
    {
        assert!(matches!(find(None, name), Some(Found::Absent(_))), "{name}");
        assert!(matches!(find(Some("pg_catalog"), name), Some(Found::Absent(_))));
    }
    assert!(find(Some("pg_toast"), "pg_class").is_none());
    assert!(find(Some("public"), "pg_class").is_none());
    assert!(find(None, "tables").is_none());
}

#[test]
fn constants_cannot_leave_their_quotes() {
    let table = GrantedTable {
        relation: RelationName::new("a'b", "c\\' OR true --"),
        columns: Vec::new(),
        primary_key: Vec::new(),
        source: crate::policy::ShadowSource::Installed {
            sealed: RelationName::new("rowgate", "x"),
            open: RelationName::new("rowgate_open", "x"),
        },
    };
    let grants = Grants::new(vec![table], Vec::new(), Vec::new());
    let Some(Found::Shadowed(tables)) = find(None, "pg_tables") else {
        panic!("pg_tables has no shadow");
    };
    let body = tables.body(&grants, "").unwrap();
    assert!(
        body.contains("(VALUES ('a''b', E'c\\\\'' OR true --')) AS g (nspname, relname)"),
        "{body}"
    );
}

#[test]
fn without_grants_there_are_no_rows_and_with_too_many_there_is_no_statement() {
    let Some(Found::Shadowed(columns)) = find(Some("information_schema"), "columns") else {
        panic!("information_schema.columns has no shadow");
    };
    let none = Grants::new(Vec::new(), Vec::new(), Vec::new());
    assert!(columns.body(&none, "").unwrap().contains("WHERE false"));
    let table = |number: usize| GrantedTable {
        relation: RelationName::new("public", format!("t{number:06}")),
        columns: vec![crate::policy::GrantedColumn {
            name: "x".repeat(63),
            type_: crate::policy::ColumnType::builtin("int4"),
            plain: true,
        }],
        primary_key: Vec::new(),
        source: crate::policy::ShadowSource::Inline(crate::policy::InlineBody::default()),
    };
    let many = Grants::new((0..20_000).map(table).collect(), Vec::new(), Vec::new());
    assert_eq!(
        columns.body(&many, "").unwrap_err().reason,
        Reason::TooLarge
    );
}
