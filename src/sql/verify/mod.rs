//! *Same meaning* and *safe result*: libpg_query, PostgreSQL's own grammar, reads what sqlparser printed,
//! before the rewriting and after it, and only what passes becomes a [`VerifiedQuery`].
//!
//! # Security
//! [`verify`] trusts nothing the rewriter says: it starts from the bytes that will be sent. What it does
//! not know it refuses.

mod configuration;
mod expansion;
mod from;
mod json;
mod names;
mod nodes;
mod shadows;
#[cfg(test)]
mod tests;
mod tokens;
mod walk;

use super::pg::{self, canonical};
use super::{Form, ShadowedQuery};
use crate::error::{Reason, Refusal};
use crate::policy::{Grants, Origins, PrincipalField, RelationName};
use pg_query::NodeEnum;
use pg_query::protobuf::SelectStmt;
use std::sync::Arc;
use walk::Walk;

/// Nothing found, or the refusal.
type Refused = Result<(), Refusal>;

/// A final query that passed both parsers. Only [`verify`] makes one.
#[derive(Debug)]
pub struct VerifiedQuery {
    text: Arc<str>,
    relations: Vec<RelationName>,
    parameters: u16,
    principal_parameters: Vec<PrincipalField>,
    form: Form,
    form_reason: String,
    clock_words: bool,
    origins: Arc<Origins>,
}

impl VerifiedQuery {
    /// The text to send upstream.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The tables it reads.
    pub fn relations(&self) -> &[RelationName] {
        &self.relations
    }

    /// What the caller is told of where columns come from.
    pub fn origins(&self) -> &Arc<Origins> {
        &self.origins
    }

    /// How many parameters the caller binds.
    pub fn parameters(&self) -> u16 {
        self.parameters
    }

    /// What Rowgate binds after the caller's parameters.
    pub fn principal_parameters(&self) -> &[PrincipalField] {
        &self.principal_parameters
    }

    /// Whether a literal such as `'today'` is in it, which PostgreSQL reads while it parses: not to be kept prepared.
    pub fn clock_words(&self) -> bool {
        self.clock_words
    }

    /// Sealed, open or inline.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Why that form.
    pub fn form_reason(&self) -> &str {
        &self.form_reason
    }
}

/// Whether PostgreSQL's grammar reads the caller's text and what sqlparser printed back alike.
///
/// Where the tokens are equal the trees are, and neither is made: then a text that PostgreSQL does not read
/// is found by [`verify`], and [`clearer`] says where.
///
/// # Errors
/// `SyntaxError` with a position if the caller's text does not parse, `MultipleStatements`, `NotARead` if it
/// is not a query, and `ParsersDisagree` otherwise.
pub(super) fn same_meaning(callers_text: &str, printed: &str) -> Result<(), Refusal> {
    if tokens::equal(callers_text, printed) {
        return Ok(());
    }
    same_tree(callers_text, printed)
}

/// The refusal to tell: where PostgreSQL does not read the caller's text at all, that comes first, as it does in
/// PostgreSQL; and what is wrong with the text itself is told rather than a disagreement.
pub(super) fn clearer(callers_text: &str, refusal: Refusal) -> Refusal {
    // Beyond the bounds no parser is to see the text.
    if matches!(refusal.reason, Reason::TooLarge | Reason::TooComplex) {
        return refusal;
    }
    match same_tree(callers_text, callers_text) {
        Err(own)
            if own.reason == Reason::SyntaxError || refusal.reason == Reason::ParsersDisagree =>
        {
            own
        }
        Err(_) | Ok(()) if refusal.reason == Reason::ParsersDisagree => {
            match pg::position::habit(callers_text) {
                Some(sentence) => refusal.hint(sentence),
                None => refusal,
            }
        }
        Err(_) | Ok(()) => refusal,
    }
}

/// Whether libpg_query's trees are equal.
fn same_tree(callers_text: &str, printed: &str) -> Result<(), Refusal> {
    pg::on_big_stack(|| {
        let callers = pg::statements(callers_text)?;
        let [statement] = callers.as_slice() else {
            return Err(match callers.as_slice() {
                [] => Refusal::new(Reason::SyntaxError, "the statement is empty"),
                _ => Refusal::new(
                    Reason::MultipleStatements,
                    "there is more than one statement",
                ),
            }
            .hint("Send one SELECT."));
        };
        let select = pg::select(statement).ok_or_else(|| {
            Refusal::new(Reason::NotARead, "this is not a query")
                .hint("Only SELECT is possible here.")
        })?;
        let printed = pg::statements(printed).map_err(|_| disagree())?;
        match printed.as_slice() {
            [again] => {
                let again = canonical::bytes(pg::select(again).ok_or_else(disagree)?);
                let select = canonical::bytes(select);
                if select.is_some() && select == again {
                    Ok(())
                } else {
                    Err(disagree())
                }
            }
            _ => Err(disagree()),
        }
    })
}

/// As [`same_meaning`], for a template: see [`tokens::equal_but_numbers`].
pub(super) fn same_but_numbers(callers: &str, template: &str, numbers: &[(&str, String)]) -> bool {
    tokens::equal_but_numbers(callers, template, numbers)
}

/// Reads the final text afresh and seals it if nothing in it is beyond the shadows and the lists.
///
/// # Errors
/// The first thing found that is not allowed, or `ParsersDisagree` if the shadows are not as announced.
pub(super) fn verify(query: ShadowedQuery, grants: &Grants) -> Result<VerifiedQuery, Refusal> {
    let (clock_words, ()) = read(&query, grants, |_| ())?;
    Ok(seal(query, clock_words, grants))
}

/// As [`verify`], unless `judge`, which sees the very tree that was read, finds something: then what `other` makes of
/// that takes its place, the same query over other shadows.
///
/// # Errors
/// As [`verify`].
pub(super) fn verify_unless<T: Send>(
    query: ShadowedQuery,
    grants: &Grants,
    judge: impl FnOnce(&SelectStmt) -> Option<T> + Send,
    other: impl FnOnce(T) -> ShadowedQuery,
) -> Result<VerifiedQuery, Refusal> {
    let (clock_words, found) = read(&query, grants, judge)?;
    let Some(found) = found else {
        return Ok(seal(query, clock_words, grants));
    };
    let other = other(found);
    shadows::exchanged(&query, &other, grants)?;
    Ok(seal(other, clock_words, grants))
}

/// Parses and checks the final text, then lets `then` look at the tree. Also says whether it has clock words.
fn read<T: Send>(
    query: &ShadowedQuery,
    grants: &Grants,
    then: impl FnOnce(&SelectStmt) -> T + Send,
) -> Result<(bool, T), Refusal> {
    pg::on_big_stack(|| {
        // A final text that does not parse is the rewriter's mistake, not a syntax error of the caller's.
        let statements = pg::statements(&query.text).map_err(|refusal| match refusal.reason {
            Reason::TooComplex => refusal,
            _ => disagree(),
        })?;
        let [statement] = statements.as_slice() else {
            return Err(disagree());
        };
        let select = pg::select(statement).ok_or_else(disagree)?;
        let clock_words = check(select, query, grants)?;
        Ok((clock_words, then(select)))
    })
}

fn seal(query: ShadowedQuery, clock_words: bool, grants: &Grants) -> VerifiedQuery {
    let ShadowedQuery {
        text,
        shadows: _,
        relations,
        parameters,
        principal_parameters,
        form,
        form_reason,
    } = query;
    VerifiedQuery {
        text: text.into(),
        relations,
        parameters,
        principal_parameters,
        form,
        form_reason,
        clock_words,
        origins: Arc::clone(grants.origins()),
    }
}

/// The shadows are as announced, and the rest is allowed. Whether the rest has clock words.
fn check(select: &SelectStmt, query: &ShadowedQuery, grants: &Grants) -> Result<bool, Refusal> {
    shadows::check(select, query, grants)?;
    let mut walk = Walk {
        grants,
        parameters: i32::from(query.parameters),
        scope: Vec::new(),
        expansions: 0,
        clock_words: false,
    };
    walk.statement(select, query.shadows.len())?;
    Ok(walk.clock_words)
}

/// A part of the tree that should not stand where it stands.
fn unreadable() -> Refusal {
    Refusal::new(
        Reason::UnsupportedSyntax,
        "the statement holds syntax that is not supported",
    )
    .hint("Write the query with plain SELECT syntax.")
}

/// The two parsers do not agree.
fn disagree() -> Refusal {
    Refusal::new(Reason::ParsersDisagree, "the statement can be read in two ways")
        .hint("Write it more plainly: ordinary quotes and casts, spaces between operators, no rare syntax.")
}

/// A relation that is no shadow and no CTE in scope; the same words whether it exists or not.
fn unknown_relation(schema: &str, name: &str, grants: &Grants) -> Refusal {
    const NAMES_MAX: usize = 8;
    let shown = if schema.is_empty() {
        name.to_owned()
    } else {
        format!("{schema}.{name}")
    };
    let shown: String = shown
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(80)
        .collect();
    let known: Vec<&str> = grants
        .tables()
        .iter()
        .take(NAMES_MAX)
        .map(|table| table.relation.name.as_str())
        .collect();
    let refusal = Refusal::new(
        Reason::RelationUnknown,
        format!("relation \"{shown}\" does not exist"),
    );
    if known.is_empty() {
        refusal.hint("There is no table you can read.")
    } else if grants.tables().len() > NAMES_MAX {
        refusal.hint(format!(
            "Among the tables you can read are {}.",
            known.join(", ")
        ))
    } else {
        refusal.hint(format!("The tables you can read: {}.", known.join(", ")))
    }
}

/// The sentence for syntax of a read that is not let through.
fn unsupported(node: &NodeEnum) -> Refusal {
    let (reason, what, hint) = match node {
        NodeEnum::SetToDefault(_) => (
            Reason::UnsupportedSyntax,
            "DEFAULT has no meaning in a query",
            "Write the value itself.",
        ),
        NodeEnum::CurrentOfExpr(_) => (
            Reason::UnsupportedSyntax,
            "WHERE CURRENT OF needs a cursor",
            "Select the row by its key.",
        ),
        NodeEnum::XmlExpr(_)
        | NodeEnum::XmlSerialize(_)
        | NodeEnum::RangeTableFunc(_)
        | NodeEnum::RangeTableFuncCol(_) => (
            Reason::UnsupportedSyntax,
            "XML is not supported",
            "Use the JSON functions.",
        ),
        NodeEnum::RangeTableSample(_) => (
            Reason::UnsupportedSyntax,
            "TABLESAMPLE is not supported",
            "Write ORDER BY random() LIMIT n, or WHERE random() < 0.1.",
        ),
        NodeEnum::LockingClause(_) => (
            Reason::UnsupportedSyntax,
            "rows cannot be locked",
            "Leave FOR UPDATE, FOR SHARE and the like out.",
        ),
        NodeEnum::InsertStmt(_)
        | NodeEnum::UpdateStmt(_)
        | NodeEnum::DeleteStmt(_)
        | NodeEnum::MergeStmt(_)
        | NodeEnum::MergeSupportFunc(_)
        | NodeEnum::MultiAssignRef(_)
        | NodeEnum::IntoClause(_) => (
            Reason::NotARead,
            "the statement writes",
            "Only SELECT is possible here.",
        ),
        _ => return unreadable(),
    };
    Refusal::new(reason, what).hint(hint)
}
