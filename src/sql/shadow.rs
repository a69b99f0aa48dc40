//! The final text: shadows in front, then the caller's own WITH queries, then the caller's query.

use super::rewrite::{Used, UsedCatalogue};
use super::{Form, Materialize, Shadow, ShadowedQuery, names};
use crate::error::{Reason, Refusal};
use crate::policy::{GrantedTable, Grants, PrincipalField, ShadowSource};
use sqlparser::ast::{Query, SetExpr};

/// Brings a WITH list that stands inside parentheses to the front, where shadows can precede it:
/// `(WITH a AS (...) SELECT ...) ORDER BY 1` is the same tree to PostgreSQL, which would refuse a second WITH.
fn hoist_with(query: &mut Query) {
    while query.with.is_none()
        && let SetExpr::Query(inner) = query.body.as_mut()
    {
        if inner.with.is_none() && !matches!(inner.body.as_ref(), SetExpr::Query(_)) {
            return;
        }
        query.with = inner.with.take();
        let bare = inner.order_by.is_none()
            && inner.limit_clause.is_none()
            && inner.fetch.is_none()
            && inner.locks.is_empty();
        if bare {
            let body = std::mem::replace(inner.body.as_mut(), SetExpr::Values(empty_values()));
            *query.body = body;
        } else if query.with.is_none() {
            return;
        }
    }
}

fn empty_values() -> sqlparser::ast::Values {
    sqlparser::ast::Values {
        explicit_row: false,
        value_keyword: false,
        rows: Vec::new(),
    }
}

/// The caller's rewritten query, printed in the parts that shadows go between.
pub(super) struct Rest {
    recursive: bool,
    /// The caller's own WITH queries.
    ctes: Vec<String>,
    /// Everything behind the WITH list.
    body: String,
    /// The shadows of catalogue relations; they are the same in every form.
    catalogue: Vec<Shadow>,
    /// The principal's facts that those read: the first parameters behind the caller's own.
    fields: Vec<PrincipalField>,
    parameters: u16,
}

impl Rest {
    /// How many shadows of catalogue relations there are.
    pub(super) fn catalogued(&self) -> usize {
        self.catalogue.len()
    }

    /// Takes a rewritten query apart.
    pub(crate) fn of(mut query: Box<Query>, parameters: u16, catalogue: Catalogue) -> Self {
        hoist_with(&mut query);
        let with = query.with.take();
        Self {
            recursive: with.as_ref().is_some_and(|with| with.recursive),
            ctes: with
                .iter()
                .flat_map(|with| with.cte_tables.iter())
                .map(ToString::to_string)
                .collect(),
            body: query.to_string(),
            catalogue: catalogue.shadows,
            fields: catalogue.fields,
            parameters,
        }
    }
}

/// Puts the shadows of `used` in front of the rest; `apart`: no condition is to be taken into them.
pub(super) fn compose(
    rest: &Rest,
    used: &[Used<'_>],
    form: Form,
    apart: bool,
    form_reason: &str,
) -> ShadowedQuery {
    let mut fields: Vec<PrincipalField> = rest.fields.clone();
    let shadows: Vec<Shadow> = used
        .iter()
        .map(|used| Shadow {
            name: used.shadow.clone(),
            relation: used.table.relation.clone(),
            body: body(used.table, form, rest.parameters, &mut fields),
            materialize: match (form, used.references) {
                (Form::Inline, _) => Materialize::Always,
                (_form, _references) if apart => Materialize::Always,
                (Form::Open | Form::Sealed, 0 | 1) => Materialize::Default,
                (Form::Open | Form::Sealed, _several) => Materialize::Never,
            },
        })
        .chain(rest.catalogue.iter().cloned())
        .collect();
    let entries: Vec<String> = shadows
        .iter()
        .map(Shadow::entry)
        .chain(rest.ctes.iter().cloned())
        .collect();
    let head = match (entries.is_empty(), rest.recursive) {
        (true, true | false) => String::new(),
        (false, true) => format!("WITH RECURSIVE {} ", entries.join(", ")),
        (false, false) => format!("WITH {} ", entries.join(", ")),
    };
    ShadowedQuery {
        text: format!("{head}{}", rest.body),
        relations: shadows
            .iter()
            .map(|shadow| shadow.relation.clone())
            .collect(),
        shadows,
        parameters: rest.parameters,
        principal_parameters: fields,
        form,
        form_reason: form_reason.to_owned(),
    }
}

/// Most bytes of all catalogue shadows of a statement, which are sent with it: each holds the granted names.
const CATALOGUE_BYTES_MAX: usize = 8_000_000;

/// The shadows of catalogue relations, and the principal's facts that they read.
#[derive(Default)]
pub(super) struct Catalogue {
    pub(super) shadows: Vec<Shadow>,
    fields: Vec<PrincipalField>,
}

/// The shadows of the catalogue relations that a text with so many parameters reads.
///
/// # Errors
/// `TooLarge`, see [`Catalogued::body`](crate::catalog::Catalogued::body).
pub(super) fn catalogue(
    used: &[UsedCatalogue],
    parameters: u16,
    grants: &Grants,
) -> Result<Catalogue, Refusal> {
    let mut fields = Vec::new();
    let mut shadows = Vec::new();
    let mut bytes = 0;
    for used in used {
        let caller = match used.relation.names_caller() {
            true => hole(PrincipalField::Login, parameters, &mut fields),
            false => String::new(),
        };
        let body = used.relation.body(grants, &caller)?;
        bytes += body.len();
        if bytes > CATALOGUE_BYTES_MAX {
            return Err(Refusal::new(
                Reason::TooLarge,
                "the catalogue of your tables is too large to be read so often in one statement",
            )
            .hint("Read one relation of the catalogue at a time."));
        }
        shadows.push(Shadow {
            name: used.shadow.clone(),
            relation: used.relation.relation().clone(),
            body,
            materialize: Materialize::Always,
        });
    }
    Ok(Catalogue { shadows, fields })
}

/// One shadow's body.
fn body(
    table: &GrantedTable,
    form: Form,
    parameters: u16,
    fields: &mut Vec<PrincipalField>,
) -> String {
    match &table.source {
        ShadowSource::Installed { sealed, open } => {
            let view = match form {
                Form::Open => open,
                Form::Inline | Form::Sealed => sealed,
            };
            let view = format!(
                "{}.{}",
                names::print(&view.schema),
                names::print(&view.name)
            );
            installed(table, form, &view)
        }
        ShadowSource::Inline(inline) => {
            let mut text = String::new();
            for (index, piece) in inline.pieces.iter().enumerate() {
                text.push_str(piece);
                if let Some(field) = inline.holes.get(index) {
                    text.push_str(&hole(*field, parameters, fields));
                }
            }
            let columns: Vec<String> = table
                .columns
                .iter()
                .map(|column| names::print(&column.name))
                .collect();
            format!(
                "SELECT {} FROM ({text}) AS permission_view",
                columns.join(", ")
            )
        }
    }
}

/// The body over an installed view.
///
/// # Security
/// A column that is not plain is an expression of the view, and may fail on a hidden row. In the open form it does not
/// exist; a query that is proved silent does not ask for it. In the sealed form the barrier is not enough:
/// PostgreSQL takes a leakproof comparison (`email = 'x'`) into the view, puts the expression in the column's
/// place, and may evaluate it before the filter. A condition with a sub-select is never taken into a view
/// (`qual_is_pushdown_safe`, allpaths.c), so the column stands in one of its own.
fn installed(table: &GrantedTable, form: Form, view: &str) -> String {
    let mut fenced = false;
    let columns: Vec<String> = table
        .columns
        .iter()
        .filter(|column| form != Form::Open || column.plain)
        .map(|column| {
            let name = names::print(&column.name);
            fenced |= !column.plain;
            match column.plain {
                true => name,
                false => format!("(SELECT permission_view.{name}) AS {name}"),
            }
        })
        .collect();
    let alias = if fenced { " AS permission_view" } else { "" };
    format!("SELECT {} FROM {view}{alias}", columns.join(", "))
}

/// A principal's fact as a parameter behind the caller's own; the same fact is the same parameter.
pub(super) fn hole(
    field: PrincipalField,
    parameters: u16,
    fields: &mut Vec<PrincipalField>,
) -> String {
    let index = fields
        .iter()
        .position(|known| *known == field)
        .unwrap_or_else(|| {
            fields.push(field);
            fields.len() - 1
        });
    let number = usize::from(parameters) + index + 1;
    let parameter = format!("${number}::pg_catalog.{}", field.type_name());
    match field {
        PrincipalField::UserId => format!("nullif({parameter}, '')"),
        PrincipalField::Attributes
        | PrincipalField::Login
        | PrincipalField::Objects
        | PrincipalField::Permissions
        | PrincipalField::Roles
        | PrincipalField::Tags => format!("({parameter})"),
    }
}
