//! Query levels: WITH, set operations, FROM, and which clauses of a level count.

use super::from::rename;
use super::types::Family;
use super::{COMPUTED, Column, Item, Mode, Prover, Why};
use pg_query::NodeEnum;
use pg_query::protobuf::{Node, ResTarget, SelectStmt, SetOperation, WithClause};

/// Whether something is proved.
type Proof = Result<(), Why>;

/// The node inside a wrapper, if any.
pub(super) fn inner(node: &Node) -> Option<&NodeEnum> {
    node.node.as_ref()
}

/// The string of a String node.
pub(super) fn string(node: &Node) -> Option<&str> {
    match inner(node)? {
        NodeEnum::String(string) => Some(&string.sval),
        _other => None,
    }
}

impl Prover<'_> {
    /// Proves a query; `skip` CTEs of its WITH list are shadows and already known. Returns its output.
    pub(crate) fn select(
        &mut self,
        select: &SelectStmt,
        mode: Mode,
        skip: usize,
    ) -> Result<Item, Why> {
        let known = self.ctes.len();
        if let Some(with) = &select.with_clause {
            self.with(with, skip)?;
        }
        let output = if select.op == SetOperation::SetopNone as i32 {
            if select.values_lists.is_empty() {
                self.level(select, mode)
            } else {
                self.values(select)
            }
        } else {
            self.set_operation(select, mode)
        };
        self.ctes.truncate(known);
        output
    }

    fn with(&mut self, with: &WithClause, skip: usize) -> Result<(), Why> {
        for node in with.ctes.iter().skip(skip) {
            let Some(NodeEnum::CommonTableExpr(cte)) = inner(node) else {
                return Err("WITH".into());
            };
            if with.recursive {
                return Err("WITH RECURSIVE".into());
            }
            let Some(NodeEnum::SelectStmt(query)) = cte.ctequery.as_deref().and_then(inner) else {
                return Err("WITH".into());
            };
            // A WITH query sees no FROM clause around it but those of outer levels, which `frames` holds.
            let mut output = self.select(query, Mode::Derived, 0)?;
            rename(&mut output, &cte.ctename, &cte.aliascolnames);
            self.ctes.push((cte.ctename.clone(), output));
        }
        Ok(())
    }

    fn set_operation(&mut self, select: &SelectStmt, mode: Mode) -> Result<Item, Why> {
        let (Some(left), Some(right)) = (&select.larg, &select.rarg) else {
            return Err("a set operation".into());
        };
        let appended = select.all
            && select.op == SetOperation::SetopUnion as i32
            && select.sort_clause.is_empty();
        let arm = match mode {
            Mode::Top if appended => Mode::Top,
            // Not the outermost level any more: the arms may be sorted by their outputs.
            Mode::Top | Mode::Derived => Mode::Derived,
            Mode::Inner => Mode::Inner,
        };
        let mut left = self.select(left, arm, 0)?;
        let right = self.select(right, arm, 0)?;
        for (index, (_, family)) in left.columns.iter_mut().enumerate() {
            let other = right.columns.get(index).map(|(_, family)| family);
            if other != Some(family) {
                if arm != Mode::Top && !other.is_some_and(|other| widens(family, other)) {
                    return Err("a set operation over different types".into());
                }
                *family = Family::Opaque;
            }
            if mode == Mode::Inner && sorts(family).is_err() {
                return Err(
                    "a set operation over types whose comparison is not known to be silent".into(),
                );
            }
        }
        left.complete &= right.complete;
        left.fallible |= right.fallible;
        self.limits(select, mode)?;
        Ok(left)
    }

    fn values(&mut self, select: &SelectStmt) -> Result<Item, Why> {
        let mut width = 0;
        for row in &select.values_lists {
            let Some(NodeEnum::List(list)) = inner(row) else {
                return Err("VALUES".into());
            };
            width = width.max(list.items.len());
            for item in &list.items {
                if !self.counted(item)?.constant {
                    return Err("VALUES with an expression".into());
                }
            }
        }
        let columns = (1..=width)
            .map(|number| (format!("column{number}"), Family::Opaque))
            .collect();
        Ok(Item {
            columns,
            ..Item::empty()
        })
    }

    fn level(&mut self, select: &SelectStmt, mode: Mode) -> Result<Item, Why> {
        let above = std::mem::take(&mut self.uncertain);
        let mut items = Vec::new();
        for node in &select.from_clause {
            let more = self.from(node, &items)?;
            items.extend(more);
        }
        let fallible = items.iter().any(|item| item.fallible);
        if fallible {
            lone(&items, select, mode)?;
        }
        self.frames.push(items);
        let output = self.clauses(select, mode);
        self.frames.pop();
        let fallible = fallible || self.uncertain;
        self.uncertain = above;
        let mut output = output?;
        output.fallible = fallible;
        Ok(output)
    }

    fn clauses(&mut self, select: &SelectStmt, mode: Mode) -> Result<Item, Why> {
        if let Some(condition) = &select.where_clause {
            self.counted(condition)?;
        }
        let (output, proofs) = self.targets(&select.target_list, mode)?;
        for node in &select.group_clause {
            self.key(node, &output, &proofs)?;
        }
        for node in &select.distinct_clause {
            // DISTINCT without ON is a list with one empty node.
            if inner(node).is_some() {
                self.key(node, &output, &proofs)?;
            } else {
                proofs.iter().try_for_each(Clone::clone)?;
            }
        }
        for conjunct in select.having_clause.iter().flat_map(|node| conjuncts(node)) {
            let proved = self.counted(conjunct).map(drop);
            if proved.is_err() && mode != Mode::Inner && self.above(conjunct) {
                self.uncounted(conjunct)?;
            } else {
                proved?;
            }
        }
        for node in &select.sort_clause {
            if let Some(NodeEnum::SortBy(sort)) = inner(node)
                && let Some(key) = sort.node.as_deref()
            {
                self.key(key, &output, &proofs)?;
            }
        }
        for node in &select.window_clause {
            match inner(node) {
                Some(NodeEnum::WindowDef(window)) if mode != Mode::Inner => {
                    self.window_keys(window)?;
                    self.uncounted(node)?;
                }
                Some(_) | None => return Err("a window in a condition's subquery".into()),
            }
        }
        self.limits(select, mode)?;
        Ok(output)
    }

    /// A GROUP BY, DISTINCT ON or sort key. A position or a name stands for an output; a name may mean a
    /// column of FROM as well, by rules that differ from clause to clause, so both are looked at.
    fn key(&mut self, node: &Node, output: &Item, proofs: &[Proof]) -> Result<(), Why> {
        if let Some(NodeEnum::AConst(constant)) = inner(node) {
            let position = super::literal::integer(constant).and_then(|n| usize::try_from(n).ok());
            let proof = position.and_then(|n| proofs.get(n.checked_sub(1)?));
            return proof.cloned().unwrap_or_else(|| Err("a sort key".into()));
        }
        if let Some(NodeEnum::GroupingSet(set)) = inner(node) {
            let mut content = set.content.iter();
            return content.try_for_each(|node| self.key(node, output, proofs));
        }
        if let Some(NodeEnum::ColumnRef(column)) = inner(node)
            && let [only] = column.fields.as_slice()
            && let Some(name) = string(only)
        {
            let mut named = 0;
            for ((known, _), proof) in output.columns.iter().zip(proofs) {
                // An output whose name is not known here might have this one.
                if known == name || known.is_empty() {
                    named += usize::from(known == name);
                    proof.clone()?;
                }
            }
            let in_from = self.frames.last().into_iter().flatten().any(|item| {
                !item.complete
                    || item.alias == name
                    || item.columns.iter().any(|(column, _)| column == name)
            });
            if named > 0 && !in_from {
                return Ok(());
            }
        }
        self.sort_key(node)
    }

    fn limits(&mut self, select: &SelectStmt, mode: Mode) -> Result<(), Why> {
        for node in [&select.limit_count, &select.limit_offset]
            .into_iter()
            .flatten()
        {
            // A negative LIMIT raises when the level first runs: outside the outermost that would tell that it ran.
            let plain = match inner(node) {
                Some(NodeEnum::AConst(constant)) => {
                    constant.isnull
                        || super::literal::integer(constant).is_some_and(|count| count >= 0)
                }
                Some(_) | None => mode == Mode::Top,
            };
            if !plain {
                return Err("LIMIT with an expression in a subquery".into());
            }
            if mode == Mode::Top {
                self.uncounted(node)?;
            }
        }
        Ok(())
    }

    /// The output list, and for each column whether it may be sorted by before the permission filter.
    fn targets(&mut self, targets: &[Node], mode: Mode) -> Result<(Item, Vec<Proof>), Why> {
        let mut output = Item::empty();
        let mut proofs = Vec::with_capacity(targets.len());
        for node in targets {
            let Some(NodeEnum::ResTarget(target)) = inner(node) else {
                return Err("the output list".into());
            };
            let Some(value) = target.val.as_deref() else {
                return Err("the output list".into());
            };
            if let Some(columns) = self.star(value)? {
                proofs.extend(columns.iter().map(|(_, family)| sorts(family)));
                output.columns.extend(columns);
                continue;
            }
            let (family, proof) = self.target(value, mode)?;
            proofs.push(proof);
            match super::parts::output_name(target_name(target), value) {
                Some(name) => output.columns.push((name, family)),
                None => {
                    output.columns.push((String::new(), family));
                    output.complete = false;
                }
            }
        }
        Ok((output, proofs))
    }

    fn target(&mut self, value: &Node, mode: Mode) -> Result<(Family, Proof), Why> {
        let counted = self.counted(value).map(|value| match value.family {
            Family::Unknown => Family::Text,
            family => family,
        });
        match counted {
            Ok(family) => {
                let proof = sorts(&family);
                Ok((family, proof))
            }
            Err(why) if mode == Mode::Inner => Err(why),
            Err(_) if self.above(value) => {
                self.uncounted(value)?;
                Ok((self.infer(value), Ok(())))
            }
            Err(why) if mode == Mode::Top => {
                self.uncounted(value)?;
                Ok((Family::Opaque, Err(why)))
            }
            Err(why) => Err(why),
        }
    }

    /// The columns of `*` or `t.*`; `None` if the expression is something else.
    fn star(&self, value: &Node) -> Result<Option<Vec<Column>>, Why> {
        let Some(NodeEnum::ColumnRef(column)) = inner(value) else {
            return Ok(None);
        };
        let Some((last, qualifier)) = column.fields.split_last() else {
            return Ok(None);
        };
        let Some(NodeEnum::AStar(_)) = inner(last) else {
            return Ok(None);
        };
        let items = self.frames.last().map(Vec::as_slice).unwrap_or_default();
        let columns = match qualifier {
            [] if items.iter().any(|item| item.alias.is_empty()) => {
                return Err("* over JOIN ... USING".into());
            }
            [] => items
                .iter()
                .flat_map(|item| item.columns.iter().cloned())
                .collect(),
            [alias] => {
                let alias = string(alias).unwrap_or_default();
                let mut found = self
                    .frames
                    .iter()
                    .rev()
                    .flat_map(|frame| frame.iter())
                    .filter(|item| item.alias == alias);
                found
                    .next()
                    .map(|item| item.columns.clone())
                    .ok_or("an unknown alias")?
            }
            _several => return Err("a qualified *".into()),
        };
        if columns
            .iter()
            .any(|(_, family)| *family == Family::Computed)
        {
            return Err(COMPUTED.into());
        }
        Ok(Some(columns))
    }
}

pub(super) fn sorts(family: &Family) -> Result<(), Why> {
    match family {
        Family::Computed | Family::Opaque => {
            Err("grouping or sorting by a type whose comparison is not known to be silent".into())
        }
        _known => Ok(()),
    }
}

/// Whether values of two families become one type without an error.
pub(super) fn widens(a: &Family, b: &Family) -> bool {
    matches!(
        (a, b),
        (Family::Integer, Family::Numeric | Family::Float)
            | (Family::Numeric | Family::Float, Family::Integer)
    )
}

/// A subquery that may fail stands alone: nothing beside it, or around it, decides on a row the caller may
/// not see whether it runs.
fn lone(items: &[Item], select: &SelectStmt, mode: Mode) -> Result<(), Why> {
    let relations = items.iter().filter(|item| !item.alias.is_empty()).count();
    let asks = select.where_clause.as_deref().is_some_and(Prover::asks);
    if relations == 1 && !asks && mode != Mode::Inner {
        Ok(())
    } else {
        Err("a subquery that may fail beside another relation".into())
    }
}

fn target_name(target: &ResTarget) -> Option<&str> {
    if target.name.is_empty() {
        None
    } else {
        Some(&target.name)
    }
}

pub(super) fn conjuncts(node: &Node) -> Vec<&Node> {
    match inner(node) {
        Some(NodeEnum::BoolExpr(and))
            if and.boolop == pg_query::protobuf::BoolExprType::AndExpr as i32 =>
        {
            and.args.iter().flat_map(conjuncts).collect()
        }
        Some(_) | None => vec![node],
    }
}
