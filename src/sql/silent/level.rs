//! Query levels: WITH, set operations, FROM, and which clauses of a level count.

use super::types::{Family, Value, comparable};
use super::{Column, Item, Mode, Prover, Why};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    Alias, JoinExpr, Node, RangeFunction, RangeSubselect, ResTarget, SelectStmt, SetOperation,
    WithClause,
};

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
        let mut left = self.select(left, mode, 0)?;
        let right = self.select(right, mode, 0)?;
        for (index, (_, family)) in left.columns.iter_mut().enumerate() {
            let other = right.columns.get(index).map(|(_, family)| family);
            if other != Some(family) {
                *family = Family::Opaque;
            }
            if mode == Mode::Inner && sorts(family).is_err() {
                return Err(
                    "a set operation over types whose comparison is not known to be silent".into(),
                );
            }
        }
        left.complete &= right.complete;
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
            alias: String::new(),
            columns,
            complete: true,
        })
    }

    fn level(&mut self, select: &SelectStmt, mode: Mode) -> Result<Item, Why> {
        let mut items = Vec::new();
        for node in &select.from_clause {
            let more = self.from(node, &items)?;
            items.extend(more);
        }
        self.frames.push(items);
        let output = self.clauses(select, mode);
        self.frames.pop();
        output
    }

    fn clauses(&mut self, select: &SelectStmt, mode: Mode) -> Result<Item, Why> {
        if let Some(condition) = &select.where_clause {
            self.counted(condition)?;
        }
        let output = self.targets(&select.target_list, mode)?;
        for node in select.group_clause.iter().chain(&select.distinct_clause) {
            // DISTINCT without ON is a list with one empty node.
            if inner(node).is_some() {
                self.by_mode(node, mode, &output)?;
            }
        }
        if mode == Mode::Inner && !select.distinct_clause.is_empty() {
            output
                .columns
                .iter()
                .try_for_each(|(_, family)| sorts(family))?;
        }
        for conjunct in select.having_clause.iter().flat_map(|node| conjuncts(node)) {
            if mode == Mode::Inner || !self.aggregates(conjunct) {
                self.counted(conjunct)?;
            } else {
                self.uncounted(conjunct)?;
            }
        }
        for node in select.sort_clause.iter().chain(&select.window_clause) {
            match inner(node) {
                Some(NodeEnum::SortBy(sort)) => match &sort.node {
                    Some(key) if mode == Mode::Inner => self.by_mode(key, mode, &output)?,
                    Some(key) => self.uncounted(key)?,
                    None => {}
                },
                Some(_window) if mode == Mode::Inner => {
                    return Err("a window in a condition's subquery".into());
                }
                Some(_window) => self.uncounted(node)?,
                None => {}
            }
        }
        self.limits(select, mode)?;
        Ok(output)
    }

    /// A GROUP BY, DISTINCT ON or sort key: a position or an output name stands for an output that has been looked
    /// at; anything else counts unless the level is outermost.
    fn by_mode(&mut self, node: &Node, mode: Mode, output: &Item) -> Result<(), Why> {
        if mode == Mode::Top {
            return self.uncounted(node);
        }
        if let Some(NodeEnum::AConst(_)) = inner(node) {
            return Ok(());
        }
        if let Some(NodeEnum::GroupingSet(set)) = inner(node) {
            return set
                .content
                .iter()
                .try_for_each(|node| self.by_mode(node, mode, output));
        }
        if let Some(NodeEnum::ColumnRef(column)) = inner(node)
            && let [only] = column.fields.as_slice()
            && string(only)
                .is_some_and(|name| output.columns.iter().any(|(known, _)| known == name))
        {
            return if mode == Mode::Inner {
                self.counted(node).and_then(|value| sorts(&value.family))
            } else {
                Ok(())
            };
        }
        let value = self.counted(node)?;
        if mode == Mode::Inner {
            sorts(&value.family)
        } else {
            Ok(())
        }
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
            self.uncounted(node)?;
        }
        Ok(())
    }

    fn targets(&mut self, targets: &[Node], mode: Mode) -> Result<Item, Why> {
        let mut output = Item {
            alias: String::new(),
            columns: Vec::new(),
            complete: true,
        };
        for node in targets {
            let Some(NodeEnum::ResTarget(target)) = inner(node) else {
                return Err("the output list".into());
            };
            let Some(value) = target.val.as_deref() else {
                return Err("the output list".into());
            };
            if let Some(columns) = self.star(value)? {
                output.columns.extend(columns);
                continue;
            }
            let above = self.aggregates(value);
            let family = match mode {
                Mode::Inner => self.counted(value)?.family,
                Mode::Derived if !above => self.counted(value)?.family,
                Mode::Derived => {
                    self.uncounted(value)?;
                    self.infer(value)
                }
                Mode::Top => {
                    self.uncounted(value)?;
                    Family::Opaque
                }
            };
            let family = if family == Family::Unknown {
                Family::Text
            } else {
                family
            };
            match super::expr::output_name(target_name(target), value) {
                Some(name) => output.columns.push((name, family)),
                None => {
                    output.columns.push((String::new(), family));
                    output.complete = false;
                }
            }
        }
        Ok(output)
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
        let mut merged = Item {
            alias: String::new(),
            columns: Vec::new(),
            complete: true,
        };
        for node in &join.using_clause {
            let name = string(node).unwrap_or_default();
            let (a, b) = (plain(&items, name)?, plain(&right, name)?);
            if !comparable(&Value::of(a.clone()), &Value::of(b.clone())) {
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
            complete: true,
        }])
    }
}

fn sorts(family: &Family) -> Result<(), Why> {
    match family {
        Family::Computed | Family::Opaque => {
            Err("grouping or sorting by a type whose comparison is not known to be silent".into())
        }
        _known => Ok(()),
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
