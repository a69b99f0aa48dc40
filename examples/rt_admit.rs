//! scratch
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    missing_docs
)]
use rowgate::policy::*;
use std::io::Read;
fn main() {
    let spec = std::env::args().nth(1).unwrap();
    let tables = std::fs::read_to_string(spec)
        .unwrap()
        .lines()
        .filter(|l| !l.is_empty())
        .map(|l| {
            let (name, rest) = l.split_once(':').unwrap();
            let (key, cols) = rest.split_once(':').unwrap();
            GrantedTable {
                relation: RelationName::new("public", name),
                columns: cols
                    .split(',')
                    .map(|c| {
                        let (n, t) = c.split_once(' ').unwrap();
                        let (t, plain) = match t.strip_suffix('!') {
                            Some(t) => (t, false),
                            None => (t, true),
                        };
                        let mut ty = ColumnType::builtin(t.trim_start_matches('#'));
                        if t.starts_with('#') {
                            ty.kind = TypeKind::Enum;
                        }
                        GrantedColumn {
                            name: n.into(),
                            type_: ty,
                            plain,
                        }
                    })
                    .collect(),
                primary_key: key
                    .split(',')
                    .filter(|k| !k.is_empty())
                    .map(str::to_owned)
                    .collect(),
                source: ShadowSource::Installed {
                    sealed: RelationName::new("rowgate", name),
                    open: RelationName::new("rowgate_open", name),
                },
            }
        })
        .collect();
    let grants = Grants::new(tables, vec!["public".into()], vec![]);
    let mut s = String::new();
    std::io::stdin().read_to_string(&mut s).unwrap();
    for q in s.split(";\n").map(str::trim).filter(|q| !q.is_empty()) {
        let o = rowgate::sql::Options {
            limits: rowgate::limits::Limits::default(),
            open_allowed: true,
            parameter_types: vec![],
        };
        match rowgate::sql::admit(q, &grants, &o) {
            Ok(v) => println!(
                "{:?}\t{}\t{}\t{}",
                v.form(),
                v.form_reason(),
                q.replace('\n', " "),
                v.text().replace('\n', " ")
            ),
            Err(e) => println!("Refused\t{e:?}\t{}\t", q.replace('\n', " ")),
        }
    }
}
