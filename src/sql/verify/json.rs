//! The SQL/JSON nodes (PostgreSQL 16 and later): constructors, predicates, queries and JSON_TABLE.

use super::from::alias;
use super::walk::Walk;
use super::{Refused, names, unreadable};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    JsonAggConstructor, JsonArrayAgg, JsonArrayConstructor, JsonArrayQueryConstructor,
    JsonBehavior, JsonFuncExpr, JsonIsPredicate, JsonKeyValue, JsonObjectAgg,
    JsonObjectConstructor, JsonOutput, JsonParseExpr, JsonScalarExpr, JsonSerializeExpr, JsonTable,
    JsonTableColumn, JsonTablePathSpec, JsonValueExpr, Node, SelectStmt,
};

impl<'a> Walk<'a> {
    /// A JSON expression; called for these nodes only.
    pub(super) fn json(&mut self, node: &'a NodeEnum) -> Refused {
        match node {
            NodeEnum::JsonIsPredicate(node) => {
                let JsonIsPredicate {
                    expr,
                    format: _,
                    item_type: _,
                    unique_keys: _,
                    location: _,
                } = node.as_ref();
                self.required(expr.as_deref())
            }
            NodeEnum::JsonObjectConstructor(node) => {
                let JsonObjectConstructor {
                    exprs,
                    output,
                    absent_on_null: _,
                    unique: _,
                    location: _,
                } = node;
                json_output(output.as_ref())?;
                self.all(exprs)
            }
            NodeEnum::JsonArrayConstructor(node) => {
                let JsonArrayConstructor {
                    exprs,
                    output,
                    absent_on_null: _,
                    location: _,
                } = node;
                json_output(output.as_ref())?;
                self.all(exprs)
            }
            NodeEnum::JsonArrayQueryConstructor(node) => {
                let JsonArrayQueryConstructor {
                    query,
                    output,
                    format: _,
                    absent_on_null: _,
                    location: _,
                } = node.as_ref();
                json_output(output.as_ref())?;
                self.select(select(query.as_deref())?)
            }
            NodeEnum::JsonObjectAgg(node) => {
                let JsonObjectAgg {
                    constructor,
                    arg,
                    absent_on_null: _,
                    unique: _,
                } = node.as_ref();
                self.json_aggregate(constructor.as_deref())?;
                self.json_pair(arg.as_deref().ok_or_else(unreadable)?)
            }
            NodeEnum::JsonArrayAgg(node) => {
                let JsonArrayAgg {
                    constructor,
                    arg,
                    absent_on_null: _,
                } = node.as_ref();
                self.json_aggregate(constructor.as_deref())?;
                self.json_value(arg.as_deref().ok_or_else(unreadable)?)
            }
            NodeEnum::JsonFuncExpr(node) => self.json_function(node),
            NodeEnum::JsonParseExpr(node) => {
                let JsonParseExpr {
                    expr,
                    output,
                    unique_keys: _,
                    location: _,
                } = node.as_ref();
                json_output(output.as_ref())?;
                self.json_value(expr.as_deref().ok_or_else(unreadable)?)
            }
            NodeEnum::JsonScalarExpr(node) => {
                let JsonScalarExpr {
                    expr,
                    output,
                    location: _,
                } = node.as_ref();
                json_output(output.as_ref())?;
                self.required(expr.as_deref())
            }
            NodeEnum::JsonSerializeExpr(node) => {
                let JsonSerializeExpr {
                    expr,
                    output,
                    location: _,
                } = node.as_ref();
                json_output(output.as_ref())?;
                self.json_value(expr.as_deref().ok_or_else(unreadable)?)
            }
            NodeEnum::JsonValueExpr(node) => self.json_value(node),
            NodeEnum::JsonKeyValue(node) => self.json_pair(node),
            NodeEnum::JsonArgument(node) => {
                self.json_value(node.val.as_deref().ok_or_else(unreadable)?)
            }
            _ => Err(unreadable()),
        }
    }

    fn json_value(&mut self, value: &'a JsonValueExpr) -> Refused {
        let JsonValueExpr {
            raw_expr,
            formatted_expr,
            format: _,
        } = value;
        self.maybe(formatted_expr.as_deref())?;
        self.required(raw_expr.as_deref())
    }

    fn json_pair(&mut self, pair: &'a JsonKeyValue) -> Refused {
        let JsonKeyValue { key, value } = pair;
        self.required(key.as_deref())?;
        self.json_value(value.as_deref().ok_or_else(unreadable)?)
    }

    fn json_aggregate(&mut self, constructor: Option<&'a JsonAggConstructor>) -> Refused {
        let JsonAggConstructor {
            output,
            agg_filter,
            agg_order,
            over,
            location: _,
        } = constructor.ok_or_else(unreadable)?;
        json_output(output.as_ref())?;
        self.maybe(agg_filter.as_deref())?;
        self.sort(agg_order)?;
        over.as_deref().map_or(Ok(()), |window| self.window(window))
    }

    fn json_behavior(&mut self, behavior: Option<&'a JsonBehavior>) -> Refused {
        behavior.map_or(Ok(()), |behavior| self.maybe(behavior.expr.as_deref()))
    }

    fn json_function(&mut self, function: &'a JsonFuncExpr) -> Refused {
        let JsonFuncExpr {
            op: _,
            column_name: _,
            context_item,
            pathspec,
            passing,
            output,
            on_empty,
            on_error,
            wrapper: _,
            quotes: _,
            location: _,
        } = function;
        json_output(output.as_ref())?;
        self.json_value(context_item.as_deref().ok_or_else(unreadable)?)?;
        self.required(pathspec.as_deref())?;
        self.all(passing)?;
        self.json_behavior(on_empty.as_deref())?;
        self.json_behavior(on_error.as_deref())
    }

    /// JSON_TABLE, an item of FROM.
    pub(super) fn json_table(&mut self, table: &'a JsonTable) -> Refused {
        let JsonTable {
            context_item,
            pathspec,
            passing,
            columns,
            on_error,
            alias: name,
            lateral: _,
            location: _,
        } = table;
        alias(name.as_ref())?;
        self.json_value(context_item.as_deref().ok_or_else(unreadable)?)?;
        self.json_path(pathspec.as_deref())?;
        self.all(passing)?;
        self.json_columns(columns)?;
        self.json_behavior(on_error.as_deref())
    }

    fn json_path(&mut self, path: Option<&'a JsonTablePathSpec>) -> Refused {
        path.map_or(Ok(()), |path| self.maybe(path.string.as_deref()))
    }

    fn json_columns(&mut self, nodes: &'a [Node]) -> Refused {
        for node in nodes {
            let Some(NodeEnum::JsonTableColumn(column)) = node.node.as_ref() else {
                return Err(unreadable());
            };
            let JsonTableColumn {
                coltype: _,
                name: _,
                type_name,
                pathspec,
                format: _,
                wrapper: _,
                quotes: _,
                columns,
                on_empty,
                on_error,
                location: _,
            } = column.as_ref();
            if let Some(type_) = type_name {
                names::type_name(type_)?;
            }
            self.json_path(pathspec.as_deref())?;
            self.json_columns(columns)?;
            self.json_behavior(on_empty.as_deref())?;
            self.json_behavior(on_error.as_deref())?;
        }
        Ok(())
    }
}

fn select(node: Option<&Node>) -> Result<&SelectStmt, crate::error::Refusal> {
    match node.and_then(|node| node.node.as_ref()) {
        Some(NodeEnum::SelectStmt(select)) => Ok(select),
        Some(_) | None => Err(unreadable()),
    }
}

/// RETURNING names a type.
fn json_output(output: Option<&JsonOutput>) -> Refused {
    match output.and_then(|output| output.type_name.as_ref()) {
        Some(type_) => names::type_name(type_),
        None => Ok(()),
    }
}
