//! One request through the gateway, in a task of its own: it comes to its end and into the audit also when its client
//! leaves.

use super::Door;
use super::ask::Ask;
use super::encode::{Encoder, put_error};
use super::format::Format;
use super::pipe::Pipe;
use crate::audit::{Outcome, RequestId};
use crate::error::{Error, Fault, FaultKind, Reason, Refusal};
use crate::gateway::{Asked, Decided, Gateway, Memory, SessionFacts, Standing};
use crate::http::Problem;
use crate::identity::Caller;
use crate::sql::statement::{Statement, StatementKind};
use crate::sql::{self, INTEGER_OID};
use crate::upstream::{
    Binding, Bounds, Broken, CancelSlot, Failure, Lease, Script, UpstreamError, relay,
};
use axum::http::StatusCode;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

/// A request whose asker is known.
pub(super) struct Request {
    pub(super) id: RequestId,
    pub(super) caller: Caller,
    pub(super) facts: SessionFacts,
    pub(super) ask: Ask,
    pub(super) format: Format,
}

/// How an answer ended, told behind its last piece.
pub(super) enum End {
    /// It is whole, or says itself that it is not.
    Whole,
    /// Nothing of it has been handed over, and nothing of it counts.
    Problem(Box<Problem>),
    /// It stays a part, and cannot say so.
    Broken,
}

/// Runs it; the pieces of the answer go to `sender`.
pub(super) async fn run(door: &Door, request: Request, sender: Sender<Bytes>) -> End {
    let started = Instant::now();
    let gateway = &door.parts.gateway;
    let slot = CancelSlot::default();
    let ready = match prepare(gateway, &request, &slot).await {
        Ok(ready) => ready,
        Err(problem) => return End::Problem(problem),
    };
    let Ready {
        statement,
        decided,
        binding,
        mut lease,
    } = ready;
    let shown = shown(gateway, &binding);
    let text = &statement.text;
    let gate = gateway.record(
        request.id,
        &request.facts,
        &request.caller,
        text,
        Some(&decided),
        &shown,
    );
    let mut script = Script::default();
    let index = script.open_request();
    let filtered = gateway.filtered(&decided);
    let mut pipe = Pipe::new(Encoder::new(request.format, filtered, request.id), sender);
    let result = match put_together(&mut lease, &mut script, &decided, &binding, index) {
        Ok(()) => {
            let bounds = bounds(door, request.format);
            let now = Instant::now();
            let end = relay(&mut lease, &mut script, &mut pipe, Some(gate), &bounds, now).await;
            if end.client_gone {
                Err(Left)
            } else {
                Ok(end.failure.map(|failure| *failure))
            }
        }
        Err(fault) => {
            lease.condemn();
            Ok(Some(Failure::Fault(fault)))
        }
    };
    slot.vacate().await;
    drop(lease);
    let place = |at| {
        let found = sql::position_in(text, decided.rewrite.query.text(), at);
        found.map(|at| at + statement.offset_chars)
    };
    let patience = Duration::from_millis(gateway.limits().client_write_ms_max);
    let concluding = conclude(&mut pipe, &request, result, place);
    let concluded = tokio::time::timeout(patience, concluding).await;
    let (end, sqlstate) = concluded.unwrap_or_else(|_| (End::Broken, Some("57014".to_owned())));
    let count = script.take_requests().last().unwrap_or_default();
    let outcome = Outcome {
        rows: count.rows,
        bytes: count.bytes,
        duration: started.elapsed(),
        first_row: count.first_row.map(|at| at.duration_since(started)),
        sqlstate,
    };
    gateway.finish(request.id, outcome);
    end
}

/// The client is gone, or the rows could not be passed on.
struct Left;

struct Ready {
    statement: Statement,
    decided: Decided,
    binding: Binding,
    lease: Lease,
}

/// Up to a connection; what does not come so far is recorded here.
async fn prepare(
    gateway: &Gateway,
    request: &Request,
    slot: &CancelSlot,
) -> Result<Ready, Box<Problem>> {
    let refused =
        async |text: &str, error: Error, standing: Option<&Arc<Standing>>, offset: u32| {
            let slug = match &error {
                Error::Refused(refusal) => refusal.reason.slug(),
                Error::Failed(fault) => fault.kind.slug(),
            };
            let Request {
                id, facts, caller, ..
            } = request;
            gateway
                .record_refused(*id, facts, caller, text, standing, slug)
                .await;
            Box::new(Problem::from(moved(error, offset)))
        };
    let whole = &request.ask.sql;
    let statement = match one_query(gateway, whole) {
        Ok(statement) => statement,
        Err(refusal) => return Err(refused(whole, refusal.into(), None, 0).await),
    };
    let (text, offset) = (&statement.text, statement.offset_chars);
    let asked = if request.ask.params.is_empty() {
        Asked::Simple
    } else {
        Asked::Prepared {
            types: &[],
            before: None,
        }
    };
    let decided = match gateway
        .decide(
            &request.caller,
            &mut Memory::default(),
            text.as_str().into(),
            asked,
        )
        .await
    {
        Ok(decided) => decided,
        Err((error, standing)) => return Err(refused(text, error, standing.as_ref(), offset).await),
    };
    let standing = Some(&decided.standing);
    let binding = match binding(&request.ask, &decided) {
        Ok(binding) => binding,
        Err(refusal) => return Err(refused(text, refusal.into(), standing, 0).await),
    };
    match gateway
        .lease(decided.standing.principal().superuser(), slot)
        .await
    {
        Ok(lease) => Ok(Ready {
            statement,
            decided,
            binding,
            lease,
        }),
        Err(fault) => Err(refused(text, fault.into(), standing, 0).await),
    }
}

/// The one statement of a text, if it is a query.
pub(super) fn one_query(gateway: &Gateway, text: &str) -> Result<Statement, Refusal> {
    let hint = "Send one SELECT a request.";
    let statements = gateway.split(text)?;
    match &*statements {
        [] => Err(Refusal::new(Reason::SyntaxError, "the text holds no statement").hint(hint)),
        [statement] => match &statement.kind {
            StatementKind::Query => Ok(statement.clone()),
            StatementKind::Refused(refusal) => {
                Err(moved_refusal(refusal.clone(), statement.offset_chars))
            }
            _ => {
                let says =
                    "only queries are answered over HTTP: a request has no session or transaction";
                Err(Refusal::new(Reason::FeatureNotSupported, says).hint(hint))
            }
        },
        _ => Err(Refusal::new(
            Reason::MultipleStatements,
            "more than one statement in a request",
        )
        .hint(hint)),
    }
}

pub(super) fn moved(error: Error, offset: u32) -> Error {
    match error {
        Error::Refused(refusal) => moved_refusal(refusal, offset).into(),
        Error::Failed(fault) => fault.into(),
    }
}

/// From the statement's own text to the whole.
fn moved_refusal(refusal: Refusal, offset: u32) -> Refusal {
    let at = refusal.position.map(|at| at + offset);
    refusal.at(at)
}

/// How many parameters the caller's own text has: none where its numbers became parameters.
pub(super) fn own_parameters(decided: &Decided) -> u16 {
    match decided.values.is_empty() {
        true => decided.rewrite.query.parameters(),
        false => 0,
    }
}

/// The values for the statement's parameters: exactly as many as it has.
pub(super) fn binding(ask: &Ask, decided: &Decided) -> Result<Binding, Refusal> {
    let wanted = own_parameters(decided);
    if ask.params.is_empty() && !decided.values.is_empty() {
        return Ok(Binding::of_integers(&decided.values));
    }
    match ask.binding() {
        Some(binding) if binding.parameter_count == wanted => Ok(binding),
        None if ask.params.len() == usize::from(wanted) => {
            let says = "a text among the values is not Unicode";
            let hint = "Write each surrogate in a pair, or the character itself.";
            Err(Refusal::new(Reason::SyntaxError, says).hint(hint))
        }
        _ => {
            let says = format!(
                "the statement has {wanted} parameters, and the request {} values",
                ask.params.len()
            );
            let hint = "Send as many values in \"params\" as there are parameters, $1 first.";
            Err(Refusal::new(Reason::ParameterUnknown, says).hint(hint))
        }
    }
}

/// The values, if the audit takes them.
fn shown(gateway: &Gateway, binding: &Binding) -> Vec<Option<String>> {
    if gateway.records_parameters() {
        binding.shown()
    } else {
        Vec::new()
    }
}

/// Everything the database is told, in one pipeline.
fn put_together(
    lease: &mut Lease,
    script: &mut Script,
    decided: &Decided,
    binding: &Binding,
    request: usize,
) -> Result<(), Fault> {
    let Decided {
        standing,
        rewrite,
        values,
        ..
    } = decided;
    let settings = standing.settings();
    let types: Arc<[u32]> = values.iter().map(|_| INTEGER_OID).collect();
    lease.adopt_policy(script, standing.policy_number())?;
    lease.become_principal(script, settings, &[])?;
    let name = lease.prepare(script, &rewrite.query, &types, rewrite.comes_again())?;
    lease.bind(script, "", name, &rewrite.query, settings, binding, false)?;
    lease.describe_portal(script, "", &rewrite.query)?;
    lease.execute(script, "", 0, request)?;
    lease.sync(script);
    Ok(())
}

fn bounds(door: &Door, format: Format) -> Bounds {
    let limits = door.parts.gateway.limits();
    let (rows, bytes) = match format {
        Format::Json => (door.parts.json_rows_max, door.parts.json_bytes_max),
        Format::Ndjson | Format::Csv => (0, 0),
    };
    let least = |a: u64, b: u64| if a == 0 || b == 0 { a.max(b) } else { a.min(b) };
    Bounds {
        rows_max: least(limits.rows_max, rows),
        bytes_max: least(limits.result_bytes_max, bytes),
        client_write: Duration::from_millis(limits.client_write_ms_max),
        statement_ms_max: limits.statement_ms_max,
        grace: Duration::from_millis(limits.grace_ms_max),
    }
}

/// The end of the answer, and the SQLSTATE for the audit.
async fn conclude(
    pipe: &mut Pipe,
    request: &Request,
    result: Result<Option<Failure>, Left>,
    place: impl Fn(u32) -> Option<u32>,
) -> (End, Option<String>) {
    let failure = match result {
        Ok(failure) => failure,
        Err(Left) => return broken_off(pipe, request.format),
    };
    let problem = match failure {
        None => None,
        // Said in the answer itself, where it has a place for that.
        Some(Failure::Limit(_)) if request.format != Format::Csv => {
            let sqlstate = Reason::TooLarge.sqlstate().to_owned();
            return tail(pipe, request.format, true, Some(sqlstate)).await;
        }
        Some(Failure::Limit(refusal) | Failure::Changed(refusal)) => Some(refusal.into()),
        Some(Failure::Fault(fault)) => Some(Problem::from(fault)),
        Some(Failure::Upstream(error) | Failure::Setting(error)) => Some(upstream(error, place)),
    };
    let Some(problem) = problem else {
        return tail(pipe, request.format, false, None).await;
    };
    let sqlstate = problem.sqlstate().map(str::to_owned);
    // JSON is sent when all of it is there.
    if !pipe.begun() || request.format == Format::Json {
        return (End::Problem(Box::new(problem)), sqlstate);
    }
    if request.format == Format::Csv {
        return (End::Broken, sqlstate);
    }
    // The rows before it first: they are lines, and whole.
    if pipe.finish_rows().await.is_err() {
        return broken_off(pipe, request.format);
    }
    put_error(&mut pipe.piece, &problem.identified(request.id));
    match pipe.finish().await {
        Ok(()) => (End::Whole, sqlstate),
        Err(_) => broken_off(pipe, request.format),
    }
}

/// An answer that came to its end, or to a limit.
async fn tail(
    pipe: &mut Pipe,
    format: Format,
    truncated: bool,
    sqlstate: Option<String>,
) -> (End, Option<String>) {
    if pipe.finish_rows().await.is_err() {
        return broken_off(pipe, format);
    }
    pipe.encoder.tail(&mut pipe.piece, truncated);
    match pipe.finish().await {
        Ok(()) => (End::Whole, sqlstate),
        Err(_) => broken_off(pipe, format),
    }
}

/// The client left, or a row could not be passed on.
fn broken_off(pipe: &Pipe, format: Format) -> (End, Option<String>) {
    let Some(broken) = &pipe.broken else {
        return (End::Broken, Some("57014".to_owned()));
    };
    let problem = match broken {
        Broken::TooLarge => {
            let refusal = Refusal::new(
                Reason::TooLarge,
                "a row is larger than is passed on over HTTP",
            );
            Problem::from(refusal.hint("Select fewer or shorter columns."))
        }
        Broken::Malformed => {
            Fault::because(FaultKind::Internal, "a row that cannot be read").into()
        }
    };
    let sqlstate = problem.sqlstate().map(str::to_owned);
    if pipe.begun() && format != Format::Json {
        return (End::Broken, sqlstate);
    }
    (End::Problem(Box::new(problem)), sqlstate)
}

fn upstream(error: UpstreamError, place: impl Fn(u32) -> Option<u32>) -> Problem {
    let status = match error.sqlstate.get(..2) {
        Some("53") => StatusCode::SERVICE_UNAVAILABLE,
        _ if error.sqlstate == "57014" => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut problem = Problem::new(status)
        .slug("database_error")
        .detail(error.message)
        .state(error.sqlstate)
        .at(error.position.and_then(place));
    if let Some(hint) = error.hint {
        problem = problem.hint(hint);
    }
    problem
}
