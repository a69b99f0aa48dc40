//! Expressions that conditions are made of: each operation holds on to a column, or cannot fail by itself.

use super::super::above::{is_aggregate, name_of, one_row};
use super::super::level::{inner, string};
use super::super::parts::children;
use super::super::types::{Value, comparable};
use super::super::{Mode, Prover};
use super::{Barrier, COMPARISONS, Enough, Entry, PROVER_STEPS};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    AExpr, AExprKind, CaseExpr, FuncCall, Node, SelectStmt, SubLink, SubLinkType,
};
use std::collections::HashMap;

impl Barrier<'_> {
    /// Only the queries in an expression: it is computed where no condition is taken from.
    pub(super) fn asks(&mut self, node: &Node) -> Enough {
        self.step(1)?;
        let Some(node) = inner(node) else {
            return Some(());
        };
        if let NodeEnum::SubLink(link) = node {
            let Some(NodeEnum::SelectStmt(query)) = link.subselect.as_deref().and_then(inner)
            else {
                return None;
            };
            self.select(query, false, 0)?;
        }
        if let NodeEnum::ParamRef(parameter) = node {
            self.once(parameter).then_some(())?;
        }
        self.asks_each(children(node)?)
    }

    pub(super) fn asks_all(&mut self, nodes: &[Node]) -> Enough {
        nodes.iter().try_for_each(|node| self.asks(node))
    }

    pub(super) fn asks_each(&mut self, nodes: Vec<&Node>) -> Enough {
        nodes.into_iter().try_for_each(|node| self.asks(node))
    }

    /// An expression of a condition.
    pub(super) fn expr(&mut self, node: &Node) -> Enough {
        self.step(1)?;
        if self.anchored_column(node) || self.by_itself(node) {
            return Some(());
        }
        match inner(node)? {
            NodeEnum::BoolExpr(_) | NodeEnum::CaseWhen(_) | NodeEnum::CoalesceExpr(_) => {
                self.parts(node)
            }
            NodeEnum::List(list) => list.items.iter().try_for_each(|item| self.expr(item)),
            NodeEnum::NullTest(test) => self.tested(test.arg.as_deref()?),
            NodeEnum::BooleanTest(test) => self.tested(test.arg.as_deref()?),
            NodeEnum::CaseExpr(case) => self.case(case),
            NodeEnum::AExpr(operation) => self.operation(operation),
            NodeEnum::FuncCall(call) => self.call(node, call),
            NodeEnum::TypeCast(cast) => {
                let arg = cast.arg.as_deref()?;
                self.anchored(arg).then_some(())?;
                self.expr(arg)
            }
            NodeEnum::SubLink(link) => {
                // A row of values would have to be turned into the type beside it.
                let boolean = self.sublink(link)?;
                boolean.then_some(())
            }
            _other => None,
        }
    }

    pub(super) fn parts(&mut self, node: &Node) -> Enough {
        let parts = children(inner(node)?)?;
        parts.into_iter().try_for_each(|part| self.expr(part))
    }

    /// What is looked at for being null or true: any column, any value.
    pub(super) fn tested(&mut self, node: &Node) -> Enough {
        match inner(node)? {
            NodeEnum::ColumnRef(_) => Some(()),
            NodeEnum::SubLink(link) => self.sublink(link).map(drop),
            _other => self.expr(node),
        }
    }

    pub(super) fn case(&mut self, case: &CaseExpr) -> Enough {
        if let Some(arg) = case.arg.as_deref() {
            self.anchored(arg).then_some(())?;
            self.expr(arg)?;
        }
        let default = case.defresult.as_deref();
        case.args
            .iter()
            .chain(default)
            .try_for_each(|node| self.expr(node))
    }

    pub(super) fn operation(&mut self, operation: &AExpr) -> Enough {
        let right = operation.rexpr.as_deref()?;
        let Some(left) = operation.lexpr.as_deref() else {
            self.anchored(right).then_some(())?;
            return self.expr(right);
        };
        let kind = AExprKind::try_from(operation.kind).ok()?;
        let name = operation.name.last().and_then(string)?;
        if kind == AExprKind::AexprOp && COMPARISONS.contains(&name) && self.compared(left, right) {
            return Some(());
        }
        let anchored = [self.anchored(left), self.anchored(right)];
        // Collations that contradict each other are found by comparisons, which are leakproof, when they are called.
        let opaque = COMPARISONS.contains(&name)
            && anchored == [true, true]
            && (self.opaque(left) || self.opaque(right));
        (anchored != [false, false] && !opaque).then_some(())?;
        self.expr(left)?;
        self.expr(right)
    }

    /// A comparison of an anchored column with a value of a family that needs no conversion that fails: a column of an outer
    /// query, or a subquery of one row.
    pub(super) fn compared(&mut self, left: &Node, right: &Node) -> bool {
        let mut fits = |column: &Node, value: &Node| {
            self.anchored_column(column)
                && match inner(value) {
                    Some(NodeEnum::ColumnRef(_)) => true,
                    Some(NodeEnum::SubLink(link)) => self.sublink(link).is_some(),
                    Some(_) | None => false,
                }
                && comparable(
                    &Value::of(self.family(column)),
                    &Value::of(self.family(value)),
                )
        };
        fits(left, right) || fits(right, left)
    }

    pub(super) fn call(&mut self, node: &Node, call: &FuncCall) -> Enough {
        name_of(&call.funcname)?;
        if call.over.is_some() || is_aggregate(call) {
            // Above an aggregate of this level nothing of it is taken into a view; what it adds up may fail as it likes.
            self.anchored(node).then_some(())?;
            return self.asks_each(children(inner(node)?)?);
        }
        call.args
            .iter()
            .any(|arg| self.anchored(arg))
            .then_some(())?;
        call.args.iter().try_for_each(|arg| self.expr(arg))
    }

    /// A subquery inside an expression: it cannot fail, and whether it is a boolean. `IN`, `ANY` and `ALL` keep the
    /// condition out of a view, but may become joins.
    pub(super) fn sublink(&mut self, link: &SubLink) -> Enough<bool> {
        let Some(NodeEnum::SelectStmt(query)) = link.subselect.as_deref().and_then(inner) else {
            return None;
        };
        match SubLinkType::try_from(link.sub_link_type).ok()? {
            SubLinkType::AnySublink | SubLinkType::AllSublink => {
                let test = link.testexpr.as_deref()?;
                self.anchored(test).then_some(())?;
                self.expr(test)?;
                let output = self.select(query, false, 0)?;
                output
                    .anchored
                    .iter()
                    .all(|anchored| *anchored)
                    .then_some(true)
            }
            SubLinkType::ExistsSublink => {
                self.silent(query)?;
                Some(true)
            }
            SubLinkType::ExprSublink => {
                one_row(query).then_some(())?;
                self.silent(query)?;
                Some(false)
            }
            SubLinkType::RowcompareSublink
            | SubLinkType::MultiexprSublink
            | SubLinkType::ArraySublink
            | SubLinkType::CteSublink
            | SubLinkType::Undefined => None,
        }
    }

    pub(super) fn prover(&self) -> Prover<'_> {
        let items = |entries: &Vec<Entry>| entries.iter().map(|entry| entry.item.clone()).collect();
        Prover {
            ctes: self
                .ctes
                .iter()
                .map(|(name, entry)| (name.clone(), entry.item.clone()))
                .collect(),
            frames: self.frames.iter().map(items).collect(),
            parameter_types: self.parameter_types,
            vectors: self.grants.vectors(),
            server_version: self.grants.server_version(),
            parameters: HashMap::new(),
            uncertain: false,
        }
    }

    /// A query that cannot fail, whatever rows there are: proved as for the open form, over the shadows themselves.
    pub(super) fn silent(&self, query: &SelectStmt) -> Enough {
        self.step(PROVER_STEPS)?;
        let mut prover = self.prover();
        prover.parameters = self.parameters.take();
        let proved = prover.select(query, Mode::Inner, 0);
        self.parameters.replace(prover.parameters);
        proved.ok().map(drop)
    }
}
