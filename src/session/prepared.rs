//! What the client has prepared and bound. Statements of PREPARE and of Parse, and cursors and portals, share their names, as
//! in PostgreSQL.

use super::Session;
use super::courtesy::Courtesy;
use super::pipeline::Stop;
use super::told::Told;
use crate::gateway::{Decided, Said, Standing};
use crate::sql::Wrapped;
use crate::sql::statement::{CopyFormat, CopyOptions, CursorOptions, Inner, Statement};
use crate::upstream::{Binding, Shape, StatementName};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A prepared statement of the client.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) kind: Kind,
    /// The declared types of its parameters.
    pub(super) types: Arc<[u32]>,
    /// What the client was told last that it gives ...
    described: Mutex<Option<Arc<Shape>>>,
    /// ... if it ever was.
    was_described: AtomicBool,
}

#[derive(Debug)]
pub(super) enum Kind {
    Courtesy {
        text: String,
        courtesy: &'static Courtesy,
    },
    /// A text without a statement.
    Empty(String),
    Query(Arc<Query>),
    Other(Statement),
}

/// A query, alone or inside of a statement.
#[derive(Debug)]
pub(super) struct Query {
    /// The statement.
    pub(super) statement: String,
    /// What the statement does with the query.
    pub(super) holder: Holder,
    /// Where the query starts in what the client sent, in characters; `None` = nowhere.
    pub(super) offset_chars: Option<u32>,
    /// What was decided when it was prepared.
    pub(super) decided: Decided,
}

/// What a statement does with a query.
#[derive(Debug, Clone)]
pub(super) enum Holder {
    /// Runs it: it is the query.
    Plain,
    /// `DECLARE name CURSOR FOR` it.
    Cursor {
        name: String,
        options: CursorOptions,
        query: String,
    },
    /// `COPY` it.
    Copy { options: CopyOptions, query: String },
}

impl Query {
    /// Its statement and its query.
    pub(super) fn said(&self) -> Said<'_> {
        self.holder.said(&self.statement)
    }
}

impl Holder {
    /// The statement and its query.
    pub(super) fn said<'a>(&'a self, statement: &'a str) -> Said<'a> {
        let query = match self {
            Holder::Plain => statement,
            Holder::Cursor { query, .. } | Holder::Copy { query, .. } => query,
        };
        Said { statement, query }
    }
}

impl Prepared {
    pub(super) fn new(kind: Kind, types: Arc<[u32]>) -> Self {
        Self {
            kind,
            types,
            described: Mutex::default(),
            was_described: AtomicBool::new(false),
        }
    }

    /// The client is about to be told what it gives as decided in this standing.
    pub(super) fn describe(&self, standing: &Arc<Standing>) -> Arc<Shape> {
        let shape = Arc::new(Shape::new(standing));
        *self.described() = Some(Arc::clone(&shape));
        self.was_described.store(true, Ordering::Release);
        shape
    }

    /// What the client was told, if that may have changed in this standing.
    fn in_doubt(&self, standing: &Standing) -> Option<Arc<Shape>> {
        if !self.was_described.load(Ordering::Acquire) {
            return None;
        }
        let described = self.described();
        described
            .as_ref()
            .filter(|shape| shape.in_doubt(standing))
            .cloned()
    }

    /// How many of a query's last parameters it does not tell: the principal's own, or all where this is an EXECUTE of it.
    pub(super) fn hides(&self, query: &Prepared, principals: usize) -> usize {
        match std::ptr::eq(self, query) {
            true => principals,
            false => usize::MAX,
        }
    }

    fn described(&self) -> MutexGuard<'_, Option<Arc<Shape>>> {
        self.described
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The query that it is or holds.
    pub(super) fn query(&self) -> Option<&Query> {
        match &self.kind {
            Kind::Query(query) => Some(query),
            Kind::Courtesy { .. } | Kind::Empty(_) | Kind::Other(_) => None,
        }
    }

    /// The statement as the client sent it.
    pub(super) fn text(&self) -> &str {
        match &self.kind {
            Kind::Courtesy { text, .. } => text,
            Kind::Empty(text) => text,
            Kind::Query(query) => &query.statement,
            Kind::Other(statement) => &statement.text,
        }
    }
}

/// Where a query inside of a statement starts in what the client sent.
pub(super) fn place(statement: &Statement, inner: &Inner) -> Option<u32> {
    Some(statement.offset_chars + inner.offset_chars?)
}

/// A portal or cursor of the client.
#[derive(Debug)]
pub(super) struct Portal {
    pub(super) prepared: Arc<Prepared>,
    /// What stands ready in the database, if anything does.
    pub(super) open: Option<Arc<Open>>,
    /// For a statement that is answered here: it has been run.
    pub(super) done: bool,
}

/// A portal of the database.
#[derive(Debug, Clone)]
pub(super) struct Open {
    /// Its name there.
    pub(super) name: String,
    /// When it was made, among the session's portals.
    pub(super) number: u64,
    /// What was decided when it was made.
    pub(super) decided: Decided,
    /// What was bound, if the audit takes it.
    pub(super) parameters: Vec<Option<String>>,
    pub(super) runs: Runs,
}

/// What running a portal does.
#[derive(Debug, Clone)]
pub(super) enum Runs {
    /// Returns rows of a query, which FETCH can ask for, too.
    Query {
        /// It was declared BINARY.
        binary: bool,
    },
    /// Declares a cursor, which then stands ready.
    Declare(Box<Declares>),
    /// FETCH and MOVE of another.
    Fetch,
    /// Copies rows out.
    Copy { header: bool },
}

/// The cursor that is declared.
#[derive(Debug, Clone)]
pub(super) struct Declares {
    /// The client's name for it.
    pub(super) name: String,
    /// Its name in the database.
    pub(super) portal: String,
    /// Its number.
    pub(super) number: u64,
    /// `BINARY`.
    pub(super) binary: bool,
}

/// What is bound: a query as it is, or with words around it.
pub(super) enum Bound<'a> {
    Plain { keep: bool },
    Wrapped(&'a Wrapped),
}

impl Session {
    /// A name and a number for a new portal in the database.
    pub(super) fn new_portal(&mut self) -> (String, u64) {
        self.portal_number += 1;
        let name = ["p", itoa::Buffer::new().format(self.portal_number)].concat();
        (name, self.portal_number)
    }

    /// Makes a portal of the database stand ready for what a statement does with its query; the answer goes to the client
    /// if `forward`.
    pub(super) fn bind_held(
        &mut self,
        portal: String,
        holder: &Holder,
        decided: Decided,
        types: &Arc<[u32]>,
        binding: &Binding,
        forward: bool,
    ) -> Result<Open, Stop> {
        let query = &decided.rewrite.query;
        let (wrapped, runs) = match holder {
            Holder::Plain => (None, Runs::Query { binary: false }),
            Holder::Cursor { name, options, .. } => {
                let (cursor, number) = self.new_portal();
                let wrapped = Wrapped::cursor(&cursor, *options, query);
                let declares = Declares {
                    name: name.clone(),
                    portal: cursor,
                    number,
                    binary: options.binary,
                };
                (Some(wrapped), Runs::Declare(Box::new(declares)))
            }
            Holder::Copy { options, .. } => {
                let header = options.header || options.format == CopyFormat::Binary;
                (Some(Wrapped::copy(options, query)), Runs::Copy { header })
            }
        };
        let bound = match &wrapped {
            None => Bound::Plain { keep: true },
            Some(wrapped) => Bound::Wrapped(wrapped),
        };
        self.bind_open(&portal, &decided, types, &bound, binding, forward)?;
        let parameters = match self.gateway.records_parameters() {
            true => binding.shown(),
            false => Vec::new(),
        };
        Ok(Open {
            name: portal,
            number: self.portal_number,
            decided,
            parameters,
            runs,
        })
    }

    /// Makes sure that a statement gives what the client was told it does, if its rights have changed since: nothing behind
    /// this runs otherwise.
    pub(super) fn compare_shape(
        &mut self,
        described: &Prepared,
        decided: &Decided,
        prepared: &Prepared,
    ) -> Result<(), Stop> {
        let (query, standing) = (&decided.rewrite.query, &decided.standing);
        if let (Some(shape), Some(lease)) = (described.in_doubt(standing), &mut self.lease) {
            let script = &mut self.script;
            lease.become_principal(script, standing.settings(), self.settings.sent())?;
            let statement = lease.prepare(script, query, &prepared.types, true)?;
            let hidden = described.hides(prepared, query.principal_parameters().len());
            lease.compare_statement(script, statement, &shape, standing, hidden)?;
        }
        Ok(())
    }

    fn bind_open(
        &mut self,
        portal: &str,
        decided: &Decided,
        types: &Arc<[u32]>,
        bound: &Bound<'_>,
        binding: &Binding,
        forward: bool,
    ) -> Result<(), Stop> {
        let Some(lease) = &mut self.lease else {
            return Err(Told::new("XX000", "no connection").into());
        };
        let (query, settings) = (&decided.rewrite.query, decided.standing.settings());
        let script = &mut self.script;
        lease.become_principal(script, settings, self.settings.sent())?;
        let statement: StatementName = match bound {
            Bound::Plain { keep } => lease.prepare(script, query, types, *keep)?,
            Bound::Wrapped(wrapped) => lease.prepare_wrapped(script, wrapped, types)?,
        };
        lease.bind(script, portal, statement, query, settings, binding, forward)?;
        Ok(())
    }

    /// Whether one more portal or cursor may be open.
    pub(super) fn room_for_portal(&self) -> Result<(), Told> {
        let limit = self.limits().portals_per_session_max;
        if self.portals.len() < limit {
            return Ok(());
        }
        let reason = crate::error::Reason::TooLarge;
        let told = Told::new(reason.sqlstate(), "too many open portals and cursors");
        Err(told.hint("Close the ones that are not needed any more."))
    }

    /// Whether one more prepared statement may be kept.
    pub(super) fn room_for_statement(&self) -> Result<(), Told> {
        let limit = self.limits().statements_per_session_max;
        if self.statements.len() < limit {
            return Ok(());
        }
        let message = format!("more than {limit} prepared statements");
        let told = Told::new(crate::error::Reason::TooLarge.sqlstate(), message);
        Err(told.hint("Close the ones that are not needed any more."))
    }

    /// Keeps a prepared statement, for good once what was sent for it is carried out.
    pub(super) fn keep_statement(&mut self, name: String, prepared: Arc<Prepared>) {
        let before = self.statements.insert(name.clone(), prepared);
        self.unsure.push((self.script.mark(), name, before));
    }

    /// Lets go of a prepared statement, for good once what was sent before is carried out; whether there was one.
    pub(super) fn forget_statement(&mut self, name: &str) -> bool {
        let before = self.statements.remove(name);
        let known = before.is_some();
        if known {
            self.unsure
                .push((self.script.mark(), name.to_owned(), before));
        }
        known
    }

    /// Lets go of them all, as [`Session::forget_statement`].
    pub(super) fn forget_statements(&mut self) {
        let mark = self.script.mark();
        let all = self.statements.drain();
        self.unsure
            .extend(all.map(|(name, before)| (mark, name, Some(before))));
    }

    /// Goes back to the statements there were where the database did not come to what changed them.
    pub(super) fn settle_statements(&mut self) {
        for (mark, name, before) in self.unsure.drain(..).rev() {
            if self.script.reached(mark) {
                continue;
            }
            match before {
                Some(before) => self.statements.insert(name, before),
                None => self.statements.remove(&name),
            };
        }
    }
}
