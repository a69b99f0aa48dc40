//! *Safe result*: libpg_query reads the final text afresh, and only what passes becomes a [`VerifiedQuery`].

use super::{Form, Shadow, ShadowedQuery};
use crate::error::Refusal;
use crate::policy::{PrincipalField, RelationName};
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
