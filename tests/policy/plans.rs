//! The gate's final texts keep the indexes: EXPLAIN, not timings.

use crate::{apply, ask, options, principal, support};
use rowgate::config::Enforcement;
use rowgate::install;
use rowgate::limits::Limits;
use rowgate::policy::Grants;
use rowgate::sql::{Form, Options, STACK_BYTES, admit};

/// Query, and the index that a plan must use: sealed, open. Email is masked, so it is only in the sealed form.
const QUERIES: &[(&str, &str, &str)] = &[
    (
        "SELECT * FROM invoices WHERE id = 5",
        "invoices_pkey",
        "invoices_pkey",
    ),
    (
        "SELECT email FROM customers WHERE id = 3",
        "customers_pkey",
        "",
    ),
    (
        "SELECT c.name, t.amount FROM invoices AS i JOIN customers AS c ON c.id = i.customer_id \
         JOIN transactions AS t ON t.invoice_id = i.id WHERE i.id = 5",
        "",
        "customers_pkey",
    ),
    (
        "SELECT amount FROM transactions WHERE id = 5",
        "transactions_pkey",
        "transactions_pkey",
    ),
    (
        "SELECT i.amount, c.name FROM invoices AS i, customers AS c WHERE i.id = 5 AND c.id = 3",
        "invoices_pkey",
        "invoices_pkey",
    ),
    (
        "SELECT sum(t.amount) FROM invoices AS i JOIN transactions AS t ON t.invoice_id = i.id WHERE i.id = 5",
        "transactions_invoice_id",
        "transactions_invoice_id",
    ),
    // Not possible on a barrier: there the join reads all of one side.
    (
        "SELECT t.amount FROM invoices AS i JOIN transactions AS t ON t.invoice_id = i.id WHERE i.customer_id = 5",
        "",
        "transactions_invoice_id",
    ),
];

/// The final text of a query and its form.
fn text(query: &str, grants: &Grants, open_allowed: bool) -> (String, Form) {
    let options = Options {
        limits: Limits::default(),
        open_allowed,
        parameter_types: Vec::new(),
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let work = || {
            let query = admit(query, grants, &options).unwrap_or_else(|r| panic!("{query}: {r:?}"));
            (query.text().to_string(), query.form())
        };
        thread.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_query_uses_the_index_in_the_sealed_and_the_open_form() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("index");
    let many = "INSERT INTO public.customers SELECT 1000 + i, 'c', 'HRM', 'NL', 'a@b', 't', date '2025-01-01' FROM generate_series(1, 2000) AS i;
                INSERT INTO public.invoices SELECT 1000 + i, 1, date '2025-01-01', 'HRM', 1001 + i % 2000, NULL FROM generate_series(1, 40000) AS i;
                INSERT INTO public.transactions SELECT 1000 + i, 1000 + i, 'HRM', 1, now(), 'card' FROM generate_series(1, 40000) AS i; ANALYZE";
    admin.batch_execute(many).await.unwrap();
    let views = install::read_views(std::path::Path::new("views"), None).unwrap();
    apply(&mut admin, &views, &options).await;
    let policy = install::policy_of(&views, &admin, Enforcement::Barrier)
        .await
        .unwrap();
    let anne = principal("anne", &["HR Manager", "Sales Manager"], &[]);
    let grants = policy.grants(&anne);
    for (query, sealed, open) in QUERIES {
        for (open_allowed, index) in [(false, sealed), (true, open)] {
            let (text, form) = text(query, &grants, open_allowed);
            let wanted = if open_allowed && !query.contains("email") {
                Form::Open
            } else {
                Form::Sealed
            };
            assert_eq!(form, wanted, "{query}");
            let plan = ask(
                &mut admin,
                &options.login,
                &anne,
                &format!("EXPLAIN {text}"),
            )
            .await
            .join("\n");
            if index.is_empty() {
                continue;
            }
            let used = plan.contains(&format!("Index Scan using {index}"))
                || plan.contains(&format!("Bitmap Index Scan on {index}"));
            assert!(used, "{query}: {index} is not used in\n{text}\n{plan}");
            let whole = format!("Seq Scan on {}", index.split('_').next().unwrap());
            assert!(!plan.contains(&whole), "{query}: {text}\n{plan}");
        }
    }
}
