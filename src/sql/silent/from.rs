//! FROM: which columns, of which types, an entry brings into scope.

use super::level::{inner, string, widens};
use super::types::{Family, Value, comparable};
use super::{COMPUTED, Item, Mode, Prover, Why};
use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, JoinExpr, Node, RangeFunction, RangeSubselect};

impl Prover<'_> {
    /// The items of one FROM entry; `left` are those a LATERAL entry may see.
    pub(super) fn from(&mut self, node: &Node, left: &[Item]) -> Result<Vec<Item>, Why> {
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
                let renamed = table
                    .alias
                    .as_ref()
                    .is_some_and(|alias| !alias.colnames.is_empty());
                if renamed && item.computes() {
                    // Names by position: the open form has fewer columns.
                    return Err(COMPUTED.into());
                }
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
            .filter_map(super::literal::integer_node)
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

/// Gives an item another name, and its first columns others.
pub(super) fn rename(item: &mut Item, name: &str, columns: &[Node]) {
    item.alias = name.to_owned();
    for ((known, _), new) in item.columns.iter_mut().zip(columns) {
        *known = string(new).unwrap_or_default().to_owned();
    }
}
