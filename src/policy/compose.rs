//! From a permission view and what the database says about it to SQL.
//!
//! The published role-column form (`role_column`, `key`) must show each row once. Measured on 500,000
//! rows: `DISTINCT ON (key)` over the body loses every index but the one on `key` (80 to 150 ms for a
//! range on another indexed column, against 0.1 ms), so a plain inner join of two tables becomes a
//! semi-join, `= ANY (ARRAY(SELECT ...))` where an index can use it; anything else falls back to it.

use super::body::{
    Body, FromItem, PrincipalFunction, Spelling, TwoTables, append, empty, push, render_function,
    scan,
};
use crate::policy::{
    ColumnType, InlineBody, PermissionView, RelationName, RoleColumn, quote_identifier,
};

/// The schemas `apply` fills.
pub(crate) const SEALED: &str = "rowgate";
pub(crate) const OPEN: &str = "rowgate_open";
pub(crate) const ALL: &str = "rowgate_all";

/// Where an output column of a body comes from, if it is a table's column and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) relation: RelationName,
    pub(crate) column: String,
    /// A table, partitioned table or materialized view: reading the column runs no code.
    pub(crate) stored: bool,
    /// Of a view, or a virtual generated column: reading it may run an expression.
    pub(crate) computed: bool,
}

/// An output column of a body, as PostgreSQL describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BodyColumn {
    pub(crate) name: String,
    pub(crate) type_: ColumnType,
    pub(crate) origin: Option<Origin>,
}

/// What the database says about a body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct BodyFacts {
    /// Its columns in order, the role column among them.
    pub(crate) columns: Vec<BodyColumn>,
    /// Which of the body's `IN (SELECT ...)` may be `= ANY (ARRAY(SELECT ...))`.
    pub(crate) arrays: Vec<bool>,
    /// Columns that lead an index, of every relation in the body.
    pub(crate) indexed: Vec<(RelationName, String)>,
}

impl BodyFacts {
    fn is_indexed(&self, relation: &RelationName, column: &str) -> bool {
        self.indexed
            .iter()
            .any(|(table, name)| table == relation && name == column)
    }
}

/// The name of the installed views for a table. A table in `public` keeps its name, others are
/// `schema.table`; where a part has a dot or a quote itself, both are quoted, so that no two tables
/// share a name. Longer than PostgreSQL's 63 bytes: cut, with a digest.
pub(crate) fn installed_name(relation: &RelationName) -> String {
    use sha2::{Digest, Sha256};
    let odd = |part: &str| part.contains(['.', '"']);
    let name = if odd(&relation.schema) || odd(&relation.name) {
        relation.quoted()
    } else if relation.schema == "public" {
        relation.name.clone()
    } else {
        relation.to_string()
    };
    if name.len() <= super::header::IDENTIFIER_BYTES_MAX {
        return name;
    }
    let digest = Sha256::digest(name.as_bytes());
    let hex: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    let mut end = super::header::IDENTIFIER_BYTES_MAX - 1 - hex.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{hex}", name.get(..end).unwrap_or(""))
}

/// An identifier, quoted only where SQL needs it.
pub(crate) fn identifier(name: &str) -> String {
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && matches!(
            scan(name).as_deref(),
            Ok([token]) if token.token == pg_query::protobuf::Token::Ident as i32
        );
    if plain {
        name.to_owned()
    } else {
        quote_identifier(name)
    }
}

/// `schema.name`, quoted only where SQL needs it.
pub(crate) fn qualified(relation: &RelationName) -> String {
    format!(
        "{}.{}",
        identifier(&relation.schema),
        identifier(&relation.name)
    )
}

/// A string constant (`standard_conforming_strings` is on).
pub(crate) fn literal(text: &str) -> String {
    if text.contains('\\') {
        // `E''` reads the same whatever standard_conforming_strings says.
        format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// The view's columns: the body's, without the role column.
pub(crate) fn columns<'a>(
    view: &PermissionView,
    facts: &'a BodyFacts,
) -> impl Iterator<Item = &'a BodyColumn> {
    let role = view.role_column.as_ref().map(|role| role.column.clone());
    facts
        .columns
        .iter()
        .filter(move |column| Some(&column.name) != role.as_ref())
}

/// Columns that are expressions, of the body or of a view below it. The barrier does not hold back a comparison that
/// PostgreSQL marks leakproof, and so evaluates the expression inside of it on rows that are not filtered yet.
pub(crate) fn computed(view: &PermissionView, facts: &BodyFacts) -> Vec<String> {
    columns(view, facts)
        .filter(|column| column.origin.as_ref().is_none_or(|origin| origin.computed))
        .map(|column| column.name.clone())
        .collect()
}

/// The columns that the view without the barrier shows: those that are not masked.
pub(crate) fn open_columns<'a>(
    view: &PermissionView,
    facts: &'a BodyFacts,
) -> impl Iterator<Item = &'a BodyColumn> {
    columns(view, facts).filter(|column| !view.masks.contains_key(&column.name))
}

/// Whether the view without the barrier can be shown: every column of the body is read as it is stored, so nothing
/// can fail or be observed on a row before it is filtered. A mask may fail, and is left out: it does not exist in
/// the open form, so no plan can evaluate it too early, and a query that asks for its column is sealed.
pub(crate) fn open_possible(view: &PermissionView, facts: &BodyFacts) -> bool {
    columns(view, facts).all(|c| c.origin.as_ref().is_some_and(|origin| origin.stored))
        && open_columns(view, facts).next().is_some()
}

/// The installed view's SELECT: all columns; those the reader lacks a permission for are NULL.
pub(crate) fn installed(view: &PermissionView, facts: &BodyFacts) -> String {
    installed_columns(view, facts, &columns(view, facts).collect::<Vec<_>>())
}

/// The same for the view without the barrier: see [`open_possible`].
pub(crate) fn installed_open(view: &PermissionView, facts: &BodyFacts) -> String {
    installed_columns(view, facts, &open_columns(view, facts).collect::<Vec<_>>())
}

fn installed_columns(view: &PermissionView, facts: &BodyFacts, shown: &[&BodyColumn]) -> String {
    let ruled =
        !view.masks.is_empty() || !view.column_requires.is_empty() || !view.column_tags.is_empty();
    let text = if ruled {
        wrapped(view, facts, shown, Spelling::Installed)
    } else {
        rows(view, facts, Spelling::Installed)
    };
    text.pieces.concat()
}

/// The SELECT of inline enforcement: exactly `visible`, in that order.
pub(crate) fn inline(view: &PermissionView, facts: &BodyFacts, visible: &[&str]) -> InlineBody {
    let visible: Vec<&BodyColumn> = columns(view, facts)
        .filter(|column| visible.contains(&column.name.as_str()))
        .collect();
    wrapped(view, facts, &visible, Spelling::Inline)
}

/// A text of `body` that can be type-checked before anything is installed: each hole a typed NULL.
pub(crate) fn without_principal(body: &InlineBody) -> String {
    let mut out = String::new();
    for (index, piece) in body.pieces.iter().enumerate() {
        out.push_str(piece);
        if let Some(field) = body.holes.get(index) {
            out.push_str("(NULL::");
            out.push_str(field.type_name());
            out.push(')');
        }
    }
    out
}

/// The body itself, to be described before anything is known of it.
pub(crate) fn as_written(view: &PermissionView) -> InlineBody {
    view.parsed.render(Spelling::Inline, &[])
}

/// Column rules and masks around the rows.
fn wrapped(
    view: &PermissionView,
    facts: &BodyFacts,
    visible: &[&BodyColumn],
    spelling: Spelling,
) -> InlineBody {
    let mut out = empty();
    push(&mut out, "SELECT ");
    for (index, column) in visible.iter().enumerate() {
        if index > 0 {
            push(&mut out, ",\n       ");
        }
        output(view, column, spelling, &mut out);
    }
    push(&mut out, "\nFROM (\n");
    append(&mut out, &rows(view, facts, spelling));
    push(&mut out, "\n) AS rowgate_rows");
    out
}

fn output(view: &PermissionView, column: &BodyColumn, spelling: Spelling, out: &mut InlineBody) {
    let name = identifier(&column.name);
    let mask = view.masks.get(&column.name);
    let parsed = view.parsed_masks.get(&column.name);
    // Inline: who lacks a required permission or every tag has no such column at all.
    let rule = column_rule(view, &column.name, spelling);
    if mask.is_none() && rule.is_none() {
        return push(out, &name);
    }
    if let Some(rule) = &rule {
        push(out, "CASE WHEN ");
        append(out, rule);
        push(out, " THEN ");
    }
    match mask.zip(parsed) {
        Some((mask, parsed)) => {
            if let Some(permission) = &mask.unless {
                push(out, "CASE WHEN ");
                has_permission(permission, spelling, out);
                push(out, &format!(" THEN {name} ELSE "));
            }
            push(out, "CAST((");
            append(out, &parsed.render_expression(spelling));
            push(out, &format!(") AS {})", column.type_.display));
            if mask.unless.is_some() {
                push(out, " END");
            }
        }
        None => push(out, &name),
    }
    if rule.is_some() {
        // An untyped NULL would take the type modifier away: numeric(10,2) would become numeric.
        push(
            out,
            &format!(" ELSE CAST(NULL AS {}) END", column.type_.display),
        );
    }
    push(out, &format!(" AS {name}"));
}

/// What the installed view asks before it shows a column: every permission, and one of the tags.
fn column_rule(view: &PermissionView, column: &str, spelling: Spelling) -> Option<InlineBody> {
    if spelling == Spelling::Inline {
        return None;
    }
    let mut conditions = Vec::new();
    for permission in view.column_requires.get(column).into_iter().flatten() {
        let mut condition = empty();
        has_permission(permission, spelling, &mut condition);
        conditions.push(condition);
    }
    if let Some(tags) = view.column_tags.get(column) {
        let mut condition = empty();
        let accessible = PrincipalFunction::Tags;
        render_function(accessible, None, false, spelling, &mut condition);
        let tags: Vec<String> = tags.iter().map(|tag| literal(tag)).collect();
        let one_of = format!(" && ARRAY[{}]::text[]", tags.join(", "));
        push(&mut condition, &one_of);
        conditions.push(condition);
    }
    let mut conditions = conditions.into_iter();
    let mut rule = conditions.next()?;
    for condition in conditions {
        push(&mut rule, " AND ");
        append(&mut rule, &condition);
    }
    Some(rule)
}

fn has_permission(permission: &str, spelling: Spelling, out: &mut InlineBody) {
    let mut argument = empty();
    push(&mut argument, &literal(permission));
    let function = PrincipalFunction::HasPermission;
    render_function(function, Some(&argument), false, spelling, out);
}

fn roles(spelling: Spelling, out: &mut InlineBody) {
    render_function(PrincipalFunction::Roles, None, false, spelling, out);
}

/// The rows: the body, each row once where there is a role column.
fn rows(view: &PermissionView, facts: &BodyFacts, spelling: Spelling) -> InlineBody {
    match &view.role_column {
        None => view.parsed.render(spelling, &facts.arrays),
        Some(role) => semi_join(view, role, facts, spelling)
            .unwrap_or_else(|| distinct_on(view, role, facts, spelling)),
    }
}

/// Any body: one row a key, the one of the first role by name.
fn distinct_on(
    view: &PermissionView,
    role: &RoleColumn,
    facts: &BodyFacts,
    spelling: Spelling,
) -> InlineBody {
    let names = |names: &mut dyn Iterator<Item = &str>| -> String {
        names.map(identifier).collect::<Vec<_>>().join(", ")
    };
    let key = names(&mut role.key.iter().map(String::as_str));
    let output = names(&mut columns(view, facts).map(|column| column.name.as_str()));
    let role_name = identifier(&role.column);
    let mut out = empty();
    push(
        &mut out,
        &format!("SELECT DISTINCT ON ({key}) {output}\nFROM (\n"),
    );
    append(&mut out, &view.parsed.render(spelling, &[]));
    push(
        &mut out,
        &format!("\n) AS rowgate_body\nWHERE {role_name} = ANY ("),
    );
    roles(spelling, &mut out);
    push(&mut out, &format!(")\nORDER BY {key}, {role_name}"));
    out
}

/// `SELECT base.* FROM base WHERE base.x IN (SELECT other.y FROM other WHERE its role is mine)`, if the
/// body is an inner join of two tables, one with the rows and one with the roles.
fn semi_join(
    view: &PermissionView,
    role: &RoleColumn,
    facts: &BodyFacts,
    spelling: Spelling,
) -> Option<InlineBody> {
    let body = &view.parsed;
    let join = body.two_tables.as_ref()?;
    let origin = |name: &str| {
        let column = facts.columns.iter().find(|column| column.name == name)?;
        column.origin.as_ref()
    };
    let role_origin = origin(&role.column)?;
    if join.left.relation == join.right.relation || join.left.alias == join.right.alias {
        return None;
    }
    let (base, other) = if role_origin.relation == join.right.relation {
        (&join.left, &join.right)
    } else if role_origin.relation == join.left.relation {
        (&join.right, &join.left)
    } else {
        return None;
    };
    let base_alias = identifier(&base.alias);
    let mut output = Vec::new();
    for column in columns(view, facts) {
        let origin = column.origin.as_ref()?;
        if origin.relation != base.relation {
            return None;
        }
        let (stored, shown) = (identifier(&origin.column), identifier(&column.name));
        let rename = if stored == shown {
            String::new()
        } else {
            format!(" AS {shown}")
        };
        output.push(format!("{base_alias}.{stored}{rename}"));
    }
    let mut out = empty();
    let from = format!("{} AS {base_alias}", qualified(&base.relation));
    push(
        &mut out,
        &format!("SELECT {}\nFROM {from}\nWHERE ", output.join(", ")),
    );
    condition(body, join, base, other, facts, spelling, &mut out);
    let role_column = identifier(&role_origin.column);
    push(
        &mut out,
        &format!("{}.{role_column} = ANY (", identifier(&other.alias)),
    );
    roles(spelling, &mut out);
    push(&mut out, &")".repeat(1 + closing_of(join, base, facts)));
    Some(out)
}

/// The columns of a join on one equality without a further condition.
fn equal_columns<'a>(join: &'a TwoTables, base: &FromItem) -> Option<(&'a str, &'a str)> {
    if join.filter.is_some() {
        return None;
    }
    match (join.using.as_slice(), &join.equality) {
        ([column], _) => Some((column, column)),
        ([], Some([(table, a), (_, b)])) if *table == base.alias => Some((a, b)),
        ([], Some([(_, b), (table, a)])) if *table == base.alias => Some((a, b)),
        _ => None,
    }
}

/// How many parentheses [`condition`] leaves open.
fn closing_of(join: &TwoTables, base: &FromItem, facts: &BodyFacts) -> usize {
    match equal_columns(join, base) {
        Some((column, _)) if facts.is_indexed(&base.relation, column) => 2,
        _ => 1,
    }
}

/// Up to where the condition on the role belongs.
fn condition(
    body: &Body,
    join: &TwoTables,
    base: &FromItem,
    other: &FromItem,
    facts: &BodyFacts,
    spelling: Spelling,
    out: &mut InlineBody,
) {
    let (base_alias, other_alias) = (identifier(&base.alias), identifier(&other.alias));
    let from = format!("{} AS {other_alias}", qualified(&other.relation));
    if let Some((left, right)) = equal_columns(join, base) {
        let any = match facts.is_indexed(&base.relation, left) {
            true => "= ANY (ARRAY(",
            false => "IN (",
        };
        let (left, right) = (identifier(left), identifier(right));
        let text =
            format!("{base_alias}.{left} {any}SELECT {other_alias}.{right} FROM {from} WHERE ");
        return push(out, &text);
    }
    push(out, &format!("EXISTS (SELECT 1 FROM {from} WHERE "));
    for column in &join.using {
        let column = identifier(column);
        push(
            out,
            &format!("{base_alias}.{column} = {other_alias}.{column} AND "),
        );
    }
    // Names without a table mean the same here: they were unique in the join.
    for range in [&join.on, &join.filter].into_iter().flatten() {
        push(out, "(");
        append(out, &body.render_range(range.clone(), spelling));
        push(out, "\n) AND ");
    }
}
