//! From text to [`VerifiedQuery`]: pure, no IO.
//!
//! ```text
//! text -> parse -> agree (same meaning in both parsers) -> classify + scope -> shadow -> print -> verify
//! ```
//!
//! Nothing outside this module can make a [`VerifiedQuery`], and `upstream` accepts nothing else.

mod lists;
pub mod statement;
mod verify;

use crate::error::Refusal;
use crate::limits::Limits;
use crate::policy::{Grants, PrincipalField, RelationName};
pub use verify::VerifiedQuery;

/// Which form of the installed views a query reads (DESIGN section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// The permission views' bodies, materialized; nothing is installed in the database.
    Inline,
    /// Views without the barrier: nothing in the query can fail, or be observed, on a forbidden row.
    Open,
    /// `security_barrier` views: the default, and whenever in doubt.
    Sealed,
}

/// A shadow as it stands in the final text: `name AS (body)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    /// The CTE's name, unquoted.
    pub name: String,
    /// The table it takes the place of.
    pub relation: RelationName,
    /// The CTE's body, SQL text that Rowgate wrote.
    pub body: String,
    /// Whether the CTE is `AS MATERIALIZED`.
    pub materialized: bool,
}

/// What the rewriting produced, before `verify` has looked at it. Cannot be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowedQuery {
    /// The final text.
    pub text: String,
    /// The shadows at its head, in order.
    pub shadows: Vec<Shadow>,
    /// The tables read, without duplicates.
    pub relations: Vec<RelationName>,
    /// How many parameters the caller's text has (`$1` to `$n`).
    pub parameters: u16,
    /// What is bound to the parameters after the caller's, in order (inline enforcement).
    pub principal_parameters: Vec<PrincipalField>,
    /// Which form of the views.
    pub form: Form,
    /// Why that form: one sentence.
    pub form_reason: String,
}

/// How `admit` is to rewrite.
#[derive(Debug, Clone)]
pub struct Options {
    /// The bounds.
    pub limits: Limits,
    /// Whether the open form may be used where it is proved (barrier enforcement only).
    pub open_allowed: bool,
}
