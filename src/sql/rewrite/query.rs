//! Queries: WITH, set operations, SELECT, ORDER BY, LIMIT.

use super::super::names;
use super::super::scope::{Columns, CteEntry, Frame};
use super::{PLAIN_SELECT, Rewriter, absent, empty, off, other_dialect, unsupported};
use crate::error::{Reason, Refusal};
use sqlparser::ast::{
    Cte, Fetch, LimitClause, Offset, OrderBy, OrderByExpr, OrderByKind, OrderByOptions,
    OrderBySort, Query, SetExpr, SetOperator, SetQuantifier, Table, Values, With,
    helpers::attached_token::AttachedToken,
};

impl Rewriter<'_> {
    /// Walks a query in the current scopes and returns its output columns.
    pub(crate) fn query(&mut self, query: &mut Query) -> Result<Columns, Refusal> {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        if !locks.is_empty() {
            return Err(Refusal::new(Reason::NotARead, "rows cannot be locked here")
                .hint("Drop FOR UPDATE or FOR SHARE; this connection only reads."));
        }
        absent(
            for_clause,
            "FOR XML, FOR JSON and FOR BROWSE",
            "Use json_agg or row_to_json.",
        )?;
        absent(settings, "SETTINGS", PLAIN_SELECT)?;
        absent(format_clause, "FORMAT", PLAIN_SELECT)?;
        empty(pipe_operators, "|>", PLAIN_SELECT)?;
        let pushed = match with {
            Some(with) => {
                self.with(with)?;
                true
            }
            None => false,
        };
        let columns = self.body(
            body,
            order_by.as_mut(),
            limit_clause.as_mut(),
            fetch.as_mut(),
        )?;
        if pushed {
            self.scopes.ctes.pop();
        }
        Ok(columns)
    }

    /// Pushes the WITH list's scope; the caller pops it.
    fn with(&mut self, with: &mut With) -> Result<(), Refusal> {
        let With {
            with_token: AttachedToken(_),
            recursive,
            cte_tables,
        } = with;
        let mut entries = Vec::with_capacity(cte_tables.len());
        for cte in cte_tables.iter() {
            let name = names::fold(&cte.alias.name, self.position(cte.alias.name.span))?;
            if entries.iter().any(|entry: &CteEntry| entry.name == name) {
                return Err(Refusal::new(
                    Reason::SyntaxError,
                    format!("WITH query name \"{name}\" specified more than once"),
                )
                .hint("Give each WITH query a name of its own.")
                .at(self.position(cte.alias.name.span)));
            }
            let aliases = self.alias_columns(&cte.alias)?;
            // Until its body is walked: its own column list, or unknown (recursive references).
            let columns = if aliases.is_empty() {
                Columns::Unknown
            } else {
                Columns::Known(aliases)
            };
            entries.push(CteEntry { name, columns });
        }
        // WITH RECURSIVE: every name is visible in every entry. Plain WITH: only earlier ones.
        self.scopes.ctes.push(if *recursive {
            entries.clone()
        } else {
            Vec::new()
        });
        for (index, (cte, mut entry)) in cte_tables.iter_mut().zip(entries).enumerate() {
            let Cte {
                alias,
                query,
                from,
                materialized: _,
                closing_paren_token: AttachedToken(_),
            } = cte;
            absent(from, "FROM inside WITH", PLAIN_SELECT)?;
            let columns = self.query(query)?.renamed(&self.alias_columns(alias)?);
            entry.columns = columns;
            if let Some(list) = self.scopes.ctes.last_mut() {
                match list.get_mut(index) {
                    Some(existing) if *recursive => *existing = entry,
                    Some(_) | None => list.push(entry),
                }
            }
        }
        Ok(())
    }

    fn body(
        &mut self,
        body: &mut SetExpr,
        order_by: Option<&mut OrderBy>,
        limit: Option<&mut LimitClause>,
        fetch: Option<&mut Fetch>,
    ) -> Result<Columns, Refusal> {
        match body {
            SetExpr::Select(select) => {
                self.scopes.frames.push(Frame::default());
                let columns = self.select(select)?;
                self.after_body(&columns, order_by, limit, fetch)?;
                self.complete_group_by(select)?;
                self.scopes.frames.pop();
                Ok(columns)
            }
            SetExpr::Query(_)
            | SetExpr::SetOperation {
                left: _,
                op: _,
                set_quantifier: _,
                right: _,
            }
            | SetExpr::Values(_)
            | SetExpr::Insert(_)
            | SetExpr::Update(_)
            | SetExpr::Delete(_)
            | SetExpr::Merge(_)
            | SetExpr::Table(_) => {
                let columns = self.set_expr(body)?;
                self.scopes.frames.push(Frame::default());
                self.after_body(&columns, order_by, limit, fetch)?;
                self.scopes.frames.pop();
                Ok(columns)
            }
        }
    }

    fn set_expr(&mut self, body: &mut SetExpr) -> Result<Columns, Refusal> {
        match body {
            SetExpr::Select(_) => self.body(body, None, None, None),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation {
                left,
                op,
                set_quantifier,
                right,
            } => {
                match op {
                    SetOperator::Union | SetOperator::Except | SetOperator::Intersect => {}
                    SetOperator::Minus => return Err(other_dialect("MINUS", "Use EXCEPT.")),
                }
                match set_quantifier {
                    SetQuantifier::All | SetQuantifier::Distinct | SetQuantifier::None => {}
                    SetQuantifier::ByName
                    | SetQuantifier::AllByName
                    | SetQuantifier::DistinctByName => {
                        return Err(other_dialect(
                            "BY NAME",
                            "List the columns in the same order on both sides.",
                        ));
                    }
                }
                let columns = self.set_expr(left)?;
                self.set_expr(right)?;
                Ok(columns)
            }
            SetExpr::Values(values) => self.values(values),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(
                    Refusal::new(Reason::NotARead, "only SELECT is possible here").hint(
                        "Drop the INSERT, UPDATE, DELETE or MERGE; this connection only reads.",
                    ),
                )
            }
            SetExpr::Table(table) => {
                let Table {
                    table_name: _,
                    schema_name: _,
                } = table.as_ref();
                Err(unsupported(
                    "TABLE in this position",
                    "Write SELECT * FROM the table.",
                ))
            }
        }
    }

    fn values(&mut self, values: &mut Values) -> Result<Columns, Refusal> {
        let Values {
            explicit_row,
            value_keyword,
            rows,
        } = values;
        off(
            *explicit_row,
            "VALUES ROW(...)",
            "Write VALUES (...), (...).",
        )?;
        off(*value_keyword, "VALUE", "Write VALUES (...), (...).")?;
        let mut width = 0;
        for row in rows {
            width = width.max(row.content.len());
            for expr in &mut row.content {
                self.expr(expr)?;
            }
        }
        Ok(Columns::Known(
            (1..=width)
                .map(|number| format!("column{number}"))
                .collect(),
        ))
    }

    /// ORDER BY, LIMIT, OFFSET, FETCH: they see the level's FROM clause and its output names.
    fn after_body(
        &mut self,
        columns: &Columns,
        order_by: Option<&mut OrderBy>,
        limit: Option<&mut LimitClause>,
        fetch: Option<&mut Fetch>,
    ) -> Result<(), Refusal> {
        if let Some(frame) = self.scopes.frames.last_mut() {
            match columns {
                Columns::Known(names) => frame.outputs.clone_from(names),
                Columns::Unknown => frame.outputs_unknown = true,
            }
            frame.recording = true;
        }
        if let Some(OrderBy { kind, interpolate }) = order_by {
            absent(interpolate, "INTERPOLATE", PLAIN_SELECT)?;
            match kind {
                OrderByKind::All(_) => {
                    return Err(other_dialect(
                        "ORDER BY ALL",
                        "Name the columns to order by.",
                    ));
                }
                OrderByKind::Expressions(exprs) => self.order_by_list(exprs)?,
            }
        }
        if let Some(frame) = self.scopes.frames.last_mut() {
            frame.recording = false;
        }
        self.limit(limit)?;
        if let Some(Fetch {
            with_ties: _,
            percent,
            quantity,
        }) = fetch
        {
            off(*percent, "FETCH ... PERCENT", "Give a number of rows.")?;
            if let Some(quantity) = quantity {
                self.expr(quantity)?;
            }
        }
        Ok(())
    }

    fn limit(&mut self, limit: Option<&mut LimitClause>) -> Result<(), Refusal> {
        match limit {
            None => {}
            Some(LimitClause::LimitOffset {
                limit,
                offset,
                limit_by,
            }) => {
                empty(
                    limit_by,
                    "LIMIT BY",
                    "Use row_number() OVER (PARTITION BY ...) in a subquery.",
                )?;
                if let Some(limit) = limit {
                    self.expr(limit)?;
                }
                if let Some(Offset { value, rows: _ }) = offset {
                    self.expr(value)?;
                }
            }
            Some(LimitClause::OffsetCommaLimit {
                offset: _,
                limit: _,
            }) => {
                return Err(other_dialect(
                    "LIMIT offset, count",
                    "Write LIMIT count OFFSET offset.",
                ));
            }
        }
        Ok(())
    }

    /// A list of sort keys.
    pub(crate) fn order_by_list(&mut self, exprs: &mut [OrderByExpr]) -> Result<(), Refusal> {
        for OrderByExpr {
            expr,
            options,
            with_fill,
        } in exprs
        {
            absent(with_fill, "WITH FILL", PLAIN_SELECT)?;
            let OrderByOptions {
                sort,
                nulls_first: _,
            } = options;
            match sort {
                None | Some(OrderBySort::Asc | OrderBySort::Desc) => {}
                Some(OrderBySort::Using(_)) => {
                    return Err(unsupported("ORDER BY ... USING", "Use ASC or DESC."));
                }
            }
            self.expr(expr)?;
        }
        Ok(())
    }
}
