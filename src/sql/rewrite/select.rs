//! One SELECT: FROM, WHERE, the output list, GROUP BY, HAVING, WINDOW.

use super::super::names;
use super::super::scope::Columns;
use super::{PLAIN_SELECT, Rewriter, absent, empty, looked_up, off, other_dialect};
use crate::error::{Reason, Refusal};
use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, NamedWindowDefinition, NamedWindowExpr, Select,
    SelectFlavor, SelectItem, SelectItemQualifiedWildcardKind, WildcardAdditionalOptions,
    helpers::attached_token::AttachedToken,
};

impl Rewriter<'_> {
    /// Walks a SELECT in the innermost frame and returns its output columns.
    pub(super) fn select(&mut self, select: &mut Select) -> Result<Columns, Refusal> {
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
            self.condition(selection, projection)?;
        }
        self.named_windows(named_window)?;
        self.set_recording(true);
        let columns = self.projection(projection)?;
        match distinct {
            None | Some(Distinct::All | Distinct::Distinct) => {}
            Some(Distinct::On(exprs)) => self.with_outputs(&columns, |walk| walk.exprs(exprs))?,
        }
        if let Some(having) = having {
            self.condition(having, projection)?;
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

    /// WHERE or HAVING, which do not know the output names.
    fn condition(&mut self, expr: &mut Expr, projection: &[SelectItem]) -> Result<(), Refusal> {
        let walked = self.expr(expr);
        walked.map_err(|refusal| output_name_meant(refusal, projection))
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
                    let called = output_name(expr);
                    let before = self.stood_in;
                    self.expr(expr)?;
                    // What stands in the place of an expression keeps its name.
                    if let (Some(name), true) = (&called, self.stood_in > before) {
                        *item = SelectItem::ExprWithAlias {
                            expr: expr.clone(),
                            alias: names::ident(name),
                        };
                    }
                    called.map(|name| vec![name])
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
    match expr {
        Expr::Identifier(ident) => fold(ident),
        Expr::CompoundIdentifier(parts) => parts.last().and_then(fold),
        Expr::Function(function) => {
            let names = names::parts(&function.name, None).ok()?;
            names.last().and_then(|ident| fold(ident))
        }
        Expr::Nested(inner) => output_name(inner),
        // A name of the value's own comes before the type's.
        Expr::Cast {
            expr, data_type, ..
        } => {
            let own = match expr.as_ref() {
                Expr::Case { .. } => None,
                other => output_name(other),
            };
            own.or_else(|| looked_up::type_of(data_type).map(str::to_owned))
        }
        Expr::Case { else_result, .. } => {
            let own = match else_result.as_deref() {
                Some(Expr::Value(_)) | None => None,
                Some(other) => Some(output_name(other)?),
            };
            own.or_else(|| Some("case".to_owned()))
        }
        // Anything else has a name only PostgreSQL needs to know.
        _other => None,
    }
}

/// An output name does not exist yet in WHERE and HAVING: says so where one was meant.
fn output_name_meant(refusal: Refusal, projection: &[SelectItem]) -> Refusal {
    let meant = projection.iter().any(|item| match item {
        SelectItem::ExprWithAlias { expr: _, alias } => names::fold(alias, None)
            .is_ok_and(|name| refusal.message == format!("column \"{name}\" does not exist")),
        SelectItem::UnnamedExpr(_)
        | SelectItem::ExprWithAliases { .. }
        | SelectItem::QualifiedWildcard(_, _)
        | SelectItem::Wildcard(_) => false,
    });
    if meant {
        refusal.hint("WHERE and HAVING do not know output names: repeat the expression, or filter in an outer query.")
    } else {
        refusal
    }
}
