//! From text to [`VerifiedQuery`]: pure, no IO.
//!
//! ```text
//! text -> parse -> agree (same meaning in both parsers) -> classify + scope -> shadow -> print -> verify
//! ```
//!
//! Nothing outside this module can make a [`VerifiedQuery`], and `upstream` accepts nothing else.

mod cache;
mod layout;
mod lists;
mod names;
mod parse;
mod pg;
mod position;
mod rewrite;
mod scan;
mod scope;
mod shadow;
mod silent;
mod stack;
pub mod statement;
mod template;
#[cfg(test)]
mod tests;
mod verify;
mod wrap;

use crate::error::Refusal;
use crate::limits::Limits;
use crate::policy::{Grants, PrincipalField, RelationName, ShadowSource};
pub use cache::{Rewrite, Rewrites};
pub use layout::layout;
pub use position::position_in;
pub use stack::STACK_BYTES;
pub use template::{INTEGER_OID, Template};
pub use verify::VerifiedQuery;
pub use wrap::{Wrapped, Wrapper};

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
    /// How often PostgreSQL is told to compute it.
    pub materialize: Materialize,
}

/// Whether a shadow is computed once and kept (PostgreSQL manual, section 7.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Materialize {
    /// `AS MATERIALIZED`: inline enforcement, where this is the barrier.
    Always,
    /// Nothing said: PostgreSQL folds a CTE that is read once into the query.
    Default,
    /// `AS NOT MATERIALIZED`: read more than once, and an index is worth more than a kept copy.
    Never,
}

impl Shadow {
    /// As it stands in the WITH list.
    fn entry(&self) -> String {
        format!(
            "{} AS {}({})",
            names::print(&self.name),
            self.materialize.words(),
            self.body
        )
    }
}

impl Materialize {
    /// The words behind `AS`, with a space behind them.
    fn words(self) -> &'static str {
        match self {
            Materialize::Always => "MATERIALIZED ",
            Materialize::Default => "",
            Materialize::Never => "NOT MATERIALIZED ",
        }
    }
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
    /// The parameter types the client declared, OIDs by position; 0 or absent = undeclared.
    pub parameter_types: Vec<u32>,
}

/// Admits one statement: what comes out may be sent upstream, for a principal with these grants.
///
/// Runs where there is enough stack ([`STACK_BYTES`]): trees are as deep as a chain of operators is long, and the parsers'
/// trees are walked, compared and dropped recursively.
///
/// # Errors
/// Every refusal of this gate; positions count characters of `text`.
///
/// # Security
/// The result reads nothing but `grants`: every relation in it is a shadow or a WITH query over shadows, checked
/// by two parsers; see the module documentation.
pub fn admit(text: &str, grants: &Grants, options: &Options) -> Result<VerifiedQuery, Refusal> {
    pg::on_big_stack(|| {
        admit_here(text, grants, options).map_err(|refusal| verify::clearer(text, refusal))
    })
}

fn admit_here(text: &str, grants: &Grants, options: &Options) -> Result<VerifiedQuery, Refusal> {
    scan::check(text, &options.limits)?;
    let parse::Parsed {
        mut query,
        names,
        cte_names,
        parameters,
    } = parse::parse(text, &options.limits)?;
    verify::same_meaning(text, &query.to_string())?;
    let mut rewriter = rewrite::Rewriter::new(grants, text, names, cte_names);
    rewriter.query(&mut query)?;
    let (used, catalogue) = rewriter.into_used();
    let catalogue = shadow::catalogue(&catalogue, parameters, grants)?;
    let reads_catalogue = !catalogue.shadows.is_empty();
    let rest = shadow::Rest::of(query, parameters, catalogue);
    let inline = used
        .iter()
        .any(|used| matches!(used.table.source, ShadowSource::Inline(_)));
    if inline {
        return verify::verify(
            shadow::compose(&rest, &used, Form::Inline, false, "inline enforcement"),
            grants,
        );
    }
    let tables: Vec<silent::ShadowedTable<'_>> = used
        .iter()
        .map(|used| (used.shadow.as_str(), used.table))
        .collect();
    let types = options.parameter_types.as_slice();
    let skip = tables.len() + rest.catalogued();
    let apart = |select: &_| !silent::barrier::is_enough(select, &tables, skip, types, grants);
    let sealed = |why: &str, apart: bool| match apart {
        true => shadow::compose(&rest, &used, Form::Sealed, true, &format!("{why}; {APART}")),
        false => shadow::compose(&rest, &used, Form::Sealed, false, why),
    };
    if options.open_allowed && !reads_catalogue {
        let why = "nothing in it can fail on a hidden row";
        let open = shadow::compose(&rest, &used, Form::Open, false, why);
        let judge = |select: &_| {
            let why = silent::prove(select, &tables, types, grants).err()?;
            Some((why, apart(select)))
        };
        return verify::verify_unless(open, grants, judge, |(why, apart)| sealed(&why, apart));
    }
    let why = match reads_catalogue {
        true => "it reads the catalogue",
        false => "the open form is switched off",
    };
    let judge = |select: &_| {
        let fails = silent::prove(select, &tables, types, grants).is_err();
        (fails && apart(select)).then_some(())
    };
    verify::verify_unless(sealed(why, false), grants, judge, |()| sealed(why, true))
}

/// Why the shadows are computed apart, behind the reason why the query is sealed.
const APART: &str =
    "computed apart, because PostgreSQL might take a part of it into a view that fails there";
