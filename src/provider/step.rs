//! What stands beside the providers: steps that work on all that was found, and sources that can be read again.

use super::{Asking, ProviderError};
use crate::identity::{Caller, Findings};
use std::path::PathBuf;

/// Works out more from what all providers together found, after merging, before the principal is made: tags, for one.
///
/// Steps run in the order they were added. One that fails is a refusal, as for a provider.
pub trait Step: Send + Sync + 'static {
    /// Its name in messages.
    fn name(&self) -> &str;

    /// Adds to the findings, or takes from them.
    fn complete<'a>(&'a self, caller: &'a Caller, found: &'a mut Findings) -> Asking<'a, ()>;

    /// As [`super::Provider::ready`].
    fn ready(&self) -> Asking<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// As [`super::Provider::generation`]: changes whenever the same findings could be completed otherwise.
    fn generation(&self) -> Option<u64> {
        None
    }

    /// Forgets what it kept, if it keeps anything.
    fn clear(&self) {}
}

/// Something read from files, which are watched and read again when they change.
pub trait Reloadable: Send + Sync + 'static {
    /// The files, for whoever watches them.
    fn paths(&self) -> Vec<PathBuf>;

    /// Reads them again. Good ones take force as a whole, at once; broken ones leave the last good state in force.
    ///
    /// # Errors
    /// Why they were not taken.
    fn reload(&self) -> Result<(), ProviderError>;
}
