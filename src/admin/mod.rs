//! The admin listener: managing permissions over HTTP. Every request but those for health (`/healthz`, `/readyz`) shows who asks; whoever changes or
//! lists permissions holds `admin:permissions` and showed a signed token.
//!
//! ```text
//! http (bounds, Host) -> identify -> principal -> may they? -> manage (one transaction, one audit line)
//! ```

mod grants;
mod lists;
mod me;
mod rights;
mod tags;

use crate::audit::RequestId;
use crate::http::{Attempt, Identified, Peer, Problem, Waiting, identify};
use crate::identity::{Authenticator, Principal};
use crate::manage::{By, Kind, Known, ManageError, Manager};
use crate::policy::Policy;
use crate::provider::Resolver;
use crate::tuples::Tuples;
use arc_swap::ArcSwap;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use std::sync::Arc;

/// The permission that lets a person manage everybody's.
pub const ADMIN_PERMISSION: &str = "admin:permissions";

/// What the admin listener is made of.
pub struct Parts {
    /// Who may connect; replaced on reload.
    pub authenticator: Arc<ArcSwap<Authenticator>>,
    /// From a caller to a principal; replaced on reload.
    pub resolver: Arc<ArcSwap<Resolver>>,
    /// The policy; replaced on reload.
    pub policy: Arc<ArcSwap<Policy>>,
    /// The tables.
    pub manager: Arc<Manager>,
    /// A permission without which nobody gets in.
    pub connect_requires: Option<String>,
    /// Relation tuples' rules.
    pub tuples: Option<Arc<Tuples>>,
    /// Longest body, in bytes.
    pub body_bytes_max: usize,
    /// Refuse permissions that nothing asks for.
    pub strict: bool,
}

/// The routes, for [`crate::http::serve`].
pub fn routes(parts: Parts) -> Router {
    let door = Arc::new(Door {
        parts,
        waiting: Waiting::default(),
    });
    let kind = |router: Router<Arc<Door>>, kind: Kind| router.merge(grants::routes(kind));
    let all = Kind::ALL.into_iter().fold(Router::new(), kind);
    let all = all.merge(tags::routes());
    all.route("/api/me", get(me::me)).with_state(door)
}

struct Door {
    parts: Parts,
    waiting: Waiting,
}

/// Who asks, and as whom they are known.
struct Asker {
    identified: Identified,
    principal: Arc<Principal>,
    by: By,
}

impl Door {
    /// Who asks. A provider that fails refuses.
    async fn asker(
        &self,
        headers: &HeaderMap,
        peer: Peer,
        request_id: RequestId,
    ) -> Result<Asker, Problem> {
        let authenticator = self.parts.authenticator.load_full();
        let audit = self.parts.manager.audit();
        let attempt = Attempt {
            request_id,
            headers,
            peer,
        };
        let identified = identify(&authenticator, &self.waiting, audit, &attempt).await?;
        let resolver = self.parts.resolver.load_full();
        let principal = resolver.principal(&identified.caller).await?;
        let by = By {
            request_id,
            door: "http",
            peer: Some(peer.address),
            login: principal.login().to_owned(),
            user_id: principal.user_id().to_owned(),
        };
        Ok(Asker {
            identified,
            principal,
            by,
        })
    }

    /// The permissions that something asks for, as of now.
    fn known(&self) -> Known {
        let policy = self.parts.policy.load();
        let views = policy.views().iter().map(|view| &view.view);
        let others = self.parts.connect_requires.iter().cloned();
        let others = others.chain([ADMIN_PERMISSION.to_owned()]);
        Known::new(views, others, self.parts.tuples.clone())
    }

    /// The namespace of users in tuples.
    fn users(&self) -> &str {
        let tuples = self.parts.tuples.as_ref();
        tuples.map_or("user", |tuples| tuples.namespaces.user.as_str())
    }
}

impl From<ManageError> for Problem {
    fn from(error: ManageError) -> Self {
        let status = match &error {
            ManageError::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            ManageError::NotManaged(_) => StatusCode::NOT_FOUND,
            ManageError::Rejected(_) => StatusCode::CONFLICT,
            ManageError::Unclear => StatusCode::GATEWAY_TIMEOUT,
            ManageError::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let (slug, hint, detail) = (error.slug(), error.hint(), error.to_string());
        if let ManageError::Failed(fault) = error {
            return fault.into();
        }
        let problem = Self::new(status).slug(slug).detail(detail);
        match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}
