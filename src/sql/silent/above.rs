//! What stands above an aggregate or the permission filter, and what of it may sink below all the same.

use super::functions::Argument;
use super::level::{inner, sorts, string};
use super::literal::{integer_node, literal_family, type_family};
use super::parts::children;
use super::types::{Family, Value};
use super::{Mode, Prover, Why};
use crate::sql::lists::{self, FunctionClass};
use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, LimitOption, Node, SelectStmt, WindowDef};

/// Whether an expression has a column of this level, and whether one that may be of another.
#[derive(Default)]
struct Columns {
    own: bool,
    other: bool,
}

impl Prover<'_> {
    /// An expression that is evaluated only on rows the caller may see; the subqueries in it are not.
    pub(crate) fn uncounted(&mut self, node: &Node) -> Result<(), Why> {
        let Some(node) = inner(node) else {
            return Ok(());
        };
        self.uncertain = true;
        if let NodeEnum::SubLink(link) = node {
            let Some(NodeEnum::SelectStmt(query)) = link.subselect.as_deref().and_then(inner)
            else {
                return Err("a subquery".into());
            };
            self.select(query, Mode::Derived, 0)?;
        }
        if let NodeEnum::ParamRef(parameter) = node {
            self.parameter(parameter)?;
        }
        if let NodeEnum::ColumnRef(column) = node {
            self.uncounted_column(&column.fields)?;
        }
        if let NodeEnum::FuncCall(call) = node {
            self.sunk_arguments(call)?;
        }
        let children = children(node).ok_or("an expression whose parts are not known")?;
        children
            .into_iter()
            .try_for_each(|child| self.uncounted(child))
    }

    /// What of a call may be computed before the permission filter although the call is not: the argument of an
    /// aggregate that an index can answer, and the keys it is sorted by.
    fn sunk_arguments(&mut self, call: &FuncCall) -> Result<(), Why> {
        let Some(name) = name_of(&call.funcname) else {
            return Err("a function of the customer's".into());
        };
        self.own_aggregate(call)?;
        let window = call.over.as_deref();
        let by_index = matches!(name, "min" | "max" | "bool_and" | "bool_or" | "every");
        if call.agg_distinct || (by_index && window.is_none()) {
            call.args.iter().try_for_each(|arg| self.sort_key(arg))?;
        }
        if !call.agg_within_group {
            call.agg_order
                .iter()
                .try_for_each(|key| self.sort_key(key))?;
        }
        window.map_or(Ok(()), |window| self.window_keys(window))
    }

    /// An aggregate call belongs to this level. One whose columns are all of an outer level is that level's
    /// (PostgreSQL's `check_agg_arguments`): down here it is a value, and this level still has a row for each of its rows.
    pub(super) fn own_aggregate(&self, call: &FuncCall) -> Result<(), Why> {
        if self.frames.len() <= 1 || !is_aggregate(call) {
            return Ok(());
        }
        let mut columns = Columns::default();
        let parts = call.args.iter().chain(&call.agg_order);
        for part in parts.chain(call.agg_filter.as_deref()) {
            self.columns_of(part, &mut columns);
        }
        if columns.own || !columns.other {
            Ok(())
        } else {
            Err("an aggregate of a query around it".into())
        }
    }

    /// Which levels the columns of an expression may be of.
    fn columns_of(&self, node: &Node, columns: &mut Columns) {
        let Some(node) = inner(node) else {
            return;
        };
        if let NodeEnum::ColumnRef(column) = node {
            let own = self.is_of_this_level(&column.fields);
            columns.own |= own;
            columns.other |= !own;
            return;
        }
        let Some(children) = children(node) else {
            columns.other = true;
            return;
        };
        columns.other |= matches!(node, NodeEnum::SubLink(_));
        for child in children {
            self.columns_of(child, columns);
        }
    }

    /// Whether a name certainly means a column of this level: names are looked for from the inside out.
    fn is_of_this_level(&self, fields: &[Node]) -> bool {
        let items = self.frames.last().map(Vec::as_slice).unwrap_or_default();
        match fields
            .iter()
            .filter_map(string)
            .collect::<Vec<_>>()
            .as_slice()
        {
            [name] if fields.len() == 1 => items
                .iter()
                .any(|item| item.columns.iter().any(|(known, _)| known == name)),
            [alias, _name] => items.iter().any(|item| item.alias == *alias),
            _other => false,
        }
    }

    /// The keys of a window.
    pub(crate) fn window_keys(&mut self, window: &WindowDef) -> Result<(), Why> {
        let keys = window.partition_clause.iter().chain(&window.order_clause);
        keys.into_iter().try_for_each(|key| self.sort_key(key))
    }

    /// An expression rows may be sorted or hashed by before the permission filter, unless it is made of aggregates.
    pub(crate) fn sort_key(&mut self, node: &Node) -> Result<(), Why> {
        if let Some(NodeEnum::SortBy(sort)) = inner(node) {
            return sort
                .node
                .as_deref()
                .map_or(Ok(()), |key| self.sort_key(key));
        }
        let proved = self.counted(node).and_then(|value| sorts(&value.family));
        if proved.is_err() && self.above(node) {
            return self.uncounted(node);
        }
        proved
    }

    /// Whether an expression can only be computed above an aggregate or a window function: it has such a call, and
    /// no column and no subquery outside of it.
    pub(crate) fn above(&self, node: &Node) -> bool {
        self.aggregates(node) && !outside(node)
    }

    /// Whether a subquery stands in the expression.
    pub(crate) fn asks(node: &Node) -> bool {
        let Some(node) = inner(node) else {
            return false;
        };
        matches!(node, NodeEnum::SubLink(_))
            || children(node).is_none_or(|children| children.into_iter().any(Self::asks))
    }

    /// Whether an aggregate or window call of this level stands in the expression.
    pub(crate) fn aggregates(&self, node: &Node) -> bool {
        let Some(node) = inner(node) else {
            return false;
        };
        if let NodeEnum::SubLink(_) = node {
            // A subquery may hide a correlated part; its level's aggregates are not this level's.
            return false;
        }
        if let NodeEnum::FuncCall(call) = node
            && (call.over.is_some() || is_aggregate(call))
        {
            return true;
        }
        children(node)
            .is_some_and(|children| children.into_iter().any(|child| self.aggregates(child)))
    }

    /// The family of an expression above an aggregate, as far as it is simple.
    pub(crate) fn infer(&mut self, node: &Node) -> Family {
        if let Some(NodeEnum::FuncCall(call)) = inner(node) {
            return match name_of(&call.funcname) {
                Some("count" | "row_number" | "rank" | "dense_rank" | "ntile") => Family::Integer,
                Some(name @ ("sum" | "avg")) => match self.first_argument(call) {
                    Some(Family::Integer | Family::Numeric) => Family::Numeric,
                    Some(Family::Float) => Family::Float,
                    Some(Family::Interval) if name == "sum" => Family::Interval,
                    Some(_) | None => Family::Opaque,
                },
                Some("min" | "max") => self.first_argument(call).unwrap_or(Family::Opaque),
                Some("round" | "ceil" | "ceiling" | "floor" | "abs" | "trunc") => call
                    .args
                    .first()
                    .map_or(Family::Opaque, |arg| self.infer(arg)),
                Some(_) | None => Family::Opaque,
            };
        }
        if let Some(NodeEnum::TypeCast(cast)) = inner(node) {
            return cast.type_name.as_ref().map_or(Family::Opaque, type_family);
        }
        if let Some(NodeEnum::CoalesceExpr(coalesce)) = inner(node) {
            return coalesce
                .args
                .first()
                .map_or(Family::Opaque, |arg| self.infer(arg));
        }
        if let Some(NodeEnum::AConst(constant)) = inner(node) {
            return literal_family(constant);
        }
        if let Some(NodeEnum::AExpr(operation)) = inner(node)
            && let (Some(left), Some(right)) =
                (operation.lexpr.as_deref(), operation.rexpr.as_deref())
            && matches!(operation.name.as_slice(), [name] if matches!(string(name), Some("+" | "-" | "*" | "/")))
        {
            // Numbers meet as in PostgreSQL; anything else is not simple.
            return match meet(self.infer(left), self.infer(right)) {
                Ok(family @ (Family::Float | Family::Integer | Family::Numeric)) => family,
                Ok(_) | Err(_) => Family::Opaque,
            };
        }
        Family::Opaque
    }

    fn first_argument(&mut self, call: &FuncCall) -> Option<Family> {
        self.counted(call.args.first()?)
            .ok()
            .map(|value| value.family)
    }
}

/// Whether a column or a subquery stands in the expression outside aggregate and window calls; whatever is not
/// known is taken for one.
fn outside(node: &Node) -> bool {
    let Some(node) = inner(node) else {
        return false;
    };
    match node {
        NodeEnum::ColumnRef(_) | NodeEnum::SubLink(_) => true,
        NodeEnum::FuncCall(call) if call.over.is_some() || is_aggregate(call) => false,
        other => children(other).is_none_or(|children| children.into_iter().any(outside)),
    }
}

/// Aggregates that cannot fail: `avg` and `sum` only where no overflow can be reached.
/// (numbers of the caller's own, such as `9e131071`, reach it with two rows).
pub(super) fn silent_aggregate(
    name: &str,
    call: &FuncCall,
    arguments: &[Argument],
    stored: bool,
) -> Option<Value> {
    let family = arguments
        .first()
        .map(|argument| argument.value.family.clone());
    match (name, family, arguments.len()) {
        ("count", None, 0) if call.agg_star => Some(Value::of(Family::Integer)),
        ("count", Some(family), 1) if !call.agg_distinct || family != Family::Opaque => {
            Some(Value::of(Family::Integer))
        }
        ("min" | "max", Some(family), 1) if family != Family::Opaque => Some(Value::of(family)),
        ("sum" | "avg", Some(Family::Integer), 1) => Some(Value::of(Family::Numeric)),
        ("sum" | "avg", Some(Family::Numeric), 1) if stored => Some(Value::of(Family::Numeric)),
        ("bool_and" | "bool_or" | "every", Some(Family::Boolean), 1) => {
            Some(Value::of(Family::Boolean))
        }
        (_name, _family, _count) => None,
    }
}

/// Whether a query returns at most one row whatever the data: an aggregate without GROUP BY, or LIMIT 1 without ties.
pub(super) fn one_row(query: &SelectStmt) -> bool {
    let limited = query.limit_option == LimitOption::Count as i32
        && query
            .limit_count
            .as_deref()
            .is_some_and(|node| matches!(integer_node(node), Some(0 | 1)));
    let plain = query.larg.is_none() && query.values_lists.is_empty();
    let aggregated = plain
        && query.group_clause.is_empty()
        && query.target_list.iter().all(|node| match inner(node) {
            Some(NodeEnum::ResTarget(target)) => {
                matches!(target.val.as_deref().and_then(inner), Some(NodeEnum::FuncCall(call)) if is_aggregate(call) && call.over.is_none())
            }
            Some(_) | None => false,
        });
    limited || aggregated
}

pub(super) fn is_aggregate(call: &FuncCall) -> bool {
    let class = name_of(&call.funcname).and_then(lists::function);
    call.over.is_none()
        && matches!(
            class,
            Some(FunctionClass::Aggregate | FunctionClass::Window)
        )
}

/// A built-in's name: unqualified, or in `pg_catalog`.
pub(super) fn name_of(names: &[Node]) -> Option<&str> {
    match names {
        [name] => string(name),
        [schema, name] if string(schema) == Some("pg_catalog") => string(name),
        _qualified => None,
    }
}

pub(super) fn meet(known: Family, next: Family) -> Result<Family, Why> {
    match (known, next) {
        (Family::Computed | Family::Opaque, _next) | (_next, Family::Computed | Family::Opaque) => {
            Err("a type that is not known to be silent".into())
        }
        (Family::Unknown, other) | (other, Family::Unknown) => Ok(other),
        (Family::Integer, Family::Numeric) | (Family::Numeric, Family::Integer) => {
            Ok(Family::Numeric)
        }
        (Family::Integer, Family::Float) | (Family::Float, Family::Integer) => Ok(Family::Float),
        (known, next) if known == next => Ok(known),
        (_known, _next) => Err("alternatives of different types".into()),
    }
}
