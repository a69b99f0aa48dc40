//! The items of FROM.

use super::nodes::{clauses, expressions, never, unsupported};
use super::walk::Walk;
use super::{Refused, names, unreadable};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    Alias, ColumnDef, JoinExpr, Node, RangeFunction, RangeSubselect, RangeVar,
};

impl<'a> Walk<'a> {
    /// An item of FROM.
    pub(super) fn from(&mut self, node: &'a Node) -> Refused {
        let Some(node) = node.node.as_ref() else {
            return Err(unreadable());
        };
        match node {
            NodeEnum::RangeVar(range) => self.range(range),
            NodeEnum::RangeSubselect(range) => {
                let RangeSubselect {
                    lateral: _,
                    subquery,
                    alias: name,
                } = range.as_ref();
                alias(name.as_ref())?;
                self.query(subquery.as_deref())
            }
            NodeEnum::RangeFunction(function) => self.range_function(function),
            NodeEnum::JoinExpr(join) => {
                let JoinExpr {
                    jointype: _,
                    is_natural: _,
                    larg,
                    rarg,
                    using_clause,
                    join_using_alias,
                    quals,
                    alias: name,
                    rtindex: _,
                } = join.as_ref();
                for side in [larg, rarg] {
                    self.from(side.as_deref().ok_or_else(unreadable)?)?;
                }
                names::parts(using_clause)?;
                alias(join_using_alias.as_ref())?;
                alias(name.as_ref())?;
                self.maybe(quals.as_deref())
            }
            NodeEnum::JsonTable(table) => self.json_table(table),
            unsupported!() => Err(super::unsupported(node)),
            expressions!() | clauses!() | never!() => Err(unreadable()),
        }
    }

    /// A relation: a shadow or a CTE in scope, and nothing else.
    fn range(&mut self, range: &RangeVar) -> Refused {
        let RangeVar {
            catalogname,
            schemaname,
            relname,
            inh: _,
            relpersistence: _,
            alias: name,
            location: _,
        } = range;
        alias(name.as_ref())?;
        if catalogname.is_empty() && schemaname.is_empty() && self.scope.contains(&relname.as_str())
        {
            return Ok(());
        }
        Err(super::unknown_relation(schemaname, relname, self.grants))
    }

    fn range_function(&mut self, function: &'a RangeFunction) -> Refused {
        let RangeFunction {
            lateral: _,
            ordinality: _,
            is_rowsfrom: _,
            functions,
            alias: name,
            coldeflist,
        } = function;
        alias(name.as_ref())?;
        for node in functions {
            let Some(NodeEnum::List(pair)) = node.node.as_ref() else {
                return Err(unreadable());
            };
            let [call, definitions] = pair.items.as_slice() else {
                return Err(unreadable());
            };
            self.expression(call)?;
            match definitions.node.as_ref() {
                None => {}
                Some(NodeEnum::List(list)) => self.column_definitions(&list.items)?,
                Some(_) => return Err(unreadable()),
            }
        }
        self.column_definitions(coldeflist)
    }

    fn column_definitions(&mut self, nodes: &'a [Node]) -> Refused {
        for node in nodes {
            let Some(NodeEnum::ColumnDef(definition)) = node.node.as_ref() else {
                return Err(unreadable());
            };
            let ColumnDef {
                type_name,
                raw_default,
                cooked_default,
                coll_clause,
                constraints,
                ..
            } = definition.as_ref();
            names::type_name(type_name.as_ref().ok_or_else(unreadable)?)?;
            if raw_default.is_some() || cooked_default.is_some() || !constraints.is_empty() {
                return Err(unreadable());
            }
            if let Some(collate) = coll_clause {
                self.collate(collate)?;
            }
        }
        Ok(())
    }
}

/// An alias holds names only.
pub(super) fn alias(alias: Option<&Alias>) -> Refused {
    let Some(Alias {
        aliasname: _,
        colnames,
    }) = alias
    else {
        return Ok(());
    };
    names::parts(colnames).map(|_| ())
}
