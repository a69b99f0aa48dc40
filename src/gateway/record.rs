//! What the gateway writes down about a request: one line before the first row leaves, one when it has ended.

use super::{Decided, Gateway, LoginRefused, RequestId, SessionFacts, Standing};
use crate::audit::{AuditLog, AuditRecord, Decision, Outcome};
use crate::error::Fault;
use crate::identity::Caller;
use crate::sql::Form;
use crate::upstream::Gate;
use std::sync::Arc;

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
        let mut record = self.base_record(request_id, facts, caller, text, standing);
        record.parameters = parameters;
        if let Some(Decided { rewrite, .. }) = decided {
            record.final_sql_sha256 = Some(&rewrite.text_sha256);
            record.tables = &rewrite.tables;
            record.form = Some(match rewrite.query.form() {
                Form::Inline => "inline",
                Form::Open => "open",
                Form::Sealed => "sealed",
            });
        }
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
        let record = self.base_record(request_id, facts, caller, text, Some(standing));
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
        let mut record = self.base_record(request_id, facts, caller, text, standing);
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
        let mut record = self.base_record(request_id, facts, caller, text, standing);
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
        caller: &'a Caller,
        text: &'a str,
        standing: Option<&'a Arc<Standing>>,
    ) -> AuditRecord<'a> {
        let principal = standing.map(|standing| standing.principal());
        AuditRecord {
            request_id,
            session: facts.number,
            peer: Some(&facts.peer),
            application_name: facts.application_name.as_deref(),
            operation: None,
            login: principal.map_or(caller.login(), |p| p.login()),
            user_id: principal.map_or(caller.user_id(), |p| p.user_id()),
            roles: principal.map_or_else(Vec::new, |p| p.roles().collect()),
            role_sources: principal.map(|p| p.role_sources()),
            superuser: principal.is_some_and(|p| p.superuser()),
            sql: text,
            final_sql_sha256: None,
            tables: &[],
            form: None,
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
