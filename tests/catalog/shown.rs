//! What Bob and Anne are told, written by thought from fixtures/schema.sql, the views and hidden.sql.

use super::{HIDDEN, lines, support};
use rowgate::config::Enforcement;
use rowgate::demo::Setup;
use std::net::SocketAddr;

/// The example, where Anne alone may see salaries.
async fn gate(database: &str, enforcement: Enforcement) -> support::Gate {
    let people = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{database}.json"));
    std::fs::write(&people, r#"{"users": {"anne": ["read:salaries"]}}"#).unwrap();
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut setup = Setup::example(database, listen, enforcement);
    setup.sql.push(HIDDEN.to_owned());
    setup.configuration = format!(
        "\n[[providers]]\nkind = \"file\"\nname = \"people\"\npath = '{}'\n",
        people.display()
    );
    support::gate_with(setup, |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bob_and_anne_are_told_of_what_each_may_see() {
    for (database, enforcement) in [
        ("catalog_both", Enforcement::Barrier),
        ("catalog_both_inline", Enforcement::Inline),
    ] {
        let gate = gate(database, enforcement).await;
        let [bob, anne] = [gate.connect("bob").await, gate.connect("anne").await];
        for (sql, expected) in BOTH {
            assert_eq!(
                lines(&bob, sql).await.join("\n"),
                *expected,
                "{database}, bob: {sql}"
            );
            let expected = expected.replace("bob", "anne");
            assert_eq!(
                lines(&anne, sql).await.join("\n"),
                expected,
                "{database}, anne: {sql}"
            );
        }
        for (sql, for_bob, for_anne) in EACH {
            assert_eq!(
                lines(&bob, sql).await.join("\n"),
                *for_bob,
                "{database}, bob: {sql}"
            );
            assert_eq!(
                lines(&anne, sql).await.join("\n"),
                *for_anne,
                "{database}, anne: {sql}"
            );
        }
        // Who asks is a parameter behind the caller's own, before the permission views'.
        let sql = "SELECT r.rolname::text, $2::int8, count(*) > 0 FROM pg_roles r, invoices i WHERE i.id > $1 AND \
                   r.rolname = $3::text GROUP BY 1";
        let rows = bob.query(sql, &[&0_i64, &7_i64, &"bob"]).await.unwrap();
        let found: (String, i64, bool) = (rows[0].get(0), rows[0].get(1), rows[0].get(2));
        assert_eq!(found, ("bob".to_owned(), 7, true));
        assert_eq!(rows.len(), 1);
        let statement = anne.prepare(sql).await.unwrap();
        assert_eq!(statement.params().len(), 3);
        let rows = anne
            .query(&statement, &[&0_i64, &7_i64, &"bob"])
            .await
            .unwrap();
        assert!(rows.is_empty());
    }
}

/// The same for both but for their names.
const BOTH: &[(&str, &str)] = &[
    // The header's words where it has any, else the database's comment; of what is visible.
    (
        "SELECT c.relname, a.attname, d.description FROM pg_description d JOIN pg_class c ON c.oid = d.objoid AND d.classoid = \
         1259 LEFT JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid WHERE c.relname = 'customers' \
         ORDER BY d.objsubid",
        "customers||one row per customer\ncustomers|department|the department that looks after the customer\n\
         customers|country|two-letter country code\ncustomers|email|address for invoices\ncustomers|since|day of the first order",
    ),
    (
        "SELECT count(*) FROM pg_description WHERE description LIKE '%never shown%' OR description LIKE 'hidden:%'",
        "0",
    ),
    // In order without ORDER BY, as in PostgreSQL: what a table's columns are listed by, as long as nothing else is asked for.
    (
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'invoices'",
        "id\namount\ndate\ndepartment\ncustomer_id\nnote",
    ),
    (
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' AND ordinal_position < 3",
        "customers|id\ncustomers|name\ndepartments|name\ndepartments|city\nemployees|id\nemployees|name\ninvoices|id\n\
         invoices|amount\npermissions|department\npermissions|allowed_role\ntransactions|id\ntransactions|invoice_id\n\
         user_roles|user\nuser_roles|role",
    ),
    (
        "SELECT attname FROM pg_attribute WHERE attrelid = 'invoices'::regclass AND attnum > 0",
        "id\namount\ndate\ndepartment\ncustomer_id\nnote",
    ),
    // The installation's own words about what is shown, and about nothing else.
    (
        "SELECT obj_description(23, 'pg_type'), obj_description(p.oid, 'pg_proc') FROM pg_proc p WHERE p.proname = 'pg_sleep_for'",
        "-2 billion to 2 billion integer, 4-byte storage|sleep for the specified interval",
    ),
    (
        "SELECT obj_description(2200, 'pg_namespace'), obj_description(2200)",
        "|",
    ),
    // The columns of an index, and of no index that is not shown.
    (
        "SELECT c.relname, a.attnum, a.attname, t.typname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t \
         ON t.oid = a.atttypid WHERE c.relname IN ('invoices_customer_id', 'permissions_pkey') ORDER BY 1, 2",
        "invoices_customer_id|1|customer_id|int8\npermissions_pkey|1|department|text\npermissions_pkey|2|allowed_role|text",
    ),
    (
        "SELECT count(*) FROM pg_attribute a WHERE NOT EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = a.attrelid)",
        "0",
    ),
    (
        "SELECT rolname, rolsuper, rolcanlogin FROM pg_roles",
        "bob|f|t",
    ),
    ("SELECT usename, usesuper FROM pg_catalog.pg_user", "bob|f"),
    (
        "SELECT role_name FROM information_schema.enabled_roles",
        "bob",
    ),
    (
        "SELECT grantee, privilege_type, is_grantable FROM information_schema.table_privileges WHERE table_name IN ('invoices', \
         'payroll')",
        "bob|SELECT|NO",
    ),
    (
        "SELECT column_name FROM information_schema.column_privileges WHERE table_name = 'customers' AND privilege_type = \
         'SELECT' ORDER BY 1",
        "country\ndepartment\nemail\nid\nname\nsince",
    ),
    (
        "SELECT datname = current_database(), spcname FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace",
        "t|pg_default",
    ),
    (
        "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_index_keys'",
        "32",
    ),
    (
        "SELECT count(*) FROM pg_settings WHERE name LIKE 'rds%' OR name LIKE '%file%' OR sourcefile IS NOT NULL",
        "0",
    ),
    (
        "SELECT hasindexes FROM pg_tables WHERE tablename = 'invoices'",
        "t",
    ),
    (
        "SELECT schema_name FROM information_schema.schemata ORDER BY 1",
        "information_schema\npg_catalog\npublic",
    ),
    (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
        "customers\ndepartments\nemployees\ninvoices\npermissions\ntransactions\nuser_roles",
    ),
    (
        "SELECT constraint_name, constraint_type FROM information_schema.table_constraints WHERE table_name = 'transactions' \
         ORDER BY 1",
        "transactions_department_fkey|FOREIGN KEY\ntransactions_invoice_id_fkey|FOREIGN KEY\ntransactions_pkey|PRIMARY KEY",
    ),
    (
        "SELECT column_name, ordinal_position, position_in_unique_constraint FROM information_schema.key_column_usage WHERE \
         constraint_name IN ('permissions_pkey', 'transactions_invoice_id_fkey') ORDER BY constraint_name, 2",
        "department|1|\nallowed_role|2|\ninvoice_id|1|1",
    ),
    (
        "SELECT table_name, column_name FROM information_schema.constraint_column_usage WHERE constraint_name = \
         'transactions_invoice_id_fkey'",
        "invoices|id",
    ),
    // A table that inherits from a visible one is hidden all the same.
    ("SELECT count(*) FROM pg_inherits", "0"),
];

/// Where only Anne may see a column.
const EACH: &[(&str, &str, &str)] = &[
    (
        "SELECT column_name, ordinal_position FROM information_schema.columns WHERE table_name = 'employees' ORDER BY 2",
        "id|1\nname|2\ndepartment|3\ntitle|4\nhired|5",
        "id|1\nname|2\ndepartment|3\ntitle|4\nhired|5\nsalary|6",
    ),
    (
        "SELECT description FROM pg_description d JOIN pg_class c ON c.oid = d.objoid WHERE c.relname = 'employees' ORDER BY objsubid",
        "one row per employee",
        "one row per employee\nyearly, in euro",
    ),
    (
        "SELECT count(*) FROM information_schema.column_privileges WHERE column_name = 'salary'",
        "0",
        "1",
    ),
    (
        "SELECT relnatts FROM pg_class WHERE relname = 'employees'",
        "5",
        "6",
    ),
];
