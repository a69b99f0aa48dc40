//! The `keto` provider: which objects a user holds a relation on, from an Ory Keto server.
//!
//! Keto can say whether a user may, not what a user may: so the tuples are walked from the user by the rules
//! of `[tuples]`, and Keto's `check` has to agree with each object the walk came by. What the views ask for
//! is asked for; more objects or requests than allowed is an error, never a part of the answer.

mod client;

use super::flight::Flights;
use super::{ANSWER_ITEMS_MAX, Answer, Asking, Provider, ProviderError};
use crate::config::{self, KetoConfirm};
use crate::identity::Caller;
use crate::tuples::{Edge, Pair};
use arc_swap::ArcSwap;
use client::{Budget, Keto, Node, Subject, subject};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Requests of one answer under way at the same time.
const TOGETHER: usize = 8;
/// Who is asked about at start.
const NOBODY: &str = "rowgate-start-up-check";

/// What the views ask for; changes when they do.
pub type AskedPairs = ArcSwap<BTreeSet<Pair>>;

/// Asks an Ory Keto.
pub struct KetoProvider {
    name: String,
    keto: Keto,
    settings: config::KetoProvider,
    asked: Arc<AskedPairs>,
    flights: Flights,
}

impl KetoProvider {
    /// # Errors
    /// A certificate, key or address that cannot be used.
    pub(crate) fn new(
        name: &str,
        settings: &config::KetoProvider,
        asked: Arc<AskedPairs>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            keto: Keto::new(settings)?,
            settings: settings.clone(),
            asked,
            flights: Flights::default(),
        })
    }

    /// Asks for the tuples of nobody, so that a server that cannot be reached is found at start.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub async fn probe(&self) -> Result<(), ProviderError> {
        let nobody = Subject::Id(NOBODY.to_owned());
        let asking = async { self.keto.list(&nobody, &Budget::new(1)).await };
        tokio::time::timeout(self.settings.timeout, asking)
            .await
            .unwrap_or(Err(ProviderError::Timeout))
            .map(drop)
    }

    async fn ask(&self, user_id: &str) -> Result<Answer, ProviderError> {
        tokio::time::timeout(self.settings.timeout, self.walk(user_id))
            .await
            .unwrap_or(Err(ProviderError::Timeout))
    }

    async fn walk(&self, user_id: &str) -> Result<Answer, ProviderError> {
        let settings = &self.settings;
        let budget = Budget::new(settings.requests_max);
        let views = self.asked.load_full();
        let own = settings.roles.iter().chain(&settings.permissions);
        let targets: BTreeSet<&Pair> = views.iter().chain(own).collect();
        let namespaces = &settings.tuples.namespaces;
        let edges: BTreeSet<Edge> = targets
            .iter()
            .flat_map(|pair| namespaces.edges(pair).unwrap_or_default())
            .collect();
        let user = Node {
            pair: Pair::new(&namespaces.user, ""),
            object: user_id.to_owned(),
        };
        let held = self.held(&user, &edges, &budget).await?;
        let found: Vec<Node> = held
            .into_iter()
            .filter(|node| targets.contains(&node.pair))
            .collect();
        if found.len() > ANSWER_ITEMS_MAX {
            return Err(ProviderError::Oversize("more than 10000 related objects"));
        }
        let found = self.confirmed(found, &user, &budget).await?;
        let mut by_pair: BTreeMap<Pair, BTreeSet<String>> = BTreeMap::new();
        for node in found {
            by_pair.entry(node.pair).or_default().insert(node.object);
        }
        let of = |pair: &Option<Pair>| {
            let ids = pair.as_ref().and_then(|pair| by_pair.get(pair));
            ids.cloned().unwrap_or_default()
        };
        Ok(Answer {
            roles: of(&settings.roles),
            permissions: of(&settings.permissions),
            objects: by_pair
                .iter()
                .filter(|(pair, _)| views.contains(*pair))
                .map(|(pair, ids)| (pair.clone(), ids.clone()))
                .collect(),
            ..Answer::default()
        })
    }

    /// Everything the user holds that leads on or is asked for. Nothing is looked at twice, so cycles end.
    async fn held(
        &self,
        user: &Node,
        edges: &BTreeSet<Edge>,
        budget: &Budget,
    ) -> Result<BTreeSet<Node>, ProviderError> {
        let mut held = BTreeSet::new();
        let mut frontier = vec![user.clone()];
        while !frontier.is_empty() {
            let questions: Vec<(Node, String)> = frontier
                .drain(..)
                .flat_map(|node| {
                    let ways: BTreeSet<String> = edges
                        .iter()
                        .filter(|edge| edge.held == node.pair)
                        .map(|edge| edge.subject_relation.clone())
                        .collect();
                    ways.into_iter().map(move |way| (node.clone(), way))
                })
                .collect();
            budget.covers(questions.len())?;
            for some in questions.chunks(TOGETHER) {
                let asked = some.iter().map(|(node, way)| async move {
                    let subject = subject(node, way, self.settings.users);
                    self.keto.list(&subject, budget).await
                });
                let answers = all(asked.collect()).await?;
                for ((node, way), tuples) in some.iter().zip(answers) {
                    let given = tuples.iter().flat_map(|tuple| {
                        let edges = edges.iter().filter(|edge| {
                            edge.held == node.pair
                                && edge.subject_relation == *way
                                && edge.tuple.namespace == tuple.namespace
                                && edge.tuple.relation == tuple.relation
                        });
                        edges.map(|edge| Node {
                            pair: Pair::new(&tuple.namespace, &edge.gives),
                            object: tuple.object.clone(),
                        })
                    });
                    frontier.extend(given.filter(|node| held.insert(node.clone())));
                }
                if held.len() > usize::try_from(self.settings.tuples.objects_max).unwrap_or(0) {
                    return Err(ProviderError::Oversize(
                        "more objects than tuples.objects_max",
                    ));
                }
            }
        }
        Ok(held)
    }

    /// Those of which Keto itself says so.
    async fn confirmed(
        &self,
        found: Vec<Node>,
        user: &Node,
        budget: &Budget,
    ) -> Result<Vec<Node>, ProviderError> {
        let user = &subject(user, "", self.settings.users);
        let mut confirmed = Vec::new();
        if self.settings.confirm != KetoConfirm::Nothing {
            budget.covers(found.len())?;
        }
        for some in found.chunks(TOGETHER) {
            let asked = some.iter().map(|node| async move {
                match self.settings.confirm {
                    KetoConfirm::Check => self.keto.check(node, user, budget).await,
                    KetoConfirm::Expand => self.keto.expand(node, user, budget).await,
                    KetoConfirm::Nothing => Ok(true),
                }
            });
            let answers = all(asked.collect()).await?;
            let agreed = some.iter().zip(answers).filter(|(_, agreed)| *agreed);
            confirmed.extend(agreed.map(|(node, _)| node.clone()));
        }
        Ok(confirmed)
    }
}

/// Runs a few together; the first error is the answer.
async fn all<T, F>(asked: Vec<F>) -> Result<Vec<T>, ProviderError>
where
    F: Future<Output = Result<T, ProviderError>>,
{
    let mut running: Vec<_> = asked.into_iter().map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (one, done) in running.iter_mut().filter(|(_, done)| done.is_none()) {
            match one.as_mut().poll(context) {
                std::task::Poll::Ready(Ok(value)) => *done = Some(value),
                std::task::Poll::Ready(Err(error)) => return std::task::Poll::Ready(Err(error)),
                std::task::Poll::Pending => pending = true,
            }
        }
        if pending {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(Ok(()))
        }
    })
    .await?;
    Ok(running.into_iter().filter_map(|(_, done)| done).collect())
}

impl Provider for KetoProvider {
    fn name(&self) -> &str {
        &self.name
    }

    fn by_user_id(&self) -> bool {
        true
    }

    fn ready(&self) -> Asking<'_, ()> {
        Box::pin(self.probe())
    }

    fn find<'a>(&'a self, caller: &'a Caller) -> Asking<'a, Answer> {
        let user_id = caller.user_id();
        Box::pin(self.flights.share(user_id, self.ask(user_id)))
    }
}
