//! Operators, by list.

use super::super::lists;
use super::other_dialect;
use crate::error::{Reason, Refusal};
use sqlparser::ast::{BinaryOperator, UnaryOperator};

fn operator_refused(symbol: &str) -> Refusal {
    Refusal::new(
        Reason::OperatorNotAllowed,
        format!("operator {symbol} is not available here"),
    )
    .hint("Use PostgreSQL's built-in comparison, arithmetic, text and JSON operators.")
}

fn listed(symbol: &str) -> Result<(), Refusal> {
    if lists::operator(symbol) {
        Ok(())
    } else {
        Err(operator_refused(symbol))
    }
}

/// A prefix operator.
pub(super) fn unary_operator(op: &UnaryOperator) -> Result<(), Refusal> {
    match op {
        UnaryOperator::Not => Ok(()),
        UnaryOperator::Plus
        | UnaryOperator::Minus
        | UnaryOperator::AtDashAt
        | UnaryOperator::BitwiseNot
        | UnaryOperator::DoubleAt
        | UnaryOperator::Hash
        | UnaryOperator::PGAbs
        | UnaryOperator::PGCubeRoot
        | UnaryOperator::PGSquareRoot
        | UnaryOperator::QuestionDash
        | UnaryOperator::QuestionPipe => listed(&op.to_string()),
        UnaryOperator::BangNot => Err(other_dialect("!", "Use NOT.")),
        UnaryOperator::PGPostfixFactorial | UnaryOperator::PGPrefixFactorial => {
            Err(other_dialect("!", "Use factorial(n)."))
        }
    }
}

/// An operator between two operands.
pub(super) fn binary_operator(op: &BinaryOperator) -> Result<(), Refusal> {
    match op {
        BinaryOperator::And | BinaryOperator::Or | BinaryOperator::Overlaps => Ok(()),
        BinaryOperator::PGCustomBinaryOperator(parts) => match parts.as_slice() {
            [symbol] => listed(symbol),
            [schema, symbol] if schema == "pg_catalog" => listed(symbol),
            _qualified => Err(operator_refused(&parts.join("."))),
        },
        BinaryOperator::Custom(symbol) => listed(symbol),
        BinaryOperator::Xor => Err(other_dialect("XOR", "Use <> between booleans.")),
        BinaryOperator::DuckIntegerDivide | BinaryOperator::MyIntegerDivide => Err(other_dialect(
            "integer division",
            "Use div(a, b) or / between integers.",
        )),
        BinaryOperator::Match | BinaryOperator::Regexp | BinaryOperator::Glob => Err(
            other_dialect("this pattern operator", "Use LIKE or the operator ~."),
        ),
        BinaryOperator::Spaceship => Err(other_dialect("<=>", "Use IS NOT DISTINCT FROM.")),
        BinaryOperator::Assignment => Err(other_dialect(":=", "Use =, or => behind a name.")),
        BinaryOperator::Plus
        | BinaryOperator::Minus
        | BinaryOperator::Multiply
        | BinaryOperator::Divide
        | BinaryOperator::Modulo
        | BinaryOperator::StringConcat
        | BinaryOperator::Gt
        | BinaryOperator::Lt
        | BinaryOperator::GtEq
        | BinaryOperator::LtEq
        | BinaryOperator::Eq
        | BinaryOperator::NotEq
        | BinaryOperator::BitwiseOr
        | BinaryOperator::BitwiseAnd
        | BinaryOperator::BitwiseXor
        | BinaryOperator::PGBitwiseXor
        | BinaryOperator::PGBitwiseShiftLeft
        | BinaryOperator::PGBitwiseShiftRight
        | BinaryOperator::PGExp
        | BinaryOperator::PGOverlap
        | BinaryOperator::PGRegexMatch
        | BinaryOperator::PGRegexIMatch
        | BinaryOperator::PGRegexNotMatch
        | BinaryOperator::PGRegexNotIMatch
        | BinaryOperator::PGLikeMatch
        | BinaryOperator::PGILikeMatch
        | BinaryOperator::PGNotLikeMatch
        | BinaryOperator::PGNotILikeMatch
        | BinaryOperator::PGStartsWith
        | BinaryOperator::Arrow
        | BinaryOperator::LongArrow
        | BinaryOperator::HashArrow
        | BinaryOperator::HashLongArrow
        | BinaryOperator::AtAt
        | BinaryOperator::AtArrow
        | BinaryOperator::ArrowAt
        | BinaryOperator::HashMinus
        | BinaryOperator::AtQuestion
        | BinaryOperator::Question
        | BinaryOperator::QuestionAnd
        | BinaryOperator::QuestionPipe
        | BinaryOperator::DoubleHash
        | BinaryOperator::LtDashGt
        | BinaryOperator::AndLt
        | BinaryOperator::AndGt
        | BinaryOperator::LtLtPipe
        | BinaryOperator::PipeGtGt
        | BinaryOperator::AndLtPipe
        | BinaryOperator::PipeAndGt
        | BinaryOperator::LtCaret
        | BinaryOperator::GtCaret
        | BinaryOperator::QuestionHash
        | BinaryOperator::QuestionDash
        | BinaryOperator::QuestionDashPipe
        | BinaryOperator::QuestionDoublePipe
        | BinaryOperator::At
        | BinaryOperator::TildeEq => listed(&op.to_string()),
    }
}
