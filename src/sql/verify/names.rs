//! Names that act: functions, operators, types, collations, and columns that may be calls.

use super::Refused;
use crate::error::{Reason, Refusal};
use crate::policy::Grants;
use crate::sql::lists;
use pg_query::NodeEnum;
use pg_query::protobuf::{AConst, Node, TypeName, a_const};

/// The parts of a dotted name.
///
/// # Errors
/// `UnsupportedSyntax` if a part is not a plain name.
pub(super) fn parts(nodes: &[Node]) -> Result<Vec<&str>, Refusal> {
    nodes
        .iter()
        .map(|node| match node.node.as_ref() {
            Some(NodeEnum::String(string)) => Ok(string.sval.as_str()),
            Some(_) | None => Err(super::unreadable()),
        })
        .collect()
}

/// The name itself if it stands alone or in `pg_catalog`; the upstream search path is empty, so both
/// mean PostgreSQL's own.
fn builtin<'a>(parts: &[&'a str]) -> Option<&'a str> {
    match parts {
        [name] | ["pg_catalog", name] => Some(name),
        _ => None,
    }
}

/// A name shown to the caller: cut and on one line.
fn shown(parts: &[&str]) -> String {
    parts
        .join(".")
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(80)
        .collect()
}

/// A function is on the list, or the policy adds it by its full name.
pub(super) fn function<'a>(nodes: &'a [Node], grants: &Grants) -> Result<&'a str, Refusal> {
    let parts = parts(nodes)?;
    if let Some(name) = builtin(&parts) {
        if lists::function(name).is_some() {
            return Ok(name);
        }
    } else if let [schema, name] = parts.as_slice()
        && (lists::of_information_schema(schema, name)
            || grants
                .extra_functions()
                .iter()
                .any(|extra| extra.split_once('.') == Some((schema, name))))
    {
        return Ok(name);
    }
    let refusal = Refusal::new(
        Reason::FunctionNotAllowed,
        format!("function {} is not allowed", shown(&parts)),
    );
    let hint = parts.last().and_then(|name| lists::function_hint(name));
    Err(match hint {
        Some(hint) => refusal.hint(hint),
        None => refusal.hint(
            "Use the built-in functions for analysis: aggregates, windows, strings, dates, JSON.",
        ),
    })
}

/// An operator is on the list, or a distance of vectors by its full name.
pub(super) fn operator(nodes: &[Node], grants: &Grants) -> Refused {
    let parts = parts(nodes)?;
    if let [schema, symbol] = parts.as_slice()
        && grants.vectors() == Some(schema)
        && lists::VECTOR_DISTANCES.contains(symbol)
    {
        return Ok(());
    }
    match builtin(&parts) {
        Some(symbol) if lists::operator(symbol) => Ok(()),
        Some(_) | None => Err(Refusal::new(
            Reason::OperatorNotAllowed,
            format!("operator {} is not allowed", shown(&parts)),
        )
        .hint("Use the built-in operators, without a schema.")),
    }
}

/// Whether it is `pg_typeof`, which may stand only in a cast to text: its result is a `regtype`, and a literal that
/// is compared with one is looked up among all types.
pub(super) fn is_type_of(nodes: &[Node]) -> bool {
    parts(nodes).is_ok_and(|parts| builtin(&parts) == Some(lists::TYPE_OF))
}

/// Whether it is plain `text`.
pub(super) fn is_text(type_: &TypeName) -> bool {
    type_.array_bounds.is_empty()
        && parts(&type_.names).is_ok_and(|parts| builtin(&parts) == Some("text"))
}

/// The target of a cast is on the list, or a type of vectors by its full name.
pub(super) fn cast(type_: &TypeName, grants: &Grants) -> Refused {
    let TypeName {
        names,
        type_oid: 0,
        setof: false,
        pct_type: false,
        typmods,
        typemod: _,
        array_bounds,
        location: _,
    } = type_
    else {
        return type_name(type_);
    };
    let constants = typmods
        .iter()
        .all(|node| matches!(node.node.as_ref(), Some(NodeEnum::AConst(_))));
    if let [schema, name] = parts(names)?.as_slice()
        && grants.vectors() == Some(schema)
        && lists::VECTOR_TYPES.contains(name)
        && constants
        && array_bounds.is_empty()
    {
        return Ok(());
    }
    type_name(type_)
}

/// The type is on the list.
pub(super) fn type_name(type_: &TypeName) -> Refused {
    let TypeName {
        names,
        type_oid,
        setof,
        pct_type,
        typmods,
        typemod: _,
        array_bounds,
        location: _,
    } = type_;
    let parts = parts(names)?;
    let constants = typmods
        .iter()
        .all(|node| matches!(node.node.as_ref(), Some(NodeEnum::AConst(_))));
    let bounds = array_bounds
        .iter()
        .all(|node| matches!(node.node.as_ref(), Some(NodeEnum::Integer(_))));
    if *type_oid == 0
        && !*setof
        && !*pct_type
        && constants
        && bounds
        && builtin(&parts).is_some_and(lists::cast_type)
    {
        return Ok(());
    }
    let refusal = Refusal::new(
        Reason::CastNotAllowed,
        format!("type {} is not allowed in a cast", shown(&parts)),
    );
    Err(match parts.last().and_then(|name| lists::near_type(name)) {
        Some(near) => refusal.hint(format!("Perhaps {near} is the type you need.")),
        None => refusal.hint(
            "Cast to a built-in type such as text, numeric, date or jsonb, or leave the cast out.",
        ),
    })
}

/// A collation is on the list.
pub(super) fn collation(nodes: &[Node]) -> Refused {
    let parts = parts(nodes)?;
    match builtin(&parts) {
        Some(name) if lists::collation(name) => Ok(()),
        Some(_) | None => Err(Refusal::new(
            Reason::UnsupportedSyntax,
            format!("collation {} is not allowed", shown(&parts)),
        )
        .hint("Use COLLATE \"C\", or leave COLLATE out.")),
    }
}

/// A column reference is a name, `t.name`, `t.*` or `*`, and cannot be a forbidden call or a system column.
pub(super) fn column(fields: &[Node], grants: &Grants) -> Refused {
    let (star, names) = match fields.split_last() {
        Some((
            Node {
                node: Some(NodeEnum::AStar(_)),
            },
            names,
        )) => (true, names),
        Some(_) => (false, fields),
        None => return Err(super::unreadable()),
    };
    let parts = parts(names)?;
    if parts.len() > if star { 1 } else { 2 } || parts.is_empty() && !star {
        return Err(Refusal::new(
            Reason::UnsupportedSyntax,
            format!("column reference {} has a schema", shown(&parts)),
        )
        .hint("Write alias.column or column."));
    }
    let Some(last) = parts.last().filter(|_| !star) else {
        return Ok(());
    };
    if parts.len() == 2 && !lists::column(last) {
        return Err(attribute_call(last));
    }
    if is_system_column(last) && !is_granted_column(last, grants) {
        return Err(Refusal::new(
            Reason::UnsupportedSyntax,
            format!("system column {last} cannot be read"),
        )
        .hint("Use the columns that describe lists; rows have no physical place here."));
    }
    Ok(())
}

/// `(x).name` is a field, not a forbidden call.
pub(super) fn field(name: &str) -> Refused {
    if lists::field(name) {
        Ok(())
    } else {
        Err(attribute_call(name))
    }
}

fn attribute_call(name: &str) -> Refusal {
    Refusal::new(Reason::FunctionNotAllowed, format!("function {} is not allowed", shown(&[name])))
        .hint("A field written (x).name is also a call of a function of that name; give the column another alias.")
}

fn is_system_column(name: &str) -> bool {
    matches!(
        name,
        "ctid" | "xmin" | "xmax" | "cmin" | "cmax" | "tableoid"
    )
}

fn is_granted_column(name: &str, grants: &Grants) -> bool {
    grants
        .tables()
        .iter()
        .any(|table| table.columns.iter().any(|column| column.name == name))
}

/// Whether a literal holds a word that a date or time is read from by the clock (manual, section 8.5.1.4):
/// PostgreSQL reads it when it parses the statement, so a prepared one would keep the hour it was prepared in.
pub(super) fn clock_word(constant: &AConst) -> bool {
    let Some(a_const::Val::Sval(text)) = &constant.val else {
        return false;
    };
    let text = text.sval.to_ascii_lowercase();
    ["now", "today", "tomorrow", "yesterday"]
        .iter()
        .any(|word| text.contains(word))
}
