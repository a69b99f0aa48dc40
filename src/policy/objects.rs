//! `rowgate.objects('viewer', 'document')` as SQL: the walk over relation tuples.
//!
//! From the user, edge by edge, to everything that leads to the relation asked for. UNION drops what was
//! there before, so cycles end; the bound counts what the walk comes by, and so bounds its depth, too.
//! Measured on 10 M tuples (`tests/bench/tuples`): about 5 µs for each object the walk comes by.

use super::compose::{identifier, literal};
use crate::tuples::{Edge, Pair, TupleTable, Tuples};
use std::collections::{BTreeMap, BTreeSet};

/// In the text of the error that ends a walk that is too long, when nothing is installed to raise a
/// better one.
pub(crate) const TOO_MANY: &str = "more related objects than may be looked through";

/// The walk's CTEs, in two parts: between them belongs an expression for the user's id, behind them what
/// reads `rowgate_bounded`. `edges` is a VALUES or SELECT with the columns of [`EDGE_COLUMNS`].
pub(crate) fn walk(tuples: &Tuples, table: &TupleTable, edges: &str) -> [String; 2] {
    let columns = &table.columns;
    let [namespace, object, relation] =
        [&columns.namespace, &columns.object, &columns.relation].map(|name| identifier(name));
    let [subject_namespace, subject_id, subject_relation] = [
        &columns.subject_namespace,
        &columns.subject_id,
        &columns.subject_relation,
    ]
    .map(|name| identifier(name));
    let live = match &columns.expires_at {
        None => String::new(),
        Some(name) => {
            let name = identifier(name);
            format!("\n  WHERE (t.{name} IS NULL OR t.{name} > pg_catalog.statement_timestamp())")
        }
    };
    let (source, user) = (qualified(table), literal(&tuples.namespaces.user));
    let bound = u64::from(tuples.objects_max) + 1;
    let before = format!(
        "WITH RECURSIVE
rowgate_edge({EDGE_COLUMNS}) AS MATERIALIZED ({edges}),
rowgate_held(namespace, object, relation) AS (
  SELECT CAST({user} AS text), CAST("
    );
    let after = format!(
        " AS text), CAST('' AS text)
  UNION
  SELECT CAST(t.{namespace} AS text), CAST(t.{object} AS text), e.gives
  FROM rowgate_held AS h
  JOIN rowgate_edge AS e ON e.held_namespace = h.namespace AND e.held_relation = h.relation
  JOIN {source} AS t ON t.{subject_namespace} = h.namespace AND t.{subject_id} = h.object
   AND t.{subject_relation} = e.subject_relation AND t.{relation} = e.tuple_relation AND t.{namespace} = e.tuple_namespace{live}
),
rowgate_bounded AS (SELECT namespace, object, relation FROM rowgate_held LIMIT {bound})"
    );
    [before, after]
}

/// The columns of the walk's edges.
pub(crate) const EDGE_COLUMNS: &str =
    "held_namespace, held_relation, subject_relation, tuple_namespace, tuple_relation, gives";

/// `schema.table`, quoted where SQL needs it.
pub(crate) fn qualified(table: &TupleTable) -> String {
    format!("{}.{}", identifier(&table.schema), identifier(&table.name))
}

/// The edges to one pair, as rows of VALUES; empty where nothing leads there.
pub(crate) fn rows_to(tuples: &Tuples, pair: &Pair) -> Vec<String> {
    let edges = tuples.namespaces.edges(pair).unwrap_or_default();
    edges
        .iter()
        .map(|edge| format!("({})", row(edge)))
        .collect()
}

/// The edges to any of `pairs`, each with the pairs it leads to as a last column.
pub(crate) fn rows_to_all(tuples: &Tuples, pairs: &BTreeSet<Pair>) -> Vec<String> {
    let mut edges: BTreeMap<Edge, Vec<String>> = BTreeMap::new();
    for pair in pairs {
        for edge in tuples.namespaces.edges(pair).unwrap_or_default() {
            let targets = edges.entry(edge).or_default();
            targets.push(literal(&pair.to_string()));
        }
    }
    edges
        .iter()
        .map(|(edge, targets)| format!("({}, ARRAY[{}])", row(edge), targets.join(", ")))
        .collect()
}

fn row(edge: &Edge) -> String {
    [
        &edge.held.namespace,
        &edge.held.relation,
        &edge.subject_relation,
        &edge.tuple.namespace,
        &edge.tuple.relation,
        &edge.gives,
    ]
    .map(|text| literal(text))
    .join(", ")
}
