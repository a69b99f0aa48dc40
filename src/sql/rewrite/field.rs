//! Fields and subscripts.

use super::super::{lists, names};
use super::{Rewriter, absent, unsupported};
use crate::error::{Reason, Refusal};
use sqlparser::ast::{AccessExpr, Expr, Subscript};

/// Fields of built-in composite results (json_each and its like, information_schema._pg_expandarray).
const FIELDS: [&str; 5] = ["key", "n", "ordinality", "value", "x"];

impl Rewriter<'_> {
    /// `(x).field`, `x[1]`, and `t.column[1]`, which sqlparser reads as a field of `t`.
    pub(super) fn field(
        &mut self,
        root: &mut Expr,
        chain: &mut [AccessExpr],
    ) -> Result<(), Refusal> {
        if let (Expr::Identifier(alias), [AccessExpr::Dot(Expr::Identifier(column)), rest @ ..]) =
            (&*root, &mut *chain)
            && self.scopes.item(&names::fold(alias, None)?).is_some()
        {
            self.qualified_column(&mut vec![alias.clone(), column.clone()])?;
            return rest.iter_mut().try_for_each(|access| self.access(access));
        }
        self.expr(root)?;
        chain.iter_mut().try_for_each(|access| self.access(access))
    }

    /// `[1]`, `[1:2]` or `.field` behind an expression. A field may be a call in disguise (manual, section
    /// 8.16.5: functional notation), so it must be the name of a column or of an allowed function.
    fn access(&mut self, access: &mut AccessExpr) -> Result<(), Refusal> {
        match access {
            AccessExpr::Subscript(Subscript::Index { index }) => self.expr(index),
            AccessExpr::Subscript(Subscript::Slice {
                lower_bound,
                upper_bound,
                stride,
            }) => {
                absent(stride, "a stride", "Write [lower:upper].")?;
                for bound in [lower_bound, upper_bound].into_iter().flatten() {
                    self.expr(bound)?;
                }
                Ok(())
            }
            AccessExpr::Dot(Expr::Identifier(field)) => {
                let position = self.position(field.span);
                let name = names::fold(field, position)?;
                let column = self
                    .grants
                    .tables()
                    .iter()
                    .any(|table| table.columns.iter().any(|column| column.name == name));
                if column || FIELDS.contains(&name.as_str()) || lists::function(&name).is_some() {
                    Ok(())
                } else {
                    Err(Refusal::new(
                        Reason::ColumnUnknown,
                        format!("field \"{name}\" does not exist"),
                    )
                    .hint("Name a column, or call the function as f(x).")
                    .at(position))
                }
            }
            AccessExpr::Dot(_) => Err(unsupported("this field access", "Write (row).column.")),
        }
    }
}
