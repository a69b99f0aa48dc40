//! Query levels: WITH, set operations, FROM, and which clauses of a level count.

use super::types::{Family, Value, comparable};
use super::{Column, Item, Mode, Prover, Why};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    Alias, JoinExpr, Node, RangeFunction, RangeSubselect, ResTarget, SelectStmt, SetOperation,
    WithClause,
};

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
            let position = super::expr::integer(constant).and_then(|n| usize::try_from(n).ok());
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
                        || super::expr::integer(constant).is_some_and(|count| count >= 0)
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
            match super::expr::output_name(target_name(target), value) {
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
        Ok(Some(columns))
    }

    /// The items of one FROM entry; `left` are those a LATERAL entry may see.
    fn from(&mut self, node: &Node, left: &[Item]) -> Result<Vec<Item>, Why> {
        match inner(node) {
            Some(NodeEnum::RangeVar(table)) => {
                let found = self
                    .ctes
                    .iter()
                    .rev()
                    .find(|(name, _)| *name == table.relname);
                let Some((_, item)) = found else {
                    return Err("an unknown relation".into());
                };
                let mut item = item.clone();
                alias(&mut item, &table.relname, table.alias.as_ref());
                Ok(vec![item])
            }
            Some(NodeEnum::RangeSubselect(derived)) => self.derived(derived, left),
            Some(NodeEnum::JoinExpr(join)) => self.join(join, left),
            Some(NodeEnum::RangeFunction(function)) => self.range_function(function),
            Some(_other) => Err("this FROM entry".into()),
            None => Err("FROM".into()),
        }
    }

    fn derived(&mut self, derived: &RangeSubselect, left: &[Item]) -> Result<Vec<Item>, Why> {
        let Some(NodeEnum::SelectStmt(query)) = derived.subquery.as_deref().and_then(inner) else {
            return Err("a subquery".into());
        };
        let mut item = if derived.lateral {
            self.frames.push(left.to_vec());
            let item = self.select(query, Mode::Inner, 0);
            self.frames.pop();
            item?
        } else {
            self.select(query, Mode::Derived, 0)?
        };
        alias(&mut item, "", derived.alias.as_ref());
        Ok(vec![item])
    }

    fn join(&mut self, join: &JoinExpr, left: &[Item]) -> Result<Vec<Item>, Why> {
        let (Some(larg), Some(rarg)) = (join.larg.as_deref(), join.rarg.as_deref()) else {
            return Err("JOIN".into());
        };
        if join.is_natural {
            return Err("NATURAL JOIN".into());
        }
        if join.alias.is_some() || join.join_using_alias.is_some() {
            return Err("an alias on a join".into());
        }
        let mut items = self.from(larg, left)?;
        let mut visible = left.to_vec();
        visible.extend(items.iter().cloned());
        let right = self.from(rarg, &visible)?;
        let mut merged = Item::empty();
        for node in &join.using_clause {
            let name = string(node).unwrap_or_default();
            let (a, b) = (plain(&items, name)?, plain(&right, name)?);
            // The merged column has one type, and a date beyond the timestamps does not fit it.
            let merges = a == b || widens(&a, &b);
            if !merges || !comparable(&Value::of(a.clone()), &Value::of(b.clone())) {
                return Err("USING over types whose comparison is not known to be silent".into());
            }
            merged
                .columns
                .push((name.to_owned(), if a == b { a } else { Family::Opaque }));
        }
        for (name, _) in &merged.columns {
            // What an inner USING merged is merged again: one column of that name remains.
            let older = items.iter_mut().filter(|item| item.alias.is_empty());
            older.for_each(|item| item.columns.retain(|(known, _)| known != name));
        }
        items.extend(right);
        if let Some(condition) = &join.quals {
            self.frames.push(items.clone());
            let proved = self.counted(condition);
            self.frames.pop();
            proved?;
        }
        if !merged.columns.is_empty() {
            items.insert(0, merged);
        }
        Ok(items)
    }

    /// `generate_series` over literals; any other function in FROM runs per row of what stands left of it.
    fn range_function(&mut self, function: &RangeFunction) -> Result<Vec<Item>, Why> {
        let [only] = function.functions.as_slice() else {
            return Err("ROWS FROM".into());
        };
        let Some(NodeEnum::List(list)) = inner(only) else {
            return Err("a function in FROM".into());
        };
        let Some(NodeEnum::FuncCall(call)) = list.items.first().and_then(inner) else {
            return Err("a function in FROM".into());
        };
        let integers: Vec<i32> = call
            .args
            .iter()
            .filter_map(super::expr::integer_node)
            .collect();
        let named =
            matches!(call.funcname.as_slice(), [name] if string(name) == Some("generate_series"));
        let harmless = named
            && integers.len() == call.args.len()
            && !function.ordinality
            && function.coldeflist.is_empty()
            && integers.get(2) != Some(&0);
        if !harmless {
            return Err("a function in FROM".into());
        }
        let name = function
            .alias
            .as_ref()
            .map_or("generate_series", |alias| alias.aliasname.as_str());
        let column = function
            .alias
            .as_ref()
            .and_then(|alias| alias.colnames.first())
            .and_then(string);
        let columns = vec![(column.unwrap_or(name).to_owned(), Family::Integer)];
        Ok(vec![Item {
            alias: name.to_owned(),
            columns,
            ..Item::empty()
        }])
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
fn widens(a: &Family, b: &Family) -> bool {
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

/// The one column of this name; merged columns win, as they do in PostgreSQL.
pub(super) fn plain(items: &[Item], name: &str) -> Result<Family, Why> {
    let ambiguous = || "an ambiguous column".to_owned();
    let in_item = |item: &Item| -> Vec<Family> {
        item.columns
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, family)| family.clone())
            .collect()
    };
    let merged: Vec<Family> = items
        .iter()
        .filter(|item| item.alias.is_empty())
        .flat_map(in_item)
        .collect();
    let found = if merged.is_empty() {
        items.iter().flat_map(in_item).collect()
    } else {
        merged
    };
    if items.iter().any(|item| !item.complete) {
        return Err(ambiguous());
    }
    match <[Family; 1]>::try_from(found) {
        Ok([family]) => Ok(family),
        Err(found) if found.is_empty() => Err("an unknown column".to_owned()),
        Err(_several) => Err(ambiguous()),
    }
}

fn alias(item: &mut Item, name: &str, alias: Option<&Alias>) {
    match alias {
        Some(alias) => rename(item, &alias.aliasname, &alias.colnames),
        // A subquery without alias (version 16 on) still hides no merged columns: give it a name of its own.
        None if name.is_empty() => item.alias = "?".to_owned(),
        None => item.alias = name.to_owned(),
    }
}

fn rename(item: &mut Item, name: &str, columns: &[Node]) {
    item.alias = name.to_owned();
    for ((known, _), new) in item.columns.iter_mut().zip(columns) {
        *known = string(new).unwrap_or_default().to_owned();
    }
}

fn conjuncts(node: &Node) -> Vec<&Node> {
    match inner(node) {
        Some(NodeEnum::BoolExpr(and))
            if and.boolop == pg_query::protobuf::BoolExprType::AndExpr as i32 =>
        {
            and.args.iter().flat_map(conjuncts).collect()
        }
        Some(_) | None => vec![node],
    }
}
