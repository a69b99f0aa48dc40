//! Where a value that is a number and prints as a name is to be the number: see `looked_up`.

use super::super::{lists, names};
use super::looked_up::{array_of, bare, constant, lookup_call, type_of, value_of};
use crate::catalog;
use sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CaseWhen, CastKind, DataType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, ObjectName, Query, SelectItem, SetExpr, TypedString,
};

/// Columns that PostgreSQL has as `regproc` and that are texts in the shadows.
const PROCEDURES: &str = " aggcombinefn aggdeserialfn aggfinalfn aggfnoid aggmfinalfn aggminvtransfn aggmtransfn aggserialfn aggtransfn \
    amhandler amproc conproc oprcode oprjoin oprrest prosupport prsend prsheadline prslextype prsstart prstoken rngcanonical \
    rngsubdiff tmplinit tmpllexize trffromsql trftosql typanalyze typinput typmodin typmodout typoutput typreceive typsend \
    typsubscript ";

/// Where values are compared, those of such types are to be numbers.
pub(super) fn compare_numbers(expr: &mut Expr) {
    match expr {
        Expr::BinaryOp { left, op, right } if compares(op) => alike(&mut [left, right]),
        Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
            alike(&mut [left, right]);
        }
        Expr::AnyOp {
            left,
            compare_op,
            right,
            is_some: _,
        }
        | Expr::AllOp {
            left,
            compare_op,
            right,
        } if compares(compare_op) => {
            number(left);
            number(right);
        }
        Expr::InList {
            expr,
            list,
            negated: _,
        } => {
            alike(
                &mut std::iter::once(expr.as_mut())
                    .chain(list)
                    .collect::<Vec<_>>(),
            );
        }
        Expr::InSubquery {
            expr,
            subquery,
            negated: _,
        } => {
            number(expr);
            outputs(subquery);
        }
        Expr::Between {
            expr,
            negated: _,
            low,
            high,
        } => {
            alike(&mut [expr, low, high]);
        }
        _other => {}
    }
}

/// Values that are compared with each other. A text among them is read as the others are.
fn alike(exprs: &mut [&mut Expr]) {
    let type_ = exprs.iter().find_map(|expr| compared_type(expr));
    if let Some(type_) = type_ {
        for expr in exprs.iter_mut() {
            if is_type_of(expr) || constant(expr).is_some() {
                **expr = cast(expr.clone(), type_);
            }
        }
    }
    if exprs
        .iter()
        .any(|expr| last_name(expr).as_deref() == Some("oid"))
    {
        exprs.iter_mut().for_each(|expr| procedure(expr));
    }
    for expr in exprs {
        number(expr);
    }
}

/// Makes a number of an argument of a function about the catalogue.
pub(super) fn argument(expr: &mut Expr) {
    procedure(expr);
    number(expr);
}

/// Makes a number of a procedure: a value of the type, or a column that is a text in the shadows.
fn procedure(expr: &mut Expr) {
    if last_name(expr).is_some_and(|name| PROCEDURES.contains(&format!(" {name} "))) {
        *expr = cast(cast(expr.clone(), "regproc"), "oid");
    } else if compared_type(expr) == Some("regproc") {
        *expr = cast(expr.clone(), "oid");
    }
}

/// The last part of a column's name.
fn last_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => names::fold(ident, None).ok(),
        Expr::CompoundIdentifier(parts) => names::fold(parts.last()?, None).ok(),
        Expr::Nested(inner) => last_name(inner),
        _other => None,
    }
}

fn cast(value: Expr, type_: &str) -> Expr {
    Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(Expr::Nested(Box::new(value))),
        data_type: own_type(type_),
        format: None,
    }
}

/// The type of a value that a text would be read as; what `pg_typeof` says is a `regtype`.
fn compared_type(expr: &Expr) -> Option<&'static str> {
    let expr = bare(expr);
    if is_type_of(expr) {
        return catalog::lookup_type("regtype");
    }
    match value_of(expr) {
        Some((type_, _value)) => Some(type_),
        None => lookup_call(expr).map(|(type_, _value)| type_),
    }
}

fn is_type_of(expr: &Expr) -> bool {
    let Expr::Function(function) = bare(expr) else {
        return false;
    };
    let name = function.name.to_string().to_ascii_lowercase();
    name.trim_start_matches("pg_catalog.") == lists::TYPE_OF
}

fn own_type(name: &str) -> DataType {
    let name = ObjectName::from(vec![names::ident("pg_catalog"), names::ident(name)]);
    DataType::Custom(name, Vec::new())
}

fn compares(op: &BinaryOperator) -> bool {
    match op {
        BinaryOperator::Eq
        | BinaryOperator::NotEq
        | BinaryOperator::Lt
        | BinaryOperator::LtEq
        | BinaryOperator::Gt
        | BinaryOperator::GtEq => true,
        BinaryOperator::PGCustomBinaryOperator(parts) => parts.last().is_some_and(|symbol| {
            ["=", "<>", "!=", "<", "<=", ">", ">="].contains(&symbol.as_str())
        }),
        _other => false,
    }
}

/// The numbers of an array of such values.
fn numbers_of(expr: &Expr) -> Option<Expr> {
    let (type_, value) = array_of(expr).filter(|(type_, _)| *type_ != "regproc")?;
    if constant(value).is_some() {
        return None;
    }
    if let Expr::Array(array) = value
        && !array.elem.is_empty()
    {
        let mut array = array.clone();
        for element in &mut array.elem {
            *element = cast(cast(element.clone(), type_), "oid");
        }
        return Some(Expr::Array(array));
    }
    Some(Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(Expr::Nested(Box::new(value.clone()))),
        data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(
            Box::new(own_type("oid")),
            None,
        )),
        format: None,
    })
}

/// Makes a number of a value of such a type, wherever it comes out of the expression.
pub(super) fn number(expr: &mut Expr) {
    let named = match value_of(expr) {
        Some((type_, _value)) => type_ != "regproc",
        None => lookup_call(expr).is_some_and(|(type_, _value)| type_ != "regproc"),
    };
    if named {
        *expr = cast(expr.clone(), "oid");
        return;
    }
    if let Some(numbers) = numbers_of(expr) {
        *expr = numbers;
        return;
    }
    match expr {
        Expr::Nested(inner) => number(inner),
        Expr::Subquery(query) => outputs(query),
        Expr::Tuple(exprs) => exprs.iter_mut().for_each(number),
        Expr::Array(array) => array.elem.iter_mut().for_each(number),
        Expr::Case {
            case_token: _,
            end_token: _,
            operand: _,
            conditions,
            else_result,
        } => {
            for CaseWhen {
                condition: _,
                result,
            } in conditions
            {
                number(result);
            }
            if let Some(result) = else_result {
                number(result);
            }
        }
        Expr::Function(function) if passes_on(function) => {
            if let FunctionArguments::List(list) = &mut function.args {
                for argument in &mut list.args {
                    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument {
                        number(expr);
                    }
                }
            }
        }
        _other => {}
    }
}

fn passes_on(function: &Function) -> bool {
    let name = function.name.to_string().to_ascii_lowercase();
    ["coalesce", "nullif", "greatest", "least"].contains(&name.as_str())
}

fn outputs(query: &mut Query) {
    set_outputs(&mut query.body);
}

fn set_outputs(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr)
                | SelectItem::ExprWithAlias { expr, alias: _ } = item
                {
                    number(expr);
                }
            }
        }
        SetExpr::Query(query) => outputs(query),
        SetExpr::SetOperation {
            left,
            right,
            op: _,
            set_quantifier: _,
        } => {
            set_outputs(left);
            set_outputs(right);
        }
        SetExpr::Values(values) => values
            .rows
            .iter_mut()
            .flat_map(|row| row.content.iter_mut())
            .for_each(number),
        _other => {}
    }
}

/// `regclass 'name'` as a cast.
pub(super) fn typed_string(expr: &mut Expr) {
    let Expr::TypedString(TypedString {
        data_type,
        value,
        uses_odbc_syntax: false,
    }) = expr
    else {
        return;
    };
    if type_of(data_type).is_some() {
        *expr = Expr::Cast {
            kind: CastKind::DoubleColon,
            expr: Box::new(Expr::Value(value.clone())),
            data_type: data_type.clone(),
            format: None,
        };
    }
}
