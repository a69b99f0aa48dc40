//! Whether PostgreSQL's own barrier is enough for a query that is not silent, or its shadows have to be computed apart.
//!
//! PostgreSQL takes a condition into a `security_barrier` view unless a function that is not leakproof gets a column
//! in it (`qual_is_pushdown_safe`, `contain_leaked_vars`). A function that gets none may go in, and may fail there:
//!
//! ```sql
//! SELECT count(*) FROM invoices WHERE note < 'M' OR 1 / (SELECT 0) = 1
//! ```
//!
//! divides for each hidden row with a note behind M, and so tells of it. The divisor is a parameter while the query
//! runs, as are `$1` in a kept plan, a column of an outer query, and the word `now()`; a literal is folded while the
//! query is planned, and fails for everybody alike.
//!
//! So each operation in a condition, and in whatever output a condition may be made of, has to hold on to a column of
//! its own level ([`Barrier::anchored`]: one that no simplification takes away), beside which only stands what cannot
//! fail by itself. Anything else, and whatever is not known here, makes the shadows `AS MATERIALIZED`, which no
//! condition is taken into.

mod alone;
mod anchor;
mod condition;
#[cfg(test)]
mod tests;

use super::from::rename;
use super::level::{inner, string};
use super::parts::output_name;
use super::types::Family;
use super::{Item, ShadowedTable};
use crate::policy::Grants;
use pg_query::NodeEnum;
use pg_query::protobuf::{JoinExpr, Node, ResTarget, SelectStmt, SetOperation};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// Operators that compare.
const COMPARISONS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];

/// A FROM item, and which of its columns are certainly columns of a shadow when a condition is pushed.
#[derive(Clone)]
struct Entry {
    item: Item,
    anchored: Vec<bool>,
}

/// `Some` if the barrier is enough for it; `None` in any doubt.
type Enough<T = ()> = Option<T>;

/// How often an expression is looked at in one query: what wants more, such as subqueries deep in each other, which are
/// looked at from several sides on each level, is in doubt.
const STEPS_MAX: u32 = 50_000;
/// What it counts to ask the proof of the open form.
const PROVER_STEPS: u32 = 20;

struct Barrier<'t> {
    ctes: Vec<(String, Entry)>,
    frames: Vec<Vec<Entry>>,
    parameter_types: &'t [u32],
    grants: &'t Grants,
    /// Where each parameter of undeclared type stands, by number.
    parameters: RefCell<HashMap<i32, i32>>,
    /// What is left of [`STEPS_MAX`].
    steps: Cell<u32>,
}

/// Whether the barrier is enough for the final query; its first `skip` CTEs are shadows, those of `tables` first.
pub(in crate::sql) fn is_enough(
    select: &SelectStmt,
    tables: &[ShadowedTable<'_>],
    skip: usize,
    parameter_types: &[u32],
    grants: &Grants,
) -> bool {
    let shadow = |(name, table): &ShadowedTable<'_>| {
        let item = Item::shadow(name, table, grants.vectors());
        let anchored = vec![true; item.columns.len()];
        ((*name).to_owned(), Entry { item, anchored })
    };
    let mut barrier = Barrier {
        ctes: tables.iter().map(shadow).collect(),
        frames: Vec::new(),
        parameter_types,
        grants,
        parameters: RefCell::default(),
        steps: Cell::new(STEPS_MAX),
    };
    let with = select.with_clause.as_ref();
    let ctes = with.map_or(&[][..], |with| with.ctes.as_slice());
    for node in ctes.iter().take(skip).skip(tables.len()) {
        let Some(NodeEnum::CommonTableExpr(cte)) = inner(node) else {
            return false;
        };
        barrier.ctes.push((cte.ctename.clone(), Entry::unknown()));
    }
    barrier.select(select, true, skip).is_some() && barrier.step(0).is_some()
}

impl Entry {
    /// Something whose columns are not known.
    fn unknown() -> Self {
        let item = Item {
            complete: false,
            ..Item::empty()
        };
        Self {
            item,
            anchored: Vec::new(),
        }
    }

    /// The column of this name, if there is exactly one.
    fn column(&self, name: &str) -> Option<(&Family, bool)> {
        let mut found = self.item.columns.iter().zip(&self.anchored);
        let ((_, family), anchored) = found.find(|((known, _), _)| known == name)?;
        let again = found.any(|((known, _), _)| known == name);
        (!again && self.item.complete).then_some((family, *anchored))
    }
}

impl Barrier<'_> {
    /// Takes so many steps, if there are any left; once there are none, there are none.
    fn step(&self, steps: u32) -> Enough {
        let left = self.steps.get();
        self.steps.set(left.saturating_sub(steps));
        (left > 0).then_some(())
    }

    /// A query; `top` if nothing pushes a condition into it.
    fn select(&mut self, select: &SelectStmt, top: bool, skip: usize) -> Enough<Entry> {
        self.step(1)?;
        let known = self.ctes.len();
        if let Some(with) = &select.with_clause {
            for node in with.ctes.iter().skip(skip) {
                let Some(NodeEnum::CommonTableExpr(cte)) = inner(node) else {
                    return None;
                };
                if with.recursive {
                    self.ctes.push((cte.ctename.clone(), Entry::unknown()));
                }
                let Some(NodeEnum::SelectStmt(query)) = cte.ctequery.as_deref().and_then(inner)
                else {
                    return None;
                };
                let mut output = self.select(query, false, 0)?;
                if with.recursive {
                    output = Entry::unknown();
                }
                rename(&mut output.item, &cte.ctename, &cte.aliascolnames);
                self.ctes.push((cte.ctename.clone(), output));
            }
        }
        let output = if select.op != SetOperation::SetopNone as i32 {
            self.set_operation(select)
        } else if select.values_lists.is_empty() {
            self.level(select, top)
        } else {
            self.values(select)
        };
        self.ctes.truncate(known);
        output
    }

    fn set_operation(&mut self, select: &SelectStmt) -> Enough<Entry> {
        let mut left = self.select(select.larg.as_deref()?, false, 0)?;
        let right = self.select(select.rarg.as_deref()?, false, 0)?;
        for (index, (_, family)) in left.item.columns.iter_mut().enumerate() {
            let same = right.item.columns.get(index).map(|(_, family)| family) == Some(family);
            let both = same && right.anchored.get(index) == Some(&true);
            if let Some(anchored) = left.anchored.get_mut(index) {
                *anchored &= both;
            }
            if !same {
                *family = Family::Opaque;
            }
        }
        left.item.complete &= right.item.complete;
        self.asks_all(&select.sort_clause)?;
        Some(left)
    }

    fn values(&mut self, select: &SelectStmt) -> Enough<Entry> {
        for row in &select.values_lists {
            self.expr(row)?;
        }
        Some(Entry::unknown())
    }

    fn level(&mut self, select: &SelectStmt, top: bool) -> Enough<Entry> {
        let mut entries = Vec::new();
        for node in &select.from_clause {
            self.from(node, &mut entries)?;
        }
        self.frames.push(entries);
        let output = self.clauses(select, top);
        self.frames.pop();
        output
    }

    fn clauses(&mut self, select: &SelectStmt, top: bool) -> Enough<Entry> {
        for condition in [&select.where_clause, &select.having_clause] {
            condition
                .as_deref()
                .map_or(Some(()), |node| self.expr(node))?;
        }
        for node in select.limit_count.iter().chain(&select.limit_offset) {
            self.asks(node)?;
        }
        for clause in [
            &select.group_clause,
            &select.distinct_clause,
            &select.sort_clause,
            &select.window_clause,
        ] {
            self.asks_all(clause)?;
        }
        let mut output = Entry {
            item: Item::empty(),
            anchored: Vec::new(),
        };
        for node in &select.target_list {
            let Some(NodeEnum::ResTarget(target)) = inner(node) else {
                return None;
            };
            let value = target.val.as_deref()?;
            if self.star(value, &mut output)? {
                continue;
            }
            if top {
                self.asks(value)?;
            } else {
                self.output(value)?;
            }
            self.name(target, value, &mut output);
        }
        Some(output)
    }

    /// An output that a condition may be made of: a value that cannot fail is one, too.
    fn output(&mut self, value: &Node) -> Enough {
        match inner(value)? {
            NodeEnum::ColumnRef(_) => Some(()),
            NodeEnum::SubLink(link) => self.sublink(link).map(drop),
            _other => self.expr(value),
        }
    }

    fn name(&self, target: &ResTarget, value: &Node, output: &mut Entry) {
        let given = (!target.name.is_empty()).then_some(target.name.as_str());
        let name = output_name(given, value);
        output.item.complete &= name.is_some();
        let family = self.family(value);
        output.item.columns.push((name.unwrap_or_default(), family));
        output.anchored.push(self.anchored(value));
    }

    /// Whether it was `*` or `t.*`, whose columns are outputs then.
    fn star(&self, value: &Node, output: &mut Entry) -> Enough<bool> {
        let Some(NodeEnum::ColumnRef(column)) = inner(value) else {
            return Some(false);
        };
        let (last, qualifier) = column.fields.split_last()?;
        let Some(NodeEnum::AStar(_)) = inner(last) else {
            return Some(false);
        };
        let frame = self.frames.last()?;
        let alias = match qualifier {
            [] => None,
            [alias] => Some(string(alias)?),
            _several => return None,
        };
        for entry in frame {
            if alias.is_none_or(|alias| alias == entry.item.alias) {
                output
                    .item
                    .columns
                    .extend(entry.item.columns.iter().cloned());
                output.anchored.extend(&entry.anchored);
                output.item.complete &= entry.item.complete;
            }
        }
        // USING and NATURAL merge columns, so that positions and names are not these.
        Some(true)
    }

    fn from(&mut self, node: &Node, entries: &mut Vec<Entry>) -> Enough {
        match inner(node)? {
            NodeEnum::RangeVar(table) => {
                let found = self.ctes.iter().rev();
                let mut found = found.filter(|(name, _)| *name == table.relname);
                let mut entry = found.next()?.1.clone();
                match &table.alias {
                    Some(alias) => rename(&mut entry.item, &alias.aliasname, &alias.colnames),
                    None => table.relname.clone_into(&mut entry.item.alias),
                }
                entries.push(entry);
            }
            NodeEnum::RangeSubselect(derived) => {
                let Some(NodeEnum::SelectStmt(query)) = derived.subquery.as_deref().and_then(inner)
                else {
                    return None;
                };
                self.frames.push(entries.clone());
                let entry = self.select(query, false, 0);
                self.frames.pop();
                let mut entry = entry?;
                let alias = derived.alias.as_ref()?;
                rename(&mut entry.item, &alias.aliasname, &alias.colnames);
                entries.push(entry);
            }
            NodeEnum::JoinExpr(join) => self.join(join, entries)?,
            NodeEnum::RangeFunction(function) => {
                self.frames.push(entries.clone());
                let asked = self.asks_all(&function.functions);
                self.frames.pop();
                asked?;
                let mut entry = Entry::unknown();
                let alias = function.alias.as_ref()?;
                rename(&mut entry.item, &alias.aliasname, &alias.colnames);
                entries.push(entry);
            }
            _other => return None,
        }
        Some(())
    }

    fn join(&mut self, join: &JoinExpr, entries: &mut Vec<Entry>) -> Enough {
        // The names of merged columns are looked for in both sides; an alias hides both.
        if join.alias.is_some() || join.join_using_alias.is_some() {
            return None;
        }
        self.from(join.larg.as_deref()?, entries)?;
        self.from(join.rarg.as_deref()?, entries)?;
        if let Some(condition) = join.quals.as_deref() {
            self.frames.push(entries.clone());
            let enough = self.expr(condition);
            self.frames.pop();
            enough?;
        }
        Some(())
    }
}
