//! The extended protocol: prepared statements and portals of the client, put over to the database's.
//!
//! Names of the client never reach the database: statements are those of the connection's cache, portals
//! get a number. A statement lives as long as the session, a portal as long as the transaction.

use super::answer::{Answer, BIND_COMPLETE, CLOSE_COMPLETE, NO_DATA};
use super::message::Bind;
use super::pipeline::Stop;
use super::prepared::{Holder, Kind, Open, Portal, Prepared, Query};
use super::recorded::Of;
use super::told::Told;
use super::{Ended, Session, local};
use crate::audit::RequestId;
use crate::gateway::{Asked, Said};
use crate::sql;
use crate::sql::statement::{Statement, StatementKind};
use crate::upstream::Binding;
use std::sync::Arc;

impl Session {
    /// Bind.
    pub(super) async fn bind(&mut self, bind: Bind) -> Result<(), Ended> {
        let Bind {
            portal,
            statement,
            binding,
        } = bind;
        let result = self.try_bind(portal, &statement, &binding).await;
        self.conclude(result, Of::Statement(&statement)).await
    }

    async fn try_bind(
        &mut self,
        portal: String,
        statement: &str,
        binding: &Binding,
    ) -> Result<(), Stop> {
        let prepared = self.statement(statement)?;
        if portal.is_empty() {
            self.drop_portal("")?;
        } else if self.portals.contains(&portal) {
            return Err(Told::new("42P03", format!("portal \"{portal}\" already exists")).into());
        }
        self.room_for_portal()?;
        let expected = match &prepared.kind {
            Kind::Query(query) => query.decided.rewrite.query.parameters(),
            Kind::Courtesy { .. } | Kind::Empty(_) | Kind::Other(_) => 0,
        };
        if binding.parameter_count != expected {
            let message = format!(
                "bind message supplies {} parameters, but the statement requires {expected}",
                binding.parameter_count
            );
            return Err(Told::new("08P01", message).into());
        }
        let open = match &prepared.kind {
            Kind::Query(query) => Some(self.bind_query(&prepared, query, binding).await?),
            Kind::Other(statement) => self.bind_other(&prepared, statement, binding).await?,
            Kind::Courtesy { .. } | Kind::Empty(_) => None,
        };
        if open.is_none() {
            self.script.local(BIND_COMPLETE);
        }
        let done = false;
        self.portals.insert(
            portal,
            Portal {
                prepared,
                open: open.map(Arc::new),
                done,
            },
        );
        Ok(())
    }

    async fn bind_query(
        &mut self,
        prepared: &Prepared,
        query: &Query,
        binding: &Binding,
    ) -> Result<Open, Stop> {
        let (said, types) = (query.said(), &prepared.types);
        self.check_block()?;
        let asked = Asked::Prepared {
            types,
            before: Some(&query.decided),
        };
        let decided = self
            .decide(said, asked, RequestId::next())
            .await
            .map_err(|stop| moved(stop, query.offset_chars))?;
        // The rights may have changed since Parse, and with them what the text takes.
        if decided.rewrite.query.parameters() != binding.parameter_count {
            let told = Told::new("0A000", "the statement has changed");
            return Err(told.hint("Prepare it again.").into());
        }
        self.compare_shape(prepared, &decided, prepared)?;
        let (name, _) = self.new_portal();
        self.bind_held(name, &query.holder, decided, types, binding, true)
    }

    /// Statements that need something of the database although they hold no query.
    async fn bind_other(
        &mut self,
        prepared: &Prepared,
        statement: &Statement,
        binding: &Binding,
    ) -> Result<Option<Open>, Stop> {
        let formats = &binding.result_formats;
        let text = &statement.text;
        match &statement.kind {
            StatementKind::Fetch { cursor, fetch } => {
                let (name, _) = self.new_portal();
                let open = self.bind_fetch(text, cursor, *fetch, name, Some(formats));
                Ok(Some(open.await?))
            }
            StatementKind::Execute { name, arguments } => {
                let (portal, _) = self.new_portal();
                let described = Some((formats.as_slice(), prepared));
                let open = self.bind_execute(text, name, arguments, portal, described);
                Ok(Some(open.await?))
            }
            _ => Ok(None),
        }
    }

    /// Describe of a statement.
    pub(super) async fn describe_statement(&mut self, name: &str) -> Result<(), Ended> {
        let result = self.try_describe_statement(name).await;
        self.conclude(result, Of::Statement(name)).await
    }

    async fn try_describe_statement(&mut self, name: &str) -> Result<(), Stop> {
        let prepared = self.statement(name)?;
        match &prepared.kind {
            Kind::Query(query) if !matches!(query.holder, Holder::Copy { .. }) => {
                let said = query.said();
                let outer = matches!(query.holder, Holder::Plain).then_some(&*prepared);
                self.describe_query(&prepared, query, said, outer).await
            }
            Kind::Other(statement) => match &statement.kind {
                StatementKind::Fetch { cursor, fetch } => self.describe_fetch(cursor, *fetch),
                StatementKind::Execute { name, .. } => {
                    self.describe_execute(&prepared, &statement.text, name)
                        .await
                }
                _ => self.describe_without_parameters(&prepared),
            },
            Kind::Query(_) | Kind::Courtesy { .. } | Kind::Empty(_) => {
                self.describe_without_parameters(&prepared)
            }
        }
    }

    /// Describes a query, for whom `said` says. What it gives is told as what `outer` gives, the statement itself or an
    /// EXECUTE of it, which has no parameters.
    pub(super) async fn describe_query(
        &mut self,
        prepared: &Prepared,
        query: &Query,
        said: Said<'_>,
        outer: Option<&Prepared>,
    ) -> Result<(), Stop> {
        self.check_block()?;
        let types = &prepared.types;
        let asked = Asked::Prepared {
            types,
            before: Some(&query.decided),
        };
        let decided = self.decide(said, asked, RequestId::next()).await?;
        if let Some(lease) = &mut self.lease {
            let (script, query) = (&mut self.script, &decided.rewrite.query);
            let settings = decided.standing.settings();
            lease.become_principal(script, settings, self.settings.sent())?;
            let statement = lease.prepare(script, query, types, true)?;
            let hidden = outer
                .unwrap_or(prepared)
                .hides(prepared, query.principal_parameters().len());
            let shape = outer.map(|outer| outer.describe(&decided.standing));
            lease.describe_statement(script, statement, query, hidden, shape)?;
        }
        Ok(())
    }

    fn describe_without_parameters(&mut self, prepared: &Prepared) -> Result<(), Stop> {
        self.script
            .local(Answer::bytes(|answer| answer.no_parameters()));
        self.describe_local(prepared);
        Ok(())
    }

    fn describe_local(&mut self, prepared: &Prepared) {
        let columns = match &prepared.kind {
            Kind::Other(statement) => local::columns(&statement.kind, &self.settings),
            Kind::Courtesy { courtesy, .. } => {
                Some(courtesy.columns.iter().map(|c| (*c).to_owned()).collect())
            }
            Kind::Empty(_) | Kind::Query(_) => None,
        };
        self.script.local(match columns {
            None => NO_DATA,
            Some(columns) => Answer::bytes(|answer| {
                let names: Vec<&str> = columns.iter().map(String::as_str).collect();
                answer.columns(&names);
            }),
        });
    }

    /// Describe of a portal.
    pub(super) async fn describe_portal(&mut self, name: &str) -> Result<(), Ended> {
        let result = self.try_describe_portal(name);
        self.conclude(result, Of::Portal(name)).await
    }

    fn try_describe_portal(&mut self, name: &str) -> Result<(), Stop> {
        let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
        match (&portal.open, &mut self.lease) {
            (Some(open), Some(lease)) => {
                let query = &open.decided.rewrite.query;
                lease.describe_portal(&mut self.script, &open.name, query)?;
            }
            _ => {
                let prepared = Arc::clone(&portal.prepared);
                self.describe_local(&prepared);
            }
        }
        Ok(())
    }

    /// Execute.
    pub(super) async fn execute(&mut self, portal: &str, rows_max: i32) -> Result<(), Ended> {
        let result = self.try_execute(portal, rows_max).await;
        self.conclude(result, Of::Portal(portal)).await
    }

    async fn try_execute(&mut self, name: &str, rows_max: i32) -> Result<(), Stop> {
        let portal = self.portals.get_mut(name).ok_or_else(|| no_portal(name))?;
        let prepared = Arc::clone(&portal.prepared);
        if let Some(open) = portal.open.clone() {
            let id = RequestId::next();
            return self.run_open(&prepared, &open, id, rows_max).await;
        }
        match &prepared.kind {
            Kind::Empty(text) => {
                self.empty_query(text);
                Ok(())
            }
            Kind::Courtesy { text, courtesy } => self.courtesy(text, courtesy, false).await,
            Kind::Other(statement) => {
                if std::mem::replace(&mut portal.done, true) {
                    let message = format!("portal \"{name}\" cannot be run");
                    return Err(Told::new("55000", message).into());
                }
                self.other_statement(statement, false).await.map(drop)
            }
            Kind::Query(_) => Err(no_portal(name).into()),
        }
    }

    /// Close of a statement; closing what is not there is no error.
    pub(super) async fn close_statement(&mut self, name: &str) -> Result<(), Ended> {
        self.forget_statement(name);
        self.script.local(CLOSE_COMPLETE);
        self.conclude(Ok(()), Of::Statement(name)).await
    }

    /// Close of a portal; closing what is not there is no error.
    pub(super) async fn close_portal(&mut self, name: &str) -> Result<(), Ended> {
        let result = self.drop_portal(name);
        self.script.local(CLOSE_COMPLETE);
        self.conclude(result, Of::Portal(name)).await
    }

    pub(super) fn drop_portal(&mut self, name: &str) -> Result<(), Stop> {
        if let Some(Portal {
            open: Some(open), ..
        }) = self.portals.remove(name)
            && let Some(lease) = &mut self.lease
        {
            lease.close_portal(&mut self.script, &open.name)?;
        }
        Ok(())
    }

    /// Where in what the client sent stands what the database points at in the final text.
    pub(super) fn place(&self, told: &Told) -> Option<u32> {
        let (position, sent) = (told.final_position?, told.final_text.as_ref()?);
        let query = self.prepared_as(sent)?;
        let at = sql::position_in(query.said().query, sent, position)?;
        Some(at + query.offset_chars?)
    }

    /// The prepared query of which this is the final text.
    pub(super) fn prepared_as(&self, sent: &Arc<str>) -> Option<&Query> {
        let portals = self.portals.values().map(|portal| &portal.prepared);
        let mut all = self.statements.values().chain(portals);
        all.find_map(|prepared| match &prepared.kind {
            Kind::Query(query) if query.decided.rewrite.query.text() == sent => Some(&**query),
            Kind::Query(_) | Kind::Courtesy { .. } | Kind::Empty(_) | Kind::Other(_) => None,
        })
    }

    pub(super) fn statement(&self, name: &str) -> Result<Arc<Prepared>, Told> {
        self.statements
            .get(name)
            .cloned()
            .ok_or_else(|| no_statement(name))
    }
}

/// A position in a query becomes one in what the client sent, if the query stands there.
pub(super) fn moved(stop: Stop, offset_chars: Option<u32>) -> Stop {
    match stop {
        Stop::Told(mut told) => {
            let place = told.position.zip(offset_chars);
            told.position = place.map(|(at, offset)| at + offset);
            Stop::Told(told)
        }
        Stop::Ended(ended) => Stop::Ended(ended),
    }
}

pub(super) fn no_statement(name: &str) -> Told {
    let message = if name.is_empty() {
        "unnamed prepared statement does not exist".to_owned()
    } else {
        format!("prepared statement \"{name}\" does not exist")
    };
    Told::new("26000", message)
}

fn no_portal(name: &str) -> Told {
    Told::new("34000", format!("portal \"{name}\" does not exist"))
}
