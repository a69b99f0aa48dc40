//! `[admin]`: managing permissions, by command and over HTTP.

use super::Upstream;
use super::check::{Check, join};
use super::database::{self, Database};
use super::listener::address;
use crate::tuples::{TupleTable, Tuples};
use serde::Deserialize;
use std::net::SocketAddr;
use toml::Table;

/// Managing permissions.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where the admin listener is; `None`: permissions are managed by commands only.
    pub listen: Option<SocketAddr>,
    /// Host names it answers to, beside its own address.
    pub hosts: Vec<String>,
    /// A login of its own, which may write to the tables below; its timeout bounds each step of a change.
    pub database: Database,
    /// Most connections to the listener at once.
    pub connections_max: usize,
    /// Longest body of a request, in bytes.
    pub body_bytes_max: usize,
    /// Refuse to grant a permission that nothing asks for, instead of warning.
    pub strict: bool,
    /// What is managed.
    pub tables: AdminTables,
}

/// The tables that are managed; what has none cannot be granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdminTables {
    /// Permissions held directly.
    pub permissions: Option<AdminTable>,
    /// Roles.
    pub roles: Option<AdminTable>,
    /// Members of groups, for tags.
    pub groups: Option<AdminTable>,
    /// Users in the lists of tags.
    pub tags: Option<AdminTable>,
    /// Relation tuples, in the table that `[tuples]` names.
    pub tuples: Option<AdminTable>,
}

/// One table whose rows grant something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The columns with the names: who, then what.
    pub keys: Vec<String>,
    /// What only the operator's commands may grant or revoke, by name.
    pub operator_only: Vec<String>,
    /// The column with a grant's end (`timestamptz`); the table may lack it.
    pub expiry: String,
    /// Of tags, the column with the owner; the table may lack it.
    pub owner: String,
}

pub(super) fn admin(
    check: &mut Check,
    top: &mut Table,
    (upstream, tuples, tls): (Option<&Upstream>, Option<&Tuples>, bool),
) -> Option<Admin> {
    let mut section = check.table(top, "", "admin")?;
    let mut tables = AdminTables::default();
    for (kind, slot) in [
        (PERMISSIONS, &mut tables.permissions),
        (ROLES, &mut tables.roles),
        (GROUPS, &mut tables.groups),
        (TAGS, &mut tables.tags),
    ] {
        *slot = table(check, &mut section, kind);
    }
    let login = database::take(check, "admin", &mut section);
    let raw: RawAdmin = check.section_beside("admin", section, database::KEYS);
    if raw.tuples == Some(true) {
        tables.tuples = tuples.and_then(|tuples| Some(tuple_table(tuples.table.as_ref()?)));
        if tables.tuples.is_none() {
            let hint = "Name the table in [tuples], or leave admin.tuples out.";
            check.problem("admin.tuples", "has no table to write to", hint);
        }
    } else if tables == AdminTables::default() {
        let hint = "Add [admin.permissions], [admin.roles], [admin.groups] or [admin.tags], or tuples = true.";
        check.problem("admin", "manages nothing", hint);
    }
    settings(check, (raw, login), upstream?, tls, tables)
}

fn settings(
    check: &mut Check,
    (raw, login): (RawAdmin, database::Raw),
    upstream: &Upstream,
    tls: bool,
    tables: AdminTables,
) -> Option<Admin> {
    let listen = raw.listen.as_deref();
    let listen = listen.and_then(|text| address(check, "admin", text, raw.hosts.as_deref(), tls));
    let hint = "Give it a login of its own, which may write to these tables and nothing else.";
    let database = login.check(check, "admin", Some(upstream), (hint, 5_000));
    let readers = [Some(&upstream.user), upstream.superuser_user.as_ref()];
    if let Some(database) = &database
        && readers.contains(&Some(&database.user))
    {
        let says = "is a login that queries run as, which must never write";
        check.problem("admin.user", says, hint);
    }
    let connections_max = check.within("admin.connections_max", raw.connections_max, 64, 1, 10_000);
    let body = raw.body_bytes_max;
    let body_bytes_max = check.within("admin.body_bytes_max", body, 65_536, 256, 16_777_216);
    Some(Admin {
        listen,
        hosts: raw.hosts.unwrap_or_default(),
        database: database?,
        connections_max,
        body_bytes_max,
        strict: raw.strict.unwrap_or(false),
        tables,
    })
}

/// Key, table and columns of a kind where the configuration does not say otherwise.
type Usual = (&'static str, &'static str, &'static [&'static str]);
const PERMISSIONS: Usual = (
    "permissions",
    "authz_permissions",
    &["username", "permission"],
);
const ROLES: Usual = ("roles", "user_roles", &["user", "role"]);
const GROUPS: Usual = ("groups", "group_members", &["member", "group"]);
/// The list of users (`text[]`), the tag's name, and who may access it: `specific` where the list counts.
const TAGS: Usual = ("tags", "tags", &["allowed", "name", "access"]);

/// `[admin.KEY]`; its presence says that this kind is managed.
fn table(check: &mut Check, section: &mut Table, usual: Usual) -> Option<AdminTable> {
    let (key, default, columns) = usual;
    let path = join("admin", key);
    let table = check.table(section, "admin", key)?;
    let raw: RawTable = check.section(&path, table);
    let name = raw.table.unwrap_or_else(|| format!("public.{default}"));
    let (schema, name) = name.split_once('.').unwrap_or(("public", &name));
    let own = raw.columns;
    if own.as_ref().is_some_and(|own| own.len() != columns.len()) {
        let says = format!("does not name {} columns", columns.len());
        let hint = format!("The default is {columns:?}.");
        check.problem(join(&path, "columns"), says, &hint);
    }
    let defaults = || columns.iter().map(|column| (*column).to_owned()).collect();
    let keys: Vec<String> = own.unwrap_or_else(defaults);
    let expiry = raw.expiry_column.unwrap_or_else(|| "expires_at".to_owned());
    let owner = raw.owner_column.unwrap_or_else(|| "owner".to_owned());
    let wrong = |name: &str| name.is_empty() || name.contains(['\0', '"']);
    if [schema, name, &expiry, &owner].into_iter().any(wrong) || keys.iter().any(|key| wrong(key)) {
        let says = "names a table or column by an empty or impossible name";
        check.problem(&path, says, "");
    }
    Some(AdminTable {
        schema: schema.to_owned(),
        name: name.to_owned(),
        keys,
        operator_only: raw.operator_only.unwrap_or_default(),
        expiry,
        owner,
    })
}

fn tuple_table(table: &TupleTable) -> AdminTable {
    let columns = &table.columns;
    let keys = [
        &columns.namespace,
        &columns.object,
        &columns.relation,
        &columns.subject_namespace,
        &columns.subject_id,
        &columns.subject_relation,
    ];
    AdminTable {
        schema: table.schema.clone(),
        name: table.name.clone(),
        keys: keys.map(String::clone).to_vec(),
        operator_only: Vec::new(),
        // An impossible name where there is no such column: it will not be found.
        expiry: columns.expires_at.clone().unwrap_or_default(),
        owner: String::new(),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawAdmin {
    listen: Option<String>,
    hosts: Option<Vec<String>>,
    connections_max: Option<usize>,
    body_bytes_max: Option<usize>,
    strict: Option<bool>,
    tuples: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawTable {
    table: Option<String>,
    columns: Option<Vec<String>>,
    operator_only: Option<Vec<String>>,
    expiry_column: Option<String>,
    owner_column: Option<String>,
}
