//! `rowgate.*` calls as SQL: in sub-selects of their own (installed) or as holes for parameters (inline).

use super::{PrincipalFunction, Spelling};
use crate::policy::{InlineBody, PrincipalField};

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
            F::Attributes | F::Objects | F::Permissions | F::Roles | F::Tags
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
        // Objects, with its constants: `objects::Objects::render`.
        F::Objects | F::Permissions | F::Roles | F::Tags => hole(out, list_of(function)),
        F::Attribute => {
            push(out, open);
            push(out, "(");
            named_list(argument, out);
            push(out, ")[1]");
            push(out, close);
        }
        F::Attributes => {
            push(out, open);
            push(out, "COALESCE(");
            named_list(argument, out);
            push(out, ", CAST('{}' AS text[]))");
            push(out, close);
            // Without the cast `= ANY ((SELECT ...))` would mean the rows of the sub-select.
            push(out, "::text[]");
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

/// The attribute of this name as an array; NULL if there is none.
fn named_list(name: &InlineBody, out: &mut InlineBody) {
    push(out, "CAST(");
    hole(out, PrincipalField::Attributes);
    push(out, " ->> CAST((");
    append(out, name);
    push(out, ") AS text) AS text[])");
}

/// The field that holds a function's whole answer.
fn list_of(function: PrincipalFunction) -> PrincipalField {
    use PrincipalFunction as F;
    match function {
        F::Attribute | F::Attributes => PrincipalField::Attributes,
        F::HasPermission | F::Permissions => PrincipalField::Permissions,
        F::Objects => PrincipalField::Objects,
        F::Roles => PrincipalField::Roles,
        F::Tags => PrincipalField::Tags,
        F::UserId => PrincipalField::UserId,
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
