//! Who asks: from what a connection showed (login, password, token) to a [`Caller`], and, with what
//! the providers found, to a [`Principal`].
//!
//! Identity never comes from SQL the model wrote. This module does no IO of its own; providers
//! (`crate::provider`) look up roles and permissions and hand them in.

mod authenticator;
mod caller;
mod claim;
mod jwks;
mod principal;
#[cfg(test)]
mod published_tests;
mod scram;
mod settings;
mod shown;
#[cfg(test)]
mod tests;
mod throttle;
mod token;

pub use authenticator::{Authenticator, Challenge};
pub use caller::{Caller, Opening};
pub use claim::{ClaimPath, NoSuchPath};
pub use jwks::{JWKS_BYTES_MAX, KeySource, Published, parse_jwks};
pub use principal::{Findings, Principal};
pub use scram::ScramVerifier;
pub use settings::{IdentitySettings, Login, NAME_BYTES_MAX, Proof, StatementToken, valid_name};
pub use shown::{ApiKey, Shown, not_accepted};
pub use token::{TokenAlgorithm, TokenKey, TokenVerifier};
