//! Expressions that conditions are made of: silent, by itself, or held by columns.

use super::super::above::{is_aggregate, name_of};
use super::super::level::{conjuncts, inner, string};
use super::super::literal::type_family;
use super::super::parts::children;
use super::super::types::Family;
use super::super::{Prover, Why};
use super::{Barrier, Enough, Entry, Kept, PROVER_STEPS, named};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    AExpr, AExprKind, CaseExpr, FuncCall, Node, SelectStmt, SetOperation, SubLinkType,
};

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
        let mut parts = children(node)?.into_iter();
        parts.try_for_each(|part| self.asks(part))
    }

    pub(super) fn asks_all(&mut self, nodes: &[Node]) -> Enough {
        nodes.iter().try_for_each(|node| self.asks(node))
    }

    /// A condition, or a value that one may be made of.
    pub(super) fn condition(&mut self, node: &Node) -> Enough {
        self.step(1)?;
        let holds = self.by_itself(node)
            || self.prove(|prover| prover.counted(node)).is_some()
            || self.held(node).is_some();
        holds.then_some(())
    }

    /// What the open form's proof says, over the shadows themselves.
    pub(super) fn prove<T>(
        &self,
        ask: impl FnOnce(&mut Prover<'_>) -> Result<T, Why>,
    ) -> Enough<T> {
        self.step(PROVER_STEPS)?;
        let items = |entries: &Vec<Entry>| entries.iter().map(|entry| entry.item.clone()).collect();
        let ctes = self.ctes.iter();
        let mut prover = Prover {
            ctes: ctes
                .map(|(name, entry)| (name.clone(), entry.item.clone()))
                .collect(),
            frames: self.frames.iter().map(items).collect(),
            parameter_types: self.parameter_types,
            vectors: self.grants.vectors(),
            server_version: self.grants.server_version(),
            parameters: self.parameters.take(),
            uncertain: false,
        };
        let proved = ask(&mut prover);
        self.parameters
            .replace(std::mem::take(&mut prover.parameters));
        proved.ok()
    }

    /// What a column of this level may turn into; `No` for anything else.
    pub(super) fn kept(&self, node: &Node) -> Kept {
        kept_of(self.frames.last(), node)
    }

    /// Each call in it has a column of this level below it. Whether the whole has one, too, however PostgreSQL simplifies
    /// it: a strict function of NULL is NULL, and CASE, COALESCE, AND and OR lose what cannot be reached.
    pub(super) fn held(&mut self, node: &Node) -> Enough<bool> {
        self.step(1)?;
        match inner(node)? {
            NodeEnum::ColumnRef(_) => (self.kept(node) == Kept::Yes).then_some(true),
            NodeEnum::BoolExpr(and_or_not) => {
                let mut parts = and_or_not.args.iter();
                parts.try_for_each(|part| self.condition(part))?;
                Some(false)
            }
            NodeEnum::NullTest(test) => self.tested(test.arg.as_deref()?),
            NodeEnum::BooleanTest(test) => self.tested(test.arg.as_deref()?),
            NodeEnum::CaseExpr(case) => self.case(case),
            NodeEnum::CoalesceExpr(coalesce) => {
                let (first, rest) = coalesce.args.split_first()?;
                let kept = self.alternative(first)?;
                for arg in rest {
                    self.alternative(arg)?;
                }
                Some(kept)
            }
            NodeEnum::AExpr(operation) => self.operation(operation),
            NodeEnum::FuncCall(call) => self.call(node, call),
            NodeEnum::TypeCast(cast) => {
                // The elements of an array are converted without a word of the column they stand in, and a number beside an oid
                // is turned into one.
                let target = cast.type_name.as_ref()?;
                let odd = !target.array_bounds.is_empty() || type_family(target) == Family::Oid;
                (!odd).then_some(())?;
                self.operands([cast.arg.as_deref()?])
            }
            NodeEnum::SubLink(link) => {
                let NodeEnum::SelectStmt(query) = inner(link.subselect.as_deref()?)? else {
                    return None;
                };
                match SubLinkType::try_from(link.sub_link_type).ok()? {
                    SubLinkType::AnySublink | SubLinkType::AllSublink => {
                        self.among(link.testexpr.as_deref()?, query)
                    }
                    SubLinkType::ExprSublink | SubLinkType::ExistsSublink => self.correlated(query),
                    _other => None,
                }
            }
            _other => None,
        }
    }

    /// The operands of one call: one at least is held, and the others are, too, or stand by themselves.
    fn operands<'n>(&mut self, operands: impl IntoIterator<Item = &'n Node>) -> Enough<bool> {
        let (mut held, mut kept) = (false, true);
        for operand in operands {
            if self.by_itself(operand) {
                kept &= is_value(operand);
            } else {
                held |= self.held(operand).filter(|held| *held)?;
            }
        }
        held.then_some(kept)
    }

    /// What is looked at for being null or true: any column, any value.
    fn tested(&mut self, node: &Node) -> Enough<bool> {
        if !matches!(inner(node)?, NodeEnum::ColumnRef(_)) {
            self.condition(node)?;
        }
        Some(false)
    }

    fn case(&mut self, case: &CaseExpr) -> Enough<bool> {
        // The operand is compared where it is no column any more.
        case.arg.is_none().then_some(())?;
        let mut kept = case.defresult.is_some();
        for node in &case.args {
            let NodeEnum::CaseWhen(when) = inner(node)? else {
                return None;
            };
            self.condition(when.expr.as_deref()?)?;
            kept &= self.alternative(when.result.as_deref()?)?;
        }
        if let Some(default) = case.defresult.as_deref() {
            kept &= self.alternative(default)?;
        }
        Some(kept)
    }

    /// One of several values, which are turned into one type: a literal is while the query is planned. Whether it is held.
    fn alternative(&mut self, node: &Node) -> Enough<bool> {
        match inner(node)? {
            NodeEnum::AConst(_) => Some(false),
            NodeEnum::ParamRef(parameter) => self.plain_parameter(parameter).then_some(false),
            _other => self.held(node).filter(|held| *held),
        }
    }

    fn operation(&mut self, operation: &AExpr) -> Enough<bool> {
        let right = operation.rexpr.as_deref()?;
        let Some(left) = operation.lexpr.as_deref() else {
            return self.operands([right]);
        };
        let name = operation.name.last().and_then(string)?;
        let kind = AExprKind::try_from(operation.kind).ok()?;
        if name != "^@" && (self.gives_type(left, right) || self.gives_type(right, left)) {
            let constant = is_value(left) || is_value(right);
            return Some(constant && kind == AExprKind::AexprOp);
        }
        match (kind, inner(right)) {
            (AExprKind::AexprOp | AExprKind::AexprNullif, _) => self.operands([left, right]),
            (
                AExprKind::AexprDistinct
                | AExprKind::AexprNotDistinct
                | AExprKind::AexprOpAny
                | AExprKind::AexprOpAll
                | AExprKind::AexprLike
                | AExprKind::AexprIlike
                | AExprKind::AexprSimilar,
                _,
            ) => self.operands([left, right]).map(|_| false),
            // Several operations, each with one of the list; values in IN are turned into one type before.
            (kind, Some(NodeEnum::List(list))) => {
                for item in &list.items {
                    if kind == AExprKind::AexprIn {
                        self.alternative(item)?;
                    }
                    self.operands([left, item])?;
                }
                Some(false)
            }
            _other => None,
        }
    }

    /// Whether one is an odd column, and the other a literal, which takes its type.
    fn gives_type(&self, column: &Node, literal: &Node) -> bool {
        self.kept(column) == Kept::Odd
            && match inner(literal) {
                Some(NodeEnum::AConst(_)) => true,
                Some(NodeEnum::ParamRef(parameter)) => {
                    self.undeclared(parameter) && self.once(parameter)
                }
                Some(NodeEnum::List(list)) => list.items.iter().all(is_literal),
                Some(NodeEnum::AArrayExpr(array)) => array.elements.iter().all(is_literal),
                Some(_) | None => false,
            }
    }

    fn call(&mut self, node: &Node, call: &FuncCall) -> Enough<bool> {
        name_of(&call.funcname)?;
        if call.over.is_some() || is_aggregate(call) {
            // Above an aggregate of this level nothing of it is taken into a view; what it adds up may fail as it likes.
            self.prove(|prover| prover.own_aggregate(call))?;
            let mut parts = children(inner(node)?)?.into_iter();
            parts.try_for_each(|part| self.asks(part))?;
            return Some(true);
        }
        let kept = self.operands(&call.args)?;
        Some(kept && !call.func_variadic)
    }

    /// `IN`, `ANY` and `ALL` keep the condition out of a view, but may become joins.
    fn among(&mut self, test: &Node, query: &SelectStmt) -> Enough<bool> {
        self.operands([test])?;
        let output = self.select(query, false, 0)?;
        let held = output.kept.iter().all(|kept| *kept == Kept::Yes);
        held.then_some(false)
    }

    /// A subquery that needs a column of this level is run for each of its rows, and PostgreSQL takes no condition with such a one
    /// into a view (`contain_subplans`): it may fail as it likes. It needs one where its own conditions are comparisons
    /// that stay, one of them with such a column. EXISTS may become a join of the same conditions.
    fn correlated(&mut self, query: &SelectStmt) -> Enough<bool> {
        let plain = query.op == SetOperation::SetopNone as i32 && query.with_clause.is_none();
        plain.then_some(())?;
        let mut entries = Vec::new();
        for node in &query.from_clause {
            self.from(node, &mut entries)?;
        }
        let conditions = conjuncts(query.where_clause.as_deref()?);
        let needs = self.beside(entries, |barrier| {
            let mut needs = false;
            for condition in conditions {
                needs |= barrier.needs(condition)?;
            }
            Some(needs)
        });
        needs?.then_some(())?;
        self.select(query, false, 0)?;
        Some(true)
    }

    /// Whether a comparison, which stays, is of a column with one of the level around.
    fn needs(&mut self, condition: &Node) -> Enough<bool> {
        let NodeEnum::AExpr(operation) = inner(condition)? else {
            return None;
        };
        let sides = (operation.lexpr.as_deref()?, operation.rexpr.as_deref()?);
        let around = self.frames.len().checked_sub(2)?;
        let joins = |column: &Node, other: &Node| {
            self.kept(column) == Kept::Yes
                && !self.frames.last().is_some_and(|frame| knows(frame, other))
                && kept_of(self.frames.get(around), other) == Kept::Yes
        };
        let plain = operation.kind == AExprKind::AexprOp as i32;
        if plain && (joins(sides.0, sides.1) || joins(sides.1, sides.0)) {
            return Some(true);
        }
        self.operation(operation)
            .filter(|kept| *kept)
            .map(|_| false)
    }
}

/// What a column of this level may turn into; `No` for anything else.
fn kept_of(frame: Option<&Vec<Entry>>, node: &Node) -> Kept {
    let entries = frame.map(Vec::as_slice).unwrap_or_default();
    match names(node).as_slice() {
        [Some(name)] => named(entries, name),
        [Some(alias), Some(name)] => {
            let mut found = entries.iter().filter(|entry| entry.item.alias == *alias);
            found.next().map_or(Kept::No, |entry| entry.kept(name))
        }
        _other => Kept::No,
    }
}

/// Whether a name may mean something of this level.
fn knows(entries: &[Entry], node: &Node) -> bool {
    let names = names(node);
    let first = names.first().copied().flatten();
    entries.iter().any(|entry| {
        let mut columns = entry.item.columns.iter();
        !entry.item.complete
            || Some(entry.item.alias.as_str()) == first
            || columns.any(|(name, _)| Some(name.as_str()) == first)
    })
}

/// The names of a column.
fn names(node: &Node) -> Vec<Option<&str>> {
    match inner(node) {
        Some(NodeEnum::ColumnRef(column)) => column.fields.iter().map(string).collect(),
        Some(_) | None => Vec::new(),
    }
}

pub(super) fn is_literal(node: &Node) -> bool {
    matches!(inner(node), Some(NodeEnum::AConst(_)))
}

/// Whether it is a literal other than NULL, with or without its type.
fn is_value(node: &Node) -> bool {
    match inner(node) {
        Some(NodeEnum::AConst(constant)) => !constant.isnull,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(is_value),
        Some(_) | None => false,
    }
}
