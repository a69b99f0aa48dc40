//! FROM: tables become shadows, subqueries and functions are walked, everything else is refused.

use super::super::lists::FunctionClass;
use super::super::names;
use super::super::scope::{Columns, FromItem};
use super::{PLAIN_SELECT, Rewriter, absent, empty, off, other_dialect, unsupported};
use crate::error::{Reason, Refusal};
use crate::policy::GrantedTable;
use sqlparser::ast::{
    Expr, FunctionArg, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Query, Spanned,
    TableAlias, TableAliasColumnDef, TableFactor, TableFunctionArgs, TableWithJoins,
};
use sqlparser::tokenizer::Span;

impl<'g> Rewriter<'g> {
    /// A FROM item with its joins; its names enter the innermost frame.
    pub(crate) fn table_with_joins(&mut self, table: &mut TableWithJoins) -> Result<(), Refusal> {
        let TableWithJoins { relation, joins } = table;
        self.item_of_from(relation)?;
        for Join {
            relation,
            global,
            join_operator,
        } in joins
        {
            off(*global, "GLOBAL JOIN", "Use JOIN.")?;
            self.item_of_from(relation)?;
            self.join_operator(join_operator)?;
        }
        Ok(())
    }

    fn join_operator(&mut self, operator: &mut JoinOperator) -> Result<(), Refusal> {
        match operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint)
            | JoinOperator::Right(constraint)
            | JoinOperator::RightOuter(constraint)
            | JoinOperator::FullOuter(constraint)
            | JoinOperator::CrossJoin(constraint) => match constraint {
                JoinConstraint::On(expr) => self.expr(expr),
                JoinConstraint::Using(columns) => columns.iter().try_for_each(|name| {
                    let parts = names::parts(name, self.position(name.span()))?;
                    match parts.as_slice() {
                        [column] => names::fold(column, self.position(column.span)).map(drop),
                        _several => Err(other_dialect(
                            "a qualified name in USING",
                            "Write USING (column).",
                        )),
                    }
                }),
                JoinConstraint::Natural | JoinConstraint::None => Ok(()),
            },
            JoinOperator::Semi(_)
            | JoinOperator::LeftSemi(_)
            | JoinOperator::RightSemi(_)
            | JoinOperator::Anti(_)
            | JoinOperator::LeftAnti(_)
            | JoinOperator::RightAnti(_) => Err(other_dialect(
                "SEMI JOIN and ANTI JOIN",
                "Use WHERE EXISTS (...) or NOT EXISTS (...).",
            )),
            JoinOperator::CrossApply | JoinOperator::OuterApply => Err(other_dialect(
                "APPLY",
                "Use CROSS JOIN LATERAL or LEFT JOIN LATERAL ... ON true.",
            )),
            JoinOperator::AsOf {
                match_condition: _,
                constraint: _,
            } => Err(other_dialect(
                "ASOF JOIN",
                "Use a LATERAL subquery with ORDER BY and LIMIT 1.",
            )),
            JoinOperator::StraightJoin(_)
            | JoinOperator::ArrayJoin
            | JoinOperator::LeftArrayJoin
            | JoinOperator::InnerArrayJoin => {
                Err(other_dialect("this kind of join", "Use JOIN ... ON."))
            }
        }
    }

    pub(super) fn table_factor(&mut self, factor: &mut TableFactor) -> Result<(), Refusal> {
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                empty(with_hints, "a table hint", "Drop the hint.")?;
                absent(
                    version,
                    "FOR SYSTEM_TIME",
                    "Filter by a date column instead.",
                )?;
                empty(
                    partitions,
                    "PARTITION",
                    "Filter by the partition's key instead.",
                )?;
                absent(json_path, "a path behind a table name", PLAIN_SELECT)?;
                empty(index_hints, "an index hint", "Drop the hint.")?;
                if sample.is_some() {
                    return Err(unsupported(
                        "TABLESAMPLE",
                        "Use WHERE random() < 0.1 or LIMIT instead.",
                    ));
                }
                match args {
                    Some(TableFunctionArgs { args, settings }) => {
                        absent(settings, "SETTINGS", PLAIN_SELECT)?;
                        self.table_function(name, args, alias.as_ref())
                    }
                    None => {
                        off(
                            *with_ordinality,
                            "WITH ORDINALITY on a table",
                            "Use row_number() OVER ().",
                        )?;
                        self.table(name, alias)
                    }
                }
            }
            TableFactor::Derived {
                lateral: _,
                subquery,
                alias,
                sample,
            } => {
                absent(sample, "TABLESAMPLE on a subquery", "Use LIMIT instead.")?;
                self.derived(subquery, alias.as_ref())
            }
            TableFactor::Function {
                lateral: _,
                name,
                args,
                with_ordinality: _,
                alias,
            } => self.table_function(name, args, alias.as_ref()),
            TableFactor::UNNEST {
                alias,
                array_exprs,
                with_offset,
                with_offset_alias,
                with_ordinality: _,
            } => {
                off(*with_offset, "WITH OFFSET", "Use WITH ORDINALITY.")?;
                absent(with_offset_alias, "WITH OFFSET", "Use WITH ORDINALITY.")?;
                self.exprs(array_exprs)?;
                self.push_unknown(alias.as_ref(), "unnest")
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias,
            } => {
                self.table_with_joins(table_with_joins)?;
                match alias {
                    Some(alias) => self.push_unknown(Some(alias), ""),
                    None => Ok(()),
                }
            }
            TableFactor::TableFunction { expr: _, alias: _ } => Err(other_dialect(
                "TABLE(...)",
                "Call the function itself in FROM.",
            )),
            TableFactor::JsonTable {
                json_expr: _,
                json_path: _,
                columns: _,
                alias: _,
            } => Err(unsupported(
                "JSON_TABLE",
                "Use jsonb_to_recordset or jsonb_array_elements.",
            )),
            TableFactor::XmlTable {
                namespaces: _,
                row_expression: _,
                passing: _,
                columns: _,
                alias: _,
            } => Err(unsupported("XMLTABLE", "Read the column as text.")),
            TableFactor::OpenJsonTable {
                json_expr: _,
                json_path: _,
                columns: _,
                alias: _,
            } => Err(other_dialect(
                "OPENJSON",
                "Use jsonb_to_recordset or jsonb_array_elements.",
            )),
            TableFactor::Pivot {
                table: _,
                aggregate_functions: _,
                value_column: _,
                value_source: _,
                default_on_null: _,
                alias: _,
            }
            | TableFactor::Unpivot {
                table: _,
                value: _,
                name: _,
                columns: _,
                null_inclusion: _,
                alias: _,
            }
            | TableFactor::UnpivotExpr {
                expression: _,
                value_alias: _,
                attribute_alias: _,
            } => Err(other_dialect(
                "PIVOT and UNPIVOT",
                "Use FILTER (WHERE ...) or a join with VALUES.",
            )),
            TableFactor::MatchRecognize {
                table: _,
                partition_by: _,
                order_by: _,
                measures: _,
                rows_per_match: _,
                after_match_skip: _,
                pattern: _,
                symbols: _,
                alias: _,
            } => Err(other_dialect("MATCH_RECOGNIZE", "Use window functions.")),
            TableFactor::SemanticView {
                name: _,
                dimensions: _,
                metrics: _,
                facts: _,
                where_clause: _,
                alias: _,
            } => Err(other_dialect("SEMANTIC_VIEW", PLAIN_SELECT)),
        }
    }

    /// A name in FROM: the caller's CTE in scope, a granted table, or nothing.
    fn table(
        &mut self,
        name: &mut ObjectName,
        alias: &mut Option<TableAlias>,
    ) -> Result<(), Refusal> {
        let span = name.span();
        let position = self.position(span);
        let parts = names::parts(name, position)?;
        let folded: Vec<String> = parts
            .iter()
            .map(|ident| names::fold(ident, position))
            .collect::<Result<_, _>>()?;
        let only = parts
            .first()
            .is_some_and(|ident| ident.quote_style.is_none())
            && folded == ["only"];
        let (schema, plain) = match folded.as_slice() {
            [name] => (None, name.as_str()),
            [schema, name] => (Some(schema.as_str()), name.as_str()),
            [database, schema, name] => {
                self.same_database(database, &folded.join("."), position)?;
                (Some(schema.as_str()), name.as_str())
            }
            _several => return Err(self.relation_unknown(&folded.join("."), span)),
        };
        if schema.is_none()
            && let Some(cte) = self.scopes.cte(plain)
        {
            let columns = cte.columns.clone();
            return self.push_item(alias.as_ref(), plain, columns, None);
        }
        if only {
            return Err(unsupported("FROM ONLY", "Drop ONLY.").at(position));
        }
        let (shadow, columns, relation, table) = self
            .meant(schema, plain)
            .map_err(|why| self.relation_unknown_because(&folded.join("."), span, why))?;
        let bare = alias.is_none();
        if schema.is_some() || shadow != plain {
            *name = ObjectName::from(vec![names::ident(&shadow)]);
        }
        if bare && shadow != plain {
            *alias = Some(TableAlias {
                explicit: true,
                name: names::ident(plain),
                columns: Vec::new(),
                at: None,
            });
        }
        self.push_item(alias.as_ref(), plain, Columns::Known(columns), table)?;
        if let Some(item) = self
            .scopes
            .frames
            .last_mut()
            .and_then(|frame| frame.items.last_mut())
        {
            item.bare = bare;
            item.relation = Some(relation);
        }
        Ok(())
    }

    fn derived(&mut self, subquery: &mut Query, alias: Option<&TableAlias>) -> Result<(), Refusal> {
        let columns = self.query(subquery)?;
        self.push_item(alias, "", columns, None)
    }

    fn table_function(
        &mut self,
        name: &ObjectName,
        args: &mut [FunctionArg],
        alias: Option<&TableAlias>,
    ) -> Result<(), Refusal> {
        let (function, class) = self.function_name(name)?;
        match class {
            Some(FunctionClass::SetReturning | FunctionClass::Scalar) | None => {}
            Some(FunctionClass::Aggregate | FunctionClass::Window) => {
                return Err(Refusal::new(
                    Reason::SyntaxError,
                    format!("function {function} cannot be used in FROM"),
                )
                .hint("Call it in the SELECT list.")
                .at(self.position(name.span())));
            }
        }
        self.function_args(args)?;
        self.push_unknown(alias, &function)
    }

    pub(super) fn push_unknown(
        &mut self,
        alias: Option<&TableAlias>,
        name: &str,
    ) -> Result<(), Refusal> {
        self.push_item(alias, name, Columns::Unknown, None)
    }

    fn push_item(
        &mut self,
        alias: Option<&TableAlias>,
        name: &str,
        columns: Columns,
        table: Option<&'g GrantedTable>,
    ) -> Result<(), Refusal> {
        let (alias, renamed) = match alias {
            Some(alias) => (
                names::fold(&alias.name, self.position(alias.name.span))?,
                self.alias_columns(alias)?,
            ),
            None => (name.to_owned(), Vec::new()),
        };
        // A renamed table keeps no claim to its primary key: the names no longer match.
        let table = if renamed.is_empty() { table } else { None };
        let item = FromItem {
            alias,
            columns: columns.renamed(&renamed),
            table,
            relation: None,
            bare: false,
        };
        match self.scopes.frames.last_mut() {
            Some(frame) => {
                frame.items.push(item);
                Ok(())
            }
            None => Err(unsupported("a table here", PLAIN_SELECT)),
        }
    }

    /// The column names of an alias; types of a column definition list are checked.
    pub(crate) fn alias_columns(&mut self, alias: &TableAlias) -> Result<Vec<String>, Refusal> {
        let TableAlias {
            explicit: _,
            name: _,
            columns,
            at,
        } = alias;
        absent(at, "AT behind an alias", PLAIN_SELECT)?;
        columns
            .iter()
            .map(|TableAliasColumnDef { name, data_type }| {
                if let Some(data_type) = data_type {
                    self.data_type(data_type)?;
                }
                names::fold(name, self.position(name.span))
            })
            .collect()
    }

    /// `t.*` or `schema.t.*` in an output list: checked, and stripped of its schema.
    pub(crate) fn qualified_wildcard(
        &mut self,
        name: &mut ObjectName,
    ) -> Result<Option<Vec<String>>, Refusal> {
        let span = name.span();
        let position = self.position(span);
        let parts: Vec<Ident> = names::parts(name, position)?.into_iter().cloned().collect();
        let folded: Vec<String> = parts
            .iter()
            .map(|ident| names::fold(ident, position))
            .collect::<Result<_, _>>()?;
        let (frame, item) = match folded.as_slice() {
            [alias] => self
                .scopes
                .item(alias)
                .ok_or_else(|| self.alias_unknown(alias, span))?,
            [database @ .., schema, table] if database.len() <= 1 => {
                if let [database] = database {
                    self.same_database(database, &folded.join("."), position)?;
                }
                let found = self
                    .bare_item(schema, table)
                    .ok_or_else(|| self.alias_unknown(table, span))?;
                if let Some(last) = parts.last() {
                    *name = ObjectName::from(vec![last.clone()]);
                }
                found
            }
            _several => return Err(self.relation_unknown(&folded.join("."), span)),
        };
        let columns = self
            .scopes
            .frames
            .get(frame)
            .and_then(|frame| frame.items.get(item))
            .map_or(Columns::Unknown, |item| item.columns.clone());
        match columns {
            Columns::Known(names) => {
                for name in &names {
                    self.scopes.record(frame, item, name);
                }
                Ok(Some(names))
            }
            Columns::Unknown => Ok(None),
        }
    }

    /// The refusal for a qualifier no FROM item has.
    pub(crate) fn alias_unknown(&self, alias: &str, span: Span) -> Refusal {
        let aliases: Vec<&str> = self
            .scopes
            .frames
            .iter()
            .flat_map(|frame| frame.items.iter())
            .map(|item| item.alias.as_str())
            .filter(|alias| !alias.is_empty())
            .collect();
        let hint = match names::near(alias, aliases.iter().copied()) {
            Some(near) => format!("Did you mean {near}?"),
            None if aliases.is_empty() => "Add a FROM clause.".to_owned(),
            None => format!("Use one of: {}.", names::list(aliases)),
        };
        Refusal::new(
            Reason::RelationUnknown,
            format!(
                "missing FROM-clause entry for table \"{}\"",
                names::shown(alias)
            ),
        )
        .hint(hint)
        .at(self.position(span))
    }

    /// Walks each expression of a list.
    pub(crate) fn exprs(&mut self, exprs: &mut [Expr]) -> Result<(), Refusal> {
        exprs.iter_mut().try_for_each(|expr| self.expr(expr))
    }
}
