//! Expressions: which are silent, which stand above an aggregate, and what type they have.

use super::functions::{self, Argument};
use super::level::{inner, plain, sorts, string};
use super::types::{self, Family, Value, comparable, silent_cast};
use super::{Item, Mode, Prover, Why};
use crate::sql::lists::{self, FunctionClass};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    AConst, AExpr, AExprKind, CaseExpr, FuncCall, Node, ParamRef, SelectStmt, SqlValueFunction,
    SqlValueFunctionOp, SubLink, SubLinkType, TypeCast, TypeName, WindowDef, a_const::Val,
};

const COMPARISONS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];
const NOT_SILENT: &str = "an expression that is not known to be silent";

impl Prover<'_> {
    /// An expression that may be evaluated on a row the caller may not see.
    pub(crate) fn counted(&mut self, node: &Node) -> Result<Value, Why> {
        let Some(node) = inner(node) else {
            return Err("an empty expression".into());
        };
        if let NodeEnum::ColumnRef(column) = node {
            return match self.column(&column.fields)? {
                Family::Computed => Err("a column that the permission view computes".into()),
                family => Ok(Value::of(family)),
            };
        }
        if let NodeEnum::AConst(constant) = node {
            return Ok(Value::constant(literal_family(constant)));
        }
        if let NodeEnum::ParamRef(parameter) = node {
            return self.parameter(parameter).map(Value::of);
        }
        if let NodeEnum::BoolExpr(bool_expr) = node {
            return self.all(&bool_expr.args);
        }
        if let NodeEnum::NullTest(test) = node {
            return self
                .operand(test.arg.as_deref())
                .map(|_| Value::of(Family::Boolean));
        }
        if let NodeEnum::BooleanTest(test) = node {
            return self
                .operand(test.arg.as_deref())
                .map(|_| Value::of(Family::Boolean));
        }
        if let NodeEnum::AExpr(operation) = node {
            return self.operation(operation);
        }
        if let NodeEnum::CaseExpr(case) = node {
            return self.case(case);
        }
        if let NodeEnum::CoalesceExpr(coalesce) = node {
            return self.alike(&coalesce.args);
        }
        if let NodeEnum::MinMaxExpr(extreme) = node {
            return self.alike(&extreme.args);
        }
        if let NodeEnum::FuncCall(call) = node {
            return self.call(call);
        }
        if let NodeEnum::TypeCast(cast) = node {
            return self.cast(cast);
        }
        if let NodeEnum::SqlvalueFunction(function) = node {
            return current_time(function)
                .map(Value::of)
                .ok_or_else(|| NOT_SILENT.into());
        }
        if let NodeEnum::SubLink(link) = node {
            return self.condition_subquery(link);
        }
        Err(NOT_SILENT.into())
    }

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

    /// A parameter's type. One of undeclared type may stand in one place only: it takes its type there.
    fn parameter(&mut self, parameter: &ParamRef) -> Result<Family, Why> {
        let index = usize::try_from(parameter.number)
            .ok()
            .and_then(|number| number.checked_sub(1));
        let oid = index
            .and_then(|index| self.parameter_types.get(index))
            .copied()
            .unwrap_or(0);
        let family = types::parameter(oid);
        let place = self
            .parameters
            .entry(parameter.number)
            .or_insert(parameter.location);
        if family == Family::Unknown && *place != parameter.location {
            return Err("a parameter of undeclared type in two places".into());
        }
        Ok(family)
    }

    /// Whether an expression is a column of a shadow, as it is stored.
    fn is_stored(&self, node: &Node) -> bool {
        let Some(NodeEnum::ColumnRef(column)) = inner(node) else {
            return false;
        };
        let names: Vec<&str> = column.fields.iter().filter_map(string).collect();
        let in_item = |item: &Item, name: &str| item.columns.iter().any(|(known, _)| known == name);
        let mut items = self.frames.iter().flatten();
        match names.as_slice() {
            // Every item the name could mean, at whatever level.
            [name] => items
                .filter(|item| !item.complete || in_item(item, name))
                .all(|item| item.stored),
            [alias, _name] => items
                .filter(|item| item.alias == *alias)
                .all(|item| item.stored),
            _other => items.next().is_none(),
        }
    }

    fn column(&self, fields: &[Node]) -> Result<Family, Why> {
        let names: Vec<&str> = fields
            .iter()
            .map(|field| string(field).unwrap_or_default())
            .collect();
        match names.as_slice() {
            [name] => {
                for frame in self.frames.iter().rev() {
                    let known = frame.iter().any(|item| {
                        !item.complete
                            || item.alias == *name
                            || item.columns.iter().any(|(column, _)| column == name)
                    });
                    if known {
                        return plain(frame, name);
                    }
                }
                Err("an unknown column".into())
            }
            [alias, name] => {
                let items = self.frames.iter().rev().find_map(|frame| {
                    let items: Vec<_> = frame
                        .iter()
                        .filter(|item| item.alias == *alias)
                        .cloned()
                        .collect();
                    (!items.is_empty()).then_some(items)
                });
                plain(&items.ok_or("an unknown alias")?, name)
            }
            _several => Err("a qualified column".into()),
        }
    }

    fn all(&mut self, args: &[Node]) -> Result<Value, Why> {
        args.iter()
            .try_for_each(|arg| self.counted(arg).map(drop))?;
        Ok(Value::of(Family::Boolean))
    }

    fn operand(&mut self, node: Option<&Node>) -> Result<Value, Why> {
        node.map_or_else(|| Err(NOT_SILENT.into()), |node| self.counted(node))
    }

    /// Values of one family, or literals that take it.
    fn alike(&mut self, nodes: &[Node]) -> Result<Value, Why> {
        let mut family = Family::Unknown;
        for node in nodes {
            let value = self.counted(node)?;
            family = meet(family, value.family)?;
        }
        Ok(Value::of(family))
    }

    fn compare(&mut self, left: &Value, right: &Node) -> Result<(), Why> {
        let right = self.counted(right)?;
        if comparable(left, &right) {
            Ok(())
        } else {
            Err("a comparison that is not known to be silent".into())
        }
    }

    fn operation(&mut self, operation: &AExpr) -> Result<Value, Why> {
        let name = match operation.name.as_slice() {
            [only] => string(only).unwrap_or_default(),
            _qualified => return Err("a qualified operator".into()),
        };
        let Ok(kind) = AExprKind::try_from(operation.kind) else {
            return Err(NOT_SILENT.into());
        };
        let right = operation.rexpr.as_deref();
        let Some(left) = operation.lexpr.as_deref() else {
            return signed_literal(name, right);
        };
        let Some(right) = right else {
            return Err(NOT_SILENT.into());
        };
        match kind {
            AExprKind::AexprOp | AExprKind::AexprDistinct | AExprKind::AexprNotDistinct
                if COMPARISONS.contains(&name) =>
            {
                let left = self.counted(left)?;
                self.compare(&left, right)?;
                Ok(Value::of(Family::Boolean))
            }
            AExprKind::AexprOp => {
                arithmetic(name, left, right).ok_or_else(|| format!("operator {name}"))
            }
            AExprKind::AexprOpAny | AExprKind::AexprOpAll if COMPARISONS.contains(&name) => {
                let left = self.counted(left)?;
                self.compare_elements(&left, right)?;
                Ok(Value::of(Family::Boolean))
            }
            AExprKind::AexprNullif => {
                let left = self.counted(left)?;
                self.compare(&left, right)?;
                Ok(Value::of(left.family))
            }
            AExprKind::AexprIn
            | AExprKind::AexprBetween
            | AExprKind::AexprNotBetween
            | AExprKind::AexprBetweenSym
            | AExprKind::AexprNotBetweenSym => {
                let left = self.counted(left)?;
                let Some(NodeEnum::List(list)) = inner(right) else {
                    return Err(NOT_SILENT.into());
                };
                list.items
                    .iter()
                    .try_for_each(|item| self.compare(&left, item))?;
                Ok(Value::of(Family::Boolean))
            }
            AExprKind::AexprLike | AExprKind::AexprIlike => {
                let left = self.counted(left)?.family;
                // A pattern that ends in its escape character raises when the first row reaches it.
                let plain = literal_text(right).is_some_and(|pattern| !pattern.contains('\\'));
                if left == Family::Text && plain {
                    Ok(Value::of(Family::Boolean))
                } else {
                    Err("LIKE with a pattern that is not a plain literal".into())
                }
            }
            AExprKind::AexprDistinct
            | AExprKind::AexprNotDistinct
            | AExprKind::AexprOpAny
            | AExprKind::AexprOpAll
            | AExprKind::AexprSimilar
            | AExprKind::Undefined => Err(format!("operator {name}")),
        }
    }

    fn compare_elements(&mut self, left: &Value, right: &Node) -> Result<(), Why> {
        if let Some(NodeEnum::AArrayExpr(array)) = inner(right) {
            return array
                .elements
                .iter()
                .try_for_each(|element| self.compare(left, element));
        }
        let undeclared = match inner(right) {
            Some(NodeEnum::ParamRef(parameter)) => self.parameter(parameter)? == Family::Unknown,
            Some(NodeEnum::AConst(_)) => literal_text(right).is_some(),
            Some(_) | None => false,
        };
        if undeclared && left.family != Family::Opaque {
            Ok(())
        } else {
            Err("ANY or ALL over an array".into())
        }
    }

    fn case(&mut self, case: &CaseExpr) -> Result<Value, Why> {
        let operand = case
            .arg
            .as_deref()
            .map(|arg| self.counted(arg))
            .transpose()?;
        let mut family = Family::Unknown;
        for node in &case.args {
            let Some(NodeEnum::CaseWhen(when)) = inner(node) else {
                return Err(NOT_SILENT.into());
            };
            match (&operand, when.expr.as_deref()) {
                (Some(operand), Some(condition)) => self.compare(operand, condition)?,
                (None, Some(condition)) => drop(self.counted(condition)?),
                (Some(_) | None, None) => return Err(NOT_SILENT.into()),
            }
            let result = self.operand(when.result.as_deref())?;
            family = meet(family, result.family)?;
        }
        if let Some(default) = case.defresult.as_deref() {
            let value = self.counted(default)?;
            family = meet(family, value.family)?;
        }
        Ok(Value::of(family))
    }

    fn call(&mut self, call: &FuncCall) -> Result<Value, Why> {
        let name = name_of(&call.funcname).ok_or("a qualified function")?;
        if let Some(window) = call.over.as_deref() {
            // Numbering the rows cannot fail; the keys of a named window are looked at where it is defined.
            let numbering = matches!(name, "row_number" | "rank" | "dense_rank")
                && call.args.is_empty()
                && call.agg_filter.is_none()
                && window.start_offset.is_none()
                && window.end_offset.is_none();
            if !numbering {
                return Err(format!("function {name}"));
            }
            return self
                .window_keys(window)
                .map(|()| Value::of(Family::Integer));
        }
        if !call.agg_order.is_empty() || call.agg_within_group || call.func_variadic {
            return Err(format!("function {name}"));
        }
        if let Some(filter) = call.agg_filter.as_deref() {
            self.counted(filter)?;
        }
        let mut arguments = Vec::with_capacity(call.args.len());
        for node in &call.args {
            let value = self.counted(node)?;
            arguments.push(Argument {
                value,
                text: literal_text(node).map(str::to_owned),
                integer: integer_node(node),
            });
        }
        if is_aggregate(call) {
            let stored = call.args.iter().all(|arg| self.is_stored(arg));
            return silent_aggregate(name, call, &arguments, stored)
                .ok_or_else(|| format!("function {name}"));
        }
        functions::result(name, &arguments).ok_or_else(|| format!("function {name}"))
    }

    fn cast(&mut self, cast: &TypeCast) -> Result<Value, Why> {
        let not_silent = || "a cast that is not known to be silent".to_owned();
        let (Some(arg), Some(type_name)) = (cast.arg.as_deref(), &cast.type_name) else {
            return Err(not_silent());
        };
        let target = type_family(type_name);
        if target == Family::Opaque {
            return Err(not_silent());
        }
        match inner(arg) {
            // A literal is converted while the query is parsed or planned, before any row is read.
            Some(NodeEnum::AConst(_)) => return Ok(Value::constant(target)),
            Some(NodeEnum::ParamRef(parameter))
                if self.parameter(parameter)? == Family::Unknown =>
            {
                return Ok(Value::of(target));
            }
            Some(_) | None => {}
        }
        let value = self.counted(arg)?;
        if type_name.typmods.is_empty() && silent_cast(&value.family, &target) {
            Ok(Value::of(target))
        } else {
            Err(not_silent())
        }
    }

    /// EXISTS, IN, ANY, ALL or a scalar subquery inside a condition.
    fn condition_subquery(&mut self, link: &SubLink) -> Result<Value, Why> {
        let Some(NodeEnum::SelectStmt(query)) = link.subselect.as_deref().and_then(inner) else {
            return Err("a subquery".into());
        };
        let output = self.select(query, Mode::Inner, 0)?;
        let operator = match link.oper_name.as_slice() {
            [] => "=",
            [only] => string(only).unwrap_or_default(),
            _qualified => return Err("a qualified operator".into()),
        };
        let Ok(kind) = SubLinkType::try_from(link.sub_link_type) else {
            return Err("a subquery".into());
        };
        match kind {
            SubLinkType::ExistsSublink => Ok(Value::of(Family::Boolean)),
            SubLinkType::AnySublink | SubLinkType::AllSublink
                if COMPARISONS.contains(&operator) =>
            {
                let left = self.operand(link.testexpr.as_deref())?;
                match output.columns.as_slice() {
                    [(_, family)] if comparable(&left, &Value::of(family.clone())) => {
                        Ok(Value::of(Family::Boolean))
                    }
                    _other => {
                        Err("a comparison with a subquery that is not known to be silent".into())
                    }
                }
            }
            SubLinkType::ExprSublink if one_row(query) => match output.columns.as_slice() {
                [(_, family)] => Ok(Value::of(family.clone())),
                _other => Err("a subquery".into()),
            },
            SubLinkType::ExprSublink => {
                Err("a scalar subquery that could give more than one row".into())
            }
            SubLinkType::AnySublink
            | SubLinkType::AllSublink
            | SubLinkType::RowcompareSublink
            | SubLinkType::MultiexprSublink
            | SubLinkType::ArraySublink
            | SubLinkType::CteSublink
            | SubLinkType::Undefined => Err("this kind of subquery in a condition".into()),
        }
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
fn silent_aggregate(
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

/// Whether a query returns at most one row whatever the data: an aggregate without GROUP BY, or LIMIT 1.
fn one_row(query: &SelectStmt) -> bool {
    let limited = query
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

fn is_aggregate(call: &FuncCall) -> bool {
    let class = name_of(&call.funcname).and_then(lists::function);
    call.over.is_none()
        && matches!(
            class,
            Some(FunctionClass::Aggregate | FunctionClass::Window)
        )
}

/// A built-in's name: unqualified, or in `pg_catalog`.
fn name_of(names: &[Node]) -> Option<&str> {
    match names {
        [name] => string(name),
        [schema, name] if string(schema) == Some("pg_catalog") => string(name),
        _qualified => None,
    }
}

fn meet(known: Family, next: Family) -> Result<Family, Why> {
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

fn type_family(type_name: &TypeName) -> Family {
    let simple = !type_name.setof && !type_name.pct_type && type_name.array_bounds.is_empty();
    match name_of(&type_name.names) {
        Some(name) if simple => match types::named(name) {
            Family::Unknown => Family::Opaque,
            family => family,
        },
        Some(_) | None => Family::Opaque,
    }
}

fn literal_family(constant: &AConst) -> Family {
    match &constant.val {
        Some(Val::Ival(_)) => Family::Integer,
        Some(Val::Fval(_)) => Family::Numeric,
        Some(Val::Boolval(_)) => Family::Boolean,
        Some(Val::Sval(_)) | None => Family::Unknown,
        Some(Val::Bsval(_)) => Family::Opaque,
    }
}

/// The integer a literal is.
pub(super) fn integer(constant: &AConst) -> Option<i32> {
    match &constant.val {
        // The tree's encoding leaves 0 out.
        Some(Val::Ival(integer)) => Some(integer.ival),
        Some(Val::Fval(_) | Val::Boolval(_) | Val::Sval(_) | Val::Bsval(_)) | None => None,
    }
}

/// The integer a literal node is.
pub(super) fn integer_node(node: &Node) -> Option<i32> {
    match inner(node)? {
        NodeEnum::AConst(constant) if !constant.isnull => integer(constant),
        _other => None,
    }
}

fn literal_text(node: &Node) -> Option<&str> {
    match inner(node)? {
        NodeEnum::AConst(AConst {
            val: Some(Val::Sval(text)),
            isnull: _,
            location: _,
        }) => Some(&text.sval),
        _other => None,
    }
}

fn numeric_literal(node: &Node) -> Option<Family> {
    match inner(node)? {
        NodeEnum::AConst(constant) => match literal_family(constant) {
            family @ (Family::Integer | Family::Numeric) => Some(family),
            _other => None,
        },
        _other => None,
    }
}

fn signed_literal(operator: &str, operand: Option<&Node>) -> Result<Value, Why> {
    match operand.and_then(numeric_literal) {
        Some(family) if operator == "-" || operator == "+" => Ok(Value::constant(family)),
        Some(_) | None => Err(format!("operator {operator}")),
    }
}

/// Arithmetic that reads no row: between number literals (folded by the planner, errors included), or "now" plus
/// or minus a short interval literal, which cannot leave the range.
fn arithmetic(operator: &str, left: &Node, right: &Node) -> Option<Value> {
    if let (Some(a), Some(b)) = (numeric_literal(left), numeric_literal(right)) {
        let family = if a == b { a } else { Family::Numeric };
        return ["+", "-", "*"]
            .contains(&operator)
            .then(|| Value::constant(family));
    }
    if !["+", "-"].contains(&operator) || !short_interval(right) {
        return None;
    }
    let family = match inner(left)? {
        NodeEnum::SqlvalueFunction(function) => current_time(function)?,
        NodeEnum::FuncCall(call)
            if name_of(&call.funcname) == Some("now") && call.args.is_empty() =>
        {
            Family::TimestampTz
        }
        _other => return None,
    };
    match family {
        // date plus interval is a timestamp.
        Family::Date => Some(Value::of(Family::Timestamp)),
        Family::Timestamp | Family::TimestampTz => Some(Value::of(family)),
        _other => None,
    }
}

/// `INTERVAL '30 days'` and its like, of at most three digits: 9999 years before now there are no timestamps.
fn short_interval(node: &Node) -> bool {
    const UNITS: [&str; 7] = ["second", "minute", "hour", "day", "week", "month", "year"];
    let Some(NodeEnum::TypeCast(cast)) = inner(node) else {
        return false;
    };
    let interval = cast
        .type_name
        .as_ref()
        .is_some_and(|name| type_family(name) == Family::Interval && name.typmods.is_empty());
    let Some(text) = cast.arg.as_deref().and_then(literal_text) else {
        return false;
    };
    let mut words = text.split_ascii_whitespace();
    let (Some(number), Some(unit), None) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let short = (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    let unit = unit.to_ascii_lowercase();
    interval && short && UNITS.contains(&unit.strip_suffix('s').unwrap_or(&unit))
}

fn current_time(function: &SqlValueFunction) -> Option<Family> {
    match SqlValueFunctionOp::try_from(function.op).ok()? {
        SqlValueFunctionOp::SvfopCurrentDate => Some(Family::Date),
        SqlValueFunctionOp::SvfopCurrentTime | SqlValueFunctionOp::SvfopCurrentTimeN => {
            Some(Family::TimeTz)
        }
        SqlValueFunctionOp::SvfopCurrentTimestamp | SqlValueFunctionOp::SvfopCurrentTimestampN => {
            Some(Family::TimestampTz)
        }
        SqlValueFunctionOp::SvfopLocaltime | SqlValueFunctionOp::SvfopLocaltimeN => {
            Some(Family::Time)
        }
        SqlValueFunctionOp::SvfopLocaltimestamp | SqlValueFunctionOp::SvfopLocaltimestampN => {
            Some(Family::Timestamp)
        }
        SqlValueFunctionOp::SvfopCurrentRole
        | SqlValueFunctionOp::SvfopCurrentUser
        | SqlValueFunctionOp::SvfopUser
        | SqlValueFunctionOp::SvfopSessionUser
        | SqlValueFunctionOp::SvfopCurrentCatalog
        | SqlValueFunctionOp::SvfopCurrentSchema
        | SqlValueFunctionOp::SqlvalueFunctionOpUndefined => None,
    }
}

/// The name PostgreSQL gives an output column, where it is certain.
pub(super) fn output_name(given: Option<&str>, value: &Node) -> Option<String> {
    if let Some(name) = given {
        return Some(name.to_owned());
    }
    match figure(value)? {
        (0, _) => Some("?column?".to_owned()),
        (_, name) => Some(name.to_owned()),
    }
}

/// How strongly an expression suggests a name for itself, and the name (`FigureColnameInternal`, parse_target.c).
fn figure(value: &Node) -> Option<(u8, &str)> {
    match inner(value)? {
        NodeEnum::ColumnRef(column) => column.fields.last().and_then(string).map(|name| (2, name)),
        NodeEnum::FuncCall(call) => call.funcname.last().and_then(string).map(|name| (2, name)),
        NodeEnum::CoalesceExpr(_) => Some((2, "coalesce")),
        NodeEnum::AExpr(operation) if operation.kind == AExprKind::AexprNullif as i32 => {
            Some((2, "nullif"))
        }
        NodeEnum::AExpr(_)
        | NodeEnum::AConst(_)
        | NodeEnum::BoolExpr(_)
        | NodeEnum::NullTest(_)
        | NodeEnum::BooleanTest(_)
        | NodeEnum::ParamRef(_) => Some((0, "")),
        NodeEnum::CaseExpr(case) => {
            match case.defresult.as_deref().map_or(Some((0, "")), figure)? {
                (0 | 1, _) => Some((1, "case")),
                strong => Some(strong),
            }
        }
        NodeEnum::TypeCast(cast) => match cast.arg.as_deref().map_or(Some((0, "")), figure)? {
            (0 | 1, _) => {
                let name = cast.type_name.as_ref()?.names.last().and_then(string)?;
                Some((1, name))
            }
            strong => Some(strong),
        },
        NodeEnum::SubLink(link) if link.sub_link_type == SubLinkType::ExprSublink as i32 => {
            let Some(NodeEnum::SelectStmt(query)) = link.subselect.as_deref().and_then(inner)
            else {
                return None;
            };
            match query.target_list.first().and_then(inner)? {
                NodeEnum::ResTarget(target) if !target.name.is_empty() => Some((2, &target.name)),
                NodeEnum::ResTarget(target) => match figure(target.val.as_deref()?)? {
                    (0, _) => Some((2, "?column?")),
                    (_, name) => Some((2, name)),
                },
                _other => None,
            }
        }
        _other => None,
    }
}

/// The expressions directly inside an expression, or `None` for a node that is not known here. Of a subquery
/// only the test expression: its query is walked as a level.
fn children(node: &NodeEnum) -> Option<Vec<&Node>> {
    let children = match node {
        NodeEnum::ColumnRef(_)
        | NodeEnum::AConst(_)
        | NodeEnum::ParamRef(_)
        | NodeEnum::SqlvalueFunction(_)
        | NodeEnum::AStar(_)
        | NodeEnum::String(_) => Vec::new(),
        NodeEnum::AExpr(operation) => [&operation.lexpr, &operation.rexpr]
            .into_iter()
            .flatten()
            .map(AsRef::as_ref)
            .collect(),
        NodeEnum::BoolExpr(bool_expr) => bool_expr.args.iter().collect(),
        NodeEnum::NullTest(test) => test.arg.as_deref().into_iter().collect(),
        NodeEnum::BooleanTest(test) => test.arg.as_deref().into_iter().collect(),
        NodeEnum::CaseExpr(case) => case
            .arg
            .as_deref()
            .into_iter()
            .chain(&case.args)
            .chain(case.defresult.as_deref())
            .collect(),
        NodeEnum::CaseWhen(when) => when
            .expr
            .as_deref()
            .into_iter()
            .chain(when.result.as_deref())
            .collect(),
        NodeEnum::CoalesceExpr(coalesce) => coalesce.args.iter().collect(),
        NodeEnum::MinMaxExpr(extreme) => extreme.args.iter().collect(),
        NodeEnum::FuncCall(call) => {
            let window = call.over.as_deref().map(window_parts).unwrap_or_default();
            call.args
                .iter()
                .chain(&call.agg_order)
                .chain(call.agg_filter.as_deref())
                .chain(window)
                .collect()
        }
        NodeEnum::TypeCast(cast) => cast.arg.as_deref().into_iter().collect(),
        NodeEnum::CollateClause(collate) => collate.arg.as_deref().into_iter().collect(),
        NodeEnum::AIndirection(access) => access
            .arg
            .as_deref()
            .into_iter()
            .chain(&access.indirection)
            .collect(),
        NodeEnum::AIndices(indices) => indices
            .lidx
            .as_deref()
            .into_iter()
            .chain(indices.uidx.as_deref())
            .collect(),
        NodeEnum::AArrayExpr(array) => array.elements.iter().collect(),
        NodeEnum::RowExpr(row) => row.args.iter().collect(),
        NodeEnum::List(list) => list.items.iter().collect(),
        NodeEnum::NamedArgExpr(named) => named.arg.as_deref().into_iter().collect(),
        NodeEnum::SortBy(sort) => sort.node.as_deref().into_iter().collect(),
        NodeEnum::WindowDef(window) => window_parts(window),
        NodeEnum::GroupingSet(set) => set.content.iter().collect(),
        NodeEnum::GroupingFunc(grouping) => grouping.args.iter().collect(),
        NodeEnum::SubLink(link) => link.testexpr.as_deref().into_iter().collect(),
        _unknown => return None,
    };
    Some(children)
}

fn window_parts(window: &WindowDef) -> Vec<&Node> {
    let offsets = window
        .start_offset
        .as_deref()
        .into_iter()
        .chain(window.end_offset.as_deref());
    window
        .partition_clause
        .iter()
        .chain(&window.order_clause)
        .chain(offsets)
        .collect()
}
