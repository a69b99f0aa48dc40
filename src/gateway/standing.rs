//! Who asks, and what they may see: asked for each statement, answered from memory as long as nothing has changed.

use super::{Authenticator, Caller, Gateway, Principal, Standing};
use crate::error::{Error, Reason, Refusal};
use crate::provider::Resolved;
use std::sync::Arc;

/// What a session remembers of its own caller, so that asking again costs little.
#[derive(Debug, Default)]
pub struct Memory {
    standing: Option<Arc<Standing>>,
    resolved: Option<Arc<Resolved>>,
    /// It was asked for since the session last waited for anything, so it need not be asked for again.
    fresh: bool,
}

impl Memory {
    /// The caller's standing as it was asked for last.
    pub fn standing(&self) -> Option<&Arc<Standing>> {
        self.standing.as_ref()
    }

    /// Time has passed: the next statement asks again.
    pub fn waited(&mut self) {
        self.fresh = false;
    }
}

impl Gateway {
    /// The standing a text is decided in, and whether it is that of a token the text starts with instead of
    /// the caller's own.
    ///
    /// # Errors
    /// As [`Gateway::standing`], and when the token is not acceptable.
    pub async fn standing_of(
        &self,
        caller: &Caller,
        text: &str,
        memory: &mut Memory,
    ) -> Result<(Arc<Standing>, bool), Error> {
        // Before anything else: what an expired token proved is nobody's word any more.
        not_expired(caller)?;
        if Authenticator::may_hold_token(text)
            && let Some(standing) = Box::pin(self.standing_by_token(caller, text)).await?
        {
            return Ok((standing, true));
        }
        if memory.fresh
            && let Some(standing) = &memory.standing
            && standing.version() == self.parts.policy.load().version()
        {
            return Ok((Arc::clone(standing), false));
        }
        Ok((self.standing(caller, memory).await?, false))
    }

    /// The standing of the token a text starts with, if it does.
    async fn standing_by_token(
        &self,
        caller: &Caller,
        text: &str,
    ) -> Result<Option<Arc<Standing>>, Error> {
        let authenticator = self.parts.authenticator.load_full();
        authenticator.prepare_statement_token(text).await;
        match authenticator.statement_token(caller, text)? {
            Some(token) => Ok(Some(self.standing(&token, &mut Memory::default()).await?)),
            None => Ok(None),
        }
    }

    /// Who the caller is at this moment, and what they may see; remembered.
    ///
    /// # Errors
    /// A fault when a provider cannot answer; a refusal when the caller may not be let in.
    pub async fn standing(
        &self,
        caller: &Caller,
        memory: &mut Memory,
    ) -> Result<Arc<Standing>, Error> {
        not_expired(caller)?;
        memory.fresh = false;
        if let Some(standing) = self.remembered(caller, memory) {
            memory.fresh = true;
            return Ok(standing);
        }
        Box::pin(self.standing_anew(caller, memory)).await
    }

    /// The standing of last time, if asking again would come to the same: as a rule, and without waiting.
    fn remembered(&self, caller: &Caller, memory: &Memory) -> Option<Arc<Standing>> {
        let (standing, resolved) = (memory.standing.as_ref()?, memory.resolved.as_ref()?);
        let same = standing.version() == self.parts.policy.load().version()
            && is_of(standing, resolved.principal())
            && self.parts.resolver.load().holds_still(resolved, caller);
        same.then(|| Arc::clone(standing))
    }

    async fn standing_anew(
        &self,
        caller: &Caller,
        memory: &mut Memory,
    ) -> Result<Arc<Standing>, Error> {
        let resolver = self.parts.resolver.load_full();
        let resolved = resolver.resolve(caller, memory.resolved.as_ref()).await?;
        let (principal, policy) = (resolved.principal(), self.parts.policy.load());
        let known = memory
            .standing
            .as_ref()
            .filter(|known| known.version() == policy.version() && is_of(known, principal));
        let standing = match known {
            Some(known) => Arc::clone(known),
            None => {
                self.may_enter(principal)?;
                Arc::new(Standing::new(Arc::clone(principal), &policy))
            }
        };
        *memory = Memory {
            standing: Some(Arc::clone(&standing)),
            resolved: Some(resolved),
            fresh: true,
        };
        Ok(standing)
    }

    fn may_enter(&self, principal: &Principal) -> Result<(), Refusal> {
        let needed = self.parts.connect_requires.as_deref();
        if let Some(refusal) = needed.and_then(|needed| lacking(principal, needed)) {
            return Err(refusal);
        }
        if principal.superuser() && self.parts.superuser_pool.is_none() {
            return Err(Refusal::new(
                Reason::NotAuthorized,
                "superusers are not served: no upstream login is configured for them",
            ));
        }
        Ok(())
    }
}

/// The refusal of whoever lacks the permission that `[gate] connect_requires` asks for.
pub(crate) fn lacking(principal: &Principal, needed: &str) -> Option<Refusal> {
    (!principal.has_permission(needed)).then(|| {
        let message = format!("permission \"{needed}\" is needed to use this database");
        Refusal::new(Reason::NotAuthorized, message).hint(format!(
            "Tell the user to ask an administrator for the permission \"{needed}\"; until then every statement is \
             refused."
        ))
    })
}

fn is_of(standing: &Standing, principal: &Arc<Principal>) -> bool {
    Arc::ptr_eq(standing.principal(), principal) || standing.principal() == principal
}

fn not_expired(caller: &Caller) -> Result<(), Refusal> {
    if !caller.expired() {
        return Ok(());
    }
    Err(Refusal::new(Reason::TokenExpired, "the token has expired")
        .hint("Connect again with a fresh token."))
}
