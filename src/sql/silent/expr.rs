//! Expressions: which are silent, which stand above an aggregate, and what type they have.

use super::above::{is_aggregate, meet, name_of, one_row, silent_aggregate};
use super::from::plain;
use super::functions::{self, Argument};
use super::level::{inner, string};
use super::literal::{
    arithmetic, current_time, integer_node, literal_family, literal_text, signed_literal,
    type_family,
};
use super::types::{self, Family, Value, comparable, silent_cast};
use super::{COMPUTED, Item, Mode, Prover, Why};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    AExpr, AExprKind, CaseExpr, FuncCall, Node, ParamRef, SubLink, SubLinkType, TypeCast,
};

const COMPARISONS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];
/// Most `%` in a silent pattern; at the smallest `max_stack_depth`, 100 kB, more than a thousand fit.
const WILDCARDS_MAX: usize = 100;
const NOT_SILENT: &str = "an expression that is not known to be silent";

impl Prover<'_> {
    /// An expression that may be evaluated on a row the caller may not see.
    pub(crate) fn counted(&mut self, node: &Node) -> Result<Value, Why> {
        let Some(node) = inner(node) else {
            return Err("an empty expression".into());
        };
        if let NodeEnum::ColumnRef(column) = node {
            return match self.column(&column.fields)? {
                Family::Computed => Err(COMPUTED.into()),
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

    /// A parameter's type. One of undeclared type may stand in one place only: it takes its type there.
    pub(super) fn parameter(&mut self, parameter: &ParamRef) -> Result<Family, Why> {
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

    /// A column that is only read above the permission filter. It must be in the open form all the same; what is
    /// not resolved here, such as a whole row, might be or hold one that is not.
    pub(super) fn uncounted_column(&self, fields: &[Node]) -> Result<(), Why> {
        let computes = || self.frames.iter().flatten().any(Item::computes);
        match self.column(fields) {
            Ok(Family::Computed) => Err(COMPUTED.into()),
            Err(_) if computes() => Err(COMPUTED.into()),
            Ok(_) | Err(_) => Ok(()),
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

    fn compare(&mut self, left: &Value, right: &Node) -> Result<Value, Why> {
        let right = self.counted(right)?;
        if comparable(left, &right) {
            Ok(right)
        } else {
            Err("a comparison that is not known to be silent".into())
        }
    }

    /// A comparison with several values, which PostgreSQL turns into one type before, if `first` is one: that of them all.
    fn compare_all(
        &mut self,
        left: &Value,
        nodes: &[Node],
        first: Option<Family>,
    ) -> Result<Value, Why> {
        let mut values = Vec::with_capacity(nodes.len());
        for node in nodes {
            values.push(self.compare(left, node)?);
        }
        // Constants are turned into it while the query is planned.
        if let Some(first) = first
            && !values.iter().all(|value| value.constant)
        {
            let mut families = values.into_iter().map(|value| value.family);
            families.try_fold(first, meet)?;
        }
        Ok(Value::of(Family::Boolean))
    }

    fn operation(&mut self, operation: &AExpr) -> Result<Value, Why> {
        let name = match operation.name.as_slice() {
            [only] => string(only).unwrap_or_default(),
            [schema, symbol] => return self.distance(schema, symbol, operation),
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
            AExprKind::AexprOp if name == "@@" => self.matches(left, right),
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
                // Its type is that of the comparison: NULLIF of an integer and a float is a float.
                let right = self.compare(&left, right)?;
                meet(left.family, right.family).map(Value::of)
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
                let first = (kind == AExprKind::AexprIn).then(|| left.family.clone());
                self.compare_all(&left, &list.items, first)
            }
            AExprKind::AexprLike | AExprKind::AexprIlike => {
                let left = self.counted(left)?.family;
                let plain = literal_text(right).is_some_and(plain_pattern);
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
            return self
                .compare_all(left, &array.elements, Some(Family::Unknown))
                .map(drop);
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
                (Some(operand), Some(condition)) => drop(self.compare(operand, condition)?),
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
            self.own_aggregate(call)?;
            let stored = call.args.iter().all(|arg| self.is_stored(arg));
            return silent_aggregate(name, call, &arguments, stored)
                .ok_or_else(|| format!("function {name}"));
        }
        functions::result(name, &arguments, self.server_version)
            .ok_or_else(|| format!("function {name}"))
    }

    fn cast(&mut self, cast: &TypeCast) -> Result<Value, Why> {
        let not_silent = || "a cast that is not known to be silent".to_owned();
        let (Some(arg), Some(type_name)) = (cast.arg.as_deref(), &cast.type_name) else {
            return Err(not_silent());
        };
        if let Some(value) = self.vector_literal(arg, type_name) {
            return Ok(value);
        }
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

/// Whether a pattern of LIKE matches every text without an error. One that ends in its escape character raises when the first
/// row reaches it; what stands behind a `%` is matched by recursion, as deep as the row's text goes along with the
/// pattern, so that thousands of them exhaust PostgreSQL's stack (like_match.c).
fn plain_pattern(pattern: &str) -> bool {
    !pattern.contains('\\') && pattern.matches('%').count() <= WILDCARDS_MAX
}
