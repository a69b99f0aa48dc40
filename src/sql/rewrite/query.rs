//! Queries: WITH, set operations, SELECT, ORDER BY, LIMIT.

use super::super::names;
use super::super::scope::{Columns, CteEntry, Frame};
use super::{PLAIN_SELECT, Rewriter, absent, empty, off, other_dialect, unsupported};
use crate::error::{Reason, Refusal};
use sqlparser::ast::{
    Cte, Distinct, Expr, Fetch, GroupByExpr, Ident, LimitClause, NamedWindowDefinition,
    NamedWindowExpr, Offset, OrderBy, OrderByExpr, OrderByKind, OrderByOptions, OrderBySort, Query,
    Select, SelectFlavor, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator,
    SetQuantifier, Table, Values, WildcardAdditionalOptions, With,
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

    fn select(&mut self, select: &mut Select) -> Result<Columns, Refusal> {
        let Select {
            select_token: AttachedToken(_),
            optimizer_hints,
            distinct,
            select_modifiers,
            top,
            top_before_distinct,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            // Only the order of WINDOW and QUALIFY in the print; QUALIFY is refused above.
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        empty(optimizer_hints, "an optimizer hint", "Drop the hint.")?;
        absent(select_modifiers, "this SELECT modifier", PLAIN_SELECT)?;
        absent(top, "TOP", "Use LIMIT at the end of the query.")?;
        off(
            *top_before_distinct,
            "TOP",
            "Use LIMIT at the end of the query.",
        )?;
        absent(exclude, "EXCLUDE", "List the columns you want.")?;
        if into.is_some() {
            return Err(
                Refusal::new(Reason::NotARead, "SELECT INTO creates a table")
                    .hint("Drop INTO; this connection only reads."),
            );
        }
        empty(
            lateral_views,
            "LATERAL VIEW",
            "Use CROSS JOIN LATERAL unnest(...).",
        )?;
        absent(prewhere, "PREWHERE", "Use WHERE.")?;
        empty(connect_by, "CONNECT BY", "Use WITH RECURSIVE.")?;
        empty(cluster_by, "CLUSTER BY", "Use ORDER BY.")?;
        empty(distribute_by, "DISTRIBUTE BY", "Use ORDER BY.")?;
        empty(sort_by, "SORT BY", "Use ORDER BY.")?;
        absent(
            qualify,
            "QUALIFY",
            "Filter the window function in an outer query.",
        )?;
        absent(value_table_mode, "SELECT AS STRUCT", PLAIN_SELECT)?;
        match flavor {
            SelectFlavor::Standard => {}
            SelectFlavor::FromFirst | SelectFlavor::FromFirstNoSelect => {
                return Err(other_dialect(
                    "FROM before SELECT",
                    "Write SELECT ... FROM ....",
                ));
            }
        }
        for table in from {
            self.table_with_joins(table)?;
        }
        if let Some(selection) = selection {
            self.expr(selection)?;
        }
        self.named_windows(named_window)?;
        self.set_recording(true);
        let columns = self.projection(projection)?;
        match distinct {
            None | Some(Distinct::All | Distinct::Distinct) => {}
            Some(Distinct::On(exprs)) => self.with_outputs(&columns, |walk| walk.exprs(exprs))?,
        }
        if let Some(having) = having {
            self.expr(having)?;
        }
        self.set_recording(false);
        match group_by {
            GroupByExpr::All(_) => {
                return Err(other_dialect(
                    "GROUP BY ALL",
                    "Name the columns to group by.",
                ));
            }
            GroupByExpr::Expressions(exprs, modifiers) => {
                empty(
                    modifiers,
                    "WITH ROLLUP and WITH CUBE",
                    "Use GROUP BY ROLLUP (...) or CUBE (...).",
                )?;
                self.with_outputs(&columns, |walk| walk.exprs(exprs))?;
            }
        }
        Ok(columns)
    }

    fn set_recording(&mut self, recording: bool) {
        if let Some(frame) = self.scopes.frames.last_mut() {
            frame.recording = recording;
        }
    }

    /// Runs `walk` with the level's output names in scope, as GROUP BY and DISTINCT ON see them.
    fn with_outputs(
        &mut self,
        columns: &Columns,
        walk: impl FnOnce(&mut Self) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        if let Some(frame) = self.scopes.frames.last_mut() {
            match columns {
                Columns::Known(names) => frame.outputs.clone_from(names),
                Columns::Unknown => frame.outputs_unknown = true,
            }
        }
        walk(self)?;
        if let Some(frame) = self.scopes.frames.last_mut() {
            frame.outputs.clear();
            frame.outputs_unknown = false;
        }
        Ok(())
    }

    fn named_windows(&mut self, windows: &mut [NamedWindowDefinition]) -> Result<(), Refusal> {
        for NamedWindowDefinition(_name, definition) in windows {
            match definition {
                NamedWindowExpr::NamedWindow(_) => {
                    return Err(other_dialect("WINDOW a AS b", "Write WINDOW a AS (b)."));
                }
                NamedWindowExpr::WindowSpec(spec) => self.window_spec(spec)?,
            }
        }
        Ok(())
    }

    fn projection(&mut self, items: &mut [SelectItem]) -> Result<Columns, Refusal> {
        let mut names = Some(Vec::with_capacity(items.len()));
        for item in items {
            let item_names = match item {
                SelectItem::UnnamedExpr(expr) => {
                    self.expr(expr)?;
                    output_name(expr).map(|name| vec![name])
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    self.expr(expr)?;
                    Some(vec![names::fold(alias, self.position(alias.span))?])
                }
                SelectItem::ExprWithAliases {
                    expr: _,
                    aliases: _,
                } => {
                    return Err(other_dialect(
                        "several aliases for one column",
                        PLAIN_SELECT,
                    ));
                }
                SelectItem::QualifiedWildcard(kind, options) => {
                    wildcard_options(options)?;
                    match kind {
                        SelectItemQualifiedWildcardKind::ObjectName(name) => {
                            self.qualified_wildcard(name)?
                        }
                        SelectItemQualifiedWildcardKind::Expr(expr) => {
                            self.expr(expr)?;
                            None
                        }
                    }
                }
                SelectItem::Wildcard(options) => {
                    wildcard_options(options)?;
                    self.wildcard()
                }
            };
            match (&mut names, item_names) {
                (Some(names), Some(more)) => names.extend(more),
                (Some(_) | None, None | Some(_)) => names = None,
            }
        }
        Ok(names.map_or(Columns::Unknown, Columns::Known))
    }

    /// The columns `*` gives, when all are known and no join merges some of them.
    fn wildcard(&mut self) -> Option<Vec<String>> {
        let frame_index = self.scopes.frames.len().checked_sub(1)?;
        let items = self.scopes.frames.get(frame_index)?.items.clone();
        let mut names: Vec<String> = Vec::new();
        let mut known = true;
        for (index, item) in items.iter().enumerate() {
            match &item.columns {
                Columns::Known(columns) => {
                    for column in columns {
                        self.scopes.record(frame_index, index, column);
                    }
                    names.extend(columns.iter().cloned());
                }
                Columns::Unknown => known = false,
            }
        }
        known.then_some(names)
    }
}

fn wildcard_options(options: &WildcardAdditionalOptions) -> Result<(), Refusal> {
    let WildcardAdditionalOptions {
        wildcard_token: AttachedToken(_),
        opt_ilike,
        opt_exclude,
        opt_except,
        opt_replace,
        opt_rename,
        opt_alias,
    } = options;
    let hint = "List the columns you want.";
    absent(opt_ilike, "* ILIKE", hint)?;
    absent(opt_exclude, "* EXCLUDE", hint)?;
    absent(opt_except, "* EXCEPT", hint)?;
    absent(opt_replace, "* REPLACE", hint)?;
    absent(opt_rename, "* RENAME", hint)?;
    absent(opt_alias, "an alias for *", hint)
}

/// The name PostgreSQL gives an output column without alias, where that is simple
/// (`FigureColname` in parse_target.c).
fn output_name(expr: &Expr) -> Option<String> {
    let fold = |ident: &Ident| names::fold(ident, None).ok();
    if let Expr::Identifier(ident) = expr {
        return fold(ident);
    }
    if let Expr::CompoundIdentifier(parts) = expr {
        return parts.last().and_then(fold);
    }
    if let Expr::Function(function) = expr {
        let names = names::parts(&function.name, None).ok()?;
        return names.last().and_then(|ident| fold(ident));
    }
    // Anything else has a name only PostgreSQL needs to know.
    None
}
