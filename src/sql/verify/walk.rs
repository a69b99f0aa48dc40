//! The walk over the caller's part of the final tree: each node is named, each field is read.
//!
//! Structures are taken apart without `..`, so that a field a new version adds fails the build.

use super::nodes::{clauses, from_items, never, unsupported};
use super::{Refused, configuration, expansion, names, unreadable};
use crate::error::{Reason, Refusal};
use crate::policy::Grants;
use crate::sql::lists;
use pg_query::NodeEnum;
use pg_query::protobuf::{
    AExpr, AIndirection, CaseExpr, CaseWhen, CollateClause, CommonTableExpr, CteCycleClause,
    CteSearchClause, FuncCall, Node, ResTarget, SelectStmt, SortBy, SqlValueFunctionOp, SubLink,
    WindowDef, WithClause,
};

/// What the walk knows on its way.
pub(super) struct Walk<'a> {
    /// What the principal may use beside the lists.
    pub(super) grants: &'a Grants,
    /// The highest parameter of the caller's.
    pub(super) parameters: i32,
    /// The names of the shadows and CTEs in scope, innermost last. Which of two equal names is meant does
    /// not matter here: both are allowed.
    pub(super) scope: Vec<&'a str>,
    /// How many expanding functions the walk is inside of.
    pub(super) expansions: usize,
    /// Whether a literal was met that may name a moment of the clock.
    pub(super) clock_words: bool,
}

type Maybe<'a> = Option<&'a Node>;

impl<'a> Walk<'a> {
    /// A SELECT, VALUES or set operation, at any depth.
    pub(super) fn select(&mut self, select: &'a SelectStmt) -> Refused {
        let outer = self.scope.len();
        if let Some(with) = &select.with_clause {
            self.with(with, 0)?;
        }
        self.body(select)?;
        self.scope.truncate(outer);
        Ok(())
    }

    /// The final statement, whose first `shadows` CTEs were compared with what they should be.
    pub(super) fn statement(&mut self, select: &'a SelectStmt, shadows: usize) -> Refused {
        if let Some(with) = &select.with_clause {
            for shadow in with.ctes.iter().take(shadows) {
                self.scope.push(&cte(shadow)?.ctename);
            }
            self.with(with, shadows)?;
        }
        self.body(select)
    }

    /// A WITH list from its `skip`th element on. A plain WITH sees what stands before it, a recursive one
    /// all of the list (parse_cte.c, transformWithClause).
    pub(super) fn with(&mut self, with: &'a WithClause, skip: usize) -> Refused {
        let WithClause {
            ctes,
            recursive,
            location: _,
        } = with;
        let ctes = ctes
            .iter()
            .skip(skip)
            .map(cte)
            .collect::<Result<Vec<_>, _>>()?;
        if *recursive {
            self.scope
                .extend(ctes.iter().map(|cte| cte.ctename.as_str()));
        }
        for cte in ctes {
            self.cte(cte)?;
            if !*recursive {
                self.scope.push(&cte.ctename);
            }
        }
        Ok(())
    }

    fn cte(&mut self, cte: &'a CommonTableExpr) -> Refused {
        let CommonTableExpr {
            ctename: _,
            aliascolnames,
            ctematerialized: _,
            ctequery,
            search_clause,
            cycle_clause,
            location: _,
            cterecursive: _,
            cterefcount: _,
            ctecolnames,
            ctecoltypes,
            ctecoltypmods,
            ctecolcollations,
        } = cte;
        for list in [
            aliascolnames,
            ctecolnames,
            ctecoltypes,
            ctecoltypmods,
            ctecolcollations,
        ] {
            names::parts(list)?;
        }
        if let Some(CteSearchClause {
            search_col_list,
            search_breadth_first: _,
            search_seq_column: _,
            location: _,
        }) = search_clause
        {
            names::parts(search_col_list)?;
        }
        if let Some(cycle) = cycle_clause {
            let CteCycleClause {
                cycle_col_list,
                cycle_mark_value,
                cycle_mark_default,
                ..
            } = cycle.as_ref();
            names::parts(cycle_col_list)?;
            self.maybe(cycle_mark_value.as_deref())?;
            self.maybe(cycle_mark_default.as_deref())?;
        }
        self.query(ctequery.as_deref())
    }

    /// A node that must be a query.
    pub(super) fn query(&mut self, node: Maybe<'a>) -> Refused {
        match node.and_then(|node| node.node.as_ref()) {
            Some(NodeEnum::SelectStmt(select)) => self.select(select),
            Some(
                NodeEnum::InsertStmt(_)
                | NodeEnum::UpdateStmt(_)
                | NodeEnum::DeleteStmt(_)
                | NodeEnum::MergeStmt(_),
            ) => Err(Refusal::new(Reason::NotARead, "a WITH query may not write")
                .hint("Only SELECT is possible here.")),
            Some(_) | None => Err(unreadable()),
        }
    }

    fn body(&mut self, select: &'a SelectStmt) -> Refused {
        let SelectStmt {
            distinct_clause,
            into_clause,
            target_list,
            from_clause,
            where_clause,
            group_clause,
            group_distinct: _,
            having_clause,
            window_clause,
            values_lists,
            sort_clause,
            limit_offset,
            limit_count,
            limit_option: _,
            locking_clause,
            with_clause: _,
            op: _,
            all: _,
            larg,
            rarg,
        } = select;
        if into_clause.is_some() {
            return Err(
                Refusal::new(Reason::NotARead, "SELECT INTO creates a table")
                    .hint("Leave INTO out: only SELECT is possible here."),
            );
        }
        if !locking_clause.is_empty() {
            return Err(
                Refusal::new(Reason::UnsupportedSyntax, "rows cannot be locked")
                    .hint("Leave FOR UPDATE, FOR SHARE and the like out."),
            );
        }
        for arm in [larg, rarg].into_iter().flatten() {
            self.select(arm)?;
        }
        for item in from_clause {
            self.from(item)?;
        }
        for target in target_list {
            self.target(target)?;
        }
        // Plain DISTINCT is a list of one empty node.
        for node in distinct_clause.iter().filter(|node| node.node.is_some()) {
            self.expression(node)?;
        }
        self.maybe(where_clause.as_deref())?;
        self.all(group_clause)?;
        self.maybe(having_clause.as_deref())?;
        for node in window_clause {
            match node.node.as_ref() {
                Some(NodeEnum::WindowDef(window)) => self.window(window)?,
                Some(_) | None => return Err(unreadable()),
            }
        }
        self.all(values_lists)?;
        self.sort(sort_clause)?;
        self.maybe(limit_offset.as_deref())?;
        self.maybe(limit_count.as_deref())
    }

    fn target(&mut self, node: &'a Node) -> Refused {
        let Some(NodeEnum::ResTarget(target)) = node.node.as_ref() else {
            return Err(unreadable());
        };
        let ResTarget {
            name: _,
            indirection,
            val,
            location: _,
        } = target.as_ref();
        if !indirection.is_empty() {
            return Err(unreadable());
        }
        self.required(val.as_deref())
    }

    pub(super) fn sort(&mut self, nodes: &'a [Node]) -> Refused {
        for node in nodes {
            let Some(NodeEnum::SortBy(sort)) = node.node.as_ref() else {
                return Err(unreadable());
            };
            let SortBy {
                node,
                sortby_dir: _,
                sortby_nulls: _,
                use_op,
                location: _,
            } = sort.as_ref();
            if !use_op.is_empty() {
                names::operator(use_op, self.grants)?;
            }
            self.required(node.as_deref())?;
        }
        Ok(())
    }

    pub(super) fn window(&mut self, window: &'a WindowDef) -> Refused {
        let WindowDef {
            name: _,
            refname: _,
            partition_clause,
            order_clause,
            frame_options: _,
            start_offset,
            end_offset,
            location: _,
        } = window;
        self.all(partition_clause)?;
        self.sort(order_clause)?;
        self.maybe(start_offset.as_deref())?;
        self.maybe(end_offset.as_deref())
    }

    pub(super) fn all(&mut self, nodes: &'a [Node]) -> Refused {
        nodes.iter().try_for_each(|node| self.expression(node))
    }

    pub(super) fn maybe(&mut self, node: Maybe<'a>) -> Refused {
        node.map_or(Ok(()), |node| self.expression(node))
    }

    pub(super) fn required(&mut self, node: Maybe<'a>) -> Refused {
        self.expression(node.ok_or_else(unreadable)?)
    }

    /// An expression.
    pub(super) fn expression(&mut self, node: &'a Node) -> Refused {
        let Some(node) = node.node.as_ref() else {
            return Err(unreadable());
        };
        match node {
            NodeEnum::AConst(constant) => {
                self.clock_words |= names::clock_word(constant);
                Ok(())
            }
            NodeEnum::ColumnRef(column) => names::column(&column.fields, self.grants),
            NodeEnum::ParamRef(parameter) => self.parameter(parameter.number),
            NodeEnum::AExpr(expression) => self.operation(expression),
            NodeEnum::BoolExpr(expression) => self.all(&expression.args),
            NodeEnum::FuncCall(call) => self.call(call),
            NodeEnum::TypeCast(cast) => {
                let type_ = cast.type_name.as_ref().ok_or_else(unreadable)?;
                names::cast(type_, self.grants)?;
                // As text, nothing that it is compared with is looked up.
                if names::is_text(type_)
                    && let Some(NodeEnum::FuncCall(call)) =
                        cast.arg.as_ref().and_then(|arg| arg.node.as_ref())
                    && names::is_type_of(&call.funcname)
                {
                    return self.call_of(lists::TYPE_OF, call);
                }
                self.required(cast.arg.as_deref())
            }
            NodeEnum::CollateClause(collate) => self.collate(collate),
            NodeEnum::SubLink(link) => self.sublink(link),
            NodeEnum::CaseExpr(case) => self.case(case),
            NodeEnum::CoalesceExpr(expression) => self.all(&expression.args),
            NodeEnum::MinMaxExpr(expression) => self.all(&expression.args),
            NodeEnum::NullTest(test) => self.required(test.arg.as_deref()),
            NodeEnum::BooleanTest(test) => self.required(test.arg.as_deref()),
            NodeEnum::RowExpr(row) => self.all(&row.args),
            NodeEnum::AArrayExpr(array) => self.all(&array.elements),
            NodeEnum::AIndirection(indirection) => self.indirection(indirection),
            NodeEnum::GroupingFunc(grouping) => self.all(&grouping.args),
            NodeEnum::GroupingSet(set) => self.all(&set.content),
            NodeEnum::SqlvalueFunction(function) => value_function(function.op),
            NodeEnum::NamedArgExpr(argument) => self.required(argument.arg.as_deref()),
            NodeEnum::List(list) => self.all(&list.items),
            NodeEnum::JsonIsPredicate(_)
            | NodeEnum::JsonObjectConstructor(_)
            | NodeEnum::JsonArrayConstructor(_)
            | NodeEnum::JsonArrayQueryConstructor(_)
            | NodeEnum::JsonObjectAgg(_)
            | NodeEnum::JsonArrayAgg(_)
            | NodeEnum::JsonFuncExpr(_)
            | NodeEnum::JsonParseExpr(_)
            | NodeEnum::JsonScalarExpr(_)
            | NodeEnum::JsonSerializeExpr(_)
            | NodeEnum::JsonValueExpr(_)
            | NodeEnum::JsonKeyValue(_)
            | NodeEnum::JsonArgument(_) => self.json(node),
            unsupported!() => Err(super::unsupported(node)),
            from_items!() | clauses!() | never!() => Err(unreadable()),
        }
    }

    fn parameter(&self, number: i32) -> Refused {
        if (1..=self.parameters).contains(&number) {
            return Ok(());
        }
        Err(Refusal::new(
            Reason::ParameterNotAllowed,
            format!("there is no parameter ${number}"),
        )
        .hint("Number the parameters from $1 without gaps."))
    }

    fn operation(&mut self, expression: &'a AExpr) -> Refused {
        let AExpr {
            kind: _,
            name,
            lexpr,
            rexpr,
            rexpr_list_start: _,
            rexpr_list_end: _,
            location: _,
        } = expression;
        names::operator(name, self.grants)?;
        self.maybe(lexpr.as_deref())?;
        self.maybe(rexpr.as_deref())
    }

    fn call(&mut self, call: &'a FuncCall) -> Refused {
        self.call_of(names::function(&call.funcname, self.grants)?, call)
    }

    /// A call of a function that may be called here.
    fn call_of(&mut self, name: &str, call: &'a FuncCall) -> Refused {
        let FuncCall {
            funcname: _,
            args,
            agg_order,
            agg_filter,
            over,
            agg_within_group: _,
            agg_star: _,
            agg_distinct: _,
            func_variadic: _,
            funcformat: _,
            location: _,
        } = call;
        let expands = expansion::expands(name);
        configuration::check(name, args)?;
        expansion::check(name, args, self.expansions)?;
        self.expansions += usize::from(expands);
        self.all(args)?;
        self.expansions -= usize::from(expands);
        self.sort(agg_order)?;
        self.maybe(agg_filter.as_deref())?;
        over.as_deref().map_or(Ok(()), |window| self.window(window))
    }

    pub(super) fn collate(&mut self, collate: &'a CollateClause) -> Refused {
        let CollateClause {
            arg,
            collname,
            location: _,
        } = collate;
        names::collation(collname)?;
        self.maybe(arg.as_deref())
    }

    fn sublink(&mut self, link: &'a SubLink) -> Refused {
        let SubLink {
            xpr,
            sub_link_type: _,
            sub_link_id: _,
            testexpr,
            oper_name,
            subselect,
            location: _,
        } = link;
        if xpr.is_some() {
            return Err(unreadable());
        }
        if !oper_name.is_empty() {
            names::operator(oper_name, self.grants)?;
        }
        self.maybe(testexpr.as_deref())?;
        self.query(subselect.as_deref())
    }

    fn case(&mut self, case: &'a CaseExpr) -> Refused {
        let CaseExpr {
            xpr: _,
            casetype: _,
            casecollid: _,
            arg,
            args,
            defresult,
            location: _,
        } = case;
        self.maybe(arg.as_deref())?;
        for node in args {
            let Some(NodeEnum::CaseWhen(when)) = node.node.as_ref() else {
                return Err(unreadable());
            };
            let CaseWhen {
                xpr: _,
                expr,
                result,
                location: _,
            } = when.as_ref();
            self.required(expr.as_deref())?;
            self.required(result.as_deref())?;
        }
        self.maybe(defresult.as_deref())
    }

    fn indirection(&mut self, indirection: &'a AIndirection) -> Refused {
        let AIndirection { arg, indirection } = indirection;
        for node in indirection {
            match node.node.as_ref() {
                Some(NodeEnum::String(field)) => names::field(&field.sval)?,
                Some(NodeEnum::AStar(_)) => {}
                Some(NodeEnum::AIndices(indices)) => {
                    self.maybe(indices.lidx.as_deref())?;
                    self.maybe(indices.uidx.as_deref())?;
                }
                Some(_) | None => return Err(unreadable()),
            }
        }
        self.required(arg.as_deref())
    }
}

/// The element of a WITH list.
pub(super) fn cte(node: &Node) -> Result<&CommonTableExpr, Refusal> {
    match node.node.as_ref() {
        Some(NodeEnum::CommonTableExpr(cte)) => Ok(cte),
        Some(_) | None => Err(unreadable()),
    }
}

/// `CURRENT_DATE` and the like: the clock is allowed, what names the upstream role or schema is not.
fn value_function(op: i32) -> Refused {
    use SqlValueFunctionOp as Op;
    let name = match Op::try_from(op).map_err(|_| unreadable())? {
        Op::SvfopCurrentDate
        | Op::SvfopCurrentTime
        | Op::SvfopCurrentTimeN
        | Op::SvfopCurrentTimestamp
        | Op::SvfopCurrentTimestampN
        | Op::SvfopLocaltime
        | Op::SvfopLocaltimeN
        | Op::SvfopLocaltimestamp
        | Op::SvfopLocaltimestampN
        | Op::SvfopCurrentCatalog => return Ok(()),
        Op::SvfopCurrentRole => "current_role",
        Op::SvfopCurrentUser => "current_user",
        Op::SvfopUser => "user",
        Op::SvfopSessionUser => "session_user",
        Op::SvfopCurrentSchema => "current_schema",
        Op::SqlvalueFunctionOpUndefined => return Err(unreadable()),
    };
    Err(Refusal::new(
        Reason::FunctionNotAllowed,
        format!("function {name} is not allowed"),
    )
    .hint("It would tell about the gate's own connection, not about you; leave it out."))
}
