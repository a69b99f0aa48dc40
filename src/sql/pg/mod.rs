//! libpg_query: PostgreSQL's own grammar, as the second opinion on every text.
//!
//! Nothing outside `sql::{pg, verify, statement}` names the crate. All calls run on a big stack,
//! because the trees are walked by recursion and a chain of operators makes a deep one.

pub(super) mod canonical;
pub(crate) mod position;

use super::stack::with_stack;
use crate::error::{Reason, Refusal};
use pg_query::NodeEnum;
use pg_query::protobuf::{RawStmt, SelectStmt};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work` with enough stack for any tree within the limits.
///
/// # Errors
/// `TooComplex` when no such stack can be had.
pub(super) fn on_big_stack<T: Send>(
    work: impl FnOnce() -> Result<T, Refusal> + Send,
) -> Result<T, Refusal> {
    with_stack(work).unwrap_or_else(|| {
        Err(
            Refusal::new(Reason::TooComplex, "the statement cannot be analyzed now")
                .hint("Send it again later."),
        )
    })
}

/// The statements of a text, as PostgreSQL's grammar reads them. To be called on a big stack.
///
/// # Errors
/// `SyntaxError` with the position where the grammar stopped, `TooComplex` when the parser's own
/// stack limit was hit.
pub(super) fn statements(text: &str) -> Result<Vec<RawStmt>, Refusal> {
    // The crate walks the tree once more to list its tables, with indexing that could panic.
    let parsed = catch_unwind(AssertUnwindSafe(|| pg_query::parse(text, 0)));
    match parsed {
        Ok(Ok(result)) => Ok(result.protobuf.stmts),
        Ok(Err(pg_query::Error::Parse(message))) => Err(position::refusal(text, &message)),
        Ok(Err(pg_query::Error::Conversion(_))) => Err(Refusal::new(
            Reason::SyntaxError,
            "the text contains a null byte",
        )),
        Ok(Err(_)) | Err(_) => Err(Refusal::new(
            Reason::TooComplex,
            "the statement cannot be analyzed",
        )
        .hint("Send a simpler statement.")),
    }
}

/// Whether a text parses, for finding the place of an error.
fn error_of(text: &str) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| pg_query::parse(text, 0))) {
        Ok(Ok(_)) | Err(_) => None,
        Ok(Err(pg_query::Error::Parse(message))) => Some(message),
        Ok(Err(_)) => None,
    }
}

/// The SELECT of a raw statement, if it is one.
pub(super) fn select(raw: &RawStmt) -> Option<&SelectStmt> {
    match raw.stmt.as_ref()?.node.as_ref()? {
        NodeEnum::SelectStmt(select) => Some(select),
        _ => None,
    }
}
