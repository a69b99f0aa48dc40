//! What the gateway writes down about a request: one line before the first row leaves, one when it has ended.

use super::{Decided, Gateway, LoginRefused, RequestId, Standing};
use crate::audit::{AuditLog, AuditRecord, AuditedPrincipal, Decision, Members, Outcome};
use crate::error::Fault;
use crate::identity::{Caller, Principal};
use crate::sql::{Form, Rewrite};
use crate::upstream::Gate;
use std::sync::{Arc, Mutex, PoisonError};

/// The facts about a session that every audit line repeats.
#[derive(Debug)]
pub struct SessionFacts {
    session: Members,
    /// The principal recorded last.
    principal: Mutex<Option<(Arc<Principal>, Members)>>,
}

impl SessionFacts {
    /// `number`: the session's in this process; `peer`: the other end's address; `application_name`: the client's own word
    /// for itself.
    pub fn new(number: u64, peer: &str, application_name: Option<&str>) -> Self {
        Self {
            session: Members::session(number, Some(peer), application_name),
            principal: Mutex::default(),
        }
    }

    fn principal(&self, caller: &Caller, standing: Option<&Arc<Standing>>) -> Members {
        let Some(principal) = standing.map(|standing| standing.principal()) else {
            return Members::principal(&AuditedPrincipal {
                login: caller.login(),
                user_id: caller.user_id(),
                roles: Vec::new(),
                role_sources: None,
                superuser: false,
            });
        };
        let mut kept = self
            .principal
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((known, members)) if Arc::ptr_eq(known, principal) => members.clone(),
            _ => {
                let members = Members::principal(&AuditedPrincipal {
                    login: principal.login(),
                    user_id: principal.user_id(),
                    roles: principal.roles().collect(),
                    role_sources: Some(principal.role_sources()),
                    superuser: principal.superuser(),
                });
                *kept = Some((Arc::clone(principal), members.clone()));
                members
            }
        }
    }
}

impl Gateway {
    /// Whether the audit takes the values of parameters.
    pub fn records_parameters(&self) -> bool {
        self.parts.audit.writes_parameters()
    }

    /// The audit's line for a request that will run: nothing of its answer may leave before this is `Ok`.
    pub fn record(
        &self,
        request_id: RequestId,
        facts: &SessionFacts,
        caller: &Caller,
        text: &str,
        decided: Option<&Decided>,
        parameters: &[Option<String>],
    ) -> Gate<'static> {
        let standing = decided.map(|decided| &decided.standing);
        let principal = facts.principal(caller, standing);
        let query = decided.map(|decided| recorded(&decided.rewrite));
        let mut record = self.base_record(request_id, facts, &principal, text, standing);
        record.parameters = parameters;
        record.query = query;
        Box::pin(self.parts.audit.record(&record))
    }

    /// The audit's line for a request that is answered from the standing itself.
    pub fn record_shown(
        &self,
        request_id: RequestId,
        facts: &SessionFacts,
        caller: &Caller,
        text: &str,
        standing: &Arc<Standing>,
    ) -> Gate<'static> {
        let principal = facts.principal(caller, Some(standing));
        let record = self.base_record(request_id, facts, &principal, text, Some(standing));
        Box::pin(self.parts.audit.record(&record))
    }

    /// The audit's line for a request that does not run.
    pub async fn record_refused(
        &self,
        request_id: RequestId,
        facts: &SessionFacts,
        caller: &Caller,
        text: &str,
        standing: Option<&Arc<Standing>>,
        slug: &'static str,
    ) {
        let principal = facts.principal(caller, standing);
        let mut record = self.base_record(request_id, facts, &principal, text, standing);
        record.decision = Decision::Refuse;
        record.reason = Some(slug);
        // Nothing was answered, so a line that cannot be written changes nothing for the caller.
        if let Err(fault) = self.parts.audit.record(&record).await {
            tracing::error!(cause = %fault.cause, %request_id, "refusal not recorded");
        }
    }

    /// The audit's line for a question that is answered without running anything (`explain`, `schema`): nothing of the
    /// answer may leave before this is `Ok`. `slug`: what a query would be refused for.
    ///
    /// # Errors
    /// [`FaultKind::AuditUnavailable`].
    pub async fn record_told(
        &self,
        request_id: RequestId,
        facts: &SessionFacts,
        caller: &Caller,
        (operation, text): (&'static str, &str),
        standing: Option<&Arc<Standing>>,
        slug: Option<&'static str>,
    ) -> Result<(), Fault> {
        let principal = facts.principal(caller, standing);
        let mut record = self.base_record(request_id, facts, &principal, text, standing);
        record.operation = Some(operation);
        if slug.is_some() {
            record.decision = Decision::Refuse;
            record.reason = slug;
        }
        self.parts.audit.record(&record).await
    }

    fn base_record<'a>(
        &self,
        request_id: RequestId,
        facts: &'a SessionFacts,
        principal: &'a Members,
        text: &'a str,
        standing: Option<&Arc<Standing>>,
    ) -> AuditRecord<'a> {
        AuditRecord {
            request_id,
            session: &facts.session,
            principal,
            operation: None,
            sql: text,
            query: None,
            policy_version: standing.map_or(0, |standing| standing.policy_number()),
            decision: Decision::Allow,
            reason: None,
            parameters: &[],
        }
    }

    /// The audit's line for a login that was refused.
    pub fn login_refused(&self, refused: &LoginRefused<'_>) {
        self.parts.audit.login_refused(refused);
    }

    /// The audit log.
    pub fn audit(&self) -> &AuditLog {
        &self.parts.audit
    }

    /// How a request ended.
    pub fn finish(&self, request_id: RequestId, outcome: Outcome) {
        self.spent.whole.add(outcome.duration);
        if let Some(first_row) = outcome.first_row {
            self.spent.first_row.add(first_row);
        }
        self.parts.audit.outcome(request_id, &outcome);
    }
}

/// What the audit says of a query, made at its first request.
fn recorded(rewrite: &Rewrite) -> &[u8] {
    rewrite.recorded.get_or_init(|| {
        let form = match rewrite.query.form() {
            Form::Inline => "inline",
            Form::Open => "open",
            Form::Sealed => "sealed",
        };
        let members = Members::query(&rewrite.text_sha256, &rewrite.tables, form);
        Arc::clone(members.bytes())
    })
}
