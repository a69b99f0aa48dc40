//! Ory Keto's read API, as far as it is needed: list, check, expand.
//!
//! `GET /relation-tuples` with pages, `GET /relation-tuples/check` (200 or 403, both with `allowed`) and
//! `GET /relation-tuples/expand`, as Keto's REST reference documents them.

use crate::config::{self, KetoUsers};
use crate::provider::{ProviderError, outbound};
use crate::tuples::Pair;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::atomic::{AtomicU32, Ordering};

/// Largest body of one answer, in bytes.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Tuples asked for at a time.
const PAGE: &str = "500";
/// How deep an expansion may go.
const EXPAND_DEPTH: &str = "50";

/// An object of a namespace with a relation on it; for the user: the user's id, and no relation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) pair: Pair,
    pub(super) object: String,
}

/// A subject as Keto writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    Id(String),
    Set(SubjectSet),
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct SubjectSet {
    pub(super) namespace: String,
    pub(super) object: String,
    #[serde(default)]
    pub(super) relation: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Tuple {
    pub(super) namespace: String,
    pub(super) object: String,
    pub(super) relation: String,
}

#[derive(Deserialize)]
struct Page {
    relation_tuples: Vec<Tuple>,
    #[serde(default)]
    next_page_token: String,
}

#[derive(Deserialize)]
struct Checked {
    allowed: bool,
}

#[derive(Deserialize)]
struct Tree {
    #[serde(default)]
    tuple: Option<Leaf>,
    #[serde(default)]
    children: Vec<Tree>,
}

#[derive(Deserialize)]
struct Leaf {
    #[serde(default)]
    subject_id: Option<String>,
    #[serde(default)]
    subject_set: Option<SubjectSet>,
}

/// Where Keto is, and how to speak to it.
pub(super) struct Keto {
    client: Client,
    base: Url,
}

/// The requests one answer may still take.
pub(super) struct Budget(AtomicU32);

impl Budget {
    pub(super) fn new(requests: u32) -> Self {
        Self(AtomicU32::new(requests))
    }

    /// Whether so many are left: better said before the first than after the last.
    pub(super) fn covers(&self, requests: usize) -> Result<(), ProviderError> {
        let left = usize::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(0);
        if requests > left {
            Err(too_many())
        } else {
            Ok(())
        }
    }

    fn take(&self) -> Result<(), ProviderError> {
        let left = |left: u32| left.checked_sub(1);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        taken.map(drop).map_err(|_| too_many())
    }
}

fn too_many() -> ProviderError {
    ProviderError::Oversize(
        "it would take more requests than requests_max; keep such tuples in the database, where a view walks over them",
    )
}

impl Keto {
    pub(super) fn new(settings: &config::KetoProvider) -> anyhow::Result<Self> {
        let client = outbound::client(&settings.base, settings.key.as_ref(), &settings.tls)?
            .build()
            .map_err(outbound::unmade)?;
        let base = format!("{}/", settings.base.trim_end_matches('/'));
        let base = Url::parse(&base).map_err(|_| anyhow::anyhow!("base is not an address"))?;
        Ok(Self { client, base })
    }

    /// Every tuple with this subject.
    pub(super) async fn list(
        &self,
        subject: &Subject,
        budget: &Budget,
    ) -> Result<Vec<Tuple>, ProviderError> {
        let mut found = Vec::new();
        let mut token = String::new();
        loop {
            budget.take()?;
            let mut query = subject_query(subject);
            query.push(("page_size", PAGE));
            if !token.is_empty() {
                query.push(("page_token", &token));
            }
            let page: Page = self.get("relation-tuples", &query, &[]).await?;
            found.extend(page.relation_tuples);
            if page.next_page_token.is_empty() {
                return Ok(found);
            }
            token = page.next_page_token;
        }
    }

    /// Keto's own decision.
    pub(super) async fn check(
        &self,
        node: &Node,
        subject: &Subject,
        budget: &Budget,
    ) -> Result<bool, ProviderError> {
        budget.take()?;
        let mut query = subject_query(subject);
        query.extend(node_query(node));
        // Not allowed is 403 with the same body.
        let path = "relation-tuples/check";
        let checked: Checked = self.get(path, &query, &[StatusCode::FORBIDDEN]).await?;
        Ok(checked.allowed)
    }

    /// Whether the subject is in the tree of the object's subjects.
    pub(super) async fn expand(
        &self,
        node: &Node,
        subject: &Subject,
        budget: &Budget,
    ) -> Result<bool, ProviderError> {
        budget.take()?;
        let mut query = node_query(node).to_vec();
        query.push(("max-depth", EXPAND_DEPTH));
        let tree: Tree = self.get("relation-tuples/expand", &query, &[]).await?;
        Ok(contains(&tree, subject))
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        also: &[StatusCode],
    ) -> Result<T, ProviderError> {
        let garbage = |_| ProviderError::Garbage("it is not what Keto's API documents".to_owned());
        let mut url = self
            .base
            .join(path)
            .map_err(|_| ProviderError::Unavailable("no address".to_owned()))?;
        url.query_pairs_mut().extend_pairs(query);
        let asked = self.client.get(url).send().await;
        let mut response = asked.map_err(outbound::failed)?;
        let status = response.status();
        if status != StatusCode::OK && !also.contains(&status) {
            return Err(outbound::not_answered("Keto", &response));
        }
        let oversize = "an answer of Keto's is larger than 4 MiB";
        let body = outbound::body(&mut response, BODY_BYTES_MAX, oversize).await?;
        serde_json::from_slice(&body).map_err(garbage)
    }
}

/// The subject that a node is, as Keto writes it.
pub(super) fn subject(node: &Node, relation: &str, users: KetoUsers) -> Subject {
    if node.pair.relation.is_empty() && users == KetoUsers::Id {
        return Subject::Id(node.object.clone());
    }
    Subject::Set(SubjectSet {
        namespace: node.pair.namespace.clone(),
        object: node.object.clone(),
        relation: relation.to_owned(),
    })
}

fn subject_query(subject: &Subject) -> Vec<(&str, &str)> {
    match subject {
        Subject::Id(id) => vec![("subject_id", id)],
        Subject::Set(set) => vec![
            ("subject_set.namespace", &set.namespace),
            ("subject_set.object", &set.object),
            ("subject_set.relation", &set.relation),
        ],
    }
}

fn node_query(node: &Node) -> [(&str, &str); 3] {
    [
        ("namespace", &node.pair.namespace),
        ("object", &node.object),
        ("relation", &node.pair.relation),
    ]
}

/// Whether the subject is a leaf. What is nested deeper than the reader of JSON goes is an error before.
fn contains(tree: &Tree, subject: &Subject) -> bool {
    let here = tree.tuple.as_ref().is_some_and(|leaf| match subject {
        Subject::Id(id) => leaf.subject_id.as_ref() == Some(id),
        Subject::Set(set) => leaf.subject_set.as_ref() == Some(set),
    });
    here || tree.children.iter().any(|child| contains(child, subject))
}
