//! The SQL for one table whose rows grant something: names are the operator's and quoted, values are parameters.

use super::Kind;
use crate::config::AdminTable;
use crate::policy::quote_identifier;

/// A table as it is in the database.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    relation: String,
    keys: Vec<String>,
    expiry: Option<String>,
    /// One row has a list of users, and this column says whether the list counts.
    listed: Option<String>,
}

/// The word for "the users of the list" in a tag's access.
const SPECIFIC: &str = "'specific'::pg_catalog.text";

/// `until` as UTC in ISO 8601, or NULL, or the word for infinity.
const SHOWN: &str = "CASE WHEN pg_catalog.isfinite(u) THEN \
    pg_catalog.to_char(u AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') ELSE u::pg_catalog.text END";

impl Rows {
    /// `has_expiry`: the table has the expiry column named in the settings.
    pub(super) fn new(table: &AdminTable, kind: Kind, has_expiry: bool) -> Self {
        let columns = kind.columns().len();
        let access = table.keys.get(columns).filter(|_| kind == Kind::Tag);
        Self {
            listed: access.map(|access| quote_identifier(access)),
            relation: format!(
                "{}.{}",
                quote_identifier(&table.schema),
                quote_identifier(&table.name)
            ),
            keys: table
                .keys
                .iter()
                .take(columns)
                .map(|key| quote_identifier(key))
                .collect(),
            expiry: (has_expiry && kind != Kind::Tag).then(|| quote_identifier(&table.expiry)),
        }
    }

    pub(super) fn has_expiry(&self) -> bool {
        self.expiry.is_some()
    }

    /// `$1`... are the keys.
    fn condition(&self) -> String {
        if let (Some(access), [user, name]) = (&self.listed, self.keys.as_slice()) {
            return format!(
                "{} AND {access} OPERATOR(pg_catalog.=) {SPECIFIC} \
                 AND $1::pg_catalog.text OPERATOR(pg_catalog.=) ANY ({user})",
                equals(name, 2)
            );
        }
        let each = self.keys.iter().zip(1..).map(|(key, n)| equals(key, n));
        each.collect::<Vec<String>>().join(" AND ")
    }

    fn expiry(&self) -> &str {
        self.expiry
            .as_deref()
            .unwrap_or("NULL::pg_catalog.timestamptz")
    }

    /// The parameter after the keys, as a moment.
    fn moment(&self) -> String {
        format!(
            "${}::pg_catalog.text::pg_catalog.timestamptz",
            self.keys.len() + 1
        )
    }

    /// Rows that grant it: their end as text, and whether it is the moment of the last parameter.
    pub(super) fn held(&self) -> String {
        format!(
            "SELECT {SHOWN}, u IS NOT DISTINCT FROM {} FROM (SELECT {} AS u FROM {} WHERE {}) AS held \
             ORDER BY u NULLS LAST LIMIT {}",
            self.moment(),
            self.expiry(),
            self.relation,
            self.condition(),
            super::store::HELD_MAX
        )
    }

    /// Returns a row if it did anything.
    pub(super) fn insert(&self) -> String {
        if let (Some(access), [user, name]) = (&self.listed, self.keys.as_slice()) {
            return format!(
                "UPDATE {} SET {user} = pg_catalog.array_append({user}, $1::pg_catalog.text) WHERE {} \
                 AND {access} OPERATOR(pg_catalog.=) {SPECIFIC} RETURNING 1",
                self.relation,
                equals(name, 2)
            );
        }
        let mut columns = self.keys.clone();
        let mut values: Vec<String> = (1..=self.keys.len())
            .map(|n| format!("${n}::pg_catalog.text"))
            .collect();
        if let Some(expiry) = &self.expiry {
            columns.push(expiry.clone());
            values.push(self.moment());
        }
        format!(
            "INSERT INTO {} ({}) VALUES ({}) RETURNING 1",
            self.relation,
            columns.join(", "),
            values.join(", ")
        )
    }

    /// Only for a table with an expiry column.
    pub(super) fn update(&self) -> String {
        format!(
            "UPDATE {} SET {} = {} WHERE {}",
            self.relation,
            self.expiry(),
            self.moment(),
            self.condition()
        )
    }

    pub(super) fn delete(&self) -> String {
        if let (Some(_), [user, _]) = (&self.listed, self.keys.as_slice()) {
            return format!(
                "UPDATE {} SET {user} = pg_catalog.array_remove({user}, $1::pg_catalog.text) WHERE {}",
                self.relation,
                self.condition()
            );
        }
        format!("DELETE FROM {} WHERE {}", self.relation, self.condition())
    }

    /// Keys and end of every row; `given` says which keys are narrowed to a parameter.
    pub(super) fn list(&self, given: &[bool], rows_max: usize) -> String {
        let named = self.keys.iter().zip(given).filter(|(_, given)| **given);
        let conditions = named.zip(1..).map(|((key, _), n)| equals(key, n));
        let conditions: Vec<String> = conditions.collect();
        let condition = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        let columns = self.keys.iter().zip(1..);
        let columns = columns.map(|(key, n)| format!("{key}::pg_catalog.text AS k{n}"));
        let columns: Vec<String> = columns.collect();
        let relation = match (&self.listed, self.keys.as_slice()) {
            (Some(access), [user, name]) => format!(
                "(SELECT pg_catalog.unnest({user}) AS {user}, {name} FROM {} \
                 WHERE {access} OPERATOR(pg_catalog.=) {SPECIFIC}) AS listed",
                self.relation
            ),
            _ => self.relation.clone(),
        };
        let order: Vec<String> = (1..=self.keys.len()).map(|n| format!("k{n}")).collect();
        let order = order.join(", ");
        format!(
            "SELECT {order}, {SHOWN} FROM (SELECT {}, {} AS u FROM {}{condition}) AS found \
             ORDER BY {order}, u NULLS LAST LIMIT {}",
            columns.join(", "),
            self.expiry(),
            relation,
            rows_max + 1
        )
    }
}

/// The operator is PostgreSQL's, whatever the search_path.
fn equals(key: &str, parameter: usize) -> String {
    format!("{key} OPERATOR(pg_catalog.=) ${parameter}::pg_catalog.text")
}
