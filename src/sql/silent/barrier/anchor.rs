//! Which expressions certainly keep a column of their own level.

use super::super::Mode;
use super::super::above::is_aggregate;
use super::super::level::{inner, string};
use super::super::parts::children;
use super::super::types::{Family, Value};
use super::{Barrier, PROVER_STEPS};
use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, Node};

impl Barrier<'_> {
    /// A column that is certainly one of this level, and of a shadow.
    pub(super) fn anchored_column(&self, node: &Node) -> bool {
        let Some(NodeEnum::ColumnRef(column)) = inner(node) else {
            return false;
        };
        let entries = self.frames.last().map(Vec::as_slice).unwrap_or_default();
        match column
            .fields
            .iter()
            .map(string)
            .collect::<Vec<_>>()
            .as_slice()
        {
            [Some(name)] => {
                let mut named = entries
                    .iter()
                    .filter(|entry| entry.item.columns.iter().any(|(known, _)| known == name));
                let all = named
                    .clone()
                    .all(|entry| entry.column(name).is_some_and(|(_, anchored)| anchored));
                all && named.next().is_some() && entries.iter().all(|entry| entry.item.complete)
            }
            [Some(alias), Some(name)] => {
                let mut found = entries.iter().filter(|entry| entry.item.alias == *alias);
                found
                    .next()
                    .and_then(|entry| entry.column(name))
                    .is_some_and(|(_, anchored)| anchored)
            }
            _other => false,
        }
    }

    /// Whether a column of this level stays in the expression however PostgreSQL simplifies it: a strict function is
    /// NULL where a constant argument is, and CASE, COALESCE, AND and OR lose what cannot be reached.
    pub(super) fn anchored(&self, node: &Node) -> bool {
        if self.anchored_column(node) {
            return true;
        }
        self.step(1).is_some() && self.kept(node)
    }

    /// Each is a column that stays, or a constant that is not NULL beside one.
    fn any_anchored<'n>(&self, parts: impl IntoIterator<Item = &'n Node>) -> bool {
        let mut anchored = false;
        for part in parts {
            match inner(part) {
                Some(NodeEnum::AConst(constant)) if !constant.isnull => {}
                Some(_) | None if self.anchored(part) => anchored = true,
                Some(_) | None => return false,
            }
        }
        anchored
    }

    fn kept(&self, node: &Node) -> bool {
        match inner(node) {
            Some(NodeEnum::TypeCast(cast)) => {
                cast.arg.as_deref().is_some_and(|arg| self.anchored(arg))
            }
            Some(NodeEnum::AExpr(operation)) if operation.kind == AExprKind::AexprOp as i32 => {
                let operands = [operation.lexpr.as_deref(), operation.rexpr.as_deref()];
                self.any_anchored(operands.into_iter().flatten())
            }
            Some(NodeEnum::FuncCall(call)) if call.over.is_some() => true,
            Some(NodeEnum::FuncCall(call)) if is_aggregate(call) => {
                self.prover().own_aggregate(call).is_ok()
            }
            Some(NodeEnum::FuncCall(call)) => !call.func_variadic && self.any_anchored(&call.args),
            Some(NodeEnum::CoalesceExpr(coalesce)) => {
                coalesce.args.first().is_some_and(|arg| self.anchored(arg))
            }
            Some(_) | None => false,
        }
    }

    /// Whether a column in the expression has a type, or a collation, of which nothing is known.
    pub(super) fn opaque(&self, node: &Node) -> bool {
        if self.step(1).is_none() {
            return true;
        }
        match inner(node) {
            Some(NodeEnum::ColumnRef(_)) => self.family(node) == Family::Opaque,
            Some(other) => {
                children(other).is_none_or(|parts| parts.into_iter().any(|part| self.opaque(part)))
            }
            None => false,
        }
    }

    /// The family of a column of any level, or of a subquery's one output.
    pub(super) fn family(&self, node: &Node) -> Family {
        if self.step(PROVER_STEPS).is_none() {
            return Family::Opaque;
        }
        let found = match inner(node) {
            Some(NodeEnum::ColumnRef(_)) => self.prover().counted(node).ok(),
            Some(NodeEnum::SubLink(link)) => match link.subselect.as_deref().and_then(inner) {
                Some(NodeEnum::SelectStmt(query)) => {
                    let output = self.prover().select(query, Mode::Inner, 0).ok();
                    output.and_then(|item| match item.columns.as_slice() {
                        [(_, family)] => Some(Value::of(family.clone())),
                        _other => None,
                    })
                }
                Some(_) | None => None,
            },
            Some(_) | None => None,
        };
        found.map_or(Family::Opaque, |value| value.family)
    }
}
