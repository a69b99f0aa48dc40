//! Distances of vectors, and full text search: what retrieval sorts and filters by.
//!
//! A distance raises where the dimensions differ, so it is silent between a column of `vector(N)`, which holds no
//! others, and a literal of N numbers. (A parameter could have any number, and PostgreSQL may look only when the first
//! row comes.) pgvector 0.8, vector.c and halfvec.c: beside `CheckDims` the distances have no error path; what
//! overflows is infinite.

use super::level::string;
use super::literal::literal_text;
use super::types::{Family, Value};
use super::{Prover, Why};
use crate::sql::lists;
use pg_query::protobuf::{AExpr, AExprKind, Node, TypeName};

/// A column of `schema.vector(N)` or `schema.halfvec(N)`, as `format_type` shows it.
pub(super) fn column(display: &str, schema: Option<&str>) -> Family {
    let name = schema
        .and_then(|schema| display.strip_prefix(schema))
        .and_then(|rest| rest.strip_prefix('.'));
    let parts = name.and_then(|name| name.strip_suffix(')')?.split_once('('));
    let Some((name, Ok(dimensions))) = parts.map(|(name, length)| (name, length.parse())) else {
        return Family::Opaque;
    };
    family(name, dimensions)
}

fn family(name: &str, dimensions: usize) -> Family {
    match name {
        "halfvec" => Family::HalfVector(dimensions),
        "vector" => Family::Vector(dimensions),
        _other => Family::Opaque,
    }
}

/// How many numbers a literal such as `[0.1, 2]` has; `None` where it does not look like one.
fn numbers(text: &str) -> Option<usize> {
    let inside = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    let numbers = inside.split(',');
    let plain = |number: &str| {
        let number = number.trim();
        !number.is_empty()
            && number
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'))
    };
    numbers.clone().all(plain).then(|| numbers.count())
}

/// One side of a distance.
enum Operand {
    /// A literal without a type, of so many numbers: it takes the type of the other side.
    Numbers(usize),
    /// A vector of a known length.
    Vector(Family),
}

impl Prover<'_> {
    /// A distance between a column and a literal of as many dimensions.
    pub(super) fn distance(
        &mut self,
        schema: &Node,
        symbol: &Node,
        operation: &AExpr,
    ) -> Result<Value, Why> {
        let not_silent = || Err("a qualified operator".to_owned());
        let known = self.vectors.is_some()
            && string(schema) == self.vectors
            && string(symbol).is_some_and(|symbol| lists::VECTOR_DISTANCES.contains(&symbol))
            && AExprKind::try_from(operation.kind) == Ok(AExprKind::AexprOp);
        let (true, Some(left), Some(right)) = (
            known,
            operation.lexpr.as_deref(),
            operation.rexpr.as_deref(),
        ) else {
            return not_silent();
        };
        let (left, right) = (self.vector(left)?, self.vector(right)?);
        let fits = match (&left, &right) {
            (Operand::Numbers(a), Operand::Vector(Family::HalfVector(b) | Family::Vector(b)))
            | (Operand::Vector(Family::HalfVector(a) | Family::Vector(a)), Operand::Numbers(b)) => {
                a == b
            }
            // Two families would be converted, and a half can hold less.
            (Operand::Vector(a), Operand::Vector(b)) => a == b,
            (_left, _right) => false,
        };
        if fits {
            Ok(Value::of(Family::Float))
        } else {
            Err("a distance between vectors that may differ in type or dimensions".into())
        }
    }

    fn vector(&mut self, node: &Node) -> Result<Operand, Why> {
        let unknown = "a vector whose dimensions are not known, such as a parameter";
        if let Some(text) = literal_text(node) {
            let numbers = numbers(text).ok_or(unknown)?;
            return Ok(Operand::Numbers(numbers));
        }
        match self.counted(node)?.family {
            family @ (Family::HalfVector(_) | Family::Vector(_)) => Ok(Operand::Vector(family)),
            _other => Err(unknown.into()),
        }
    }

    /// `'[1, 2]'::vector`, read while the query is parsed; with a length, while it is planned.
    pub(super) fn vector_literal(&self, arg: &Node, type_name: &TypeName) -> Option<Value> {
        let [schema, name] = type_name.names.as_slice() else {
            return None;
        };
        let known = self.vectors.is_some()
            && string(schema) == self.vectors
            && type_name.array_bounds.is_empty();
        let family = family(string(name)?, numbers(literal_text(arg)?)?);
        (known && family != Family::Opaque).then(|| Value::constant(family))
    }

    /// `tsvector @@ tsquery`; either way round.
    pub(super) fn matches(&mut self, left: &Node, right: &Node) -> Result<Value, Why> {
        let (left, right) = (self.counted(left)?.family, self.counted(right)?.family);
        match (left, right) {
            (Family::TsVector, Family::TsQuery) | (Family::TsQuery, Family::TsVector) => {
                Ok(Value::of(Family::Boolean))
            }
            _other => Err("operator @@ between other types than tsvector and tsquery".into()),
        }
    }
}
