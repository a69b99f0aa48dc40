//! `GROUP BY t.id` while selecting t's other columns: PostgreSQL allows it on a table, because the primary key
//! determines them (manual, section 7.2.3), and not on a shadow, which has no key. The used columns are
//! added to the GROUP BY, which cannot change the groups.
//!
//! Were the key not unique after all, the added columns could only split a group that PostgreSQL would have
//! refused to form on a table without that key: rows the caller may see, grouped more finely; never
//! another row.

use super::super::names;
use super::super::scope::{ColumnRef, Columns, Found};
use super::Rewriter;
use crate::error::Refusal;
use sqlparser::ast::{Expr, GroupByExpr, Select, SelectItem, Value};

impl Rewriter<'_> {
    /// Completes the GROUP BY of the innermost level, once all of it has been walked.
    pub(crate) fn complete_group_by(&mut self, select: &mut Select) -> Result<(), Refusal> {
        let GroupByExpr::Expressions(exprs, _modifiers) = &mut select.group_by else {
            return Ok(());
        };
        if exprs.is_empty() || exprs.iter().any(groups_by_sets) {
            return Ok(());
        }
        let grouped: Vec<ColumnRef> = exprs
            .iter()
            .filter_map(|expr| self.grouped_column(expr, &select.projection))
            .collect();
        let Some(frame) = self.scopes.frames.last() else {
            return Ok(());
        };
        let mut added: Vec<ColumnRef> = Vec::new();
        for used in &frame.used {
            let (item_index, _) = used;
            let Some(item) = frame.items.get(*item_index) else {
                continue;
            };
            let Some(table) = item.table else { continue };
            let key = &table.primary_key;
            let determined = !key.is_empty()
                && key
                    .iter()
                    .all(|column| grouped.contains(&(*item_index, column.clone())));
            if determined && !grouped.contains(used) && !added.contains(used) {
                added.push(used.clone());
            }
        }
        for (item_index, column) in added {
            if let Some(item) = frame.items.get(item_index) {
                exprs.push(Expr::CompoundIdentifier(vec![
                    names::ident(&item.alias),
                    names::ident(&column),
                ]));
            }
        }
        Ok(())
    }

    /// The column a GROUP BY entry groups by: named, qualified, or the n-th output column.
    fn grouped_column(&self, expr: &Expr, projection: &[SelectItem]) -> Option<ColumnRef> {
        if let Expr::Value(value) = expr
            && let Value::Number(digits, _) = &value.value
        {
            let index = digits.parse::<usize>().ok()?.checked_sub(1)?;
            return match projection.get(index)? {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, alias: _ } => {
                    self.plain_column(expr)
                }
                SelectItem::ExprWithAliases {
                    expr: _,
                    aliases: _,
                }
                | SelectItem::QualifiedWildcard(_, _)
                | SelectItem::Wildcard(_) => None,
            };
        }
        self.plain_column(expr)
    }

    /// The column of the innermost level that a plain reference means.
    fn plain_column(&self, expr: &Expr) -> Option<ColumnRef> {
        let innermost = self.scopes.frames.len().checked_sub(1)?;
        if let Expr::Nested(inner) = expr {
            return self.plain_column(inner);
        }
        if let Expr::Identifier(ident) = expr {
            let name = names::fold(ident, None).ok()?;
            return match self.scopes.column(&name) {
                Found::Column {
                    frame,
                    item: Some(item),
                } if frame == innermost => Some((item, name)),
                Found::Column { frame: _, item: _ } | Found::Nowhere => None,
            };
        }
        if let Expr::CompoundIdentifier(parts) = expr {
            let [alias, column] = parts.as_slice() else {
                return None;
            };
            let (frame, item) = self.scopes.item(&names::fold(alias, None).ok()?)?;
            let column = names::fold(column, None).ok()?;
            let known = self.scopes.frames.get(frame)?.items.get(item)?;
            let certain =
                matches!(known.columns, Columns::Known(_)) && known.columns.may_have(&column);
            return (frame == innermost && certain).then_some((item, column));
        }
        None
    }
}

fn groups_by_sets(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_)
    )
}
