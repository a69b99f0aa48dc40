//! Which relation a name in FROM means: one of the catalogue, a granted table, or none.

use super::{Rewriter, names};
use crate::catalog::{self, Found};
use crate::error::{Reason, Refusal};
use crate::policy::{GrantedTable, RelationName};
use sqlparser::tokenizer::Span;

/// What to do where a relation of the catalogue is absent, behind the reason.
const NEXT_STEP: &str = "Leave it out: information_schema.tables lists what you can read.";

/// A shadow's name, its columns, the relation's name, and the table behind it if it is no catalogue relation.
pub(super) type Meant<'g> = (
    String,
    Vec<String>,
    &'g RelationName,
    Option<&'g GrantedTable>,
);

impl<'g> Rewriter<'g> {
    /// The shadow, columns and name of the relation that a name means, and the table if it is one; else why there is none,
    /// where that can be said. The catalogue comes first, as in PostgreSQL.
    pub(super) fn meant(
        &mut self,
        schema: Option<&str>,
        name: &str,
    ) -> Result<Meant<'g>, Option<&'g str>> {
        if self.template.is_some()
            && schema == Some(catalog::ANSWERS)
            && let Some(answer) = catalog::answer(name)
        {
            let shadow = self.catalogue_shadow_for(answer);
            return Ok((shadow, answer.column_names(), answer.relation(), None));
        }
        let catalogued = catalog::find(schema, name);
        if let Some(Found::Shadowed(relation)) = catalogued {
            let shadow = self.catalogue_shadow_for(relation);
            return Ok((shadow, relation.column_names(), relation.relation(), None));
        }
        if let Some(table) = self.grants.table(schema, name) {
            let columns = table.columns.iter().map(|column| column.name.clone());
            let shadow = self.shadow_for(table);
            return Ok((shadow, columns.collect(), &table.relation, Some(table)));
        }
        match catalogued {
            Some(Found::Absent(why)) => Err(Some(why)),
            Some(Found::Shadowed(_)) | None => Err(None),
        }
    }

    /// As [`Rewriter::relation_unknown`], with the reason as the hint where there is one.
    pub(super) fn relation_unknown_because(
        &self,
        name: &str,
        span: Span,
        why: Option<&str>,
    ) -> Refusal {
        let refusal = self.relation_unknown(name, span);
        match why {
            Some(why) => refusal.hint(format!("{why} {NEXT_STEP}")),
            None => refusal,
        }
    }

    /// Refuses the name of another database, as PostgreSQL does whether there is one.
    pub(crate) fn same_database(
        &self,
        database: &str,
        name: &str,
        position: Option<u32>,
    ) -> Result<(), Refusal> {
        if self.grants.database() == Some(database) {
            return Ok(());
        }
        let name = names::shown(name);
        let message = format!("cross-database references are not implemented: \"{name}\"");
        Err(Refusal::new(Reason::UnsupportedSyntax, message)
            .hint("Write the table's name without a database.")
            .at(position))
    }

    /// The FROM item that `schema.table` names: a table written without alias.
    pub(crate) fn bare_item(&self, schema: &str, table: &str) -> Option<(usize, usize)> {
        let (frame, item) = self.scopes.item(table)?;
        let found = self.scopes.frames.get(frame)?.items.get(item)?;
        let relation = found.relation?;
        (found.bare && relation.schema == schema && relation.name == table).then_some((frame, item))
    }
}
