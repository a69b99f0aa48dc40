//! Literals, type names and the arithmetic that reads no row.

use super::Why;
use super::above::name_of;
use super::level::inner;
use super::types::{self, Family, Value};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    AConst, Node, SqlValueFunction, SqlValueFunctionOp, TypeName, a_const::Val,
};

pub(super) fn type_family(type_name: &TypeName) -> Family {
    let simple = !type_name.setof && !type_name.pct_type && type_name.array_bounds.is_empty();
    match name_of(&type_name.names) {
        Some(name) if simple => match types::named(name) {
            Family::Unknown => Family::Opaque,
            family => family,
        },
        Some(_) | None => Family::Opaque,
    }
}

pub(super) fn literal_family(constant: &AConst) -> Family {
    match &constant.val {
        Some(Val::Ival(_)) => Family::Integer,
        Some(Val::Fval(_)) => Family::Numeric,
        Some(Val::Boolval(_)) => Family::Boolean,
        Some(Val::Sval(_)) | None => Family::Unknown,
        Some(Val::Bsval(_)) => Family::Opaque,
    }
}

/// The integer a literal is.
pub(super) fn integer(constant: &AConst) -> Option<i32> {
    match &constant.val {
        // The tree's encoding leaves 0 out.
        Some(Val::Ival(integer)) => Some(integer.ival),
        Some(Val::Fval(_) | Val::Boolval(_) | Val::Sval(_) | Val::Bsval(_)) | None => None,
    }
}

/// The integer a literal node is.
pub(super) fn integer_node(node: &Node) -> Option<i32> {
    match inner(node)? {
        NodeEnum::AConst(constant) if !constant.isnull => integer(constant),
        _other => None,
    }
}

pub(super) fn literal_text(node: &Node) -> Option<&str> {
    match inner(node)? {
        NodeEnum::AConst(AConst {
            val: Some(Val::Sval(text)),
            isnull: _,
            location: _,
        }) => Some(&text.sval),
        _other => None,
    }
}

fn numeric_literal(node: &Node) -> Option<Family> {
    match inner(node)? {
        NodeEnum::AConst(constant) => match literal_family(constant) {
            family @ (Family::Integer | Family::Numeric) => Some(family),
            _other => None,
        },
        _other => None,
    }
}

pub(super) fn signed_literal(operator: &str, operand: Option<&Node>) -> Result<Value, Why> {
    match operand.and_then(numeric_literal) {
        Some(family) if operator == "-" || operator == "+" => Ok(Value::constant(family)),
        Some(_) | None => Err(format!("operator {operator}")),
    }
}

/// Arithmetic that reads no row: between number literals (folded by the planner, errors included), or "now" plus
/// or minus a short interval literal, which cannot leave the range.
pub(super) fn arithmetic(operator: &str, left: &Node, right: &Node) -> Option<Value> {
    if let (Some(a), Some(b)) = (numeric_literal(left), numeric_literal(right)) {
        let family = if a == b { a } else { Family::Numeric };
        return ["+", "-", "*"]
            .contains(&operator)
            .then(|| Value::constant(family));
    }
    if !["+", "-"].contains(&operator) || !short_interval(right) {
        return None;
    }
    let family = match inner(left)? {
        NodeEnum::SqlvalueFunction(function) => current_time(function)?,
        NodeEnum::FuncCall(call)
            if name_of(&call.funcname) == Some("now") && call.args.is_empty() =>
        {
            Family::TimestampTz
        }
        _other => return None,
    };
    match family {
        // date plus interval is a timestamp.
        Family::Date => Some(Value::of(Family::Timestamp)),
        Family::Timestamp | Family::TimestampTz => Some(Value::of(family)),
        _other => None,
    }
}

/// `INTERVAL '30 days'` and its like, of at most three digits: 9999 years before now there are no timestamps.
pub(super) fn short_interval(node: &Node) -> bool {
    const UNITS: [&str; 7] = ["second", "minute", "hour", "day", "week", "month", "year"];
    let Some(NodeEnum::TypeCast(cast)) = inner(node) else {
        return false;
    };
    let interval = cast
        .type_name
        .as_ref()
        .is_some_and(|name| type_family(name) == Family::Interval && name.typmods.is_empty());
    let Some(text) = cast.arg.as_deref().and_then(literal_text) else {
        return false;
    };
    let mut words = text.split_ascii_whitespace();
    let (Some(number), Some(unit), None) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let short = (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    let unit = unit.to_ascii_lowercase();
    interval && short && UNITS.contains(&unit.strip_suffix('s').unwrap_or(&unit))
}

/// The family of CURRENT_DATE and its like.
pub(super) fn current_time(function: &SqlValueFunction) -> Option<Family> {
    match SqlValueFunctionOp::try_from(function.op).ok()? {
        SqlValueFunctionOp::SvfopCurrentDate => Some(Family::Date),
        SqlValueFunctionOp::SvfopCurrentTime | SqlValueFunctionOp::SvfopCurrentTimeN => {
            Some(Family::TimeTz)
        }
        SqlValueFunctionOp::SvfopCurrentTimestamp | SqlValueFunctionOp::SvfopCurrentTimestampN => {
            Some(Family::TimestampTz)
        }
        SqlValueFunctionOp::SvfopLocaltime | SqlValueFunctionOp::SvfopLocaltimeN => {
            Some(Family::Time)
        }
        SqlValueFunctionOp::SvfopLocaltimestamp | SqlValueFunctionOp::SvfopLocaltimestampN => {
            Some(Family::Timestamp)
        }
        SqlValueFunctionOp::SvfopCurrentRole
        | SqlValueFunctionOp::SvfopCurrentUser
        | SqlValueFunctionOp::SvfopUser
        | SqlValueFunctionOp::SvfopSessionUser
        | SqlValueFunctionOp::SvfopCurrentCatalog
        | SqlValueFunctionOp::SvfopCurrentSchema
        | SqlValueFunctionOp::SqlvalueFunctionOpUndefined => None,
    }
}
