//! What a description says of a column's table: the number that the caller's own catalogue shows, or nothing.

use super::statements::Tapped;
use super::{gate, support};
use rowgate::config::Enforcement;

/// The query, and the columns as `table.column`, or nothing.
const TOLD: &[(&str, &[&str])] = &[
    (
        "SELECT id, note FROM invoices",
        &["invoices.id", "invoices.note"],
    ),
    // Proved silent and not.
    (
        "SELECT amount FROM invoices WHERE id = 1",
        &["invoices.amount"],
    ),
    (
        "SELECT amount FROM invoices WHERE 1 / id = 1",
        &["invoices.amount"],
    ),
    // The hidden column before it counts.
    (
        "SELECT c.since, i.date AS day FROM customers c JOIN invoices i ON i.customer_id = c.id",
        &["customers.since", "invoices.date"],
    ),
    (
        "SELECT x.name FROM (SELECT name FROM departments) x",
        &["departments.name"],
    ),
    // A mask is an expression; so is what PostgreSQL computes.
    (
        "SELECT email, upper(name), count(*) OVER () FROM customers",
        &["", "", ""],
    ),
    ("SELECT relname, relnamespace FROM pg_class", &["", ""]),
    ("SELECT table_name FROM information_schema.tables", &[""]),
];

#[tokio::test(flavor = "multi_thread")]
async fn columns_come_from_granted_tables_or_from_nowhere() {
    for (database, enforcement) in [
        ("catalog_origins", Enforcement::Barrier),
        ("catalog_origins_inline", Enforcement::Inline),
    ] {
        let gate = gate(database, enforcement).await;
        let tapped = Tapped::connect(&gate, "bob").await;
        for (sql, told) in TOLD {
            let statement = tapped.client.prepare(sql).await.unwrap();
            let mut found = Vec::new();
            for column in statement.columns() {
                found.push((
                    column.table_oid().unwrap_or(0),
                    column.column_id().unwrap_or(0),
                ));
            }
            let names = named(&tapped.client, &found).await;
            assert_eq!(names, *told, "{database}: {sql}");
            // The simple protocol says the same.
            tapped.bytes();
            tapped.client.simple_query(sql).await.unwrap();
            assert_eq!(described(&tapped.bytes()), found, "{database}: {sql}");
        }
    }
}

/// As the caller's own catalogue has them.
async fn named(client: &tokio_postgres::Client, found: &[(u32, i16)]) -> Vec<String> {
    let mut names = Vec::new();
    for (table, column) in found {
        let sql = "SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE \
                   c.oid = $1 AND a.attnum = $2";
        let rows = client.query(sql, &[table, column]).await.unwrap();
        let unknown = format!("{table}.{column}");
        let name = match (rows.first(), table) {
            (Some(row), _) => row.get(0),
            (None, 0) => String::new(),
            (None, _) => unknown,
        };
        names.push(name);
    }
    names
}

/// Table and column of every field of the first RowDescription.
fn described(mut bytes: &[u8]) -> Vec<(u32, i16)> {
    while bytes[0] != b'T' {
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
        bytes = &bytes[1 + length as usize..];
    }
    let fields = u16::from_be_bytes(bytes[5..7].try_into().unwrap());
    let mut rest = &bytes[7..];
    let mut found = Vec::new();
    for _ in 0..fields {
        let name = rest.iter().position(|byte| *byte == 0).unwrap();
        let field = &rest[name + 1..name + 19];
        let table = u32::from_be_bytes(field[..4].try_into().unwrap());
        found.push((table, i16::from_be_bytes(field[4..6].try_into().unwrap())));
        rest = &rest[name + 19..];
    }
    found
}

/// A view that was made anew since the policy was loaded has a number that nobody is told.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_are_not_known_are_not_told() {
    let gate = gate("catalog_origins_anew", Enforcement::Barrier).await;
    let server = support::cluster().connect(&gate.database).await.unwrap();
    let anew = "DO $$DECLARE body text := pg_get_viewdef('rowgate_open.invoices'::regclass); BEGIN \
                DROP VIEW rowgate_open.invoices; EXECUTE 'CREATE VIEW rowgate_open.invoices AS ' || body; \
                GRANT SELECT ON rowgate_open.invoices TO PUBLIC; END$$";
    server.batch_execute(anew).await.unwrap();
    let bob = gate.connect("bob").await;
    let statement = bob.prepare("SELECT id FROM invoices").await.unwrap();
    assert_eq!(statement.columns()[0].table_oid(), None);
}
