//! Properties: what must hold for any input, looked for with random ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "a test fails by panicking, and nobody links against it"
)]

#[path = "../oracle/generate.rs"]
mod generate;
#[path = "../attacks/grants.rs"]
mod grants;

use proptest::prelude::*;
use rowgate::limits::Limits;
use rowgate::policy::Grants;
use rowgate::sql::statement::split;
use rowgate::sql::{Options, STACK_BYTES, admit};
use std::sync::OnceLock;

fn options(open_allowed: bool) -> Options {
    Options {
        limits: Limits::default(),
        open_allowed,
        parameter_types: Vec::new(),
    }
}

/// Every text of the attacks and of the golden cases.
fn corpus() -> &'static [String] {
    static CORPUS: OnceLock<Vec<String>> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let mut texts = Vec::new();
        for folder in ["tests/attacks", "tests/cases"] {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_none_or(|e| e != "toml") {
                    continue;
                }
                let file: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
                let cases = file["case"].as_array().unwrap();
                texts.extend(
                    cases
                        .iter()
                        .filter_map(|case| case.get("sql")?.as_str().map(str::to_owned)),
                );
            }
        }
        texts.sort();
        texts
    })
}

/// What `admit` makes of a text: its final texts, each with how many catalogue relations it reads.
fn judge(text: &str, grants: &Grants, open: bool) -> Vec<(String, usize)> {
    let options = options(open);
    let mut finals = Vec::new();
    if let Ok(statements) = split(text, &options.limits) {
        for statement in statements {
            if let Some(query) = statement.query()
                && let Ok(query) = admit(query, grants, &options)
            {
                let catalogue =
                    |schema: &str| ["pg_catalog", "information_schema"].contains(&schema);
                let shown = query.relations().iter().filter(|r| catalogue(&r.schema));
                finals.push((query.text().to_string(), shown.count()));
            }
        }
    }
    // What `split` would never hand over must not harm either.
    let _ = admit(text, grants, &options);
    finals
}

/// One change of a text.
#[derive(Debug, Clone)]
enum Change {
    Cut(prop::sample::Index, usize),
    Insert(prop::sample::Index, String),
    Splice(prop::sample::Index, prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Repeat(prop::sample::Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let words = prop::sample::select(vec![
        "'",
        "\"",
        "$$",
        "$1",
        "--",
        "/*",
        "*/",
        ";",
        "(",
        ")",
        "[",
        "]",
        "::",
        "\\",
        "E'",
        "U&'",
        ".",
        ",",
        " - -",
        " FROM salaries ",
        " UNION TABLE salaries ",
        " ONLY ",
        " WITH x AS (",
        " LATERAL ",
        "\u{0}",
        "\u{b}",
        "\u{a0}",
        "\u{feff}",
        "𝕊",
        " IS NULL",
        " OPERATOR(public.+) ",
        "public.",
        " AS MATERIALIZED ",
        " RECURSIVE ",
    ]);
    prop_oneof![
        (any::<prop::sample::Index>(), 1..20_usize).prop_map(|(at, n)| Change::Cut(at, n)),
        (any::<prop::sample::Index>(), words).prop_map(|(at, w)| Change::Insert(at, w.to_owned())),
        (any::<prop::sample::Index>(), any::<prop::sample::Index>())
            .prop_map(|(at, other)| Change::Splice(at, other)),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Flip(at, byte)),
        (any::<prop::sample::Index>(), 2..200_usize).prop_map(|(at, n)| Change::Repeat(at, n)),
    ]
}

fn mutated(base: &str, changes: &[Change]) -> String {
    let mut bytes = base.as_bytes().to_vec();
    for change in changes {
        let place = |at: &prop::sample::Index| at.index(bytes.len() + 1);
        match change {
            Change::Cut(at, n) => {
                let start = place(at);
                let end = (start + n).min(bytes.len());
                bytes.drain(start..end);
            }
            Change::Insert(at, word) => {
                let at = place(at);
                bytes.splice(at..at, word.bytes());
            }
            Change::Splice(at, other) => {
                let at = place(at);
                bytes.truncate(at);
                let other = corpus()[other.index(corpus().len())].as_bytes();
                bytes.extend_from_slice(&other[at.min(other.len())..]);
            }
            Change::Flip(at, byte) => {
                let at = place(at);
                if at < bytes.len() {
                    bytes[at] ^= byte;
                }
            }
            Change::Repeat(at, n) => {
                let start = place(at);
                let piece = bytes[start..(start + 8).min(bytes.len())].repeat(*n);
                bytes.splice(start..start, piece);
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The relations a final text reads beside WITH queries and beside its first so many shadows of the catalogue, by
/// libpg_query's own account, schema and all.
fn relations(text: &str, catalogue: usize) -> Vec<String> {
    // The tree is walked, written and dropped by recursion, and a test's own thread has a small stack.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let looked = thread.spawn_scoped(scope, || relations_here(text, catalogue));
        let looked = looked.unwrap().join();
        looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn relations_here(text: &str, catalogue: usize) -> Vec<String> {
    let mut tree = pg_query::parse(text, 0).unwrap().protobuf;
    let stmt = tree.stmts[0].stmt.as_mut().unwrap();
    let Some(pg_query::NodeEnum::SelectStmt(select)) = &mut stmt.node else {
        panic!("not a SELECT: {text}")
    };
    let nothing = pg_query::parse("SELECT 1", 0).unwrap().protobuf.stmts[0]
        .stmt
        .clone();
    let mut left = catalogue;
    for cte in select
        .with_clause
        .iter_mut()
        .flat_map(|with| &mut with.ctes)
    {
        let Some(pg_query::NodeEnum::CommonTableExpr(cte)) = &mut cte.node else {
            panic!("not a WITH query: {text}")
        };
        let query = cte.ctequery.as_ref().unwrap().node.as_ref().unwrap();
        let body = query.deparse(Default::default()).unwrap();
        if left > 0 && body.contains("pg_catalog.") {
            cte.ctequery.clone_from(&nothing);
            left -= 1;
        }
    }
    let text = pg_query::deparse(&tree, Default::default()).unwrap();
    let mut tables: Vec<String> = pg_query::summary(&text, 0, -1).unwrap().tables();
    // It loses sight of WITH queries of one name inside of each other, and then calls them tables. A table is only ever
    // named with its schema.
    let named = pg_query::parse(&text, 0).unwrap().cte_names;
    tables.retain(|table| !named.contains(table));
    tables.sort();
    tables.dedup();
    tables
}

/// What is admitted may be a deep tree, whichever way it is looked at.
#[test]
fn a_long_chain_is_admitted_and_reads_one_view() {
    let chain = " + 1".repeat(450);
    let text = format!("SELECT amount{chain} FROM invoices");
    let finals = judge(&text, &grants::barrier(), false);
    let [(final_text, catalogue)] = finals.as_slice() else {
        panic!("{finals:?}")
    };
    assert_eq!(relations(final_text, *catalogue), ["rowgate.invoices"]);
}

#[test]
fn with_queries_of_one_name_inside_of_each_other_are_no_tables() {
    let text = "WITH invoices AS (WITH invoices AS (WITH invoices AS (SELECT * FROM public.invoices) \
                SELECT * FROM invoices) SELECT * FROM invoices) SELECT note FROM invoices";
    let finals = judge(text, &grants::barrier(), false);
    let [(final_text, catalogue)] = finals.as_slice() else {
        panic!("{finals:?}")
    };
    assert_eq!(relations(final_text, *catalogue), ["rowgate.invoices"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the bytes: no panic, and what is admitted reads nothing but installed views.
    #[test]
    fn admit_survives_any_mutation(
        base in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 1..4),
        open in any::<bool>(),
    ) {
        let text = mutated(&corpus()[base.index(corpus().len())], &changes);
        for (final_text, catalogue) in judge(&text, &grants::barrier(), open) {
            for relation in relations(&final_text, catalogue) {
                prop_assert!(
                    relation.starts_with("rowgate.") || relation.starts_with("rowgate_open."),
                    "{text:?} reads {relation}: {final_text}"
                );
            }
        }
        judge(&text, &grants::inline(), false);
    }

    /// Bytes without any sense.
    #[test]
    fn admit_survives_any_text(text in any::<String>()) {
        judge(&text, &grants::barrier(), true);
    }

    /// The same text and grants give the same final text.
    #[test]
    fn admit_is_deterministic(base in any::<prop::sample::Index>(), open in any::<bool>()) {
        let text = &corpus()[base.index(corpus().len())];
        prop_assert_eq!(judge(text, &grants::barrier(), open), judge(text, &grants::barrier(), open));
    }

    /// Fewer grants never admit more: a text admitted with some tables is admitted with all of them, and a
    /// text admitted with all is refused once a table it reads is taken away.
    #[test]
    fn fewer_grants_never_admit_more(seed in any::<u64>(), kept in prop::collection::vec(any::<bool>(), 64)) {
        let all = grants::barrier();
        prop_assert!(all.tables().len() <= kept.len());
        let some: Vec<_> = all.tables().iter().zip(&kept).filter(|(_, keep)| **keep).map(|(t, _)| t.clone()).collect();
        let missing: Vec<String> =
            all.tables().iter().zip(&kept).filter(|(_, keep)| !**keep).map(|(t, _)| t.relation.name.clone()).collect();
        let fewer = Grants::new(some, vec!["public".to_owned()], Vec::new());
        let text = generate::query(&mut generate::Dice::new(seed));
        let with_fewer = admit(&text, &fewer, &options(false));
        match admit(&text, &all, &options(false)) {
            Ok(query) => {
                let reads_missing = query.relations().iter().any(|r| missing.contains(&r.name));
                prop_assert_eq!(with_fewer.is_err(), reads_missing, "{}", text);
            }
            Err(refusal) => prop_assert!(false, "{text}: {refusal}"),
        }
    }

    /// What is sent is what was asked: without the shadows in front, libpg_query reads the final text as it
    /// reads the caller's, schema names aside.
    #[test]
    fn the_final_text_is_the_callers_behind_the_shadows(seed in any::<u64>(), open in any::<bool>()) {
        let text = generate::query(&mut generate::Dice::new(seed)).replace("public.", "");
        let query = admit(&text, &grants::barrier(), &options(open)).unwrap();
        // A WITH query with a table's name makes the shadow take another; that is tested in tests/cases.
        prop_assume!(!text.starts_with("WITH"));
        let mut tree = pg_query::parse(query.text(), 0).unwrap().protobuf;
        let stmt = tree.stmts[0].stmt.as_mut().unwrap();
        let Some(pg_query::NodeEnum::SelectStmt(select)) = &mut stmt.node else { panic!("not a SELECT") };
        select.with_clause = None;
        let sent = pg_query::deparse(&tree, Default::default()).unwrap();
        let asked = pg_query::deparse(&pg_query::parse(&text, 0).unwrap().protobuf, Default::default()).unwrap();
        prop_assert_eq!(sent, asked);
    }
}
