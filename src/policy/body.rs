//! The body of a view file, read with PostgreSQL's own grammar (libpg_query).
//!
//! The text stays the DBA's: only the calls of `rowgate.*` and, where it helps, an `IN` are respelt, at
//! the places the tree names. Nothing is found by searching text.

use super::header::Errors;
use super::near::near;
use crate::policy::{InlineBody, PrincipalField, RelationName};
use pg_query::protobuf::{AExprKind, JoinType, ScanToken, SetOperation, SubLinkType, Token};
use serde_json::Value;
use std::ops::Range;

/// A function a body may call to learn about the principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PrincipalFunction {
    Attribute,
    Attributes,
    HasPermission,
    Permissions,
    Roles,
    Tags,
    UserId,
}

impl PrincipalFunction {
    const ALL: [(&'static str, Self); 7] = [
        ("attribute", Self::Attribute),
        ("attributes", Self::Attributes),
        ("has_permission", Self::HasPermission),
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
    /// The relations it reads, without duplicates.
    pub(crate) relations: Vec<RelationName>,
    /// More than one relation in FROM, so rows may come out more than once.
    pub(crate) joins: bool,
    /// The only relation of FROM, if the body is a plain filter over it.
    pub(crate) single: Option<FromItem>,
    pub(crate) in_selects: Vec<InSelect>,
    pub(crate) two_tables: Option<TwoTables>,
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
            .filter_map(|(at, function)| locate_call(&tokens, at, function, &columns))
            .collect();
        calls.sort_by_key(|call| call.range.start);
        let shape = Shape::of(select, &tokens, text.len());
        (errors.list.len() == before).then_some(Self {
            text,
            line,
            calls,
            relations,
            joins: shape.joins,
            single: shape.single,
            in_selects: shape.in_selects,
            two_tables: shape.two_tables,
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

/// `rowgate.function(argument)` as SQL of its own.
pub(crate) fn render_function(
    function: PrincipalFunction,
    argument: Option<&InlineBody>,
    per_row: bool,
    spelling: Spelling,
    out: &mut InlineBody,
) {
    use PrincipalFunction as F;
    let (open, close) = if per_row {
        ("(", ")")
    } else {
        ("(SELECT ", ")")
    };
    let no_argument = empty();
    let argument = argument.unwrap_or(&no_argument);
    if spelling == Spelling::Installed {
        let name = F::ALL
            .iter()
            .find(|(_, f)| *f == function)
            .map_or("", |(name, _)| name);
        push(out, open);
        push(out, &format!("rowgate.{name}("));
        append(out, argument);
        push(out, ")");
        push(out, close);
        // Without the cast `= ANY ((SELECT ...))` would mean the rows of the sub-select.
        if matches!(
            function,
            F::Attributes | F::Permissions | F::Roles | F::Tags
        ) {
            push(out, "::text[]");
        }
        return;
    }
    match function {
        F::UserId => {
            push(out, "NULLIF(");
            hole(out, PrincipalField::UserId);
            push(out, ", '')");
        }
        F::Roles => hole(out, PrincipalField::Roles),
        F::Permissions => hole(out, PrincipalField::Permissions),
        F::Tags => hole(out, PrincipalField::Tags),
        F::Attribute => {
            push(out, open);
            hole(out, PrincipalField::Attributes);
            push(out, " -> CAST((");
            append(out, argument);
            push(out, ") AS text) ->> 0");
            push(out, close);
        }
        F::Attributes => {
            push(out, "ARRAY(SELECT jsonb_array_elements_text(");
            hole(out, PrincipalField::Attributes);
            push(out, " -> CAST((");
            append(out, argument);
            push(out, ") AS text)))");
        }
        F::HasPermission => {
            push(out, "EXISTS (SELECT 1 FROM unnest(");
            hole(out, PrincipalField::Permissions);
            push(
                out,
                ") AS rowgate_held(rowgate_permission) WHERE rowgate_permission = '*' OR rowgate_permission = (",
            );
            append(out, argument);
            push(
                out,
                ") OR right(rowgate_permission, 2) = ':*' AND starts_with((",
            );
            append(out, argument);
            push(out, "), left(rowgate_permission, -1)))");
        }
    }
}

/// Nothing, yet.
pub(crate) fn empty() -> InlineBody {
    InlineBody {
        pieces: vec![String::new()],
        holes: Vec::new(),
    }
}

/// Adds text.
pub(crate) fn push(out: &mut InlineBody, text: &str) {
    match out.pieces.last_mut() {
        Some(last) => last.push_str(text),
        None => out.pieces.push(text.to_owned()),
    }
}

/// Adds a hole.
pub(crate) fn hole(out: &mut InlineBody, field: PrincipalField) {
    out.holes.push(field);
    out.pieces.push(String::new());
}

/// Adds all of `other`.
pub(crate) fn append(out: &mut InlineBody, other: &InlineBody) {
    let mut pieces = other.pieces.iter();
    if let Some(first) = pieces.next() {
        push(out, first);
    }
    for (field, piece) in other.holes.iter().zip(pieces) {
        hole(out, *field);
        push(out, piece);
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

/// The text from its first token to its last, without a closing `;` and the comments around.
fn trim(raw: &str, line: usize, errors: &mut Errors<'_>) -> Option<(String, usize)> {
    if raw.contains('\0') {
        errors.add(line, "the file holds a NUL character", "Remove it.");
        return None;
    }
    let tokens = match scan(raw) {
        Ok(tokens) => tokens,
        Err(error) => {
            let hint = "A quote or a comment does not end.";
            errors.add(line, error.to_string(), hint);
            return None;
        }
    };
    let mut tokens: Vec<&ScanToken> = tokens.iter().filter(|t| !is_comment(t)).collect();
    while tokens.last().is_some_and(|t| is(t, Token::Ascii59)) {
        tokens.pop();
    }
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        errors.add(
            line,
            "the file has no SELECT",
            "Write the permission view below the header.",
        );
        return None;
    };
    let (start, end) = (offset(first.start), offset(last.end));
    let line = line + lines_before(raw, start);
    Some((raw.get(start..end)?.to_owned(), line))
}

/// How many lines into `text` PostgreSQL stopped: the shortest run of tokens it already objects to in
/// the same words.
fn syntax_error_line(text: &str, message: &str) -> usize {
    let tokens = tokens(text);
    if message.ends_with("at end of input") {
        return lines_before(text, text.len());
    }
    let fails = |count: usize| {
        let end = tokens
            .get(count.saturating_sub(1))
            .map_or(0, |t| t.range.end);
        matches!(pg_query::parse(text.get(..end).unwrap_or(""), 0), Err(e) if e.to_string() == message)
    };
    let (mut low, mut high) = (0, tokens.len());
    while low + 1 < high {
        let middle = low.midpoint(high);
        if fails(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    let at = tokens
        .get(high.saturating_sub(1))
        .map_or(0, |t| t.range.start);
    lines_before(text, at)
}

/// PostgreSQL's tokens. `scan_tokens` of the same crate makes a slice of a null pointer where there are
/// none (pg_query 18.1.0, query.rs:383), so this takes the way through protobuf.
pub(crate) fn scan(text: &str) -> Result<Vec<ScanToken>, pg_query::Error> {
    pg_query::scan(text).map(|result| result.tokens)
}

/// A token that is not a comment.
struct Lexeme {
    range: Range<usize>,
    token: i32,
}

fn tokens(text: &str) -> Vec<Lexeme> {
    let tokens = scan(text).unwrap_or_default();
    tokens
        .iter()
        .filter(|token| !is_comment(token))
        .map(|token| Lexeme {
            range: offset(token.start)..offset(token.end),
            token: token.token,
        })
        .collect()
}

fn is(token: &ScanToken, kind: Token) -> bool {
    token.token == kind as i32
}

fn is_comment(token: &ScanToken) -> bool {
    is(token, Token::SqlComment) || is(token, Token::CComment)
}

fn offset(value: i32) -> usize {
    usize::try_from(value).unwrap_or(0)
}

fn lines_before(text: &str, end: usize) -> usize {
    text.get(..end).unwrap_or(text).matches('\n').count()
}

/// Index of the token that closes the parenthesis opened at `open`.
fn closing(tokens: &[Lexeme], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if token.token == Token::Ascii40 as i32 {
            depth += 1;
        } else if token.token == Token::Ascii41 as i32 {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(index);
            }
        }
    }
    None
}

/// From where a call starts to its whole text: `rowgate . f ( argument )`.
fn locate_call(
    tokens: &[Lexeme],
    at: usize,
    function: PrincipalFunction,
    columns: &[usize],
) -> Option<Call> {
    let first = tokens.iter().position(|token| token.range.start == at)?;
    let open = first + 3;
    let close = closing(tokens, open)?;
    let start = tokens.get(open)?.range.end;
    let end = tokens.get(close)?.range.start;
    let argument = function.takes_argument().then_some(start..end);
    Some(Call {
        range: at..tokens.get(close)?.range.end,
        function,
        argument,
        per_row: columns.iter().any(|column| (start..end).contains(column)),
    })
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn is_null(value: &Value, key: &str) -> bool {
    value.get(key).is_none_or(Value::is_null)
}

fn int(value: &Value, key: &str) -> Option<usize> {
    value.get(key)?.as_u64()?.try_into().ok()
}

/// The strings of a list of String nodes; `None` if one is something else (such as `*`).
fn strings(nodes: &[Value]) -> Option<Vec<&str>> {
    nodes
        .iter()
        .map(|node| node.pointer("/node/String/sval").and_then(Value::as_str))
        .collect()
}

/// Everything of a SELECT but FROM, WHERE and the output list is absent.
fn is_plain(select: &Value) -> bool {
    const LISTS: [&str; 6] = [
        "distinct_clause",
        "group_clause",
        "window_clause",
        "values_lists",
        "sort_clause",
        "locking_clause",
    ];
    const NODES: [&str; 6] = [
        "into_clause",
        "having_clause",
        "limit_offset",
        "limit_count",
        "with_clause",
        "larg",
    ];
    LISTS.iter().all(|key| list(select, key).is_empty())
        && NODES.iter().all(|key| is_null(select, key))
        && int(select, "op") == usize::try_from(SetOperation::SetopNone as i32).ok()
}

/// The walk over the whole tree that finds what must be refused and what must be respelt.
struct Walk<'a, 'e, 'f> {
    text: &'a str,
    line: usize,
    errors: &'e mut Errors<'f>,
    calls: Vec<(usize, PrincipalFunction)>,
    relations: Vec<RelationName>,
    columns: Vec<usize>,
}

impl Walk<'_, '_, '_> {
    fn error(&mut self, node: &Value, message: impl Into<String>, hint: impl Into<String>) {
        let at = int(node, "location").unwrap_or(0);
        let line = self.line + lines_before(self.text, at);
        self.errors.add(line, message, hint);
    }

    fn one_select<'t>(&mut self, tree: &'t Value) -> Option<&'t Value> {
        let statements = list(tree, "stmts");
        let select = match statements {
            [one] => one.pointer("/stmt/node/SelectStmt"),
            _ => None,
        };
        if select.is_none() {
            let message = match statements.len() {
                1 => "the body is not a SELECT".to_owned(),
                n => format!("the body is {n} statements, not one SELECT"),
            };
            let hint = "A permission view is exactly one SELECT: the rows and columns its readers may see.";
            self.errors.add(self.line, message, hint);
        }
        select
    }

    /// `scope` holds the names of the CTEs that can be meant here.
    fn visit(&mut self, value: &Value, scope: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.visit(item, scope)),
            Value::Object(fields) => {
                let outer = scope.len();
                if let Some(with) = fields.get("with_clause").filter(|with| !with.is_null()) {
                    self.with(with, scope);
                }
                for (key, field) in fields {
                    if key != "with_clause" {
                        self.look_at(key, field, scope);
                        self.visit(field, scope);
                    }
                }
                scope.truncate(outer);
            }
            _ => {}
        }
    }

    /// A CTE is known to those after it, and under RECURSIVE to all of its WITH.
    fn with(&mut self, with: &Value, scope: &mut Vec<String>) {
        let ctes = list(with, "ctes");
        let name = |cte: &Value| {
            cte.pointer("/node/CommonTableExpr/ctename")
                .and_then(Value::as_str)
                .unwrap_or("")
                .to_owned()
        };
        let recursive = with.get("recursive").and_then(Value::as_bool) == Some(true);
        if recursive {
            scope.extend(ctes.iter().map(name));
        }
        for cte in ctes {
            self.visit(cte, scope);
            if !recursive {
                scope.push(name(cte));
            }
        }
    }

    fn look_at(&mut self, key: &str, node: &Value, scope: &[String]) {
        match key {
            "ColumnRef" => self.columns.extend(int(node, "location")),
            "FuncCall" => self.function(node),
            "RangeFunction" => self.range_function(node),
            "RangeVar" => self.relation(node, scope),
            "ParamRef" => self.error(
                node,
                "the body has a parameter",
                "Ask for the principal by rowgate.user_id(), rowgate.roles() and the like.",
            ),
            "LockingClause" => self.error(
                node,
                "the body locks rows",
                "Leave FOR UPDATE and FOR SHARE out.",
            ),
            "into_clause" if !node.is_null() => {
                self.error(node, "the body writes a table", "Leave INTO out.");
            }
            "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => self.error(
                node,
                "the body writes",
                "A permission view only reads; leave INSERT, UPDATE, DELETE and MERGE out.",
            ),
            _ => {}
        }
    }

    fn relation(&mut self, node: &Value, scope: &[String]) {
        let text = |key: &str| node.get(key).and_then(Value::as_str).unwrap_or("");
        let (catalog, schema, name) = (text("catalogname"), text("schemaname"), text("relname"));
        if !catalog.is_empty() {
            let hint = format!("Write {schema}.{name}.");
            self.error(node, format!("\"{name}\" names a database"), hint);
        } else if schema.is_empty() {
            if !scope.iter().any(|cte| cte == name) {
                self.error(
                    node,
                    format!("relation \"{name}\" has no schema"),
                    format!("Write public.{name}, or the schema it is in."),
                );
            }
        } else if ["rowgate", "rowgate_open", "rowgate_all"].contains(&schema) {
            self.error(
                node,
                format!("the body reads \"{schema}.{name}\", which Rowgate installs"),
                "Read the table itself.",
            );
        } else {
            let relation = RelationName::new(schema, name);
            if !self.relations.contains(&relation) {
                self.relations.push(relation);
            }
        }
    }

    fn function(&mut self, node: &Value) {
        let name = match strings(list(node, "funcname")).as_deref() {
            Some(["rowgate", name]) => (*name).to_owned(),
            _ => return,
        };
        let names = PrincipalFunction::ALL.map(|(name, _)| name);
        let Some((_, function)) = PrincipalFunction::ALL.into_iter().find(|(n, _)| *n == name)
        else {
            let (message, hint) = if name == "objects" {
                let hint = "Relation tuples come with a later version; use roles, permissions or attributes.";
                (
                    "rowgate.objects() does not exist yet".to_owned(),
                    hint.to_owned(),
                )
            } else {
                let hint = match near(&name, names) {
                    Some(known) => format!("Did you mean rowgate.{known}()?"),
                    None => format!("There are {}.", names.join(", ")),
                };
                (format!("there is no function rowgate.{name}()"), hint)
            };
            return self.error(node, message, hint);
        };
        let arguments = list(node, "args");
        let named = arguments
            .iter()
            .any(|argument| argument.pointer("/node/NamedArgExpr").is_some());
        let flag = |key: &str| node.get(key).and_then(Value::as_bool) == Some(true);
        let decorated = named
            || !is_null(node, "agg_filter")
            || !is_null(node, "over")
            || !list(node, "agg_order").is_empty()
            || [
                "agg_star",
                "agg_distinct",
                "func_variadic",
                "agg_within_group",
            ]
            .into_iter()
            .any(flag);
        if decorated || arguments.len() != usize::from(function.takes_argument()) {
            let form = if function.takes_argument() {
                "'name'"
            } else {
                ""
            };
            let hint = format!("Write rowgate.{name}({form}).");
            return self.error(
                node,
                format!("rowgate.{name}() is called the wrong way"),
                hint,
            );
        }
        if let Some(at) = int(node, "location") {
            self.calls.push((at, function));
        }
    }

    fn range_function(&mut self, node: &Value) {
        for function in list(node, "functions") {
            let call = function.pointer("/node/List/items/0/node/FuncCall");
            let name = call.map(|call| list(call, "funcname")).and_then(strings);
            if let (Some(call), Some(["rowgate", name])) = (call, name.as_deref()) {
                let message = format!("rowgate.{name}() stands in FROM");
                let hint = format!("Write unnest(rowgate.{name}()) or (SELECT rowgate.{name}()).");
                self.error(call, message, hint);
            }
        }
    }
}

/// What can be told of the body's outermost SELECT.
#[derive(Default)]
struct Shape {
    joins: bool,
    single: Option<FromItem>,
    in_selects: Vec<InSelect>,
    two_tables: Option<TwoTables>,
}

impl Shape {
    fn of(select: &Value, tokens: &[Lexeme], end: usize) -> Self {
        let from = list(select, "from_clause");
        // DISTINCT and GROUP BY only change what is output; where in doubt, the rows are counted.
        let one_table = matches!(from, [one] if one.pointer("/node/RangeVar").is_some());
        let mut shape = Self {
            joins: !one_table || !is_null(select, "larg"),
            ..Self::default()
        };
        if !is_plain(select) {
            return shape;
        }
        let filter = keyword(tokens, Token::Where).map(|(_, after)| after..end);
        match from {
            [one] if one_table => {
                shape.single = from_item(one);
                if let Some(single) = &shape.single {
                    let condition = select.get("where_clause").unwrap_or(&Value::Null);
                    conjuncts(condition, &mut |condition| {
                        shape
                            .in_selects
                            .extend(in_select(condition, single, tokens));
                    });
                }
            }
            [join] => {
                shape.two_tables = join
                    .pointer("/node/JoinExpr")
                    .and_then(|join| two_tables(join, tokens, filter, end));
            }
            [left, right] => {
                shape.two_tables =
                    from_item(left)
                        .zip(from_item(right))
                        .map(|(left, right)| TwoTables {
                            left,
                            right,
                            using: Vec::new(),
                            on: None,
                            equality: None,
                            filter,
                        });
            }
            _ => {}
        }
        shape
    }
}

/// Where the only such keyword outside parentheses starts and ends.
fn keyword(tokens: &[Lexeme], keyword: Token) -> Option<(usize, usize)> {
    let mut depth = 0_usize;
    for token in tokens {
        if token.token == Token::Ascii40 as i32 {
            depth += 1;
        } else if token.token == Token::Ascii41 as i32 {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && token.token == keyword as i32 {
            return Some((token.range.start, token.range.end));
        }
    }
    None
}

fn from_item(node: &Value) -> Option<FromItem> {
    let range = node.pointer("/node/RangeVar")?;
    let text = |key: &str| range.get(key).and_then(Value::as_str);
    let alias = range.get("alias").filter(|alias| !alias.is_null());
    let renamed = alias.is_some_and(|alias| !list(alias, "colnames").is_empty());
    // ONLY leaves out children; a CTE has no schema.
    if renamed || range.get("inh")?.as_bool() != Some(true) || text("schemaname")?.is_empty() {
        return None;
    }
    let name = text("relname")?;
    let alias = alias.and_then(|alias| alias.get("aliasname")?.as_str());
    Some(FromItem {
        relation: RelationName::new(text("schemaname")?, name),
        alias: alias.unwrap_or(name).to_owned(),
    })
}

fn two_tables(
    join: &Value,
    tokens: &[Lexeme],
    filter: Option<Range<usize>>,
    end: usize,
) -> Option<TwoTables> {
    let inner = int(join, "jointype") == usize::try_from(JoinType::JoinInner as i32).ok();
    let natural = join.get("is_natural")?.as_bool() == Some(true);
    if !inner || natural || !is_null(join, "alias") || !is_null(join, "join_using_alias") {
        return None;
    }
    let on = match keyword(tokens, Token::On) {
        Some((_, after)) if !is_null(join, "quals") => {
            let where_start = keyword(tokens, Token::Where).map_or(end, |(start, _)| start);
            Some(after..where_start)
        }
        _ if !is_null(join, "quals") => return None,
        _ => None,
    };
    Some(TwoTables {
        left: from_item(join.get("larg")?)?,
        right: from_item(join.get("rarg")?)?,
        using: strings(list(join, "using_clause"))?
            .into_iter()
            .map(str::to_owned)
            .collect(),
        on,
        equality: join.get("quals").and_then(equality),
        filter,
    })
}

fn equality(condition: &Value) -> Option<[(String, String); 2]> {
    let expr = condition.pointer("/node/AExpr")?;
    let plain = int(expr, "kind") == usize::try_from(AExprKind::AexprOp as i32).ok();
    if !plain || strings(list(expr, "name"))?.as_slice() != ["="] {
        return None;
    }
    let side = |key: &str| {
        let fields = expr
            .get(key)?
            .pointer("/node/ColumnRef/fields")?
            .as_array()?;
        match strings(fields)?.as_slice() {
            [table, column] => Some(((*table).to_owned(), (*column).to_owned())),
            _ => None,
        }
    };
    Some([side("lexpr")?, side("rexpr")?])
}

fn conjuncts(condition: &Value, each: &mut impl FnMut(&Value)) {
    let and = condition.pointer("/node/BoolExpr").filter(|expr| {
        int(expr, "boolop")
            == usize::try_from(pg_query::protobuf::BoolExprType::AndExpr as i32).ok()
    });
    match and {
        Some(expr) => list(expr, "args")
            .iter()
            .for_each(|arg| conjuncts(arg, each)),
        None => each(condition),
    }
}

fn in_select(condition: &Value, table: &FromItem, tokens: &[Lexeme]) -> Option<InSelect> {
    let link = condition.pointer("/node/SubLink")?;
    let any = int(link, "sub_link_type") == usize::try_from(SubLinkType::AnySublink as i32).ok();
    // `IN` has no operator of its own; `= ANY (SELECT ...)` has.
    if !any || !list(link, "oper_name").is_empty() {
        return None;
    }
    let fields = link
        .pointer("/testexpr/node/ColumnRef/fields")?
        .as_array()?;
    let column = match strings(fields)?.as_slice() {
        [column] => (*column).to_owned(),
        [qualifier, column] if *qualifier == table.alias => (*column).to_owned(),
        _ => return None,
    };
    let at = int(link, "location")?;
    let index = tokens.iter().position(|token| token.range.start == at)?;
    let in_token = tokens.get(index).filter(|t| t.token == Token::InP as i32)?;
    let close = closing(tokens, index + 1)?;
    let end = tokens.get(close)?.range.end;
    Some(InSelect {
        column,
        in_token: in_token.range.clone(),
        end,
        select: tokens.get(index + 1)?.range.start..end,
    })
}
