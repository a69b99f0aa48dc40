//! [`Origins`]: which table's column a column of an answer comes from, by the numbers that clients look up in the
//! catalogue.
//!
//! PostgreSQL names the relation it read, which is a view that Rowgate installed. These numbers are read when the policy is
//! loaded; where a view or a table has been made anew since, its new numbers are unknown here, and nothing is told.

use std::collections::BTreeMap;

/// A relation's `pg_class.oid` and a column's `pg_attribute.attnum`.
pub type ColumnNumber = (u32, i16);

/// Where columns come from, for one set of grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<ColumnNumber, ColumnNumber>);

impl Origins {
    /// What a caller is told of a column that PostgreSQL says comes from `read`: the granted table's own numbers, or
    /// zeros, as of an expression.
    pub fn told(&self, read: ColumnNumber) -> ColumnNumber {
        self.0.get(&read).copied().unwrap_or((0, 0))
    }
}

impl FromIterator<(ColumnNumber, ColumnNumber)> for Origins {
    fn from_iter<I: IntoIterator<Item = (ColumnNumber, ColumnNumber)>>(numbers: I) -> Self {
        Self(numbers.into_iter().collect())
    }
}

/// A column of a relation that shadows read: an installed view, or the table itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The column's name, in both.
    pub(crate) name: String,
    /// What PostgreSQL says it comes from.
    pub(crate) read: ColumnNumber,
    /// The same column of the table.
    pub(crate) table: ColumnNumber,
}
