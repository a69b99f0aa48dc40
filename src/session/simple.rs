//! The simple protocol: a text of one or more statements, each judged by itself, run as one pipeline.

use super::answer::EMPTY_QUERY;
use super::pipeline::Stop;
use super::told::Told;
use super::{Ended, Session, courtesy};
use crate::audit::RequestId;
use crate::error::{Reason, Refusal};
use crate::gateway::{Asked, Decided, Said, Standing};
use crate::sql::statement::{Statement, StatementKind};
use crate::sql::{self, Rewrite};
use crate::upstream::Binding;
use std::sync::Arc;
use tokio::time::Instant;

/// Where a query stands in what the client sent.
#[derive(Debug)]
pub(super) struct Placed {
    query: String,
    offset_chars: Option<u32>,
    rewrite: Arc<Rewrite>,
}

impl Placed {
    pub(super) fn new(query: &str, offset_chars: Option<u32>, rewrite: &Arc<Rewrite>) -> Self {
        Self {
            query: query.to_owned(),
            offset_chars,
            rewrite: Arc::clone(rewrite),
        }
    }

    /// The position of what the database points at in the final text.
    fn find(&self, position: u32) -> Option<u32> {
        let found = sql::position_in(&self.query, self.rewrite.query.text(), position)?;
        Some(found + self.offset_chars?)
    }
}

impl Session {
    /// Answers a Query message, up to ReadyForQuery.
    pub(super) async fn simple(&mut self, text: &str) -> Result<(), Ended> {
        // PostgreSQL lets go of the unnamed statement (manual, section 55.2.3).
        self.forget_statement("");
        let statements = match self.gateway.split(text) {
            Ok(statements) => statements,
            Err(refusal) => {
                let told = self
                    .refuse(text, RequestId::next(), &refusal.into(), None)
                    .await;
                return self.fail_simple(told, text).await;
            }
        };
        if statements.is_empty() {
            self.empty_query(text);
        }
        let mut last = None;
        for statement in statements.iter() {
            self.open_before = self.open.len();
            if statements.len() > 1 {
                self.begin_one_of_several();
            }
            match self.simple_statement(statement).await {
                Ok(placed) => last = placed,
                Err(Stop::Ended(ended)) => return Err(*ended),
                Err(Stop::Told(mut told)) => {
                    told.position = told.position.map(|at| at + statement.offset_chars);
                    return self.fail_simple(told, &statement.text).await;
                }
            }
        }
        if let Err(stop) = self.commit_implicit() {
            return match stop {
                Stop::Told(told) => self.fail_simple(told, text).await,
                Stop::Ended(ended) => Err(*ended),
            };
        }
        // Of several the database does not say which it means.
        let last = last.filter(|_| statements.len() == 1);
        self.ready_after(|told| {
            let at = told.final_position.zip(last);
            told.position = told.position.or(at.and_then(|(at, last)| last.find(at)));
            // Nor is it a statement that was prepared before.
            told.final_text = None;
        })
        .await
    }

    /// Answers a text that holds no statement.
    pub(super) fn empty_query(&mut self, text: &str) {
        let request = self.open_request(RequestId::next(), Instant::now(), text, None, &[]);
        self.script.local(EMPTY_QUERY);
        self.script.complete_request(request);
    }

    /// Puts a statement's messages into the script; where its query stands, if it holds one.
    async fn simple_statement(&mut self, statement: &Statement) -> Result<Option<Placed>, Stop> {
        match &statement.kind {
            StatementKind::Query => self.simple_query(statement).await,
            StatementKind::Declare { .. } | StatementKind::Copy { .. } => {
                self.simple_held(statement).await
            }
            StatementKind::Fetch { cursor, fetch } => {
                self.simple_fetch(statement, cursor, *fetch).await?;
                Ok(None)
            }
            StatementKind::Execute { name, arguments } => {
                self.simple_execute(statement, name, arguments).await?;
                Ok(None)
            }
            _ => self.other_statement(statement, true).await,
        }
    }

    async fn simple_query(&mut self, statement: &Statement) -> Result<Option<Placed>, Stop> {
        let text = &statement.text;
        if let Some(known) = courtesy::find(text) {
            return self.courtesy(text, known, true).await.map(|()| None);
        }
        self.check_block()?;
        let id = RequestId::next();
        let started = Instant::now();
        let decided = self.decide(text.as_str().into(), Asked::Simple, id).await?;
        self.check_values(text, id, &decided).await?;
        let request = self.open_request(id, started, text, Some(&decided), &[]);
        let keep = decided.rewrite.comes_again();
        self.notice_filtered(&decided);
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
        let offset = Some(statement.offset_chars);
        Ok(Some(Placed::new(text, offset, &decided.rewrite)))
    }

    /// By the simple protocol nothing is bound but the numbers taken out of the text.
    pub(super) async fn check_values(
        &mut self,
        text: &str,
        id: RequestId,
        decided: &Decided,
    ) -> Result<(), Stop> {
        if usize::from(decided.rewrite.query.parameters()) <= decided.values.len() {
            return Ok(());
        }
        let error = Refusal::new(Reason::ParameterUnknown, "there is no parameter $1")
            .hint("Send the values with Parse and Bind, or write them into the query.")
            .into();
        let standing = Some(&decided.standing);
        Err(self.refuse(text, id, &error, standing).await.into())
    }

    /// Decides a query and leases a connection for it; what is refused is recorded here.
    pub(super) async fn decide(
        &mut self,
        said: Said<'_>,
        asked: Asked<'_>,
        id: RequestId,
    ) -> Result<Decided, Stop> {
        let (memory, text) = (&mut self.memory, said.statement);
        match self.gateway.decide(&self.caller, memory, said, asked).await {
            Ok(decided) => {
                self.lease_recorded(text, id, &decided).await?;
                Ok(decided)
            }
            Err((error, standing)) => Err(self
                .refuse(text, id, &error, standing.as_ref())
                .await
                .into()),
        }
    }

    /// The standing a text is to be judged in at this moment; what is refused is recorded here.
    pub(super) async fn standing_now(
        &mut self,
        text: &str,
        id: RequestId,
    ) -> Result<Arc<Standing>, Stop> {
        let memory = &mut self.memory;
        match self.gateway.standing_of(&self.caller, text, memory).await {
            Ok((standing, _)) => Ok(standing),
            Err(error) => Err(self.refuse(text, id, &error, None).await.into()),
        }
    }

    /// Leases a connection; a request that gets none is recorded as refused.
    pub(super) async fn lease_recorded(
        &mut self,
        text: &str,
        id: RequestId,
        decided: &Decided,
    ) -> Result<(), Stop> {
        match self.lease_for(&decided.standing).await {
            Err(Stop::Told(mut told)) => {
                let standing = Some(&decided.standing);
                let recording = self.gateway.record_refused(
                    id,
                    &self.facts,
                    &self.caller,
                    text,
                    standing,
                    told.slug,
                );
                Box::pin(recording).await;
                told.recorded = true;
                Err(Stop::Told(told))
            }
            other => other,
        }
    }
}
