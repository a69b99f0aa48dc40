//! The functions and casts that ask about the catalogue: what they answer, and that they answer nothing of what is hidden.

use super::{ask, gate, lines};
use crate::support;
use rowgate::config::Enforcement;

/// Written by thought from fixtures/schema.sql and the views; `OID` is a column of the query's own.
const ANSWERS: &[(&str, &str)] = &[
    // Who asks, and where names are looked up.
    (
        "SELECT current_user, session_user, user, current_role, current_schema, current_schema(), current_schemas(true), \
         current_schemas(false), current_database() = current_catalog",
        "bob|bob|bob|bob|public|public|{pg_catalog,public}|{public}|t",
    ),
    ("SELECT * FROM current_schema() AS s", "public"),
    ("SELECT s.s FROM current_schema() s", "public"),
    // Names and numbers.
    (
        "SELECT 'invoices'::regclass, 'public.invoices'::regclass = oid, oid::regclass, CAST(oid AS regclass)::text, \
         '\"public\".\"invoices\"'::regclass::oid = oid::int8, regclass 'Invoices' FROM pg_class WHERE relname = 'invoices'",
        "invoices|t|invoices|invoices|t|invoices",
    ),
    (
        "SELECT 'pg_class'::regclass::oid, 1259::regclass, 'pg_catalog.pg_authid'::regclass, 0::regclass, 99999::regclass",
        "1259|pg_class|pg_authid|-|99999",
    ),
    (
        "SELECT to_regclass('invoices'), to_regclass('nothing'), to_regclass('invoices_pkey'), to_regtype('int'), \
         to_regtype('nothing'), to_regproc('array_in'), to_regnamespace('public'), to_regrole('nobody')",
        "invoices||invoices_pkey|integer||array_in|public|",
    ),
    (
        "SELECT 'int'::regtype, 'varchar'::regtype, '\"char\"'::regtype, 'char'::regtype, 'int[]'::regtype, '_int4'::regtype, \
         'timestamp with time zone'::regtype, 'pg_catalog.numeric'::regtype::oid, 'FLOAT'::regtype, 'invoices'::regtype, 1184::regtype",
        "integer|character varying|\"char\"|character|integer[]|integer[]|timestamp with time zone|1700|double precision|invoices|\
         timestamp with time zone",
    ),
    (
        "SELECT c.relname FROM pg_class c WHERE c.oid IN ('invoices'::regclass, (SELECT 'customers'::regclass)) AND c.oid = ANY \
         (ARRAY['customers'::regclass]) AND c.relnamespace = 'public'::regnamespace",
        "customers",
    ),
    (
        "SELECT c.relname FROM pg_class c WHERE c.oid::regclass = 'Invoices' AND c.relnamespace::regnamespace IN ('pg_catalog', \
         'public') AND to_regtype('int') = 'integer' AND 'pg_catalog.array_in'::regproc = (SELECT typinput FROM pg_type WHERE typname = \
         '_int4')",
        "invoices",
    ),
    (
        "SELECT pg_typeof(1), pg_typeof('x'::text) = 'text', pg_typeof(1) = 'int'::regtype, pg_typeof(1.5) IN ('int', 'numeric'), \
         pg_typeof(t) FROM invoices t WHERE id = 1",
        "integer|t|t|t|record",
    ),
    // A name in an argument is the caller's, whatever the columns of an answer are called.
    (
        "SELECT pg_get_constraintdef(oid), pg_get_constraintdef(oid, true), conrelid::regclass, confrelid::regclass FROM \
         pg_constraint WHERE conname = 'invoices_customer_id_fkey'",
        "FOREIGN KEY (customer_id) REFERENCES customers(id)|FOREIGN KEY (customer_id) REFERENCES customers(id)|invoices|customers",
    ),
    (
        "SELECT pg_get_indexdef(indexrelid), pg_get_indexdef(indexrelid, 0, true), pg_get_indexdef(indexrelid, 1, false), \
         pg_get_indexdef(indexrelid, 2, false) FROM pg_index WHERE indexrelid::regclass::text = 'invoices_date'",
        "CREATE INDEX invoices_date ON public.invoices USING btree (date)|CREATE INDEX invoices_date ON invoices USING btree (date)|date|",
    ),
    (
        "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute WHERE \
         attrelid = 'invoices'::regclass",
        "id bigint, amount numeric(12,2), date date, department text, customer_id bigint, note text",
    ),
    (
        "SELECT format_type(23, NULL), format_type(23, -1), format_type(1114, 3), format_type(0, NULL), format_type(99999, NULL), \
         format_type(NULL, NULL)",
        "integer|integer|timestamp(3) without time zone|-|???|",
    ),
    (
        "SELECT max(conname)::text, pg_get_constraintdef(max(oid)) IS NOT NULL, count(*) > 0 FROM pg_constraint WHERE conrelid = \
         'invoices'::regclass",
        "invoices_pkey|t|t",
    ),
    (
        "SELECT pg_get_function_result(oid), pg_get_function_arguments(oid) FROM pg_proc WHERE proname = 'upper' AND \
         pg_get_function_identity_arguments(oid) = 'text'",
        "text|text",
    ),
    (
        "SELECT p.proname, obj_description(t.typinput, 'pg_proc') FROM pg_type t JOIN pg_proc p ON p.oid = t.typinput WHERE t.oid = \
         'int'::regtype AND t.typoutput::regproc = 'int4out'::regproc AND p.oid IN ('int4in'::regproc)",
        "int4in|I/O",
    ),
    (
        "SELECT obj_description('invoices'::regclass), obj_description('invoices'::regclass, 'pg_class'), \
         obj_description('invoices'::regclass, 'pg_type'), col_description('invoices'::regclass, 2)",
        "one row per invoice sent to a customer|one row per invoice sent to a customer||total in euro, tax included",
    ),
    // May I? SELECT on what is granted.
    (
        "SELECT has_table_privilege('invoices', 'SELECT'), has_table_privilege('public.invoices', 'insert'), \
         has_table_privilege('bob', 'invoices'::regclass, 'INSERT, SELECT'), has_any_column_privilege('invoices', 'select'), \
         has_column_privilege('invoices', 'amount', 'select'), has_schema_privilege('public', 'usage'), \
         has_schema_privilege('public', 'create'), has_database_privilege(current_database(), 'connect'), \
         has_database_privilege(current_database(), 'temp')",
        "t|f|t|t|t|t|f|t|f",
    ),
    (
        "SELECT current_setting('search_path'), current_setting('Server_Encoding'), current_setting('is_superuser'), \
         current_setting('data_directory', true), current_setting('rowgate.user_id', true), current_setting('max_index_keys')::int",
        "public|UTF8|off|||32",
    ),
    (
        "SELECT current_setting('jit') AS cur, set_config('jit', 'o' || 'n', false)",
        "off|on",
    ),
    // Sizes, expressions and owners are not told.
    (
        "SELECT pg_relation_size('invoices'::regclass), pg_size_pretty(pg_total_relation_size('invoices')), \
         pg_get_serial_sequence('invoices', 'id'), pg_get_viewdef('invoices'::regclass), pg_is_in_recovery()",
        "||||f",
    ),
    (
        "SELECT (information_schema._pg_expandarray(i.indkey)).n, (i.keys).x FROM (SELECT indkey, \
         information_schema._pg_expandarray(indkey) AS keys FROM pg_index WHERE indexrelid = to_regclass('invoices_pkey')) i",
        "1|1",
    ),
    (
        "SELECT count(*) FROM pg_partition_ancestors('invoices'::regclass) WITH ORDINALITY AS a (relid, depth)",
        "0",
    ),
    // Arrays of such values.
    (
        "SELECT proargtypes::regtype[], ARRAY[]::regtype[], ARRAY['int4', 'invoices']::regtype[], NULL::oid[]::regtype[] FROM pg_proc \
         WHERE proname = 'strpos'",
        "{text,text}|{}|{integer,invoices}|",
    ),
    (
        "SELECT p.proname FROM pg_proc p WHERE 'tsquery'::regtype = ANY (p.proargtypes::regtype[]) AND p.proname = 'numnode' AND \
         'invoices'::regclass <> ALL (ARRAY['departments', \
         'customers']::regclass[])",
        "numnode",
    ),
    (
        "SELECT ARRAY[conrelid, confrelid]::regclass[] FROM pg_constraint WHERE conname = 'invoices_customer_id_fkey'",
        "{invoices,customers}",
    ),
    (
        "SELECT c.tableoid FROM pg_class c WHERE c.relname = 'invoices'",
        "1259",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn they_answer_what_the_catalogue_shows() {
    for (database, enforcement) in [
        ("catalog_functions", Enforcement::Barrier),
        ("catalog_functions_inline", Enforcement::Inline),
    ] {
        let gate = gate(database, enforcement).await;
        let bob = gate.connect("bob").await;
        let mut wrong = Vec::new();
        for (sql, expected) in ANSWERS {
            let found = match ask(&bob, sql).await {
                Ok(_) => lines(&bob, sql).await.join("\n"),
                Err(error) => format!("{error:?}"),
            };
            if found != *expected {
                wrong.push(format!("{sql}\n    {found}\n    not {expected}"));
            }
        }
        assert!(wrong.is_empty(), "{database}: {}", wrong.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_keep_the_names_that_postgresql_gives_them() {
    let gate = gate("catalog_functions_names", Enforcement::Barrier).await;
    let server = support::cluster()
        .connect("catalog_functions_names")
        .await
        .unwrap();
    let bob = gate.connect("bob").await;
    for sql in [
        "SELECT current_user, session_user, user, current_schema, current_schema(), current_schemas(true)",
        "SELECT oid::regclass, oid::regclass::text, 'pg_class'::regclass, to_regclass('pg_class'), (oid)::regclass FROM pg_class",
        "SELECT CASE WHEN true THEN oid::regclass END, CASE WHEN false THEN '' ELSE oid::regclass::text END FROM pg_class",
        "SELECT CASE WHEN true THEN oid::regclass ELSE NULL END, lower(oid::regclass::text), pg_typeof(1) FROM pg_class",
        "SELECT format_type(23, NULL), pg_get_indexdef(0), pg_table_is_visible(0), obj_description(0, 'pg_class')",
        "SELECT * FROM current_schema()",
    ] {
        let (names, _) = ask(&bob, sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let (expected, _) = ask(&server, sql).await.unwrap();
        assert_eq!(names, expected, "{sql}");
    }
}

/// Calls with the number of an object, and what they answer of one that is not shown.
const BY_NUMBER: &[(&str, &str)] = &[
    ("pg_get_indexdef(OID)", ""),
    ("pg_get_indexdef(OID, 1, true)", ""),
    ("pg_get_constraintdef(OID)", ""),
    ("pg_get_constraintdef(OID, true)", ""),
    ("format_type(OID, NULL)", "???"),
    ("format_type(OID, -1)", "???"),
    ("OID::regclass", "OID"),
    ("OID::regclass::text", "OID"),
    ("ARRAY[OID]::regclass[]", "{OID}"),
    ("ARRAY[OID, 0]::oid[]::regtype[]", "{OID,-}"),
    ("CAST(OID AS regtype)", "OID"),
    ("OID::regproc", "OID"),
    ("OID::regnamespace", "OID"),
    ("OID::regrole", "OID"),
    ("to_regclass('OID')", "OID"),
    ("to_regtype('OID')", "OID"),
    ("obj_description(OID)", ""),
    ("obj_description(OID, 'pg_class')", ""),
    ("obj_description(OID, 'pg_type')", ""),
    ("col_description(OID, 1)", ""),
    ("pg_get_function_result(OID)", ""),
    ("pg_get_function_arguments(OID)", ""),
    ("pg_get_function_identity_arguments(OID)", ""),
    ("pg_get_functiondef(OID)", ""),
    ("pg_get_viewdef(OID)", ""),
    ("pg_get_triggerdef(OID)", ""),
    ("pg_get_statisticsobjdef(OID)", ""),
    ("pg_relation_size(OID)", ""),
    ("has_table_privilege(OID, 'select')", ""),
    ("has_any_column_privilege(OID, 'select')", ""),
    ("has_column_privilege(OID, 1::int2, 'select')", ""),
    ("has_schema_privilege(OID, 'usage')", ""),
    ("has_type_privilege(OID, 'usage')", ""),
    ("has_function_privilege(OID, 'execute')", ""),
    ("pg_has_role(OID, 'usage')", "f"),
    ("pg_table_is_visible(OID)", "f"),
    ("pg_type_is_visible(OID)", "f"),
    ("pg_function_is_visible(OID)", "f"),
    ("pg_collation_is_visible(OID)", "f"),
    ("pg_ts_config_is_visible(OID)", "f"),
    ("pg_statistics_obj_is_visible(OID)", "f"),
];

/// The number of every hidden object: the same answer as for a number that nothing has.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_hidden_objects_tell_nothing() {
    let gate = gate("catalog_functions_numbers", Enforcement::Barrier).await;
    let server = support::cluster()
        .connect("catalog_functions_numbers")
        .await
        .unwrap();
    let bob = gate.connect("bob").await;
    let hidden = "SELECT oid FROM pg_class WHERE relname ~ 'canary|rowgate' UNION SELECT oid FROM pg_type WHERE typname ~ 'canary' \
                  UNION SELECT oid FROM pg_proc WHERE proname ~ 'canary' UNION SELECT oid FROM pg_constraint WHERE conname ~ 'canary' \
                  UNION SELECT oid FROM pg_trigger WHERE tgname ~ 'canary' UNION SELECT oid FROM pg_namespace WHERE nspname ~ \
                  'canary|rowgate' UNION SELECT oid FROM pg_collation WHERE collname ~ 'canary' UNION SELECT oid FROM pg_ts_config WHERE \
                  cfgname ~ 'canary' UNION SELECT oid FROM pg_statistic_ext UNION SELECT oid FROM pg_roles WHERE rolname ~ 'canary' UNION \
                  SELECT indexrelid FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE c.relname ~ 'canary'";
    let mut numbers: Vec<u32> = Vec::new();
    for row in server.query(hidden, &[]).await.unwrap() {
        numbers.push(row.get(0));
    }
    assert!(numbers.len() > 30, "{}", numbers.len());
    numbers.push(4_000_000_000);
    let calls: Vec<&str> = BY_NUMBER.iter().map(|(call, _)| *call).collect();
    let expected: Vec<&str> = BY_NUMBER.iter().map(|(_, answer)| *answer).collect();
    for number in numbers {
        let put = |text: String| text.replace("OID", &number.to_string());
        let sql = put(format!("SELECT {}", calls.join(", ")));
        assert_eq!(
            lines(&bob, &sql).await,
            [put(expected.join("|"))],
            "{number}"
        );
    }
}

/// Names that are asked for in ways the gate cannot look at before the query runs.
#[tokio::test(flavor = "multi_thread")]
async fn hidden_names_are_not_found_in_any_way() {
    let gate = gate("catalog_functions_hidden", Enforcement::Barrier).await;
    let bob = gate.connect("bob").await;
    for (type_, hidden) in [
        ("regclass", "public.canary_table"),
        ("regclass", "canary_table"),
        ("regclass", "canary_index"),
        ("regclass", "canary_mixed"),
        ("regclass", "public.canary_view"),
        ("regclass", "canary_schema.invoices"),
        ("regclass", "rowgate.invoices"),
        ("regclass", "pg_toast.pg_toast_2619"),
        ("regtype", "public.canary_mood"),
        ("regtype", "canary_table"),
        ("regtype", "canary_domain"),
        ("regtype", "public.canary_range"),
        ("regproc", "canary_schema.canary_function"),
        ("regproc", "canary_trigger_function"),
        ("regnamespace", "canary_schema"),
        ("regnamespace", "rowgate"),
        ("regrole", "canary_role"),
        ("regrole", "postgres"),
    ] {
        for asked in [
            format!("to_{type_}('{hidden}')"),
            format!("('{hidden}' || '')::{type_}"),
            format!("'{hidden}'::text::{type_}"),
            format!("('{hidden}' || '')::{type_}::oid"),
            format!("to_{type_}('{hidden}')::oid"),
        ] {
            let sql = format!("SELECT {asked}");
            assert_eq!(lines(&bob, &sql).await, [""], "{sql}");
        }
        let array = format!("SELECT ARRAY['{hidden}' || '']::{type_}[]");
        assert_eq!(lines(&bob, &array).await, ["{NULL}"], "{array}");
        let row = bob
            .query_one(&format!("SELECT $1::{type_}::oid IS NULL"), &[&hidden])
            .await
            .unwrap();
        assert!(row.get::<_, bool>(0), "{type_} {hidden}");
    }
    for privilege in [
        "has_table_privilege('canary_table', 'select')",
        "has_any_column_privilege('bob', 'public.canary_table', 'select')",
        "has_column_privilege('customers', 'tax_number', 'select')",
        "has_column_privilege('customers', 'no_such_column', 'select')",
        "has_schema_privilege('canary_schema', 'usage')",
        "has_type_privilege('canary_mood', 'usage')",
        "has_function_privilege('canary_schema.canary_function()', 'execute')",
        "current_setting('data_directory', true)",
        "current_setting('rowgate' || '.roles')",
    ] {
        let sql = format!("SELECT {privilege}");
        assert_eq!(lines(&bob, &sql).await, [""], "{sql}");
    }
}

/// A hidden name, one that nothing has, and where a literal would be looked up.
const LITERALS: &[(&str, &str, &str)] = &[
    (
        "public.canary_mood",
        "public.nothing_mood",
        "SELECT pg_typeof(1) = 'NAME'",
    ),
    (
        "public.canary_mood",
        "public.nothing_mood",
        "SELECT 'NAME' <> pg_typeof(id) FROM invoices",
    ),
    (
        "public.canary_mood",
        "public.nothing_mood",
        "SELECT 1 WHERE pg_typeof(1) IN ('int', 'NAME')",
    ),
    (
        "public.canary_mood",
        "public.nothing_mood",
        "SELECT CASE pg_typeof(1) WHEN 'NAME' THEN 1 END",
    ),
    (
        "public.canary_mood",
        "public.nothing_mood",
        "SELECT nullif(pg_typeof(1), 'NAME')",
    ),
    (
        "public.canary_mood",
        "public.nothing_mood",
        "SELECT coalesce(pg_typeof(1), 'NAME')",
    ),
    (
        "public.canary_mood",
        "public.nothing_mood",
        "SELECT pg_typeof(1) UNION SELECT 'NAME'",
    ),
    (
        "public.canary_mood",
        "public.nothing_mood",
        "SELECT 1 FROM pg_proc WHERE proargtypes::regtype[] = '{NAME}'",
    ),
    (
        "public.canary_mood",
        "public.nothing_mood",
        "SELECT 1 FROM pg_proc WHERE 'NAME' = ANY (proargtypes::regtype[])",
    ),
    (
        "public.canary_table",
        "public.nothing_table",
        "SELECT 1 FROM pg_class WHERE oid::regclass = 'NAME'",
    ),
    (
        "public.canary_table",
        "public.nothing_table",
        "SELECT 1 FROM pg_class WHERE to_regclass('invoices') = 'NAME'",
    ),
    (
        "canary_schema",
        "nothing_schema",
        "SELECT 1 FROM pg_class WHERE relnamespace::regnamespace = 'NAME'",
    ),
];

/// What a comparison with a literal would look up, and calls in disguise.
#[tokio::test(flavor = "multi_thread")]
async fn no_literal_is_looked_up_in_the_database() {
    let gate = gate("catalog_functions_literals", Enforcement::Barrier).await;
    let bob = gate.connect("bob").await;
    for (hidden, unknown, template) in LITERALS {
        let mut told = Vec::new();
        for name in [hidden, unknown] {
            let answer = ask(&bob, &template.replace("NAME", name)).await;
            let text = format!("{answer:?}").replace(name, "NAME");
            told.push(text.split("position").next().unwrap().to_owned());
        }
        assert_eq!(told[0], told[1], "{template}");
    }
}
