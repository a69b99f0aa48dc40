//! What an expression is made of, and the name it gives an output column.

use super::level::{inner, string};
use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, Node, SubLinkType, WindowDef};

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
pub(super) fn children(node: &NodeEnum) -> Option<Vec<&Node>> {
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
