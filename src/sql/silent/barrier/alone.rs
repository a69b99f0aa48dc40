//! What cannot fail without a row to read: literals and what is folded of them, parameters that need no conversion,
//! and "now".

use super::super::above::name_of;
use super::super::level::{inner, string};
use super::super::literal::{
    arithmetic, current_time, integer_node, literal_text, short_interval, type_family,
};
use super::super::types::{self, Family};
use super::{Barrier, COMPARISONS};
use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, FuncCall, Node, ParamRef, TypeCast, a_const::Val};

/// Functions of texts that cannot fail on a value the caller sends: results no longer than it.
const OF_TEXTS: [&str; 7] = [
    "btrim",
    "char_length",
    "length",
    "lower",
    "ltrim",
    "rtrim",
    "upper",
];

/// Immutable functions: over literals alone they are folded while the query is planned.
const FOLDED: [&str; 11] = [
    "abs",
    "ceil",
    "ceiling",
    "date",
    "floor",
    "make_date",
    "make_interval",
    "make_timestamp",
    "power",
    "round",
    "trunc",
];

/// Most steps from "now" in [`Barrier::clock`]: each goes at most a thousand years.
const CLOCK_STEPS_MAX: usize = 8;

impl Barrier<'_> {
    /// A parameter of undeclared type stands in one place only: it would take its type there, and be converted elsewhere.
    pub(super) fn once(&self, parameter: &ParamRef) -> bool {
        let mut places = self.parameters.borrow_mut();
        let place = *places.entry(parameter.number).or_insert(parameter.location);
        self.declared(parameter) != 0 || place == parameter.location
    }

    /// What cannot fail without a row to read: literals and what is folded of them, parameters that need no conversion,
    /// and "now".
    pub(super) fn by_itself(&self, node: &Node) -> bool {
        match inner(node) {
            Some(NodeEnum::AConst(_)) => true,
            Some(NodeEnum::ParamRef(parameter)) => self.plain_parameter(parameter),
            Some(NodeEnum::TypeCast(cast)) => self.literal_cast(cast) || self.clock(node, 0),
            Some(NodeEnum::AArrayExpr(array)) => array
                .elements
                .iter()
                .all(|element| matches!(inner(element), Some(NodeEnum::AConst(_)))),
            Some(NodeEnum::AExpr(operation)) => {
                self.literal_operation(operation) || folded_time(node) || self.clock(node, 0)
            }
            Some(NodeEnum::SqlvalueFunction(_)) => self.clock(node, 0),
            Some(NodeEnum::FuncCall(call)) => self.literal_call(call) || self.clock(node, 0),
            Some(_) | None => false,
        }
    }

    pub(super) fn literal_operation(&self, operation: &AExpr) -> bool {
        let (Some(left), Some(right)) = (operation.lexpr.as_deref(), operation.rexpr.as_deref())
        else {
            let operand = operation.rexpr.as_deref().and_then(inner);
            return matches!(operand, Some(NodeEnum::AConst(_)));
        };
        let literal = |node: &Node| matches!(inner(node), Some(NodeEnum::AConst(_)));
        let name = operation.name.last().and_then(string).unwrap_or_default();
        if operation.kind != AExprKind::AexprOp as i32 || operation.name.len() != 1 {
            return false;
        }
        let sent = |node: &Node| {
            literal(node)
                || matches!(inner(node), Some(NodeEnum::ParamRef(p)) if self.plain_parameter(p))
        };
        match name {
            "||" => {
                self.pieces(left)
                    && self.pieces(right)
                    && (literal_text(left).is_some() || literal_text(right).is_some())
            }
            _ if COMPARISONS.contains(&name) => {
                sent(left) && sent(right) && (literal(left) || literal(right))
            }
            _other => arithmetic(name, left, right).is_some_and(|value| value.constant),
        }
    }

    /// `'%' || $1 || '%'`.
    pub(super) fn pieces(&self, node: &Node) -> bool {
        match inner(node) {
            Some(NodeEnum::AConst(_)) => literal_text(node).is_some(),
            Some(NodeEnum::ParamRef(parameter)) => self.plain_parameter(parameter),
            Some(NodeEnum::AExpr(operation)) => {
                operation.name.last().and_then(string) == Some("||")
                    && self.literal_operation(operation)
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn literal_call(&self, call: &FuncCall) -> bool {
        let Some(name) = name_of(&call.funcname) else {
            return false;
        };
        let of_texts =
            OF_TEXTS.contains(&name) && matches!(call.args.as_slice(), [arg] if self.pieces(arg));
        let folded = FOLDED.contains(&name)
            && call
                .args
                .iter()
                .all(|arg| matches!(inner(arg), Some(NodeEnum::AConst(_))));
        (of_texts || folded) && call.over.is_none() && !call.func_variadic
    }

    /// A literal's type, read while the query is parsed; or the type of a parameter that has no other.
    pub(super) fn literal_cast(&self, cast: &TypeCast) -> bool {
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
                plain && self.declared(parameter) == 0 && self.once(parameter)
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn declared(&self, parameter: &ParamRef) -> u32 {
        let index = usize::try_from(parameter.number).ok();
        let index = index.and_then(|number| number.checked_sub(1));
        index
            .and_then(|index| self.parameter_types.get(index))
            .copied()
            .unwrap_or(0)
    }

    /// Bound before anything runs, and of a type that is turned into no other in a way that fails.
    pub(super) fn plain_parameter(&self, parameter: &ParamRef) -> bool {
        // Arrays of integers, texts, uuids.
        const ARRAYS: [u32; 6] = [1005, 1007, 1016, 1009, 1015, 2951];
        let oid = self.declared(parameter);
        let plain = matches!(
            types::parameter(oid),
            Family::Unknown | Family::Text | Family::Integer | Family::Boolean | Family::Uuid
        );
        (plain || ARRAYS.contains(&oid)) && self.once(parameter)
    }

    /// "Now", and what is some steps away from it: it does not come near the ends of the range.
    pub(super) fn clock(&self, node: &Node, steps: usize) -> bool {
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
                        && self.clock(of, steps + 1)
                }
                (_name, _args) => false,
            },
            Some(NodeEnum::TypeCast(cast)) => {
                let target = cast.type_name.as_ref().map(type_family);
                let time = matches!(
                    target,
                    Some(Family::Date | Family::Timestamp | Family::TimestampTz)
                );
                time && cast
                    .arg
                    .as_deref()
                    .is_some_and(|arg| self.clock(arg, steps + 1))
            }
            Some(NodeEnum::AExpr(operation)) => step(operation).is_some_and(|(from, by)| {
                let near = integer_node(by).is_some_and(|days| (0..=100_000).contains(&days));
                (near || short_interval(by)) && self.clock(from, steps + 1)
            }),
            Some(_) | None => false,
        }
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
