//! Functions that make much out of little, bounded where the amount is written in the statement. What
//! is computed at run time is bounded by the row, byte and time limits.

use super::Refused;
use crate::error::{Reason, Refusal};
use pg_query::NodeEnum;
use pg_query::protobuf::{Node, a_const};

/// Most characters or repetitions a constant may ask for.
const CHARACTERS_MAX: f64 = 1_000_000.0;
/// Most rows a series with constant bounds may have.
const ROWS_MAX: f64 = 10_000_000.0;

/// Whether the function expands its argument.
pub(super) fn expands(name: &str) -> bool {
    matches!(name, "repeat" | "lpad" | "rpad")
}

/// Checks one call; `inside` is the number of expanding calls around it.
///
/// # Errors
/// `TooLarge`.
pub(super) fn check(name: &str, args: &[Node], inside: usize) -> Refused {
    if expands(name) {
        if inside > 0 {
            return Err(Refusal::new(
                Reason::TooLarge,
                format!("{name} stands inside another expansion"),
            )
            .hint("Do not nest repeat, lpad and rpad."));
        }
        if args
            .get(1)
            .and_then(number)
            .is_some_and(|count| count > CHARACTERS_MAX)
        {
            return Err(Refusal::new(
                Reason::TooLarge,
                format!("{name} asks for more than {CHARACTERS_MAX} characters"),
            )
            .hint("Ask for less."));
        }
    }
    if name == "generate_series" {
        let bound = |at| args.get(at).and_then(number);
        if let (Some(from), Some(to)) = (bound(0), bound(1)) {
            let step = if args.len() > 2 { bound(2) } else { Some(1.0) };
            if step.is_some_and(|step| step != 0.0 && (to - from) / step >= ROWS_MAX) {
                return Err(Refusal::new(
                    Reason::TooLarge,
                    format!("generate_series would make more than {ROWS_MAX} rows"),
                )
                .hint("Use narrower bounds or a larger step."));
            }
        }
    }
    Ok(())
}

/// The value of a numeric constant, through casts and named arguments.
fn number(node: &Node) -> Option<f64> {
    match node.node.as_ref()? {
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            a_const::Val::Ival(value) => Some(f64::from(value.ival)),
            a_const::Val::Fval(value) => value.fval.replace('_', "").parse().ok(),
            a_const::Val::Sval(value) => value.sval.trim().parse().ok(),
            a_const::Val::Boolval(_) | a_const::Val::Bsval(_) => None,
        },
        NodeEnum::TypeCast(cast) => number(cast.arg.as_deref()?),
        NodeEnum::NamedArgExpr(argument) => number(argument.arg.as_deref()?),
        _ => None,
    }
}
