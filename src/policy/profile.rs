//! [`profile`]: what a principal is and may do, as JSON, for front ends that grey out what is not available.

use crate::identity::Principal;
use crate::policy::Grants;
use serde_json::{Value, json};

/// A principal as its own user may know it: what it is, and the tables and columns that `grants` (its own) give.
/// `SHOW rowgate.principal`, `rowgate whoami` and the admin listener's `GET /api/me` all show this.
///
/// ```json
/// {"login": "agent", "user_id": "bob", "superuser": false,
///  "roles": {"HR Manager": ["user_roles"]},
///  "permissions": ["read:posts"], "attributes": {"region": ["EU"]}, "tags": ["staff"],
///  "tables": [{"schema": "public", "name": "invoices",
///              "columns": [{"name": "id", "type": "bigint"}]}]}
/// ```
///
/// A role's list names the providers that gave it. What the principal lacks is not mentioned: no denied
/// permission, no hidden table or column, nothing that a hidden one would require.
pub fn profile(principal: &Principal, grants: &Grants) -> Value {
    let tables: Vec<Value> = grants
        .tables()
        .iter()
        .map(|table| {
            let columns: Vec<Value> = table
                .columns
                .iter()
                .map(|column| json!({"name": column.name, "type": column.type_.display}))
                .collect();
            json!({
                "schema": table.relation.schema,
                "name": table.relation.name,
                "columns": columns,
            })
        })
        .collect();
    json!({
        "login": principal.login(),
        "user_id": principal.user_id(),
        "superuser": principal.superuser(),
        "roles": principal.role_sources(),
        "permissions": principal.permissions(),
        "attributes": principal.attributes(),
        "tags": principal.tags(),
        "tables": tables,
    })
}
