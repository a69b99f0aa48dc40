//! Rewrites kept: what [`admit`](super::admit) made of a text holds for everybody with the same grants.

use super::template::PLACES_MAX;
use super::{INTEGER_OID, Options, Template, VerifiedQuery, admit};
use crate::error::Refusal;
use crate::limits::Limits;
use crate::policy::{Grants, GrantsFingerprint};
use equivalent::Equivalent;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// A verified query, and how often it was asked for.
#[derive(Debug)]
pub struct Rewrite {
    /// What may be sent.
    pub query: VerifiedQuery,
    /// For the audit: the SHA-256 of the text that may be sent, hexadecimal.
    pub text_sha256: String,
    /// For the audit: the tables it reads, `schema.name`.
    pub tables: Vec<String>,
    /// The parameter types it was admitted with.
    pub types: Arc<[u32]>,
    /// For the audit: what it writes of the above, in a form of its own, kept here because it stays the same.
    pub recorded: OnceLock<Arc<[u8]>>,
    uses: AtomicU64,
}

impl Rewrite {
    fn new(query: VerifiedQuery, types: &[u32]) -> Self {
        let digest = Sha256::digest(query.text().as_bytes());
        Self {
            text_sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            tables: query.relations().iter().map(ToString::to_string).collect(),
            query,
            types: types.into(),
            recorded: OnceLock::new(),
            uses: AtomicU64::new(0),
        }
    }

    /// Whether it was asked for before; counts this time. What comes again is worth a prepared statement.
    pub fn comes_again(&self) -> bool {
        self.uses.fetch_add(1, Ordering::Relaxed) > 0
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    text: Box<str>,
    types: Box<[u32]>,
    fingerprint: GrantsFingerprint,
}

/// [`Key`] without owning its text. Hashes the same: same fields, same order.
#[derive(Hash)]
struct Lookup<'a> {
    text: &'a str,
    types: &'a [u32],
    fingerprint: GrantsFingerprint,
}

impl Equivalent<Key> for Lookup<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.text == &*key.text && self.types == &*key.types && self.fingerprint == key.fingerprint
    }
}

/// About how much memory a rewrite takes.
#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Key, Arc<Rewrite>> for Bytes {
    fn weight(&self, key: &Key, rewrite: &Arc<Rewrite>) -> u64 {
        (key.text.len() + rewrite.query.text().len() + 512) as u64
    }
}

/// The rewrites of one gate, bounded by bytes: a text may be large, an average one is not.
#[derive(Debug)]
pub struct Rewrites {
    kept: Cache<Key, Arc<Rewrite>, Bytes>,
    limits: Limits,
    open_allowed: bool,
}

impl Rewrites {
    /// None yet. `open_allowed` as in [`Options`].
    pub fn new(limits: Limits, open_allowed: bool) -> Self {
        let rewrites = usize::try_from(limits.rewrites_max).unwrap_or(usize::MAX);
        let bytes = limits.rewrites_max.saturating_mul(4096);
        Self {
            kept: Cache::with_weighter(rewrites, bytes, Bytes),
            limits,
            open_allowed,
        }
    }

    /// What [`Rewrites::admit_shared`] made of the text, or of another that differs from it in such numbers, before.
    pub fn find_shared(&self, text: &str, grants: &Grants) -> Option<(Arc<Rewrite>, Vec<u32>)> {
        if let Some(template) = Template::of(text)
            && let Some(rewrite) = self.find_template(&template, grants)
        {
            return Some((rewrite, template.into_values()));
        }
        Some((self.find(text, &[], grants)?, Vec::new()))
    }

    fn find_template(&self, template: &Template, grants: &Grants) -> Option<Arc<Rewrite>> {
        // As many as a template has at most.
        const TYPES: [u32; PLACES_MAX] = [INTEGER_OID; PLACES_MAX];
        self.find(
            template.text(),
            TYPES.get(..template.values().len())?,
            grants,
        )
    }

    /// As [`Rewrites::admit`], shared by all texts that differ only in the numbers they compare with: those
    /// become parameters of type `integer`, and their values come back beside the rewrite.
    ///
    /// # Errors
    /// As [`admit`](super::admit), in the words and positions of the caller's own text.
    pub fn admit_shared(
        &self,
        text: &str,
        grants: &Grants,
    ) -> Result<(Arc<Rewrite>, Vec<u32>), Refusal> {
        if let Some(template) = Template::of(text) {
            let shared = self.find_template(&template, grants).or_else(|| {
                let agreed = template.agrees(text);
                let types = vec![INTEGER_OID; template.values().len()];
                agreed
                    .then(|| self.admit(template.text(), &types, grants).ok())
                    .flatten()
            });
            if let Some(rewrite) = shared {
                return Ok((rewrite, template.into_values()));
            }
        }
        Ok((self.admit(text, &[], grants)?, Vec::new()))
    }

    /// What [`Rewrites::admit`] made of the text before.
    pub fn find(&self, text: &str, types: &[u32], grants: &Grants) -> Option<Arc<Rewrite>> {
        self.kept.get(&Lookup {
            text,
            types,
            fingerprint: grants.fingerprint(),
        })
    }

    /// [`admit`](super::admit), or what it said before of the same text, parameter types and grants.
    ///
    /// # Errors
    /// As [`admit`](super::admit); refusals are not kept.
    pub fn admit(
        &self,
        text: &str,
        types: &[u32],
        grants: &Grants,
    ) -> Result<Arc<Rewrite>, Refusal> {
        if let Some(rewrite) = self.find(text, types, grants) {
            return Ok(rewrite);
        }
        let options = Options {
            limits: self.limits.clone(),
            open_allowed: self.open_allowed,
            parameter_types: types.to_vec(),
        };
        let rewrite = Arc::new(Rewrite::new(admit(text, grants, &options)?, types));
        let key = Key {
            text: text.into(),
            types: types.into(),
            fingerprint: grants.fingerprint(),
        };
        self.kept.insert(key, Arc::clone(&rewrite));
        Ok(rewrite)
    }
}
