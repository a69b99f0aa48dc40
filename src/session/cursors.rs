//! Running what stands ready in the database, and the statements that name it: DECLARE, FETCH, MOVE, CLOSE.
//!
//! A cursor is a portal with words of our own around its query. Its name in the database is a number of ours; the
//! client's is only looked up here. Rows are returned only to whoever declared it, and only while they may still see
//! what they could then: each FETCH asks again.

use super::Session;
use super::extended::moved;
use super::pipeline::Stop;
use super::prepared::{Declares, Holder, Kind, Open, Portal, Prepared, Query, Runs, place};
use super::simple::Placed;
use super::told::Told;
use crate::audit::RequestId;
use crate::error::{Reason, Refusal};
use crate::gateway::{Asked, Decided};
use crate::sql::statement::{Fetch, Statement, StatementKind};
use crate::upstream::{Binding, CursorCommand, Shape};
use std::sync::Arc;
use tokio::time::Instant;

/// Format codes of a result in binary.
const BINARY: &[i16] = &[1];

impl Session {
    /// Runs a portal, if the caller still is who bound it.
    pub(super) async fn run_open(
        &mut self,
        prepared: &Arc<Prepared>,
        open: &Open,
        id: RequestId,
        rows_max: i32,
    ) -> Result<(), Stop> {
        let text = prepared.text();
        self.check_block()?;
        let started = Instant::now();
        self.check_standing(text, &open.decided, id).await?;
        if let Runs::Declare(declares) = &open.runs {
            self.check_declare(&declares.name)?;
        }
        if self.lease.is_none() {
            return Err(Told::new("34000", "the portal is gone").into());
        }
        let request = self.open_request(id, started, text, Some(&open.decided), &open.parameters);
        if !matches!(open.runs, Runs::Fetch) {
            self.notice_filtered(&open.decided);
        }
        let (settings, script) = (open.decided.standing.settings(), &mut self.script);
        if let Some(lease) = &mut self.lease {
            lease.become_principal(script, settings, self.settings.sent())?;
            if let Runs::Copy { header: true } = open.runs {
                script.expect_header(request);
            }
            lease.execute(script, &open.name, rows_max, request)?;
        }
        if let Runs::Declare(declares) = &open.runs {
            self.open_cursor(prepared, open, declares);
        }
        Ok(())
    }

    fn open_cursor(&mut self, prepared: &Arc<Prepared>, open: &Open, declares: &Declares) {
        let Declares {
            name,
            portal,
            number,
            binary,
        } = declares;
        let cursor = Open {
            name: portal.clone(),
            number: *number,
            decided: open.decided.clone(),
            parameters: open.parameters.clone(),
            runs: Runs::Query { binary: *binary },
        };
        let portal = Portal {
            prepared: Arc::clone(prepared),
            open: Some(Arc::new(cursor)),
            done: false,
        };
        self.portals.insert(name.clone(), portal);
    }

    /// What was decided still holds: the same principal with the same rights, and a token that has not expired.
    async fn check_standing(
        &mut self,
        text: &str,
        bound: &Decided,
        id: RequestId,
    ) -> Result<(), Stop> {
        let now = self.standing_now(text, id).await?;
        if now.same_as(&bound.standing) {
            return Ok(());
        }
        let error = Refusal::new(
            Reason::NotAuthorized,
            "your rights changed since this portal was bound",
        )
        .hint("Bind the statement, or declare the cursor, again.")
        .into();
        Err(self.refuse(text, id, &error, Some(&now)).await.into())
    }

    /// A cursor of this name may be declared now.
    fn check_declare(&self, name: &str) -> Result<(), Stop> {
        let told = if !self.block.open() && !self.several {
            let message = "DECLARE CURSOR can only be used in transaction blocks";
            Told::new("25P01", message).hint("Send BEGIN first.")
        } else if self.portals.contains(name) {
            Told::new("42P03", format!("cursor \"{name}\" already exists"))
        } else {
            match self.room_for_portal() {
                Ok(()) => return Ok(()),
                Err(told) => told,
            }
        };
        Err(told.into())
    }

    /// DECLARE and COPY by the simple protocol.
    pub(super) async fn simple_held(
        &mut self,
        statement: &Statement,
    ) -> Result<Option<Placed>, Stop> {
        let text = &statement.text;
        let (holder, inner, asked) = match &statement.kind {
            StatementKind::Declare {
                name,
                options,
                query,
            } => {
                self.check_block()?;
                self.check_declare(name)?;
                let holder = Holder::Cursor {
                    name: name.clone(),
                    options: *options,
                    query: query.text.clone(),
                };
                (holder, query, Asked::Simple)
            }
            StatementKind::Copy { options, query } => {
                self.check_block()?;
                let holder = Holder::Copy {
                    options: options.clone(),
                    query: query.text.clone(),
                };
                // COPY takes no parameters: its numbers stay where they are.
                let asked = Asked::Prepared {
                    types: &[],
                    before: None,
                };
                (holder, query, asked)
            }
            _ => return Err(Told::new("XX000", "a statement in the wrong place").into()),
        };
        let id = RequestId::next();
        let offset_chars = inner.offset_chars;
        let decided = self
            .decide(holder.said(text), asked, id)
            .await
            .map_err(|stop| moved(stop, offset_chars))?;
        self.check_values(text, id, &decided).await?;
        self.check_copy(text, id, &holder, &decided).await?;
        let (types, binding) = (
            Arc::clone(&decided.rewrite.types),
            Binding::of_integers(&decided.values),
        );
        let offset = place(statement, inner);
        let placed = Placed::new(&inner.text, offset, &decided.rewrite);
        let query = Query {
            statement: text.clone(),
            holder: holder.clone(),
            offset_chars: offset,
            decided: decided.clone(),
        };
        let kind = Kind::Query(Arc::new(query));
        let prepared = Arc::new(Prepared::new(kind, Arc::clone(&types)));
        if matches!(holder, Holder::Cursor { .. }) {
            self.begin_implicit()?;
        }
        let open = self.bind_held(String::new(), &holder, decided, &types, &binding, false)?;
        self.run_open(&prepared, &open, id, 0).await?;
        Ok(Some(placed))
    }

    /// COPY takes no parameters in PostgreSQL; where nothing is installed in the database the principal is one.
    pub(super) async fn check_copy(
        &mut self,
        text: &str,
        id: RequestId,
        holder: &Holder,
        decided: &Decided,
    ) -> Result<(), Stop> {
        let query = &decided.rewrite.query;
        let refusal = match holder {
            Holder::Copy { .. } if query.parameters() > 0 => {
                Refusal::new(Reason::ParameterUnknown, "there is no parameter $1")
                    .hint("COPY takes none: write the values into the query.")
            }
            Holder::Copy { .. } if !query.principal_parameters().is_empty() => {
                Refusal::new(Reason::FeatureNotSupported, "COPY is not supported here")
                    .hint("Send the SELECT itself.")
            }
            Holder::Plain | Holder::Cursor { .. } | Holder::Copy { .. } => return Ok(()),
        };
        let standing = Some(&decided.standing);
        Err(self
            .refuse(text, id, &refusal.into(), standing)
            .await
            .into())
    }

    /// FETCH and MOVE by the simple protocol.
    pub(super) async fn simple_fetch(
        &mut self,
        statement: &Statement,
        cursor: &str,
        fetch: Fetch,
    ) -> Result<(), Stop> {
        let name = String::new();
        let open = self
            .bind_fetch(&statement.text, cursor, fetch, name, None)
            .await?;
        self.run_simple(statement, &open, !fetch.only_move).await
    }

    /// Runs what FETCH, MOVE or EXECUTE made stand ready, by the simple protocol.
    pub(super) async fn run_simple(
        &mut self,
        statement: &Statement,
        open: &Open,
        gives_rows: bool,
    ) -> Result<(), Stop> {
        if let (Some(lease), true) = (&mut self.lease, gives_rows) {
            let query = &open.decided.rewrite.query;
            lease.describe_portal(&mut self.script, &open.name, query)?;
        }
        let kind = Kind::Other(statement.clone());
        let prepared = Arc::new(Prepared::new(kind, Arc::new([])));
        self.run_open(&prepared, open, RequestId::next(), 0).await
    }

    /// The open cursor, or portal, of this name that rows can be fetched from.
    fn cursor(&self, name: &str) -> Result<(Arc<Open>, bool), Stop> {
        self.check_block()?;
        let open = self
            .portals
            .get(name)
            .and_then(|portal| portal.open.as_ref());
        if let Some(open) = open
            && let Runs::Query { binary } = open.runs
        {
            return Ok((Arc::clone(open), binary));
        }
        Err(no_cursor(name).into())
    }

    /// Makes FETCH or MOVE stand ready on a portal of the database. `formats` are the client's own, whose Bind is answered;
    /// without them the cursor's count.
    pub(super) async fn bind_fetch(
        &mut self,
        text: &str,
        cursor: &str,
        fetch: Fetch,
        portal: String,
        formats: Option<&[i16]>,
    ) -> Result<Open, Stop> {
        let (from, binary) = self.cursor(cursor)?;
        self.check_standing(text, &from.decided, RequestId::next())
            .await?;
        let own = if binary { BINARY } else { &[] };
        if let Some(lease) = &mut self.lease {
            let (script, command) = (&mut self.script, command(&from, fetch));
            let settings = from.decided.standing.settings();
            lease.become_principal(script, settings, self.settings.sent())?;
            let statement = lease.prepare_fetch(script, &command)?;
            let forward = formats.is_some();
            lease.bind_plain(script, &portal, statement, formats.unwrap_or(own), forward)?;
        }
        Ok(Open {
            name: portal,
            number: self.portal_number,
            parameters: Vec::new(),
            runs: Runs::Fetch,
            ..Open::clone(&from)
        })
    }

    /// Describes a prepared FETCH.
    pub(super) fn describe_fetch(&mut self, cursor: &str, fetch: Fetch) -> Result<(), Stop> {
        let (from, _) = self.cursor(cursor)?;
        if let Some(lease) = &mut self.lease {
            let statement = lease.prepare_fetch(&mut self.script, &command(&from, fetch))?;
            let query = &from.decided.rewrite.query;
            // What a cursor of this name gives is the cursor's, which ends with its rights.
            let shape = Some(Arc::new(Shape::new(&from.decided.standing)));
            lease.describe_statement(&mut self.script, statement, query, 0, shape)?;
        }
        Ok(())
    }

    /// CLOSE.
    pub(super) fn close_cursor(&mut self, name: &str) -> Result<(), Stop> {
        if !self.portals.contains(name) {
            return Err(no_cursor(name).into());
        }
        self.drop_portal(name)
    }

    /// The database's word about a portal of ours, in the client's names.
    pub(super) fn name_cursor(&self, told: &mut Told) {
        if !matches!(told.sqlstate.get(..2), Some("34" | "55")) {
            return;
        }
        for (name, portal) in self.portals.iter() {
            let Some(open) = &portal.open else { continue };
            let ours = format!("\"{}\"", open.name);
            if told.message.contains(&ours) {
                told.message = told.message.replace(&ours, &format!("\"{name}\""));
                return;
            }
        }
    }

    /// CLOSE ALL.
    pub(super) fn close_all(&mut self) -> Result<(), Stop> {
        let names: Vec<String> = self
            .portals
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect();
        names.iter().try_for_each(|name| self.drop_portal(name))
    }
}

fn command(from: &Open, fetch: Fetch) -> CursorCommand {
    let cursor = from.name.clone();
    CursorCommand { cursor, fetch }
}

fn no_cursor(name: &str) -> Told {
    Told::new("34000", format!("cursor \"{name}\" does not exist"))
        .hint("A cursor ends with its transaction; declare it again.")
}
