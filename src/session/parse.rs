//! Parse: a text becomes a prepared statement of the client, decided once before it is kept.

use super::answer::PARSE_COMPLETE;
use super::extended::moved;
use super::message::Parse;
use super::parameter_types::PARAMETER_TYPES;
use super::pipeline::Stop;
use super::prepared::{Holder, Kind, Prepared, Query, place};
use super::recorded::Of;
use super::told::Told;
use super::{Ended, Session, courtesy};
use crate::audit::RequestId;
use crate::error::{Error, Reason, Refusal};
use crate::gateway::Asked;
use crate::sql::statement::{Statement, StatementKind};
use std::sync::Arc;

/// What the last Parse of a plain query came to: a driver that keeps no statements sends the same text again and again.
#[derive(Debug)]
pub(super) struct Parsed {
    text: String,
    types: Vec<u32>,
    query: Arc<Query>,
    /// The types of the query's own parameters.
    counted: Arc<[u32]>,
}

/// A longer text is read again each time, in bytes.
const PARSED_BYTES_MAX: usize = 4096;

impl Parsed {
    /// `text` and `types` as the client sent them, if they are worth it.
    pub(super) fn of(text: &str, types: Vec<u32>, prepared: &Prepared) -> Option<Self> {
        let Kind::Query(query) = &prepared.kind else {
            return None;
        };
        let plain = matches!(query.holder, Holder::Plain);
        let kept = plain && text.len() + 4 * types.len() <= PARSED_BYTES_MAX;
        kept.then(|| Self {
            text: text.to_owned(),
            types,
            query: Arc::clone(query),
            counted: Arc::clone(&prepared.types),
        })
    }

    /// What it came to, if this is the same: a statement of its own, of which nothing has been told yet.
    pub(super) fn same(&self, text: &str, types: &[u32]) -> Option<(Arc<Query>, Prepared)> {
        let again = || {
            let kind = Kind::Query(Arc::clone(&self.query));
            let prepared = Prepared::new(kind, Arc::clone(&self.counted));
            (Arc::clone(&self.query), prepared)
        };
        (self.text == text && self.types == types).then(again)
    }
}

impl Session {
    /// Parse.
    pub(super) async fn parse(&mut self, parse: Parse) -> Result<(), Ended> {
        let Parse { name, text, types } = parse;
        let result = self.try_parse(name, &text, types).await;
        self.conclude(result, Of::Text(&text)).await
    }

    async fn try_parse(
        &mut self,
        name: String,
        text: &str,
        mut types: Vec<u32>,
    ) -> Result<(), Stop> {
        while types.last() == Some(&0) {
            types.pop();
        }
        if name.is_empty() {
            self.forget_statement("");
        } else if self.statements.contains(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Told::new("42P05", message).into());
        }
        let prepared = match self.parsed_again(text, &types).await? {
            Some(prepared) => prepared,
            None => self.parsed_anew(text, types).await?,
        };
        self.room_for_statement()?;
        if let (Kind::Query(query), Some(lease)) = (&prepared.kind, &mut self.lease)
            && matches!(query.holder, Holder::Plain)
        {
            let decided = &query.decided;
            let keep = decided.rewrite.comes_again() || !name.is_empty();
            // Literals are read by the settings in force.
            let settings = decided.standing.settings();
            lease.become_principal(&mut self.script, settings, self.settings.sent())?;
            let query = &decided.rewrite.query;
            lease.prepare(&mut self.script, query, &prepared.types, keep)?;
        }
        self.script.local(PARSE_COMPLETE);
        self.keep_statement(name, prepared);
        Ok(())
    }

    /// What the last Parse came to, if it was of the same query and the caller's rights are the same.
    async fn parsed_again(
        &mut self,
        text: &str,
        types: &[u32],
    ) -> Result<Option<Arc<Prepared>>, Stop> {
        let same = self.parsed.as_ref().and_then(|p| p.same(text, types));
        let Some((query, prepared)) = same else {
            return Ok(None);
        };
        self.check_block()?;
        let asked = Asked::Prepared {
            types,
            before: Some(&query.decided),
        };
        let decided = self
            .decide(query.said(), asked, RequestId::next())
            .await
            .map_err(|stop| moved(stop, query.offset_chars))?;
        let same = Arc::ptr_eq(&decided.standing, &query.decided.standing)
            && Arc::ptr_eq(&decided.rewrite, &query.decided.rewrite);
        Ok(same.then(|| Arc::new(prepared)))
    }

    async fn parsed_anew(&mut self, text: &str, types: Vec<u32>) -> Result<Arc<Prepared>, Stop> {
        let statement = match self.one_statement(text) {
            Ok(statement) => statement,
            Err(refusal) => {
                let (error, id) = (refusal.into(), RequestId::next());
                return Err(self.refuse(text, id, &error, None).await.into());
            }
        };
        let kind = match statement {
            None => Kind::Empty(text.to_owned()),
            Some(statement) => self.prepare_statement(statement, &types).await?,
        };
        let counted = match &kind {
            // Types beyond the caller's parameters would be said of the principal's.
            Kind::Query(query) => usize::from(query.decided.rewrite.query.parameters()),
            Kind::Courtesy { .. } | Kind::Empty(_) | Kind::Other(_) => types.len(),
        };
        let counted = types.get(..counted).unwrap_or(&types).into();
        let prepared = Arc::new(Prepared::new(kind, counted));
        self.parsed = Parsed::of(text, types, &prepared);
        Ok(prepared)
    }

    /// The one statement of a Parse; `None` = it is empty.
    fn one_statement(&self, text: &str) -> Result<Option<Statement>, Refusal> {
        let statements = self.gateway.split(text)?;
        match &*statements {
            [] => Ok(None),
            [statement] => Ok(Some(statement.clone())),
            _ => Err(Refusal::new(
                Reason::MultipleStatements,
                "cannot insert multiple commands into a prepared statement",
            )
            .hint("Send one statement at a time.")),
        }
    }

    async fn prepare_statement(
        &mut self,
        statement: Statement,
        types: &[u32],
    ) -> Result<Kind, Stop> {
        let (holder, offset_chars) = match &statement.kind {
            StatementKind::Query => {
                if let Some(courtesy) = courtesy::find(&statement.text) {
                    let text = statement.text;
                    return Ok(Kind::Courtesy { text, courtesy });
                }
                (Holder::Plain, Some(statement.offset_chars))
            }
            StatementKind::Declare {
                name,
                options,
                query,
            } => {
                let holder = Holder::Cursor {
                    name: name.clone(),
                    options: *options,
                    query: query.text.clone(),
                };
                (holder, place(&statement, query))
            }
            StatementKind::Copy { options, query } => {
                let holder = Holder::Copy {
                    options: options.clone(),
                    query: query.text.clone(),
                };
                (holder, place(&statement, query))
            }
            StatementKind::Refused(refusal) => {
                let (error, id) = (Error::Refused(refusal.clone()), RequestId::next());
                return Err(self.refuse(&statement.text, id, &error, None).await.into());
            }
            _ => return Ok(Kind::Other(statement)),
        };
        self.decide_held(statement.text, holder, offset_chars, types)
            .await
    }

    /// Decides a query that is to be prepared.
    pub(super) async fn decide_held(
        &mut self,
        statement: String,
        holder: Holder,
        offset_chars: Option<u32>,
        types: &[u32],
    ) -> Result<Kind, Stop> {
        let id = RequestId::next();
        self.check_block()?;
        if let Some(oid) = types.iter().find(|oid| !PARAMETER_TYPES.contains(oid)) {
            let refusal = Refusal::new(
                Reason::ParameterNotAllowed,
                format!("parameters of type {oid} are not accepted"),
            )
            .hint("Declare a built-in type, or none, and cast in the query.");
            return Err(self
                .refuse(&statement, id, &refusal.into(), None)
                .await
                .into());
        }
        let asked = Asked::Prepared {
            types,
            before: None,
        };
        let decided = self
            .decide(holder.said(&statement), asked, id)
            .await
            .map_err(|stop| moved(stop, offset_chars))?;
        self.check_copy(&statement, id, &holder, &decided).await?;
        Ok(Kind::Query(Arc::new(Query {
            statement,
            holder,
            offset_chars,
            decided,
        })))
    }
}
