//! The grants Anne has on the running example and on the attacks' own tables, made by hand so that the
//! pure half needs no database.

use rowgate::policy::{
    ColumnType, GrantedColumn, GrantedTable, Grants, InlineBody, RelationName, ShadowSource,
    TypeKind,
};

/// The columns of the attacks' own tables.
const LEDGER: &str = "id int8,amount numeric,department text,note text,code text,day text,uid text,flag text,\
                      net text,hexa text,enc text,arr text,field text,opt text,fmt text,zone text,path text";

/// `_type` is an array of it, `type/` one of another collation.
const TYPED: &str = "id int8,department text,amount numeric,ratio float8,at timestamptz,moment timestamp,day date,ring circle,tags _text,numbers _numeric,\
                     other text/,same text/";

/// Table, primary key, columns as `name type`.
const TABLES: &[(&str, &str, &str)] = &[
    (
        "customers",
        "id",
        "id int8,name text,department text,country text,email text,since date",
    ),
    ("departments", "name", "name text,city text,budget numeric"),
    (
        "employees",
        "id",
        "id int8,name text,department text,title text,hired date",
    ),
    (
        "invoices",
        "id",
        "id int8,amount numeric,date date,department text,customer_id int8,note text",
    ),
    ("ledger_any", "id", LEDGER),
    ("ledger_distinct", "id", LEDGER),
    ("ledger_exists", "id", LEDGER),
    ("ledger_in", "id", LEDGER),
    ("ledger_masked", "id", LEDGER),
    ("ledger_roles", "id", LEDGER),
    ("ledger_typed", "id", TYPED),
    ("permissions", "", "department text,allowed_role text"),
    (
        "transactions",
        "id",
        "id int8,invoice_id int8,department text,amount numeric,paid_at timestamptz,method text",
    ),
    ("user_roles", "", "user text,role text"),
];

/// Anne's grants in barrier enforcement.
pub(crate) fn barrier() -> Grants {
    grants(|name| ShadowSource::Installed {
        sealed: RelationName::new("rowgate", name),
        open: RelationName::new("rowgate_open", name),
    })
}

/// Anne's grants in inline enforcement; the bodies are stand-ins, nothing runs them.
pub(crate) fn inline() -> Grants {
    grants(|name| {
        ShadowSource::Inline(InlineBody {
            pieces: vec![
                format!("SELECT * FROM public.{name} WHERE $policy")
                    .replace("$policy", "department = 'HRM'"),
            ],
            holes: Vec::new(),
        })
    })
}

fn grants(source: impl Fn(&str) -> ShadowSource) -> Grants {
    let tables = TABLES
        .iter()
        .map(|(name, key, columns)| GrantedTable {
            relation: RelationName::new("public", *name),
            columns: columns.split(',').map(|text| column(name, text)).collect(),
            primary_key: key
                .split(',')
                .filter(|k| !k.is_empty())
                .map(str::to_owned)
                .collect(),
            source: source(name),
        })
        .collect();
    Grants::new(tables, vec!["public".to_owned()], Vec::new())
}

fn column(table: &str, text: &str) -> GrantedColumn {
    let (name, type_) = text.split_once(' ').unwrap();
    let kind = match type_.strip_suffix('/') {
        Some(_) => TypeKind::Other,
        None if type_.starts_with('_') => TypeKind::Array,
        None => TypeKind::Builtin,
    };
    GrantedColumn {
        name: name.to_owned(),
        type_: ColumnType {
            kind,
            ..ColumnType::builtin(type_.trim_end_matches('/'))
        },
        plain: (table, name) != ("customers", "email")
            && (table, name) != ("ledger_masked", "note"),
    }
}
