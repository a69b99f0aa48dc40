//! Sealed or open: a proof that nothing in a query can fail, or be observed, on a row the caller may not see.
//!
//! In the open form PostgreSQL may run the caller's conditions before the permission filter. That is harmless
//! when every condition that can sink below the filter is *silent*: it cannot raise an error from row data
//! and does not act. What stands above the filter in every plan does not count:
//!
//! - the output list of the outermost query, and HAVING where it speaks of aggregates alone: nothing outside
//!   pushes conditions into it, and its scans and joins, permission filters included, are finished first;
//! - what stands above an aggregate or a window function in a subquery, for the same reason one level down.
//!
//! What does not:
//!
//! - Conditions of an outer query are pushed into subqueries, so a subquery's plain output columns count. So do the
//!   arms of a set operation, which later versions sort by their outputs.
//! - Sort keys count, wherever they stand: GROUP BY, ORDER BY, DISTINCT, PARTITION BY, the order inside an aggregate.
//!   PostgreSQL sorts early where that helps (`relation_can_be_sorted_early`: a Gather Merge below the join that is the
//!   permission filter, a distance read from an index), and computes the key there.
//! - A condition that mixes aggregates with columns outside them counts as a whole: PostgreSQL folds constants and
//!   takes NOT, OR, BETWEEN and rows apart (`find_duplicate_ors`, `negate_clause`), and moves every part of HAVING
//!   that is left without an aggregate to WHERE. An output of a subquery meets the same when a condition on it is pushed.
//! - `min`, `max`, `bool_and` and `bool_or` count, because PostgreSQL may turn them into an index scan with a condition.
//! - A subquery inside a condition, and a LATERAL one, runs once per row of the outer query, forbidden ones
//!   included: everything in it counts, its output too, and so does "more than one row".
//! - Subqueries in FROM and WITH run when they are first asked for rows. One that can fail above its own filter tells, where
//!   another relation stands beside it, that this relation had a row to ask with ([`Item::fallible`]).
//! - A parameter without a declared type that stands in two places takes its type from one and is cast in the other.
//! - A mask ([`Family::Computed`]) is not in the open form of its view: a query that names its column, counted or not,
//!   or might mean it (`*`, a whole row, columns renamed by position), is sealed. So no plan can evaluate a mask on a
//!   hidden row, and none of the rules above has to hold for expressions that the planner puts in place of a column.
//! - A view without an open form stands as its barrier among the open ones. It has a column that is an expression and may
//!   fail, so it counts as a subquery that may fail.
//!
//! The proof reads libpg_query's tree, whose structure is PostgreSQL's own. Whatever it does not know
//! is not proved, and the query is sealed: the default is to deny.

mod above;
pub(super) mod barrier;
mod expr;
mod from;
mod functions;
mod level;
mod literal;
mod parts;
mod types;
mod vectors;

use crate::policy::{GrantedTable, Grants, ShadowSource};
use pg_query::protobuf::SelectStmt;
use std::collections::HashMap;
use types::Family;

/// Why a query is sealed: a few words for `explain`, naming nothing but the caller's own text.
type Why = String;

/// Why, where a query asks for a column the open form has not.
const COMPUTED: &str = "a column that the permission view computes";

/// A table under its shadow's name.
pub(super) type ShadowedTable<'g> = (&'g str, &'g GrantedTable);

/// How much of a level counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A subquery in FROM or WITH: conditions may be pushed into it.
    Derived,
    /// Runs per row of a query around it: everything counts.
    Inner,
    /// The outermost query.
    Top,
}

/// A column: name and family.
type Column = (String, Family);

/// One FROM item.
#[derive(Debug, Clone)]
struct Item {
    /// Its alias; empty for the merged columns of JOIN ... USING.
    alias: String,
    /// Its columns.
    columns: Vec<Column>,
    /// Whether the names are all known; if not, a plain name cannot be resolved past it.
    complete: bool,
    /// Whether it may raise an error, from rows the caller may see, when it runs.
    fallible: bool,
    /// Whether it is a shadow, whose values nobody but the database's owner chose.
    stored: bool,
}

impl Item {
    /// An item without name and columns.
    fn empty() -> Self {
        Self {
            alias: String::new(),
            columns: Vec::new(),
            complete: true,
            fallible: false,
            stored: false,
        }
    }

    /// A shadow.
    fn shadow(name: &str, table: &GrantedTable, vectors: Option<&str>) -> Self {
        let barrier = match &table.source {
            ShadowSource::Installed { sealed, open } => sealed == open,
            ShadowSource::Inline(_) => true,
        };
        Self {
            alias: name.to_owned(),
            columns: table
                .columns
                .iter()
                .map(|column| (column.name.clone(), types::column_family(column, vectors)))
                .collect(),
            fallible: barrier,
            stored: true,
            ..Self::empty()
        }
    }

    /// Whether it has a column that its open form has not.
    fn computes(&self) -> bool {
        self.columns
            .iter()
            .any(|(_, family)| *family == Family::Computed)
    }
}

/// State of one proof.
struct Prover<'t> {
    /// WITH queries in scope, shadows first; later ones hide earlier ones.
    ctes: Vec<(String, Item)>,
    /// FROM items of the levels around, outermost first.
    frames: Vec<Vec<Item>>,
    /// Declared parameter types by number, OIDs; 0 or absent = undeclared.
    parameter_types: &'t [u32],
    /// The schema of pgvector, where it may be used.
    vectors: Option<&'t str>,
    /// The server's `server_version_num`; 0 = not known.
    server_version: u32,
    /// Where each parameter of undeclared type stands, by number.
    parameters: HashMap<i32, i32>,
    /// Whether something at this level was left uncounted.
    uncertain: bool,
}

/// Proves the final query's tree silent; its first CTEs are the shadows of `tables`, in order.
///
/// # Errors
/// Why it is not proved.
pub(super) fn prove(
    select: &SelectStmt,
    tables: &[ShadowedTable<'_>],
    parameter_types: &[u32],
    grants: &Grants,
) -> Result<(), Why> {
    let unshown = |table: &GrantedTable| table.columns.iter().all(|column| !column.plain);
    if tables.iter().any(|(_, table)| unshown(table)) {
        return Err(COMPUTED.into());
    }
    let ctes = tables
        .iter()
        .map(|(name, table)| {
            (
                (*name).to_owned(),
                Item::shadow(name, table, grants.vectors()),
            )
        })
        .collect();
    let mut prover = Prover {
        ctes,
        frames: Vec::new(),
        parameter_types,
        vectors: grants.vectors(),
        server_version: grants.server_version(),
        parameters: HashMap::new(),
        uncertain: false,
    };
    prover.select(select, Mode::Top, tables.len()).map(drop)
}
