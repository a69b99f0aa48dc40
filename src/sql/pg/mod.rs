//! libpg_query: PostgreSQL's own grammar, as the second opinion on every text.
//!
//! Nothing outside `sql::{pg, verify, statement}` names the crate. All calls run on a big stack,
//! because the trees are walked by recursion and a chain of operators makes a deep one.

pub(super) mod canonical;
mod position;

use crate::error::{Reason, Refusal};
use pg_query::NodeEnum;
use pg_query::protobuf::{RawStmt, SelectStmt};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Stack that must be left before a tree is made or walked, in bytes.
const STACK_LEFT: usize = 24 * 1024 * 1024;
/// Stack to allocate otherwise; pages that are not touched cost nothing.
const STACK_NEW: usize = 64 * 1024 * 1024;

/// Runs `work` with enough stack for any tree within the limits.
pub(super) fn on_big_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_LEFT, STACK_NEW, work)
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
