//! pgvector's distances and types, by their full names: the upstream search path is empty.
//!
//! Where a principal may read a vector, `<->` means its distance; a distance of points is then to be had
//! from no operator.

use super::Rewriter;
use super::operator::binary_operator;
use crate::error::Refusal;
use crate::sql::lists;
use sqlparser::ast::{BinaryOperator, DataType, Ident, ObjectName, ObjectNamePart};

impl Rewriter<'_> {
    /// An operator between two operands.
    pub(super) fn between(&self, op: &mut BinaryOperator) -> Result<(), Refusal> {
        if distance(op, self.grants.vectors()) {
            return Ok(());
        }
        binary_operator(op)
    }

    /// What a cast names.
    pub(super) fn cast_type(&self, data_type: &mut DataType) -> Result<(), Refusal> {
        if type_name(data_type, self.grants.vectors()) {
            return Ok(());
        }
        self.data_type(data_type)
    }
}

/// Whether it is a distance of vectors, now named in full.
fn distance(op: &mut BinaryOperator, schema: Option<&str>) -> bool {
    let Some(schema) = schema else {
        return false;
    };
    let symbol = match op {
        BinaryOperator::LtDashGt | BinaryOperator::Spaceship => op.to_string(),
        BinaryOperator::Custom(symbol) => symbol.clone(),
        BinaryOperator::PGCustomBinaryOperator(parts) => match parts.as_slice() {
            [symbol] => symbol.clone(),
            [named, symbol] if named == schema => symbol.clone(),
            _other => return false,
        },
        _other => return false,
    };
    let known = lists::VECTOR_DISTANCES.contains(&symbol.as_str());
    if known {
        *op = BinaryOperator::PGCustomBinaryOperator(vec![schema.to_owned(), symbol]);
    }
    known
}

/// Whether it is a type of vectors, now named in full.
fn type_name(data_type: &mut DataType, schema: Option<&str>) -> bool {
    let (DataType::Custom(name, _modifiers), Some(schema)) = (data_type, schema) else {
        return false;
    };
    let idents: Option<Vec<&Ident>> = name.0.iter().map(ObjectNamePart::as_ident).collect();
    let folded = |ident: &Ident| match ident.quote_style {
        None => ident.value.to_ascii_lowercase(),
        Some(_) => ident.value.clone(),
    };
    let plain = match idents.as_deref() {
        Some([name]) => folded(name),
        Some([named, name]) if folded(named) == schema => folded(name),
        _other => return false,
    };
    let known = lists::VECTOR_TYPES.contains(&plain.as_str());
    if known {
        *name = ObjectName::from(vec![Ident::new(schema), Ident::new(plain)]);
    }
    known
}
