//! PREPARE and EXECUTE: the same prepared statements as by Parse, with literals for parameters. Each EXECUTE is judged by
//! the rights of its moment.

use super::Session;
use super::extended::moved;
use super::pipeline::Stop;
use super::prepared::{Holder, Kind, Open, Prepared, Query, place};
use super::simple::Placed;
use super::told::Told;
use crate::audit::RequestId;
use crate::gateway::{Asked, Said};
use crate::sql::statement::{Argument, Inner, Statement};
use crate::upstream::Binding;
use std::sync::Arc;
use tokio::time::Instant;

impl Session {
    /// PREPARE.
    pub(super) async fn prepare_sql(
        &mut self,
        statement: &Statement,
        name: &str,
        types: &[u32],
        inner: &Inner,
    ) -> Result<Placed, Stop> {
        let (text, started) = (&statement.text, Instant::now());
        self.check_block()?;
        let taken = self.statements.contains(name).then(|| {
            let message = format!("prepared statement \"{name}\" already exists");
            Told::new("42P05", message).hint("Send DEALLOCATE first, or choose another name.")
        });
        if let Some(told) = taken.or(self.room_for_statement().err()) {
            return Err(told.into());
        }
        let (id, asked) = (
            RequestId::next(),
            Asked::Prepared {
                types,
                before: None,
            },
        );
        let said = Said {
            statement: text,
            query: &inner.text,
        };
        let decided = self
            .decide(said, asked, id)
            .await
            .map_err(|stop| moved(stop, inner.offset_chars))?;
        let query = &decided.rewrite.query;
        let kept = types.len().min(usize::from(query.parameters()));
        let types: Arc<[u32]> = types.get(..kept).unwrap_or_default().into();
        let request = self.open_request(id, started, text, Some(&decided), &[]);
        if let Some(lease) = &mut self.lease {
            // The database reads it now, so that what is wrong with it is told now.
            let (script, settings) = (&mut self.script, decided.standing.settings());
            lease.become_principal(script, settings, self.settings.sent())?;
            lease.prepare(script, query, &types, true)?;
        }
        let offset_chars = place(statement, inner);
        let placed = Placed::new(&inner.text, offset_chars, &decided.rewrite);
        let kind = Kind::Query(Arc::new(Query {
            statement: inner.text.clone(),
            holder: Holder::Plain,
            // It does not stand in the text of an EXECUTE.
            offset_chars: None,
            decided,
        }));
        self.keep_statement(name.to_owned(), Arc::new(Prepared::new(kind, types)));
        self.complete_locally("PREPARE", request);
        Ok(placed)
    }

    /// EXECUTE by the simple protocol.
    pub(super) async fn simple_execute(
        &mut self,
        statement: &Statement,
        name: &str,
        arguments: &[Argument],
    ) -> Result<(), Stop> {
        let (text, portal) = (&statement.text, String::new());
        let open = self
            .bind_execute(text, name, arguments, portal, None)
            .await?;
        self.run_simple(statement, &open, true).await
    }

    /// Makes EXECUTE stand ready on a portal of the database. With the client's own formats and prepared EXECUTE its Bind
    /// is answered.
    pub(super) async fn bind_execute(
        &mut self,
        text: &str,
        name: &str,
        arguments: &[Argument],
        portal: String,
        described: Option<(&[i16], &Prepared)>,
    ) -> Result<Open, Stop> {
        self.check_block()?;
        let prepared = self.named_query(name)?;
        let Kind::Query(query) = &prepared.kind else {
            return Err(Told::new("XX000", "a statement in the wrong place").into());
        };
        let asked = Asked::Prepared {
            types: &prepared.types,
            before: Some(&query.decided),
        };
        let said = Said {
            statement: text,
            query: &query.statement,
        };
        let decided = self
            .decide(said, asked, RequestId::next())
            .await
            .map_err(|stop| moved(stop, None))?;
        let expected = decided.rewrite.query.parameters();
        if let Some((_, outer)) = described {
            self.compare_shape(outer, &decided, &prepared)?;
        }
        let formats = described.map(|(formats, _)| formats);
        let binding = match binding(name, arguments, usize::from(expected), &prepared.types) {
            Ok(binding) => Binding {
                result_formats: formats.unwrap_or_default().to_vec(),
                ..binding
            },
            Err(told) => return Err(told.into()),
        };
        let (types, forward) = (&prepared.types, formats.is_some());
        self.bind_held(portal, &Holder::Plain, decided, types, &binding, forward)
    }

    /// Describes a prepared EXECUTE.
    pub(super) async fn describe_execute(
        &mut self,
        outer: &Prepared,
        text: &str,
        name: &str,
    ) -> Result<(), Stop> {
        let prepared = self.named_query(name)?;
        let Kind::Query(query) = &prepared.kind else {
            return Err(Told::new("XX000", "a statement in the wrong place").into());
        };
        let said = Said {
            statement: text,
            query: &query.statement,
        };
        self.describe_query(&prepared, query, said, Some(outer))
            .await
    }

    /// The prepared query of this name.
    fn named_query(&self, name: &str) -> Result<Arc<Prepared>, Stop> {
        let told = match self.statement(name) {
            Ok(prepared) => match &prepared.kind {
                Kind::Query(query) if matches!(query.holder, Holder::Plain) => {
                    return Ok(prepared);
                }
                _ => {
                    let message = format!("prepared statement \"{name}\" is not a query");
                    Told::new("0A000", message).hint("Send the statement itself.")
                }
            },
            Err(told) => told,
        };
        Err(told.into())
    }
}

/// The arguments of EXECUTE as what Bind carries: each in text, for PostgreSQL to read by its parameter's type.
fn binding(
    name: &str,
    arguments: &[Argument],
    expected: usize,
    types: &[u32],
) -> Result<Binding, Told> {
    if arguments.len() != expected {
        let message = format!(
            "wrong number of parameters for prepared statement \"{name}\": {} given, {expected} needed",
            arguments.len()
        );
        return Err(Told::new("42601", message));
    }
    let mut parameters = Vec::new();
    for (index, Argument { value, cast }) in arguments.iter().enumerate() {
        if cast.is_some_and(|cast| types.get(index) != Some(&cast)) {
            let message = format!(
                "argument {} is cast to another type than declared",
                index + 1
            );
            let hint = "Leave the cast out, or declare that type in PREPARE.";
            return Err(Told::new("0A000", message).hint(hint));
        }
        let Some(value) = value else {
            parameters.extend_from_slice(&(-1_i32).to_be_bytes());
            continue;
        };
        // A text is far shorter: its statement is.
        let length = i32::try_from(value.len()).unwrap_or(i32::MAX);
        parameters.extend_from_slice(&length.to_be_bytes());
        parameters.extend_from_slice(value.as_bytes());
    }
    Ok(Binding {
        parameters,
        parameter_count: u16::try_from(expected).unwrap_or(u16::MAX),
        ..Binding::default()
    })
}
