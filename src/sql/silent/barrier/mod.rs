//! Whether PostgreSQL's own barrier is enough for a query that is not silent, or its shadows have to be computed apart.
//!
//! **PostgreSQL's rule.** A condition goes into a `security_barrier` view, where it may run before the filter, unless a
//! function in it that is not leakproof has a column below it (`qual_is_pushdown_safe` in allpaths.c, `contain_leaked_vars`
//! in clauses.c). So what has no column goes in, and fails there, for each hidden row with a note behind M:
//!
//! ```sql
//! SELECT count(*) FROM invoices WHERE note < 'M' OR 1 / (SELECT 0) = 1
//! ```
//!
//! The divisor is a parameter while the query runs, as are `$1` in a kept plan and a column of a query around; `now()` is not
//! folded either. A literal is folded while the query is planned, and fails for everybody alike.
//!
//! **Theorem.** If each condition, and each value that one may be made of, is one of these, then no condition that goes in can fail:
//!
//! 1. *Silent* ([`super::Prover`]): no row's data makes it fail.
//! 2. *By itself* ([`Barrier::by_itself`]): read or folded while the query is planned, or unable to fail, as "now" is.
//! 3. *Held* ([`Barrier::held`]): AND, OR, CASE and the like, and calls, operators and casts that have a column of their own level below
//!    them, which no simplification takes away, beside which only stands what is held or by itself. Such a call
//!    keeps the condition out of every view; or it is leakproof, and cannot fail. A subquery that needs such a column keeps it out, too.
//!
//! The planner takes conditions apart, moves them, and puts expressions in the place of columns; each call still has its column.
//! Where a column is an output, [`Kept`] says what it may turn into. What PostgreSQL's rule is blind for is not held:
//!
//! - leakproof functions that fail all the same, where collations contradict each other or are no good for `^@`, or a circle overflows;
//! - conversions it takes for harmless: of an array, element by element; of the operand of CASE; of values without a column to
//!   the type of others (CASE, IN, USING). So arrays, and columns of a type that is not an ordinary one, are
//!   [`Kept::Odd`]: only looked at for being null, or beside a literal, which takes their type.
//!
//! Whatever is not known here is in doubt: it makes the shadows `AS MATERIALIZED`, which no condition is taken into.

mod alone;
mod condition;
#[cfg(test)]
mod tests;

use super::from::rename;
use super::level::{inner, string};
use super::parts::output_name;
use super::types::Family;
use super::{Item, Mode, ShadowedTable};
use crate::policy::{ColumnType, Grants, TypeKind};
use pg_query::NodeEnum;
use pg_query::protobuf::{JoinExpr, Node, ResTarget, SelectStmt, SetOperation};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// What a column may turn into when a condition is taken into the query it is an output of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Anything: a value, a subquery, a column of a query around.
    No,
    /// A column of a shadow, of a type that is not ordinary: an array, an extension's, another collation.
    Odd,
    /// A column of an ordinary type, or what is held by one.
    Yes,
}

impl Kept {
    fn of(type_: &ColumnType) -> Self {
        match (type_.kind, type_.name.as_str()) {
            // Their comparisons are called leakproof, and overflow (`circle_ar`, `lseg_length`); a domain may be over one.
            (TypeKind::Builtin, "circle" | "lseg")
            | (TypeKind::Array, "_circle" | "_lseg")
            | (TypeKind::Domain, _) => Self::No,
            // PostgreSQL makes one of any number without being told to.
            (TypeKind::Builtin, "oid") => Self::Odd,
            (TypeKind::Builtin, name) if name.starts_with("reg") => Self::Odd,
            (TypeKind::Builtin | TypeKind::Enum, _) => Self::Yes,
            (TypeKind::Array | TypeKind::Composite | TypeKind::Other, _) => Self::Odd,
        }
    }
}

/// A FROM item, and what its columns may turn into.
#[derive(Clone)]
struct Entry {
    item: Item,
    kept: Vec<Kept>,
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
        let columns = table.columns.iter();
        let kept = columns.map(|column| Kept::of(&column.type_)).collect();
        ((*name).to_owned(), Entry { item, kept })
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
    /// Something whose columns are not known, and that may fail when it runs.
    fn unknown() -> Self {
        let item = Item {
            complete: false,
            fallible: true,
            ..Item::empty()
        };
        Self {
            item,
            kept: Vec::new(),
        }
    }

    /// What the column of this name may turn into.
    fn kept(&self, name: &str) -> Kept {
        let columns = self.item.columns.iter().zip(&self.kept);
        let mut named = columns.filter(|((known, _), _)| known == name);
        match (named.next(), named.next()) {
            (Some((_, kept)), None) if self.item.complete => *kept,
            (_none, _or_several) => Kept::No,
        }
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
                // A condition that asks it for the first time makes it fail.
                let proved = self.prove(|prover| prover.select(query, Mode::Derived, 0));
                output.item.fallible = proved.is_none_or(|proved| proved.fallible);
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
            let kept = left.kept.get_mut(index)?;
            let (_, other) = right.item.columns.get(index)?;
            // Where the types differ, no condition on it is taken in (`compare_tlist_datatypes`).
            if [*kept, *right.kept.get(index)?] != [Kept::Yes; 2] {
                *kept = Kept::No;
            }
            if family != other {
                *family = Family::Opaque;
            }
        }
        left.item.complete &= right.item.complete;
        self.asks_all(&select.sort_clause)?;
        Some(left)
    }

    fn values(&mut self, select: &SelectStmt) -> Enough<Entry> {
        for row in &select.values_lists {
            let Some(NodeEnum::List(list)) = inner(row) else {
                return None;
            };
            list.items
                .iter()
                .try_for_each(|item| self.condition(item))?;
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
        let conditions = select.where_clause.iter().chain(&select.having_clause);
        conditions
            .into_iter()
            .try_for_each(|node| self.condition(node))?;
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
            kept: Vec::new(),
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
                self.output(target, value, &mut output)?;
            }
        }
        Some(output)
    }

    /// An output that a condition may be made of.
    fn output(&mut self, target: &ResTarget, value: &Node, output: &mut Entry) -> Enough {
        let kept = match inner(value)? {
            NodeEnum::ColumnRef(_) => self.kept(value),
            _other => match self.held(value) {
                Some(true) => Kept::Yes,
                Some(false) => Kept::No,
                None => {
                    self.condition(value)?;
                    Kept::No
                }
            },
        };
        let given = (!target.name.is_empty()).then_some(target.name.as_str());
        let name = output_name(given, value);
        output.item.complete &= name.is_some();
        let family = match self.prove(|prover| prover.counted(value)) {
            Some(value) if value.family == Family::Unknown => Family::Text,
            Some(value) => value.family,
            None => Family::Opaque,
        };
        output.item.columns.push((name.unwrap_or_default(), family));
        output.kept.push(kept);
        Some(())
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
                let columns = entry.item.columns.iter().cloned();
                output.item.columns.extend(columns);
                output.kept.extend(&entry.kept);
                output.item.complete &= entry.item.complete;
            }
        }
        // USING merges columns, so that positions and names are not these.
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
                // Without LATERAL, names mean nothing that stands beside it, but may mean what is around.
                let entry = if derived.lateral {
                    self.beside(entries.clone(), |barrier| barrier.select(query, false, 0))
                } else {
                    self.select(query, false, 0)
                };
                let mut entry = entry?;
                let alias = derived.alias.as_ref()?;
                rename(&mut entry.item, &alias.aliasname, &alias.colnames);
                entries.push(entry);
            }
            NodeEnum::JoinExpr(join) => self.join(join, entries)?,
            NodeEnum::RangeFunction(function) => {
                self.beside(entries.clone(), |barrier| {
                    barrier.asks_all(&function.functions)
                })?;
                let mut entry = Entry::unknown();
                let alias = function.alias.as_ref()?;
                rename(&mut entry.item, &alias.aliasname, &alias.colnames);
                entries.push(entry);
            }
            _other => return None,
        }
        Some(())
    }

    /// Looks at something that may name the columns of these.
    fn beside<T>(&mut self, entries: Vec<Entry>, look: impl FnOnce(&mut Self) -> T) -> T {
        self.frames.push(entries);
        let seen = look(self);
        self.frames.pop();
        seen
    }

    fn join(&mut self, join: &JoinExpr, entries: &mut Vec<Entry>) -> Enough {
        // The names of merged columns are looked for in both sides; an alias hides both.
        let plain = join.alias.is_none() && join.join_using_alias.is_none() && !join.is_natural;
        plain.then_some(())?;
        let left = entries.len();
        self.from(join.larg.as_deref()?, entries)?;
        let right = entries.len();
        self.from(join.rarg.as_deref()?, entries)?;
        // A condition of a join sees its two sides, and what is around, but nothing that stands beside it.
        let (left, right) = (entries.get(left..right)?, entries.get(right..)?);
        for name in join.using_clause.iter().map(string) {
            // One side is turned into the type of the other.
            let held = [left, right].map(|side| named(side, name.unwrap_or_default()));
            (held == [Kept::Yes; 2]).then_some(())?;
        }
        let Some(condition) = join.quals.as_deref() else {
            return Some(());
        };
        let sides = [left, right].concat();
        self.beside(sides, |barrier| barrier.condition(condition))
    }
}

/// What a column named without its table may turn into.
fn named(entries: &[Entry], name: &str) -> Kept {
    let has = |entry: &&Entry| entry.item.columns.iter().any(|(known, _)| known == name);
    let mut kept = entries.iter().filter(has).map(|entry| entry.kept(name));
    let first = kept.next().unwrap_or(Kept::No);
    // Merged by USING, it is both.
    let one = kept.all(|other| other == first) && entries.iter().all(|entry| entry.item.complete);
    if one { first } else { Kept::No }
}
