//! The body of a view file, read with PostgreSQL's own grammar (libpg_query).
//!
//! The text stays the DBA's: only the calls of `rowgate.*` and, where it helps, an `IN` are respelt, at
//! the places the tree names. Nothing is found by searching text.

mod asked;
mod lexemes;
mod objects;
mod render;
mod shape;
mod tree;
mod walk;

use super::header::Errors;
use crate::policy::{InlineBody, RelationName};
use crate::tuples::{Pair, Tuples};
pub(crate) use lexemes::scan;
use lexemes::{Lexeme, closing, syntax_error_line, tokens, trim};
use objects::Objects;
pub(crate) use render::{append, empty, push, render_function};
use serde_json::Value;
use shape::Shape;
use std::ops::Range;
use std::sync::Arc;
use tree::{is_null, is_plain, list};
use walk::Walk;

/// A function a body may call to learn about the principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PrincipalFunction {
    Attribute,
    Attributes,
    HasPermission,
    Objects,
    Permissions,
    Roles,
    Tags,
    UserId,
}

impl PrincipalFunction {
    const ALL: [(&'static str, Self); 8] = [
        ("attribute", Self::Attribute),
        ("attributes", Self::Attributes),
        ("has_permission", Self::HasPermission),
        ("objects", Self::Objects),
        ("permissions", Self::Permissions),
        ("roles", Self::Roles),
        ("tags", Self::Tags),
        ("user_id", Self::UserId),
    ];

    fn takes_argument(self) -> bool {
        matches!(
            self,
            Self::Attribute | Self::Attributes | Self::HasPermission
        )
    }
}

/// `rowgate.f(...)` at a place in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    range: Range<usize>,
    function: PrincipalFunction,
    argument: Option<Range<usize>>,
    /// Of `rowgate.objects`, which takes no expressions.
    objects: Option<Objects>,
    /// The argument reads a column, so the call cannot be evaluated once per query.
    per_row: bool,
}

/// `COLUMN IN (SELECT ...)` that stands alone or under AND in the WHERE of a body over one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InSelect {
    /// The column on the left.
    pub(crate) column: String,
    in_token: Range<usize>,
    end: usize,
    /// The SELECT on the right, parentheses included.
    pub(crate) select: Range<usize>,
}

/// One table of FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FromItem {
    pub(crate) relation: RelationName,
    pub(crate) alias: String,
}

/// `FROM a JOIN b ...` and nothing but WHERE behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TwoTables {
    pub(crate) left: FromItem,
    pub(crate) right: FromItem,
    pub(crate) using: Vec<String>,
    pub(crate) on: Option<Range<usize>>,
    /// `ON a.x = b.y` and nothing more: `((a, x), (b, y))`.
    pub(crate) equality: Option<[(String, String); 2]>,
    pub(crate) filter: Option<Range<usize>>,
}

/// How calls of `rowgate.*` are spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// As in the file, each in a sub-select of its own: PostgreSQL then evaluates it once per query.
    Installed,
    /// As holes for parameters.
    Inline,
}

/// A parsed body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Body {
    text: String,
    line: usize,
    calls: Vec<Call>,
    /// What the calls of `rowgate.objects` walk over; set by [`Body::with_tuples`].
    tuples: Option<Arc<Tuples>>,
    /// The relations it reads, without duplicates.
    pub(crate) relations: Vec<RelationName>,
    /// More than one relation in FROM, so rows may come out more than once.
    pub(crate) joins: bool,
    /// The only relation of FROM, if the body is a plain filter over it.
    pub(crate) single: Option<FromItem>,
    pub(crate) in_selects: Vec<InSelect>,
    pub(crate) two_tables: Option<TwoTables>,
    /// A plain SELECT without a condition.
    pub(crate) unconditional: bool,
}

impl Body {
    /// Parses a body that starts at `line` of the file.
    pub(crate) fn parse(raw: &str, line: usize, errors: &mut Errors<'_>) -> Option<Self> {
        let before = errors.list.len();
        let (text, line) = trim(raw, line, errors)?;
        let tree = match pg_query::parse(&text, 0) {
            Ok(tree) => tree,
            Err(error) => {
                let at = line + syntax_error_line(&text, &error.to_string());
                errors.add(
                    at,
                    plain(&error),
                    "The body is one SELECT, as PostgreSQL reads it.",
                );
                return None;
            }
        };
        let Ok(tree) = serde_json::to_value(&tree.protobuf) else {
            errors.add(line, "the body cannot be read", "");
            return None;
        };
        let tokens = tokens(&text);
        let mut walk = Walk {
            text: &text,
            line,
            errors,
            calls: Vec::new(),
            relations: Vec::new(),
            columns: Vec::new(),
        };
        let select = walk.one_select(&tree)?;
        walk.visit(select, &mut Vec::new());
        let (calls, relations, columns) = (walk.calls, walk.relations, walk.columns);
        let mut calls: Vec<Call> = calls
            .into_iter()
            .filter_map(|call| locate_call(&text, &tokens, call, &columns))
            .collect();
        calls.sort_by_key(|call| call.range.start);
        let shape = Shape::of(select, &tokens, text.len());
        (errors.list.len() == before).then_some(Self {
            text,
            line,
            calls,
            tuples: None,
            relations,
            joins: shape.joins,
            single: shape.single,
            in_selects: shape.in_selects,
            two_tables: shape.two_tables,
            unconditional: shape.unconditional,
        })
    }

    /// Its first line in the file.
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// The whole body. `arrays` says which of `in_selects` become `= ANY (ARRAY(...))`.
    pub(crate) fn render(&self, spelling: Spelling, arrays: &[bool]) -> InlineBody {
        let mut inserts = Vec::new();
        for (select, array) in self.in_selects.iter().zip(arrays) {
            if *array {
                inserts.push((select.in_token.clone(), "= ANY (ARRAY"));
                inserts.push((select.end..select.end, ")"));
            }
        }
        inserts.sort_by_key(|(range, _)| range.start);
        let mut out = empty();
        self.render_into(0..self.text.len(), spelling, &inserts, &mut out);
        out
    }

    /// A part of the body.
    pub(crate) fn render_range(&self, range: Range<usize>, spelling: Spelling) -> InlineBody {
        let mut out = empty();
        self.render_into(range, spelling, &[], &mut out);
        out
    }

    fn render_into(
        &self,
        range: Range<usize>,
        spelling: Spelling,
        inserts: &[(Range<usize>, &str)],
        out: &mut InlineBody,
    ) {
        let mut at = range.start;
        let mut inserts = inserts.iter().peekable();
        let mut calls = self.calls.iter().peekable();
        while at < range.end {
            while calls.next_if(|call| call.range.start < at).is_some() {}
            let next_insert = inserts.peek().map_or(range.end, |(range, _)| range.start);
            let next_call = calls.peek().map_or(range.end, |call| call.range.start);
            let next = next_insert.min(next_call).min(range.end);
            push(out, self.text.get(at..next).unwrap_or(""));
            at = next;
            if at == range.end {
                break;
            }
            if next_insert == at {
                if let Some((replaced, text)) = inserts.next() {
                    push(out, text);
                    at = replaced.end;
                }
            } else if let Some(call) = calls.next() {
                self.render_call(call, spelling, out);
                at = call.range.end;
            }
        }
        for (_, text) in inserts {
            push(out, text);
        }
    }

    fn render_call(&self, call: &Call, spelling: Spelling, out: &mut InlineBody) {
        if let Some(objects) = &call.objects {
            return objects.render(self.tuples.as_deref(), spelling, out);
        }
        let argument = call
            .argument
            .clone()
            .map(|range| self.render_range(range, spelling));
        render_function(
            call.function,
            argument.as_ref(),
            call.per_row,
            spelling,
            out,
        );
    }
}

/// An expression of a `mask` line: exactly one, without a name. Rendered over the view's columns.
pub(crate) fn parse_expression(
    expression: &str,
    line: usize,
    errors: &mut Errors<'_>,
) -> Option<Body> {
    let hint =
        "A mask is one SQL expression over the view's columns, such as left(note, 2) || '***'.";
    let text = format!("SELECT {expression}");
    let mut inner = Errors {
        file: errors.file,
        list: Vec::new(),
    };
    let parsed = Body::parse(&text, line, &mut inner);
    for error in inner.list {
        errors.add(line, format!("mask: {}", error.message), hint);
    }
    let parsed = parsed?;
    let tree = pg_query::parse(&text, 0)
        .ok()
        .and_then(|tree| serde_json::to_value(&tree.protobuf).ok());
    let alone = tree.as_ref().is_some_and(|tree| {
        let select = tree.pointer("/stmts/0/stmt/node/SelectStmt");
        select.is_some_and(|select| {
            let targets = list(select, "target_list");
            let named = targets
                .first()
                .and_then(|target| target.pointer("/node/ResTarget/name"))
                .and_then(Value::as_str);
            targets.len() == 1
                && named == Some("")
                && list(select, "from_clause").is_empty()
                && is_plain(select)
                && is_null(select, "where_clause")
        })
    });
    // `x -- comment` or `x) , (y` must not reach over what is put around the expression.
    let wrapped = pg_query::parse(
        &format!(
            "SELECT ({})",
            parsed.text.get("SELECT".len()..).unwrap_or("")
        ),
        0,
    )
    .is_ok();
    if alone && wrapped {
        Some(parsed)
    } else {
        errors.add(line, "mask is not one expression", hint);
        None
    }
}

impl Body {
    /// The expression of [`parse_expression`], without its SELECT.
    pub(crate) fn render_expression(&self, spelling: Spelling) -> InlineBody {
        self.render_range("SELECT".len()..self.text.len(), spelling)
    }
}

fn plain(error: &pg_query::Error) -> String {
    match error {
        pg_query::Error::Parse(message) => message.clone(),
        other => other.to_string(),
    }
}

/// From where a call starts to its whole text: `rowgate . f ( argument )`.
fn locate_call(
    text: &str,
    tokens: &[Lexeme],
    (at, function, pair): (usize, PrincipalFunction, Option<Pair>),
    columns: &[usize],
) -> Option<Call> {
    let first = tokens.iter().position(|token| token.range.start == at)?;
    let open = first + 3;
    let close = closing(tokens, open)?;
    let start = tokens.get(open)?.range.end;
    let end = tokens.get(close)?.range.start;
    let argument = function.takes_argument().then_some(start..end);
    let mut range = at..tokens.get(close)?.range.end;
    let mut objects = None;
    if let Some(pair) = pair {
        let cast = objects::cast_behind(text, tokens, close);
        range.end = cast.as_ref().map_or(range.end, |(_, end)| *end);
        let element = cast.map(|(element, _)| element);
        objects = Some(Objects { pair, element });
    }
    Some(Call {
        range,
        function,
        argument,
        objects,
        per_row: columns.iter().any(|column| (start..end).contains(column)),
    })
}
