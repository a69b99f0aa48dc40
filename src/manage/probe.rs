//! Whether the tables of `[admin]` are there, and whether only the right login may write to them.

use super::store::{Store, cell, posture, query, rows_of, table_of};
use super::{Kind, ManageError};
use crate::config::AdminTable;
use tokio_postgres::Client;

impl Store {
    /// That every table is there with its columns, that this login may write to it, and that the logins that only read
    /// may not.
    ///
    /// # Errors
    /// Each finding, in a sentence with what to do.
    pub async fn probe(&self) -> Result<(), ManageError> {
        self.bounded(async {
            let lease = self.lease().await?;
            let superuser = "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user";
            let rows = query(&lease.client, superuser, &[], None).await?;
            if rows
                .first()
                .is_some_and(|row| matches!(cell(row, 0), Ok(Some(true))))
            {
                return Err(posture(
                    "admin.user is a superuser of the database",
                    "Give it a login of its own that may write to these tables and nothing else.",
                ));
            }
            for kind in Kind::ALL {
                if let Some(table) = table_of(&self.settings.tables, kind) {
                    rows_of(&lease.client, kind, table).await?;
                    self.probe_rights(&lease.client, table).await?;
                }
            }
            self.keep(lease);
            Ok(())
        })
        .await
    }

    async fn probe_rights(&self, client: &Client, table: &AdminTable) -> Result<(), ManageError> {
        const OWN: &str = "SELECT pg_catalog.has_table_privilege(c.oid, 'SELECT') \
            AND pg_catalog.has_table_privilege(c.oid, 'INSERT') AND pg_catalog.has_table_privilege(c.oid, 'DELETE') \
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
            WHERE n.nspname = $1 AND c.relname = $2";
        const READERS: &str = "SELECT r.rolname::pg_catalog.text FROM pg_catalog.pg_class c \
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, pg_catalog.pg_roles r \
            WHERE n.nspname = $1 AND c.relname = $2 AND r.rolname = ANY (pg_catalog.string_to_array($3, E'\\x01')) \
            AND (pg_catalog.has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') \
            OR pg_catalog.has_any_column_privilege(r.oid, c.oid, 'INSERT, UPDATE'))";
        let (schema, name) = (table.schema.as_str(), table.name.as_str());
        let own = query(client, OWN, &[schema, name], None).await?;
        if !own
            .first()
            .is_some_and(|row| matches!(cell(row, 0), Ok(Some(true))))
        {
            return Err(posture(
                format!("admin.user may not change {schema}.{name}"),
                "GRANT SELECT, INSERT, UPDATE, DELETE on it to that login.",
            ));
        }
        let readers = self.settings.readers.join("\u{1}");
        let writers = query(client, READERS, &[schema, name, &readers], None).await?;
        match writers.first() {
            None => Ok(()),
            Some(row) => {
                let login: Option<String> = cell(row, 0)?;
                let login = login.unwrap_or_default();
                Err(posture(
                    format!("login \"{login}\" may change {schema}.{name}, and has only to read"),
                    "REVOKE INSERT, UPDATE, DELETE, TRUNCATE on it from that login.",
                ))
            }
        }
    }
}
