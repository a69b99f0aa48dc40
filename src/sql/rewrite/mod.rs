//! The walk over sqlparser's tree: a complete allow-list that also resolves names and puts shadows in the
//! place of tables.
//!
//! Every syntax-tree type is taken apart field by field, without `..` and without `_ =>`: a parser upgrade
//! that adds syntax fails the build here instead of slipping through. What passes is still only a
//! candidate; `verify` reads the printed result afresh.

mod expr;
mod field;
mod function;
mod group_by;
mod introspection;
mod looked_up;
mod numbers;
mod operator;
mod query;
mod relation;
mod select;
mod table;
mod types;
mod vectors;

use super::names::{self, Source};
use super::scope::Scopes;
use crate::catalog::Catalogued;
use crate::error::{Reason, Refusal};
use crate::policy::{GrantedTable, Grants};
use sqlparser::ast::Expr;
use sqlparser::tokenizer::Span;
use std::collections::HashSet;

/// A table the query reads and the name its shadow has.
pub(super) struct Used<'g> {
    /// The granted table.
    pub table: &'g GrantedTable,
    /// The shadow's name.
    pub shadow: String,
    /// How often the query reads it.
    pub references: usize,
}

/// A catalogue relation the query reads and the name its shadow has.
pub(super) struct UsedCatalogue {
    /// What stands in its place.
    pub relation: &'static Catalogued,
    /// The shadow's name.
    pub shadow: String,
}

/// State of one walk.
pub(super) struct Rewriter<'g> {
    grants: &'g Grants,
    source: Source,
    /// Every identifier of the caller's text; made-up names stay clear of them.
    taken: HashSet<String>,
    /// Names that may be CTEs of the caller's own.
    cte_names: HashSet<String>,
    scopes: Scopes<'g>,
    used: Vec<Used<'g>>,
    catalogue: Vec<UsedCatalogue>,
    /// The walked arguments, while an expression of `src/catalog/functions.toml` is walked.
    template: Option<Vec<Expr>>,
    /// How many expressions were replaced by others.
    stood_in: usize,
}

impl<'g> Rewriter<'g> {
    /// A walk over the query that `text` was parsed into.
    pub(crate) fn new(
        grants: &'g Grants,
        text: &str,
        taken: HashSet<String>,
        cte_names: HashSet<String>,
    ) -> Self {
        Self {
            grants,
            source: Source::new(text),
            taken,
            cte_names,
            scopes: Scopes::default(),
            used: Vec::new(),
            catalogue: Vec::new(),
            template: None,
            stood_in: 0,
        }
    }

    /// The tables and the catalogue relations that the walked query reads, each in order of first use.
    pub(crate) fn into_used(self) -> (Vec<Used<'g>>, Vec<UsedCatalogue>) {
        (self.used, self.catalogue)
    }

    /// The shadow's name for a table, the same for every reference to it.
    fn shadow_for(&mut self, table: &'g GrantedTable) -> String {
        if let Some(used) = self
            .used
            .iter_mut()
            .find(|used| used.table.relation == table.relation)
        {
            used.references += 1;
            return used.shadow.clone();
        }
        let shadow = self.free_name(&table.relation.name);
        self.used.push(Used {
            table,
            shadow: shadow.clone(),
            references: 1,
        });
        shadow
    }

    /// As [`Rewriter::shadow_for`], for a catalogue relation.
    fn catalogue_shadow_for(&mut self, relation: &'static Catalogued) -> String {
        let known = |used: &&UsedCatalogue| used.relation.relation() == relation.relation();
        if let Some(used) = self.catalogue.iter().find(known) {
            return used.shadow.clone();
        }
        let shadow = self.free_name(&relation.relation().name);
        self.catalogue.push(UsedCatalogue {
            relation,
            shadow: shadow.clone(),
        });
        shadow
    }

    /// The relation's own name for its shadow, unless a query of the caller's or another shadow has it.
    fn free_name(&mut self, plain: &str) -> String {
        let clash = self.cte_names.contains(plain)
            || self.used.iter().any(|used| used.shadow == plain)
            || self.catalogue.iter().any(|used| used.shadow == plain);
        if clash {
            self.made_up_name(plain)
        } else {
            plain.to_owned()
        }
    }

    /// A name near `plain` that the caller's text does not contain. Shortened so that it is never cut.
    fn made_up_name(&mut self, plain: &str) -> String {
        let stem: String = plain.chars().take(10).collect();
        let mut name = format!("rowgate_{stem}");
        let mut number = 1;
        while self.taken.contains(&name) {
            number += 1;
            name = format!("rowgate_{stem}_{number}");
        }
        self.taken.insert(name.clone());
        name
    }

    fn position(&self, span: Span) -> Option<u32> {
        self.source.position(span)
    }

    /// The refusal for a relation that is unknown or not granted: one answer for both.
    fn relation_unknown(&self, name: &str, span: Span) -> Refusal {
        let tables: Vec<String> = self
            .grants
            .tables()
            .iter()
            .map(|table| self.callable_name(table))
            .collect();
        let bare = name.rsplit('.').next().unwrap_or(name);
        let hint = match names::near(bare, tables.iter().map(String::as_str)) {
            Some(near) => format!("Did you mean {near}?"),
            None if tables.is_empty() => "There is no table you can read.".to_owned(),
            None => format!(
                "You can read: {}.",
                names::list(tables.iter().map(String::as_str))
            ),
        };
        Refusal::new(
            Reason::RelationUnknown,
            format!("relation \"{}\" does not exist", names::shown(name)),
        )
        .hint(hint)
        .at(self.position(span))
    }

    /// How the caller writes a granted table: unqualified where that is enough.
    fn callable_name(&self, table: &GrantedTable) -> String {
        let found = self.grants.table(None, &table.relation.name);
        if found.is_some_and(|found| found.relation == table.relation) {
            names::print(&table.relation.name)
        } else {
            format!(
                "{}.{}",
                names::print(&table.relation.schema),
                names::print(&table.relation.name)
            )
        }
    }
}

/// The refusal for syntax this gate does not let through.
fn unsupported(what: &str, hint: &str) -> Refusal {
    Refusal::new(
        Reason::UnsupportedSyntax,
        format!("{what} is not supported here"),
    )
    .hint(hint)
}

/// The refusal for syntax of other databases.
fn other_dialect(what: &str, hint: &str) -> Refusal {
    Refusal::new(
        Reason::SyntaxError,
        format!("{what} is not PostgreSQL syntax"),
    )
    .hint(hint)
}

/// Refuses a field that must be absent.
fn absent<T>(field: &Option<T>, what: &str, hint: &str) -> Result<(), Refusal> {
    match field {
        None => Ok(()),
        Some(_) => Err(other_dialect(what, hint)),
    }
}

/// Refuses a list that must be empty.
fn empty<T>(field: &[T], what: &str, hint: &str) -> Result<(), Refusal> {
    if field.is_empty() {
        Ok(())
    } else {
        Err(other_dialect(what, hint))
    }
}

/// Refuses a flag that must be off.
fn off(flag: bool, what: &str, hint: &str) -> Result<(), Refusal> {
    if flag {
        Err(other_dialect(what, hint))
    } else {
        Ok(())
    }
}

const PLAIN_SELECT: &str = "Write it as a plain PostgreSQL SELECT.";
