//! Exactly one line in the audit for each request, also for those that end before they have begun.
//!
//! A request is a statement of a Query message, or an Execute; and a message that is refused in place of one (Parse, Bind,
//! Describe, FunctionCall). What is skipped behind an error is none, and neither is what only prepares one: Parse, Bind and
//! Describe that are answered, Close, Flush, Sync.

use super::Session;
use super::prepared::Query;
use super::told::Told;
use crate::audit::RequestId;
use crate::error::Error;
use crate::gateway::Standing;
use std::borrow::Cow;
use std::sync::Arc;

/// What a message was about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of<'a> {
    /// This text.
    Text(&'a str),
    /// The prepared statement of this name.
    Statement(&'a str),
    /// The portal of this name.
    Portal(&'a str),
}

impl Session {
    /// Its text; empty where there is no such statement or portal.
    pub(super) fn text_of<'a>(&self, of: Of<'a>) -> Cow<'a, str> {
        let prepared = match of {
            Of::Text(text) => return Cow::Borrowed(text),
            Of::Statement(name) => self.statements.get(name),
            Of::Portal(name) => self.portals.get(name).map(|portal| &portal.prepared),
        };
        let text = prepared.map(|prepared| prepared.text().to_owned());
        text.unwrap_or_default().into()
    }

    /// Whether a request that ends here has its line: because it was refused with one, or because it was opened.
    pub(super) fn has_line(&self, told: &Told) -> bool {
        told.recorded || self.open.len() > self.open_before
    }

    /// The line of a request that ends here without one.
    pub(super) async fn record_stop(&mut self, told: &Told, text: &str) {
        let standing = self.memory.standing().cloned();
        self.record_stop_of(told, text, standing.as_ref()).await;
    }

    async fn record_stop_of(&mut self, told: &Told, text: &str, standing: Option<&Arc<Standing>>) {
        let id = RequestId::next();
        self.gateway
            .record_refused(id, &self.facts, &self.caller, text, standing, told.slug)
            .await;
    }

    /// The line of what the database refused before a request was opened for it: a Parse, Bind or Describe by itself.
    pub(super) async fn record_failure(&mut self, told: &Told) {
        if !self.script.all_complete() {
            return;
        }
        let sent = told.final_text.as_ref();
        // Who asks may be said by a token in the text, and the same final text serves several.
        let query = sent.and_then(|sent| self.parsed_as(sent).or_else(|| self.prepared_as(sent)));
        let of = query.map(|query| {
            let standing = Arc::clone(&query.decided.standing);
            (query.said().statement.to_owned(), standing)
        });
        match of {
            Some((text, standing)) => self.record_stop_of(told, &text, Some(&standing)).await,
            None => self.record_stop(told, "").await,
        }
    }

    /// The query of this final text whose Parse the database has not accepted.
    fn parsed_as(&self, sent: &Arc<str>) -> Option<&Query> {
        let unsure = self.unsure.iter();
        let unsure = unsure.filter(|(mark, ..)| !self.script.reached(*mark));
        unsure
            .filter_map(|(_, name, _)| self.statements.get(name)?.query())
            .find(|query| query.decided.rewrite.query.text() == sent)
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
        let recording =
            self.gateway
                .record_refused(id, &self.facts, &self.caller, text, standing, told.slug);
        Box::pin(recording).await;
        told.with(|told| told.recorded = true)
    }
}

/// The text in the body of a message that could not be read.
pub(super) fn text_in(tag: u8, body: &[u8]) -> Cow<'_, str> {
    let mut parts = body.split(|byte| *byte == 0);
    let text = match tag {
        b'Q' => parts.next(),
        // Behind the statement's name.
        b'P' => parts.nth(1),
        _ => None,
    };
    String::from_utf8_lossy(text.unwrap_or_default())
}
