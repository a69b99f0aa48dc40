//! Expressions: every variant by name.

use super::super::names;
use super::super::scope::{Columns, Found};
use super::operator::{binary_operator, unary_operator};
use super::{PLAIN_SELECT, Rewriter, absent, off, other_dialect, unsupported};
use crate::error::{Reason, Refusal};
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    Array, CaseWhen, CastKind, CeilFloorKind, DateTimeField, Expr, Ident, Interval, Spanned,
    TypedString, Value, ValueWithSpan,
};

/// System columns of tables (manual, section 5.6); a shadow has none.
const SYSTEM_COLUMNS: [&str; 6] = ["cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"];

impl Rewriter<'_> {
    /// Walks an expression.
    pub(crate) fn expr(&mut self, expr: &mut Expr) -> Result<(), Refusal> {
        if self.stands_in(expr)? {
            return Ok(());
        }
        match expr {
            Expr::Identifier(ident) => self.column(ident),
            Expr::CompoundIdentifier(parts) => self.qualified_column(parts),
            Expr::CompoundFieldAccess { root, access_chain } => self.field(root, access_chain),
            Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::Nested(inner) => self.expr(inner),
            Expr::IsJson {
                expr,
                kind: _,
                unique_keys: _,
                negated: _,
            }
            | Expr::IsNormalized {
                expr,
                form: _,
                negated: _,
            } => self.expr(expr),
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                self.both(left, right)
            }
            Expr::InList {
                expr,
                list,
                negated: _,
            } => {
                self.expr(expr)?;
                self.exprs(list)
            }
            Expr::InSubquery {
                expr,
                subquery,
                negated: _,
            } => {
                self.expr(expr)?;
                self.query(subquery).map(drop)
            }
            Expr::Between {
                expr,
                negated: _,
                low,
                high,
            } => {
                self.expr(expr)?;
                self.both(low, high)
            }
            Expr::BinaryOp { left, op, right } => {
                let position = self.position(left.span());
                self.between(op).map_err(|refusal| refusal.at(position))?;
                self.both(left, right)
            }
            Expr::Like {
                negated: _,
                any,
                expr,
                pattern,
                escape_char,
            }
            | Expr::ILike {
                negated: _,
                any,
                expr,
                pattern,
                escape_char,
            } => {
                off(
                    *any,
                    "LIKE ANY without parentheses",
                    "Write x LIKE ANY (ARRAY[...]).",
                )?;
                self.both(expr, pattern)?;
                self.optional(escape_char)
            }
            Expr::SimilarTo {
                negated: _,
                expr,
                pattern,
                escape_char,
            } => {
                self.both(expr, pattern)?;
                self.optional(escape_char)
            }
            Expr::AnyOp {
                left,
                compare_op,
                right,
                is_some: _,
            }
            | Expr::AllOp {
                left,
                compare_op,
                right,
            } => {
                binary_operator(compare_op)?;
                self.both(left, right)
            }
            Expr::UnaryOp { op, expr } => {
                unary_operator(op)?;
                self.expr(expr)
            }
            Expr::Cast {
                kind,
                expr,
                data_type,
                format,
            } => {
                match kind {
                    CastKind::Cast | CastKind::DoubleColon => {}
                    CastKind::TryCast | CastKind::SafeCast => {
                        return Err(other_dialect(
                            "TRY_CAST",
                            "Use CAST, and CASE to avoid bad values.",
                        ));
                    }
                }
                absent(format, "CAST ... FORMAT", "Use to_char or to_date.")?;
                self.cast_type(data_type)?;
                self.expr(expr)
            }
            Expr::AtTimeZone {
                timestamp,
                time_zone,
            } => self.both(timestamp, time_zone),
            Expr::Extract {
                field: _,
                syntax: _,
                expr,
            } => self.expr(expr),
            Expr::Ceil { expr, field } | Expr::Floor { expr, field } => {
                match field {
                    CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => {}
                    CeilFloorKind::DateTimeField(_) | CeilFloorKind::Scale(_) => {
                        return Err(other_dialect(
                            "this form of CEIL or FLOOR",
                            "Use date_trunc or round.",
                        ));
                    }
                }
                self.expr(expr)
            }
            Expr::Position { expr, r#in } => self.both(expr, r#in),
            Expr::Substring {
                expr,
                substring_from,
                substring_for,
                special: _,
                shorthand: _,
            } => {
                self.expr(expr)?;
                self.optional(substring_from)?;
                self.optional(substring_for)
            }
            Expr::Trim {
                trim_where: _,
                trim_what,
                expr,
                trim_characters,
            } => {
                self.optional(trim_what)?;
                self.expr(expr)?;
                trim_characters
                    .as_mut()
                    .map_or(Ok(()), |exprs| self.exprs(exprs))
            }
            Expr::Overlay {
                expr,
                overlay_what,
                overlay_from,
                overlay_for,
            } => {
                self.both(expr, overlay_what)?;
                self.expr(overlay_from)?;
                self.optional(overlay_for)
            }
            Expr::Collate { expr, collation: _ } => self.expr(expr),
            Expr::Value(value) => literal(value),
            Expr::TypedString(TypedString {
                data_type,
                value,
                uses_odbc_syntax,
            }) => {
                off(*uses_odbc_syntax, "{d ...}", "Write DATE '2024-01-31'.")?;
                self.data_type(data_type)?;
                literal(value)
            }
            Expr::Function(function) => self.function(function),
            Expr::Case {
                case_token: AttachedToken(_),
                end_token: AttachedToken(_),
                operand,
                conditions,
                else_result,
            } => {
                self.optional(operand)?;
                for CaseWhen { condition, result } in conditions {
                    self.both(condition, result)?;
                }
                self.optional(else_result)
            }
            Expr::Exists {
                subquery,
                negated: _,
            }
            | Expr::Subquery(subquery) => self.query(subquery).map(drop),
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                sets.iter_mut().try_for_each(|set| self.exprs(set))
            }
            Expr::Tuple(exprs) => self.exprs(exprs),
            Expr::Array(Array { elem, named: _ }) => self.exprs(elem),
            Expr::Interval(Interval {
                value,
                leading_field: _,
                leading_precision: _,
                last_field: _,
                fractional_seconds_precision: _,
            }) => self.expr(value),
            Expr::InUnnest {
                expr: _,
                array_expr: _,
                negated: _,
            } => Err(other_dialect("IN UNNEST", "Write x = ANY (array).")),
            Expr::RLike {
                negated: _,
                expr: _,
                pattern: _,
                regexp: _,
            } => Err(other_dialect(
                "RLIKE and REGEXP",
                "Use the operator ~ or ~*.",
            )),
            Expr::Convert {
                is_try: _,
                expr: _,
                data_type: _,
                charset: _,
                target_before_value: _,
                styles: _,
            } => Err(other_dialect("CONVERT", "Use CAST(value AS type).")),
            Expr::JsonAccess { value: _, path: _ } => Err(other_dialect(
                "a colon path",
                "Use -> and ->> to read JSON.",
            )),
            Expr::Prefixed {
                prefix: _,
                value: _,
            } => Err(other_dialect(
                "a character set prefix",
                "Write the text as 'text'.",
            )),
            Expr::Struct {
                values: _,
                fields: _,
            }
            | Expr::Named { expr: _, name: _ } => Err(other_dialect(
                "STRUCT",
                "Use ROW(...) or json_build_object(...).",
            )),
            Expr::Dictionary(_) | Expr::Map(_) => Err(other_dialect(
                "a map literal",
                "Use json_build_object(...).",
            )),
            Expr::MatchAgainst {
                columns: _,
                match_value: _,
                opt_search_modifier: _,
            } => Err(other_dialect(
                "MATCH AGAINST",
                "Use to_tsvector(...) @@ plainto_tsquery(...).",
            )),
            Expr::Wildcard(_) | Expr::QualifiedWildcard(_, _) => {
                Err(unsupported("* inside an expression", "Name the columns."))
            }
            Expr::OuterJoin(_) => Err(other_dialect("(+)", "Use LEFT JOIN.")),
            Expr::Prior(_) => Err(other_dialect("PRIOR", "Use WITH RECURSIVE.")),
            Expr::Lambda(_) => Err(other_dialect("a lambda", PLAIN_SELECT)),
            Expr::MemberOf(_) => Err(other_dialect("MEMBER OF", "Use = ANY (array) or @>.")),
        }
    }

    fn both(&mut self, first: &mut Expr, second: &mut Expr) -> Result<(), Refusal> {
        self.expr(first)?;
        self.expr(second)
    }

    fn optional(&mut self, expr: &mut Option<Box<Expr>>) -> Result<(), Refusal> {
        expr.as_mut().map_or(Ok(()), |expr| self.expr(expr))
    }

    fn column(&mut self, ident: &Ident) -> Result<(), Refusal> {
        let position = self.position(ident.span);
        let name = names::fold(ident, position)?;
        match self.scopes.column(&name) {
            Found::Column { frame, item } => {
                if let Some(item) = item {
                    self.scopes.record(frame, item, &name);
                }
                Ok(())
            }
            Found::Nowhere => {
                let known = self.scopes.known_columns();
                let quoted = ident.quote_style.is_some();
                Err(column_unknown(&format!("\"{name}\""), &name, &known, quoted).at(position))
            }
        }
    }

    pub(super) fn qualified_column(&mut self, parts: &mut Vec<Ident>) -> Result<(), Refusal> {
        let spans = parts.iter().map(|part| part.span);
        let span = spans
            .reduce(|first, next| first.union(&next))
            .unwrap_or_else(sqlparser::tokenizer::Span::empty);
        let position = self.position(span);
        let folded: Vec<String> = parts
            .iter()
            .map(|ident| names::fold(ident, position))
            .collect::<Result<_, _>>()?;
        let (frame, item, column) = match folded.as_slice() {
            [alias, column] => {
                let (frame, item) = self
                    .scopes
                    .item(alias)
                    .ok_or_else(|| self.alias_unknown(alias, span))?;
                (frame, item, column)
            }
            [schema, table, column] => {
                let (frame, item) = self
                    .bare_item(schema, table)
                    .ok_or_else(|| self.alias_unknown(table, span))?;
                parts.remove(0);
                (frame, item, column)
            }
            [database, schema, table, column] => {
                self.same_database(database, &folded.join("."), position)?;
                let (frame, item) = self
                    .bare_item(schema, table)
                    .ok_or_else(|| self.alias_unknown(table, span))?;
                parts.drain(..2);
                (frame, item, column)
            }
            _several => {
                return Err(self.relation_unknown(&folded.join("."), span));
            }
        };
        let found = self
            .scopes
            .frames
            .get(frame)
            .and_then(|frame| frame.items.get(item));
        if let Some(found) = found
            && let Columns::Known(columns) = &found.columns
            && !columns.contains(column)
        {
            let known: Vec<&str> = columns.iter().map(String::as_str).collect();
            let shown = format!("{}.{column}", found.alias);
            let refusal = column_unknown(&shown, column, &known, false).at(position);
            return Err(self.scopes.or_elsewhere(refusal, column));
        }
        self.scopes.record(frame, item, column);
        Ok(())
    }
}

/// The refusal for a system column. DuckDB splits its scans by `ctid` unless it is told not to.
fn system_column(name: &str) -> Refusal {
    let hint = match name {
        "ctid" => "Use the table's key. In DuckDB: SET pg_use_ctid_scan = false.",
        _ => "Use the table's key; nothing is told of where rows are and who wrote them.",
    };
    Refusal::new(
        Reason::UnsupportedSyntax,
        format!("system column {name} cannot be read"),
    )
    .hint(hint)
}

fn column_unknown(shown: &str, name: &str, known: &[&str], quoted: bool) -> Refusal {
    if SYSTEM_COLUMNS.contains(&name) {
        return system_column(name);
    }
    let hint = if let Some(near) = names::near(name, known.iter().copied()) {
        format!("Did you mean {}?", names::print(near))
    } else if quoted {
        "Double quotes name a column; write text in single quotes.".to_owned()
    } else if known.is_empty() {
        "Add a FROM clause.".to_owned()
    } else {
        format!("You can read: {}.", names::list(known.iter().copied()))
    };
    Refusal::new(
        Reason::ColumnUnknown,
        format!("column {shown} does not exist"),
    )
    .hint(hint)
}

fn literal(value: &ValueWithSpan) -> Result<(), Refusal> {
    let ValueWithSpan { value, span: _ } = value;
    match value {
        Value::Number(_, _)
        | Value::SingleQuotedString(_)
        | Value::DollarQuotedString(_)
        | Value::EscapedStringLiteral(_)
        | Value::UnicodeStringLiteral(_)
        | Value::NationalStringLiteral(_)
        | Value::HexStringLiteral(_)
        | Value::SingleQuotedByteStringLiteral(_)
        | Value::Boolean(_)
        | Value::Null
        | Value::Placeholder(_) => Ok(()),
        Value::TripleSingleQuotedString(_)
        | Value::TripleDoubleQuotedString(_)
        | Value::DoubleQuotedByteStringLiteral(_)
        | Value::TripleSingleQuotedByteStringLiteral(_)
        | Value::TripleDoubleQuotedByteStringLiteral(_)
        | Value::SingleQuotedRawStringLiteral(_)
        | Value::DoubleQuotedRawStringLiteral(_)
        | Value::TripleSingleQuotedRawStringLiteral(_)
        | Value::TripleDoubleQuotedRawStringLiteral(_)
        | Value::QuoteDelimitedStringLiteral(_)
        | Value::NationalQuoteDelimitedStringLiteral(_)
        | Value::DoubleQuotedString(_) => Err(other_dialect(
            "this kind of literal",
            "Write text as 'text'.",
        )),
    }
}
