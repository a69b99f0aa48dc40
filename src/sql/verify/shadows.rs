//! The shadows at the head of the final text are exactly those announced, and read what they should.

use super::{Refused, disagree, walk};
use crate::catalog::{self, Catalogued};
use crate::error::Refusal;
use crate::policy::{Grants, PrincipalField, RelationName, ShadowSource};
use crate::sql::pg::{self, canonical};
use crate::sql::shadow::hole;
use crate::sql::{Form, Materialize, Shadow, ShadowedQuery};
use lru::LruCache;
use pg_query::NodeEnum;
use pg_query::protobuf::{CommonTableExpr, CteMaterialize, SelectStmt};
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Checks the first CTEs of the statement against `query.shadows` and the grants.
///
/// # Errors
/// `ParsersDisagree`: any difference is the rewriter's mistake or an attack on it.
pub(super) fn check(select: &SelectStmt, query: &ShadowedQuery, grants: &Grants) -> Refused {
    let ctes = select
        .with_clause
        .as_ref()
        .map_or(&[][..], |with| with.ctes.as_slice());
    if ctes.len() < query.shadows.len() {
        return Err(disagree());
    }
    let mut seen = HashSet::new();
    for (index, node) in ctes.iter().enumerate() {
        let cte = walk::cte(node)?;
        if !seen.insert(cte.ctename.as_str()) {
            return Err(disagree());
        }
        if let Some(shadow) = query.shadows.get(index) {
            same(cte, shadow)?;
            allowed(shadow, query, grants)?;
        }
    }
    Ok(())
}

/// Whether `other` is `query`, which was read and found right, over other shadows of the same tables; they are right too.
///
/// Nothing but the shadows is read again. A WITH query is `name AS (...)` to the grammar whatever is in the
/// parentheses, so behind two lists of whole WITH queries PostgreSQL's parser is in the same state, and reads the same
/// bytes as the same tree. That each shadow is one whole WITH query is found by parsing it in a list by itself.
///
/// # Errors
/// `ParsersDisagree` otherwise.
pub(super) fn exchanged(query: &ShadowedQuery, other: &ShadowedQuery, grants: &Grants) -> Refused {
    let kept = |shadow: &Shadow| (shadow.name.clone(), shadow.relation.clone());
    let alike = query
        .shadows
        .iter()
        .map(kept)
        .eq(other.shadows.iter().map(kept))
        && query.parameters == other.parameters
        && behind(query).is_some()
        && behind(query) == behind(other);
    if !alike {
        return Err(disagree());
    }
    for shadow in &other.shadows {
        whole(shadow)?;
        allowed(shadow, other, grants)?;
    }
    Ok(())
}

/// Whether the WITH list is a recursive one, and what stands behind its shadows.
fn behind(query: &ShadowedQuery) -> Option<(bool, &str)> {
    if query.shadows.is_empty() {
        return Some((false, &query.text));
    }
    let list = query.text.strip_prefix("WITH ")?;
    let (recursive, mut rest) = match list.strip_prefix("RECURSIVE ") {
        Some(rest) => (true, rest),
        None => (false, list),
    };
    for (index, shadow) in query.shadows.iter().enumerate() {
        let separated = if index == 0 {
            Some(rest)
        } else {
            rest.strip_prefix(", ")
        };
        rest = separated?.strip_prefix(shadow.entry().as_str())?;
    }
    rest.starts_with([',', ' ']).then_some((recursive, rest))
}

/// The shadow's text is one WITH query and nothing more; remembered as [`body`] is.
fn whole(shadow: &Shadow) -> Refused {
    let entry = shadow.entry();
    let known = |entries: &mut LruCache<String, ()>| entries.get(&entry).is_some();
    if known(&mut ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)) {
        return Ok(());
    }
    let statements = pg::statements(&format!("WITH {entry} SELECT 1")).map_err(|_| disagree())?;
    let [statement] = statements.as_slice() else {
        return Err(disagree());
    };
    let mut select = pg::select(statement).ok_or_else(disagree)?.clone();
    let with = select.with_clause.take().ok_or_else(disagree)?;
    let [only] = with.ctes.as_slice() else {
        return Err(disagree());
    };
    same(walk::cte(only)?, shadow)?;
    // What stands behind it is still there, and is all there is.
    let behind = canonical::bytes(&select).ok_or_else(disagree)?;
    if behind != body("SELECT 1")?.canonical {
        return Err(disagree());
    }
    let mut entries = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner);
    entries.put(entry, ());
    Ok(())
}

static ENTRIES: LazyLock<Mutex<LruCache<String, ()>>> =
    LazyLock::new(|| Mutex::new(LruCache::new(BODIES_MAX)));

/// The CTE is the shadow, to the letter of its tree.
fn same(cte: &CommonTableExpr, shadow: &Shadow) -> Refused {
    let materialized = match shadow.materialize {
        Materialize::Always => CteMaterialize::Always,
        Materialize::Default => CteMaterialize::Default,
        Materialize::Never => CteMaterialize::Never,
    };
    let plain = cte.ctename == shadow.name
        && cte.ctematerialized == materialized as i32
        && cte.aliascolnames.is_empty()
        && cte.search_clause.is_none()
        && cte.cycle_clause.is_none();
    let Some(NodeEnum::SelectStmt(found)) =
        cte.ctequery.as_ref().and_then(|query| query.node.as_ref())
    else {
        return Err(disagree());
    };
    let found = canonical::bytes(found.as_ref()).ok_or_else(disagree)?;
    if plain && found == body(&shadow.body)?.canonical {
        return Ok(());
    }
    Err(disagree())
}

/// The shadow's relation is granted and its body reads nothing but its source.
fn allowed(shadow: &Shadow, query: &ShadowedQuery, grants: &Grants) -> Refused {
    let RelationName { schema, name } = &shadow.relation;
    if let Some(catalogued) = catalog::at_the_head(schema, name) {
        return catalogue(shadow, catalogued, query, grants);
    }
    let table = grants
        .table(Some(&shadow.relation.schema), &shadow.relation.name)
        .filter(|_| query.relations.contains(&shadow.relation))
        .ok_or_else(disagree)?;
    let body = body(&shadow.body)?;
    let facts = &body.facts;
    // Under WITH RECURSIVE a body sees the caller's CTEs: what it does not qualify must be its own.
    let (plain, qualified): (Vec<_>, Vec<_>) = facts
        .relations
        .iter()
        .partition(|(schema, _)| schema.is_empty());
    if plain.iter().any(|(_, name)| !facts.ctes.contains(name)) {
        return Err(disagree());
    }
    let first = u64::from(query.parameters) + 1;
    let last = u64::from(query.parameters) + query.principal_parameters.len() as u64;
    if facts
        .parameters
        .iter()
        .any(|number| !(first..=last).contains(number))
    {
        return Err(disagree());
    }
    let reads_only = |open_too: bool| {
        let ShadowSource::Installed { sealed, open } = &table.source else {
            return false;
        };
        let is = |schema: &String, name: &String, view: &RelationName| {
            *schema == view.schema && *name == view.name
        };
        !qualified.is_empty()
            && plain.is_empty()
            && facts.parameters.is_empty()
            && qualified.iter().all(|(schema, name)| {
                is(schema, name, sealed) || open_too && is(schema, name, open)
            })
    };
    let right = match query.form {
        Form::Sealed => reads_only(false),
        Form::Open => reads_only(true),
        Form::Inline => {
            matches!(table.source, ShadowSource::Inline(_))
                && shadow.materialize == Materialize::Always
        }
    };
    if right { Ok(()) } else { Err(disagree()) }
}

/// The shadow of a catalogue relation is, to the byte, what these grants make of it, and is kept apart from the
/// caller's conditions.
fn catalogue(
    shadow: &Shadow,
    catalogued: &Catalogued,
    query: &ShadowedQuery,
    grants: &Grants,
) -> Refused {
    let mut known = query.principal_parameters.clone();
    let caller = match catalogued.names_caller() {
        true => hole(PrincipalField::Login, query.parameters, &mut known),
        false => String::new(),
    };
    let right = shadow.materialize == Materialize::Always
        && known == query.principal_parameters
        && query.relations.contains(&shadow.relation)
        && query.form != Form::Open
        && catalogued.body(grants, &caller)? == shadow.body;
    // Under WITH RECURSIVE it sees the caller's queries: what it does not qualify must be its own.
    let facts = &body(&shadow.body)?.facts;
    let first = u64::from(query.parameters) + 1;
    let own = facts.parameters.iter().all(|number| *number >= first)
        && facts.parameters.len() <= usize::from(catalogued.names_caller())
        && facts
            .relations
            .iter()
            .all(|(schema, name)| !schema.is_empty() || facts.ctes.contains(name));
    let right = right && own;
    if right { Ok(()) } else { Err(disagree()) }
}

/// A body parsed alone.
struct Body {
    canonical: Vec<u8>,
    facts: canonical::Facts,
}

/// Bodies kept; they come from the policy, so there are few, and each is at most a statement long.
const BODIES_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(511);

/// Longest body kept: catalogue shadows hold the names of all granted columns.
const BODY_KEPT_BYTES_MAX: usize = 65_536;

static BODIES: LazyLock<Mutex<LruCache<String, Arc<Body>>>> =
    LazyLock::new(|| Mutex::new(LruCache::new(BODIES_MAX)));

/// The body's tree; remembered, because every query on a table has the same one.
fn body(text: &str) -> Result<Arc<Body>, Refusal> {
    let mut bodies = BODIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = bodies.get(text) {
        return Ok(Arc::clone(known));
    }
    drop(bodies);
    let statements = pg::statements(text).map_err(|_| disagree())?;
    let [statement] = statements.as_slice() else {
        return Err(disagree());
    };
    let (canonical, facts) =
        canonical::bytes_and_facts(pg::select(statement).ok_or_else(disagree)?)
            .ok_or_else(disagree)?;
    let body = Arc::new(Body { canonical, facts });
    if text.len() > BODY_KEPT_BYTES_MAX {
        return Ok(body);
    }
    bodies = BODIES.lock().unwrap_or_else(PoisonError::into_inner);
    bodies.put(text.to_owned(), Arc::clone(&body));
    Ok(body)
}
