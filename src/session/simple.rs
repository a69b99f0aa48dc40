//! The simple protocol: a text of one or more statements, each judged by itself, run as one pipeline.

use super::answer::EMPTY_QUERY;
use super::pipeline::Stop;
use super::told::Told;
use super::{Ended, Session, courtesy};
use crate::audit::RequestId;
use crate::error::{Error, Reason, Refusal};
use crate::gateway::{Asked, Decided, Known, Standing};
use crate::sql::statement::{Statement, StatementKind};
use crate::sql::{self, Rewrite};
use crate::upstream::Binding;
use std::sync::Arc;
use tokio::time::Instant;

impl Session {
    /// Answers a Query message, up to ReadyForQuery.
    pub(super) async fn simple(&mut self, text: &str) -> Result<(), Ended> {
        let statements = match self.gateway.split(text) {
            Ok(statements) => statements,
            Err(refusal) => {
                let told = self
                    .refuse(text, RequestId::next(), &refusal.into(), None)
                    .await;
                return self.fail_simple(told).await;
            }
        };
        if statements.is_empty() {
            self.script.local(EMPTY_QUERY);
        }
        let mut last = None;
        for statement in statements.iter() {
            match self.simple_statement(statement).await {
                Ok(rewrite) => last = rewrite.map(|rewrite| (statement, rewrite)),
                Err(Stop::Ended(ended)) => return Err(*ended),
                Err(Stop::Told(mut told)) => {
                    told.position = told.position.map(|at| at + statement.offset_chars);
                    return self.fail_simple(*told).await;
                }
            }
        }
        match (last, statements.len()) {
            (Some((statement, rewrite)), 1) => {
                let place = |position| {
                    let found = sql::position_in(&statement.text, rewrite.query.text(), position);
                    found.map(|position| position + statement.offset_chars)
                };
                self.ready_after(place).await
            }
            // Of several the database does not say which it means.
            (Some(_) | None, _) => self.ready().await,
        }
    }

    /// Puts a statement's messages into the script; the rewrite, if it is a query's.
    async fn simple_statement(
        &mut self,
        statement: &Statement,
    ) -> Result<Option<Arc<Rewrite>>, Stop> {
        let Statement { text, kind, .. } = statement;
        if *kind != StatementKind::Query {
            return self.other_statement(text, kind, true).await.map(|()| None);
        }
        if let Some(known) = courtesy::find(text) {
            return self.courtesy(text, known, true).await.map(|()| None);
        }
        self.check_block_for(text).await?;
        let id = RequestId::next();
        let started = Instant::now();
        let decided = self.decide(text, Asked::Simple, id).await?;
        if usize::from(decided.rewrite.query.parameters()) > decided.values.len() {
            let error = Refusal::new(Reason::ParameterNotAllowed, "there is no parameter $1")
                .hint("Send the values with Parse and Bind, or write them into the query.")
                .into();
            return Err(self
                .refuse(text, id, &error, Some(&decided.standing))
                .await
                .into());
        }
        let request = self.open_request(id, started, text, Some(&decided), &[]);
        let keep = decided.rewrite.comes_again();
        let Some(lease) = &mut self.lease else {
            return Err(Told::new("XX000", "no connection").into());
        };
        let query = &decided.rewrite.query;
        let settings = decided.standing.settings();
        let script = &mut self.script;
        lease.become_principal(script, settings, self.settings.sent())?;
        let name = lease.prepare(script, query, &decided.rewrite.types, keep)?;
        let binding = Binding::of_integers(&decided.values);
        lease.bind(script, "", name, query, settings, &binding, false)?;
        lease.describe_portal(script, "", query)?;
        lease.execute(script, "", 0, request)?;
        Ok(Some(decided.rewrite))
    }

    /// Decides a query and leases a connection for it; what is refused is recorded here.
    pub(super) async fn decide(
        &mut self,
        text: &str,
        asked: Asked<'_>,
        id: RequestId,
    ) -> Result<Decided, Stop> {
        let known = self.known();
        match self.gateway.decide(&self.caller, known, text, asked).await {
            Ok(decided) => {
                if !decided.by_token {
                    self.know(&decided.standing);
                }
                self.lease_recorded(text, id, &decided).await?;
                Ok(decided)
            }
            Err((error, standing)) => Err(self
                .refuse(text, id, &error, standing.as_ref())
                .await
                .into()),
        }
    }

    /// What is known of the session's own standing.
    pub(super) fn known(&self) -> Known<'_> {
        Known {
            standing: self.standing.as_ref(),
            fresh: self.standing_fresh,
        }
    }

    /// The session's own standing, as just asked for.
    pub(super) fn know(&mut self, standing: &Arc<Standing>) {
        self.standing = Some(Arc::clone(standing));
        self.standing_fresh = true;
    }

    /// Leases a connection; a request that gets none is recorded as refused.
    pub(super) async fn lease_recorded(
        &mut self,
        text: &str,
        id: RequestId,
        decided: &Decided,
    ) -> Result<(), Stop> {
        match self.lease_for(&decided.standing).await {
            Err(Stop::Told(told)) => {
                let standing = Some(&decided.standing);
                self.gateway
                    .record_refused(id, &self.facts, &self.caller, text, standing, told.slug)
                    .await;
                Err(Stop::Told(told))
            }
            other => other,
        }
    }

    /// Records a refused request; what to tell.
    pub(super) async fn refuse(
        &mut self,
        text: &str,
        id: RequestId,
        error: &Error,
        standing: Option<&Arc<Standing>>,
    ) -> Told {
        let told = Told::of(error, Some(id));
        self.gateway
            .record_refused(id, &self.facts, &self.caller, text, standing, told.slug)
            .await;
        told
    }
}
