//! Fewer roles never give more rows: on real rows, for every set of roles, through the gate's own final texts.

use crate::{apply, ask, options, principal, support, view};
use rowgate::config::Enforcement;
use rowgate::identity::Principal;
use rowgate::install;
use rowgate::limits::Limits;
use rowgate::policy::{PermissionView, Policy};
use rowgate::sql::{Form, Options, STACK_BYTES, admit};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tokio_postgres::Client;

/// As `fixtures/data.sql` has them; together they see every department.
const ROLES: [&str; 4] = [
    "HR Manager",
    "Sales Manager",
    "Finance Manager",
    "General Counsel",
];

/// More rows in can only mean more rows out: no NOT, no aggregate, no outer join. All but the last are also read in the
/// open form.
const MONOTONE: &[&str] = &[
    "SELECT i.id, c.name, t.amount FROM invoices i JOIN customers c ON c.id = i.customer_id JOIN transactions t ON t.invoice_id = i.id",
    "SELECT i.id, d.city FROM invoices i JOIN departments d ON d.name = i.department WHERE i.amount >= 100",
    "SELECT id, note FROM invoices WHERE EXISTS (SELECT 1 FROM transactions t WHERE t.invoice_id = invoices.id)",
    "SELECT id FROM invoices WHERE customer_id IN (SELECT id FROM customers WHERE country = 'NL')",
    "SELECT name FROM customers UNION ALL SELECT name FROM employees UNION ALL SELECT name FROM departments",
    "SELECT DISTINCT department FROM employees",
    "SELECT a.id, b.id FROM ledger_in a JOIN ledger_roles b USING (id, department)",
    "SELECT id, upper(note) || email FROM ledger_exists JOIN customers USING (id)",
];

/// The example's views and the attacks' own, which say one policy in several ways; and two more ways.
fn views() -> Vec<PermissionView> {
    let mut views = install::read_views(Path::new("views"), None).unwrap();
    views.extend(install::read_views(Path::new("tests/attacks/views"), None).unwrap());
    views.retain(|view| {
        !["ledger_masked", "ledger_distinct"].contains(&view.relation().name.as_str())
    });
    views.push(view(
        "ledger_masked.sql",
        "-- role_column: allowed_role\n-- key: id\n\
         SELECT l.id, l.note, p.allowed_role FROM public.ledger_masked l LEFT JOIN public.permissions p USING (department)",
    ));
    views.push(view(
        "ledger_distinct.sql",
        "-- requires: read:ledger\n-- mask note: left(note, 1) unless read:notes\n-- column amount requires read:money\n\
         SELECT id, amount, department, note FROM public.ledger_distinct l \
         WHERE EXISTS (SELECT 1 FROM public.permissions p WHERE p.department = l.department AND p.allowed_role = ANY (rowgate.roles())) \
            OR 'General Counsel' = ANY (rowgate.roles())",
    ));
    views
}

/// The final texts of a query for a principal: sealed, and open if that is proved.
fn texts(policy: &Policy, who: &Principal, query: &str) -> Vec<String> {
    let grants = policy.grants(who);
    let text = |open_allowed: bool| {
        let options = Options {
            limits: Limits::default(),
            open_allowed,
            parameter_types: Vec::new(),
        };
        let query = admit(query, &grants, &options).unwrap_or_else(|r| panic!("{query}: {r:?}"));
        (open_allowed == (query.form() == Form::Open)).then(|| query.text().to_string())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let work = || [false, true].into_iter().filter_map(text).collect();
        thread.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

/// How often each row comes.
type Rows = BTreeMap<String, usize>;

async fn rows(admin: &mut Client, login: &str, who: &Principal, text: &str) -> Rows {
    let mut counted = Rows::new();
    for row in ask(admin, login, who, text).await {
        *counted.entry(row).or_default() += 1;
    }
    counted
}

/// A row that `few` has and `many` has not, or not so often.
fn too_many<'r>(few: &'r Rows, many: &Rows) -> Option<&'r String> {
    few.iter()
        .find(|(row, count)| many.get(*row).is_none_or(|more| more < count))
        .map(|(row, _)| row)
}

/// Bit n of a number is role n.
fn held(set: usize) -> Vec<&'static str> {
    let bits = ROLES.iter().enumerate();
    bits.filter(|(bit, _)| set & (1 << bit) != 0)
        .map(|(_, role)| *role)
        .collect()
}

async fn database() -> String {
    let database = support::example_database().await;
    let admin = support::cluster().connect(&database).await.unwrap();
    let fixture = std::fs::read_to_string("tests/attacks/fixture.sql").unwrap();
    admin.batch_execute(&fixture).await.unwrap();
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_roles_never_give_more_rows() {
    let mut admin = support::cluster().connect(&database().await).await.unwrap();
    let options = options("fewer");
    let views = views();
    apply(&mut admin, &views, &options).await;
    let policy = install::policy_of(&views, &admin, Enforcement::Barrier)
        .await
        .unwrap();
    let tables = views
        .iter()
        .map(|view| format!("TABLE {}", view.relation().name));
    let queries = tables.chain(MONOTONE.iter().map(|query| (*query).to_owned()));
    let (mut compared, mut grew) = (0, 0);
    for query in queries {
        let mut seen: Vec<Vec<Rows>> = Vec::new();
        for set in 0..1 << ROLES.len() {
            let who = principal("anne", &held(set), &["read:ledger"]);
            let mut forms = Vec::new();
            for text in texts(&policy, &who, &query) {
                forms.push(rows(&mut admin, &options.login, &who, &text).await);
            }
            assert!(
                forms.windows(2).all(|pair| pair[0] == pair[1]),
                "{query}: {:?}",
                held(set)
            );
            seen.push(forms);
        }
        for set in 0..seen.len() {
            for bit in (0..ROLES.len()).filter(|bit| set & (1 << bit) == 0) {
                let more = set | 1 << bit;
                for (few, many) in seen[set].iter().zip(&seen[more]) {
                    assert_eq!(
                        too_many(few, many),
                        None,
                        "{query}: {:?}, {:?}",
                        held(set),
                        held(more)
                    );
                    compared += 1;
                    grew += usize::from(few != many);
                }
            }
        }
    }
    println!("{compared} pairs compared, {grew} of them with more rows");
    assert!(grew > 300, "{grew}");
}

/// Permissions open tables and columns, and never change which rows of a table there are.
#[tokio::test(flavor = "multi_thread")]
async fn fewer_permissions_never_give_more_columns_or_other_rows() {
    const PERMISSIONS: [&str; 5] = [
        "read:ledger",
        "read:money",
        "read:notes",
        "read:pii",
        "read:salaries",
    ];
    let mut admin = support::cluster().connect(&database().await).await.unwrap();
    let options = options("fewer_columns");
    let views = views();
    apply(&mut admin, &views, &options).await;
    let policy = install::policy_of(&views, &admin, Enforcement::Barrier)
        .await
        .unwrap();
    let mut everything = BTreeMap::new();
    for set in 0..1_usize << PERMISSIONS.len() {
        let bits = PERMISSIONS.iter().enumerate();
        let held: Vec<&str> = bits
            .filter(|(bit, _)| set & (1 << bit) != 0)
            .map(|(_, p)| *p)
            .collect();
        let who = principal("anne", &["HR Manager", "General Counsel"], &held);
        for table in policy.grants(&who).tables() {
            let name = &table.relation.name;
            let columns: BTreeSet<String> = table.columns.iter().map(|c| c.name.clone()).collect();
            let [text, ..] = &texts(&policy, &who, &format!("SELECT count(*) FROM {name}"))[..]
            else {
                panic!("{name}");
            };
            let count = ask(&mut admin, &options.login, &who, text).await;
            everything.insert((set, name.clone()), (columns, count));
        }
    }
    let mut grew = 0;
    for ((set, name), (columns, count)) in &everything {
        for bit in 0..PERMISSIONS.len() {
            let more = everything.get(&(set | 1 << bit, name.clone()));
            let (more_columns, same_count) = more.unwrap_or_else(|| panic!("{name} is gone"));
            assert!(more_columns.is_superset(columns), "{name}");
            assert_eq!(count, same_count, "{name}");
            grew += usize::from(more_columns != columns);
        }
    }
    assert!(grew > 10, "{grew}");
}

#[test]
fn a_row_too_many_is_found() {
    let rows = |list: &[(&str, usize)]| -> Rows {
        list.iter()
            .map(|(row, count)| ((*row).to_owned(), *count))
            .collect()
    };
    let many = rows(&[("a", 1), ("b", 2)]);
    assert_eq!(too_many(&rows(&[("b", 2)]), &many), None);
    assert_eq!(too_many(&rows(&[]), &many), None);
    assert_eq!(too_many(&rows(&[("b", 3)]), &many), Some(&"b".to_owned()));
    assert_eq!(too_many(&rows(&[("c", 1)]), &many), Some(&"c".to_owned()));
}
