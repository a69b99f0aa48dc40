//! What cannot fail without a row to read: literals and what is folded of them, parameters that need no conversion,
//! and "now".

use super::super::above::name_of;
use super::super::level::{inner, string};
use super::super::literal::{
    arithmetic, current_time, integer_node, literal_text, short_interval, signed_literal,
    type_family,
};
use super::super::types::{self, Family};
use super::Barrier;
use super::condition::is_literal;
use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, Node, ParamRef, TypeCast, a_const::Val};

/// Arrays of integers, texts, uuids.
const ARRAYS: [u32; 6] = [1005, 1007, 1016, 1009, 1015, 2951];

/// Most steps from "now" in [`clock`]: each goes at most a thousand years, and timestamps begin 4713 BC.
const CLOCK_STEPS_MAX: usize = 4;

impl Barrier<'_> {
    /// A parameter of undeclared type stands in one place only: it would take its type there, and be converted elsewhere.
    pub(super) fn once(&self, parameter: &ParamRef) -> bool {
        let mut places = self.parameters.borrow_mut();
        let place = *places.entry(parameter.number).or_insert(parameter.location);
        !self.undeclared(parameter) || place == parameter.location
    }

    /// Whether it takes its type from where it stands.
    pub(super) fn undeclared(&self, parameter: &ParamRef) -> bool {
        types::parameter(self.declared(parameter)) == Family::Unknown
    }

    /// What cannot fail without a row to read: literals and what is folded of them, parameters that need no conversion,
    /// and "now".
    pub(super) fn by_itself(&self, node: &Node) -> bool {
        match inner(node) {
            Some(NodeEnum::AConst(_)) => true,
            Some(NodeEnum::ParamRef(parameter)) => self.plain_parameter(parameter),
            Some(NodeEnum::AArrayExpr(array)) => array.elements.iter().all(is_literal),
            Some(NodeEnum::TypeCast(cast)) => self.literal_cast(cast) || clock(node, 0),
            Some(NodeEnum::AExpr(operation)) => {
                folded(operation) || self.text(node) || folded_time(node) || clock(node, 0)
            }
            Some(NodeEnum::SqlvalueFunction(_) | NodeEnum::FuncCall(_)) => clock(node, 0),
            Some(_) | None => false,
        }
    }

    /// `'%' || $1 || '%'`.
    fn text(&self, node: &Node) -> bool {
        match inner(node) {
            Some(NodeEnum::AConst(_)) => literal_text(node).is_some(),
            // Not an array, which would be joined to another.
            Some(NodeEnum::ParamRef(parameter)) => {
                self.plain_parameter(parameter) && !ARRAYS.contains(&self.declared(parameter))
            }
            Some(NodeEnum::AExpr(operation)) => {
                let pieces = operation.lexpr.as_deref().zip(operation.rexpr.as_deref());
                matches!(operation.name.as_slice(), [name] if string(name) == Some("||"))
                    && operation.kind == AExprKind::AexprOp as i32
                    && pieces.is_some_and(|(left, right)| {
                        let literal = is_literal(left) || is_literal(right);
                        literal && self.text(left) && self.text(right)
                    })
            }
            Some(_) | None => false,
        }
    }

    /// A literal's type, read while the query is parsed; or the type of a parameter that has no other.
    fn literal_cast(&self, cast: &TypeCast) -> bool {
        match cast.arg.as_deref().and_then(inner) {
            Some(NodeEnum::AConst(constant)) => {
                // A text is read as its type while the query is parsed; a number is cast by an immutable function.
                let target = cast.type_name.as_ref().map(type_family);
                let number = matches!(
                    target,
                    Some(Family::Float | Family::Integer | Family::Numeric | Family::Text)
                );
                number || matches!(constant.val, Some(Val::Sval(_)) | None)
            }
            Some(NodeEnum::ParamRef(parameter)) => {
                let plain = cast
                    .type_name
                    .as_ref()
                    .is_some_and(|name| name.typmods.is_empty());
                plain && self.undeclared(parameter) && self.once(parameter)
            }
            Some(_) | None => false,
        }
    }

    fn declared(&self, parameter: &ParamRef) -> u32 {
        let index = usize::try_from(parameter.number).ok();
        let index = index.and_then(|number| number.checked_sub(1));
        index
            .and_then(|index| self.parameter_types.get(index))
            .copied()
            .unwrap_or(0)
    }

    /// Bound before anything runs, and of a type that is turned into no other in a way that fails.
    pub(super) fn plain_parameter(&self, parameter: &ParamRef) -> bool {
        let oid = self.declared(parameter);
        let plain = matches!(
            types::parameter(oid),
            Family::Unknown | Family::Text | Family::Integer | Family::Boolean | Family::Uuid
        );
        (plain || ARRAYS.contains(&oid)) && self.once(parameter)
    }
}

/// "Now", and what is some steps away from it: it does not come near the ends of the range.
fn clock(node: &Node, steps: usize) -> bool {
    if steps > CLOCK_STEPS_MAX {
        return false;
    }
    match inner(node) {
        Some(NodeEnum::SqlvalueFunction(function)) => current_time(function).is_some(),
        Some(NodeEnum::FuncCall(call)) => match (name_of(&call.funcname), &*call.args) {
            (Some("now" | "transaction_timestamp" | "statement_timestamp"), []) => true,
            (Some("date_trunc"), [field, of]) => {
                const FIELDS: [&str; 6] = ["day", "hour", "month", "quarter", "week", "year"];
                literal_text(field).is_some_and(|field| FIELDS.contains(&field))
                    && clock(of, steps + 1)
            }
            (_name, _args) => false,
        },
        Some(NodeEnum::TypeCast(cast)) => {
            let target = cast.type_name.as_ref().map(type_family);
            let time = matches!(
                target,
                Some(Family::Date | Family::Timestamp | Family::TimestampTz)
            );
            time && cast.arg.as_deref().is_some_and(|arg| clock(arg, steps + 1))
        }
        Some(NodeEnum::AExpr(operation)) => step(operation).is_some_and(|(from, by)| {
            let near = integer_node(by).is_some_and(|days| (0..=100_000).contains(&days));
            (near || short_interval(by)) && clock(from, steps + 1)
        }),
        Some(_) | None => false,
    }
}

/// A signed number, or arithmetic with number literals: folded.
fn folded(operation: &AExpr) -> bool {
    let name = operation.name.last().and_then(string).unwrap_or_default();
    match (operation.lexpr.as_deref(), operation.rexpr.as_deref()) {
        (None, right) => signed_literal(name, right).is_ok(),
        (Some(left), Some(right)) => {
            arithmetic(name, left, right).is_some_and(|value| value.constant)
        }
        (Some(_), None) => false,
    }
}

/// A date or timestamp literal, and what is some interval literals away from it: immutable, so folded.
fn folded_time(node: &Node) -> bool {
    match inner(node) {
        Some(NodeEnum::TypeCast(cast)) => {
            let target = cast.type_name.as_ref().map(type_family);
            matches!(target, Some(Family::Date | Family::Timestamp))
                && cast.arg.as_deref().and_then(literal_text).is_some()
        }
        Some(NodeEnum::AExpr(operation)) => step(operation).is_some_and(|(from, by)| {
            (integer_node(by).is_some() || short_interval(by)) && folded_time(from)
        }),
        Some(_) | None => false,
    }
}

/// From what, and by what, an addition or a subtraction goes.
fn step(operation: &AExpr) -> Option<(&Node, &Node)> {
    let name = operation.name.last().and_then(string);
    let goes = operation.kind == AExprKind::AexprOp as i32 && matches!(name, Some("+" | "-"));
    let operands = operation.lexpr.as_deref().zip(operation.rexpr.as_deref());
    operands.filter(|_| goes)
}
