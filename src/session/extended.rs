//! The extended protocol: prepared statements and portals of the client, put over to the database's.
//!
//! Names of the client never reach the database: statements are those of the connection's cache, portals
//! get a number. A statement lives as long as the session, a portal as long as the transaction.

use super::answer::{Answer, BIND_COMPLETE, CLOSE_COMPLETE, EMPTY_QUERY, NO_DATA, PARSE_COMPLETE};
use super::courtesy::{self, Courtesy};
use super::local;
use super::message::{Bind, Parse};
use super::parameter_types::PARAMETER_TYPES;
use super::pipeline::Stop;
use super::told::Told;
use super::{Ended, Session};
use crate::audit::RequestId;
use crate::error::{Error, Reason, Refusal};
use crate::gateway::{Asked, Decided};
use crate::sql;
use crate::sql::statement::{Statement, StatementKind};
use std::sync::Arc;
use tokio::time::Instant;

/// A prepared statement of the client.
#[derive(Debug)]
pub(super) struct Prepared {
    kind: Kind,
    types: Arc<[u32]>,
}

#[derive(Debug)]
enum Kind {
    Courtesy {
        text: String,
        courtesy: &'static Courtesy,
    },
    Empty,
    Query {
        text: String,
        /// Where it starts in what the client sent, in characters.
        offset_chars: u32,
        decided: Decided,
    },
    Other(Statement),
}

/// A portal of the client.
#[derive(Debug)]
pub(super) struct Portal {
    prepared: Arc<Prepared>,
    /// For a query: the portal's name in the database, and what was decided when it was bound.
    query: Option<(String, Decided)>,
    /// What was bound, if the audit takes it.
    parameters: Vec<Option<String>>,
    /// For any other statement: it has been run.
    done: bool,
}

impl Portal {
    fn new(prepared: Arc<Prepared>, query: Option<(String, Decided)>) -> Self {
        Self {
            prepared,
            query,
            parameters: Vec::new(),
            done: false,
        }
    }
}

impl Session {
    /// Parse.
    pub(super) async fn parse(&mut self, parse: Parse) -> Result<(), Ended> {
        let result = self.try_parse(parse).await;
        self.conclude(result).await
    }

    async fn try_parse(&mut self, parse: Parse) -> Result<(), Stop> {
        let Parse {
            name,
            text,
            mut types,
        } = parse;
        while types.last() == Some(&0) {
            types.pop();
        }
        if name.is_empty() {
            self.statements.remove("");
        } else if self.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Told::new("42P05", message).into());
        }
        let statement = match self.one_statement(&text) {
            Ok(statement) => statement,
            Err(refusal) => {
                let error = refusal.into();
                return Err(self
                    .refuse(&text, RequestId::next(), &error, None)
                    .await
                    .into());
            }
        };
        let kind = match statement {
            None => Kind::Empty,
            Some(statement) => self.prepare_statement(statement, &types).await?,
        };
        let limit = self.limits().statements_per_session_max;
        if self.statements.len() >= limit {
            let message = format!("more than {limit} prepared statements");
            let hint = "Close the ones that are not needed any more.";
            return Err(Told::new(Reason::TooLarge.sqlstate(), message)
                .hint(hint)
                .into());
        }
        if let Kind::Query { decided, .. } = &kind {
            // Types beyond the caller's parameters would be said of the principal's.
            types.truncate(usize::from(decided.rewrite.query.parameters()));
        }
        let types: Arc<[u32]> = types.into();
        if let (Kind::Query { decided, .. }, Some(lease)) = (&kind, &mut self.lease) {
            let keep = decided.rewrite.comes_again() || !name.is_empty();
            // Literals are read by the settings in force.
            let settings = decided.standing.settings();
            lease.become_principal(&mut self.script, settings, self.settings.sent())?;
            lease.prepare(&mut self.script, &decided.rewrite.query, &types, keep)?;
        }
        self.script.local(PARSE_COMPLETE);
        self.statements
            .insert(name, Arc::new(Prepared { kind, types }));
        Ok(())
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
        let id = RequestId::next();
        match &statement.kind {
            StatementKind::Query => {
                if let Some(courtesy) = courtesy::find(&statement.text) {
                    let text = statement.text;
                    return Ok(Kind::Courtesy { text, courtesy });
                }
                self.check_block_for(&statement.text).await?;
                if let Some(oid) = types.iter().find(|oid| !PARAMETER_TYPES.contains(oid)) {
                    let refusal = Refusal::new(
                        Reason::ParameterNotAllowed,
                        format!("parameters of type {oid} are not accepted"),
                    )
                    .hint("Declare a built-in type, or none, and cast in the query.");
                    let error = refusal.into();
                    return Err(self.refuse(&statement.text, id, &error, None).await.into());
                }
                let decided = self
                    .decide(
                        &statement.text,
                        Asked::Prepared {
                            types,
                            before: None,
                        },
                        id,
                    )
                    .await
                    .map_err(|stop| shift(stop, statement.offset_chars))?;
                let Statement {
                    text, offset_chars, ..
                } = statement;
                Ok(Kind::Query {
                    text,
                    offset_chars,
                    decided,
                })
            }
            StatementKind::Refused(refusal) => {
                let error = Error::Refused(refusal.clone());
                Err(self.refuse(&statement.text, id, &error, None).await.into())
            }
            _ => Ok(Kind::Other(statement)),
        }
    }

    /// Bind.
    pub(super) async fn bind(&mut self, bind: Bind) -> Result<(), Ended> {
        let result = self.try_bind(bind).await;
        self.conclude(result).await
    }

    async fn try_bind(&mut self, bind: Bind) -> Result<(), Stop> {
        let Bind {
            portal,
            statement,
            binding,
        } = bind;
        let prepared = self.statement(&statement)?;
        if portal.is_empty() {
            self.drop_portal("")?;
        } else if self.portals.contains_key(&portal) {
            return Err(Told::new("42P03", format!("portal \"{portal}\" already exists")).into());
        }
        if self.portals.len() >= self.limits().portals_per_session_max {
            let message = "too many open portals";
            return Err(Told::new(Reason::TooLarge.sqlstate(), message).into());
        }
        let expected = match &prepared.kind {
            Kind::Query { decided, .. } => decided.rewrite.query.parameters(),
            Kind::Courtesy { .. } | Kind::Empty | Kind::Other(_) => 0,
        };
        if binding.parameter_count != expected {
            let message = format!(
                "bind message supplies {} parameters, but the statement requires {expected}",
                binding.parameter_count
            );
            return Err(Told::new("08P01", message).into());
        }
        let Kind::Query { text, decided, .. } = &prepared.kind else {
            self.script.local(BIND_COMPLETE);
            self.portals.insert(portal, Portal::new(prepared, None));
            return Ok(());
        };
        self.check_block_for(text).await?;
        let asked = Asked::Prepared {
            types: &prepared.types,
            before: Some(decided),
        };
        let decided = self.decide(text, asked, RequestId::next()).await?;
        self.portal_number += 1;
        let name = ["p", itoa::Buffer::new().format(self.portal_number)].concat();
        let query = &decided.rewrite.query;
        // The rights may have changed since Parse, and with them what the text takes.
        if query.parameters() != binding.parameter_count {
            let told = Told::new("0A000", "the statement has changed");
            return Err(told.hint("Prepare it again.").into());
        }
        let settings = decided.standing.settings();
        if let Some(lease) = &mut self.lease {
            let script = &mut self.script;
            lease.become_principal(script, settings, self.settings.sent())?;
            let statement = lease.prepare(script, query, &prepared.types, true)?;
            lease.bind(script, &name, statement, query, settings, &binding, true)?;
        }
        let mut made = Portal::new(prepared, Some((name, decided)));
        if self.gateway.records_parameters() {
            made.parameters = binding.shown();
        }
        self.portals.insert(portal, made);
        Ok(())
    }

    /// Describe of a statement.
    pub(super) async fn describe_statement(&mut self, name: &str) -> Result<(), Ended> {
        let result = self.try_describe_statement(name).await;
        self.conclude(result).await
    }

    async fn try_describe_statement(&mut self, name: &str) -> Result<(), Stop> {
        let prepared = self.statement(name)?;
        let Kind::Query { text, decided, .. } = &prepared.kind else {
            self.script
                .local(Answer::bytes(|answer| answer.no_parameters()));
            self.describe_local(&prepared);
            return Ok(());
        };
        self.check_block()?;
        let asked = Asked::Prepared {
            types: &prepared.types,
            before: Some(decided),
        };
        let decided = self.decide(text, asked, RequestId::next()).await?;
        if let Some(lease) = &mut self.lease {
            let script = &mut self.script;
            let query = &decided.rewrite.query;
            let settings = decided.standing.settings();
            lease.become_principal(script, settings, self.settings.sent())?;
            let statement = lease.prepare(script, query, &prepared.types, true)?;
            lease.describe_statement(script, statement, query)?;
        }
        Ok(())
    }

    fn describe_local(&mut self, prepared: &Prepared) {
        let columns = match &prepared.kind {
            Kind::Other(statement) => local::columns(&statement.kind, &self.settings),
            Kind::Courtesy { courtesy, .. } => {
                Some(courtesy.columns.iter().map(|c| (*c).to_owned()).collect())
            }
            Kind::Empty | Kind::Query { .. } => None,
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
        self.conclude(result).await
    }

    fn try_describe_portal(&mut self, name: &str) -> Result<(), Stop> {
        let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
        match (&portal.query, &mut self.lease) {
            (Some((name, decided)), Some(lease)) => {
                lease.describe_portal(&mut self.script, name, &decided.rewrite.query)?;
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
        self.conclude(result).await
    }

    async fn try_execute(&mut self, name: &str, rows_max: i32) -> Result<(), Stop> {
        let portal = self.portals.get_mut(name).ok_or_else(|| no_portal(name))?;
        let prepared = Arc::clone(&portal.prepared);
        match &prepared.kind {
            Kind::Empty => {
                self.script.local(EMPTY_QUERY);
                Ok(())
            }
            Kind::Courtesy { text, courtesy } => self.courtesy(text, courtesy, false).await,
            Kind::Other(statement) => {
                if std::mem::replace(&mut portal.done, true) {
                    let message = format!("portal \"{name}\" cannot be run");
                    return Err(Told::new("55000", message).into());
                }
                self.other_statement(&statement.text, &statement.kind, false)
                    .await
            }
            Kind::Query { text, .. } => {
                let Some((database_name, decided)) = portal.query.clone() else {
                    return Err(no_portal(name).into());
                };
                let parameters = portal.parameters.clone();
                self.execute_query(text, &database_name, &decided, parameters, rows_max)
                    .await
            }
        }
    }

    async fn execute_query(
        &mut self,
        text: &str,
        portal: &str,
        bound: &Decided,
        parameters: Vec<Option<String>>,
        rows_max: i32,
    ) -> Result<(), Stop> {
        self.check_block_for(text).await?;
        let id = RequestId::next();
        let started = Instant::now();
        let now = self
            .gateway
            .standing_of(&self.caller, text, self.known())
            .await;
        let now = match now {
            Ok((standing, by_token)) => {
                if !by_token {
                    self.know(&standing);
                }
                standing
            }
            Err(error) => return Err(self.refuse(text, id, &error, None).await.into()),
        };
        if !now.same_as(&bound.standing) {
            let error = Refusal::new(
                Reason::NotAuthorized,
                "your rights changed since this portal was bound",
            )
            .hint("Bind the statement again.")
            .into();
            return Err(self.refuse(text, id, &error, Some(&now)).await.into());
        }
        let request = self.open_request(id, started, text, Some(bound), &parameters);
        let Some(lease) = &mut self.lease else {
            return Err(Told::new("34000", "the portal is gone").into());
        };
        let script = &mut self.script;
        lease.become_principal(script, bound.standing.settings(), self.settings.sent())?;
        lease.execute(script, portal, rows_max, request)?;
        Ok(())
    }

    /// Close of a statement; closing what is not there is no error.
    pub(super) async fn close_statement(&mut self, name: &str) -> Result<(), Ended> {
        self.statements.remove(name);
        self.script.local(CLOSE_COMPLETE);
        self.conclude(Ok(())).await
    }

    /// Close of a portal; closing what is not there is no error.
    pub(super) async fn close_portal(&mut self, name: &str) -> Result<(), Ended> {
        let result = self.drop_portal(name);
        self.script.local(CLOSE_COMPLETE);
        self.conclude(result).await
    }

    fn drop_portal(&mut self, name: &str) -> Result<(), Stop> {
        if let Some(Portal {
            query: Some((name, _)),
            ..
        }) = self.portals.remove(name)
            && let Some(lease) = &mut self.lease
        {
            lease.close_portal(&mut self.script, &name)?;
        }
        Ok(())
    }

    /// Where in what the client sent stands what the database points at in the final text.
    pub(super) fn place(&self, told: &Told) -> Option<u32> {
        let (position, sent) = (told.final_position?, told.final_text.as_ref()?);
        let portals = self.portals.values().map(|portal| &portal.prepared);
        let mut all = self.statements.values().chain(portals);
        all.find_map(|prepared| match &prepared.kind {
            Kind::Query {
                text,
                offset_chars,
                decided,
            } if decided.rewrite.query.text() == sent => {
                sql::position_in(text, sent, position).map(|at| at + offset_chars)
            }
            Kind::Query { .. } | Kind::Courtesy { .. } | Kind::Empty | Kind::Other(_) => None,
        })
    }

    fn statement(&self, name: &str) -> Result<Arc<Prepared>, Told> {
        self.statements
            .get(name)
            .cloned()
            .ok_or_else(|| no_statement(name))
    }
}

fn shift(stop: Stop, offset_chars: u32) -> Stop {
    match stop {
        Stop::Told(mut told) => {
            told.position = told.position.map(|at| at + offset_chars);
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
