//! Tag definitions in the customer's own tables, by queries they write: the tags, and the groups' members.

use super::add_tags;
use crate::control::Connector;
use crate::identity::{Caller, Findings};
use crate::policy::{TAG_BYTES_MAX, TAG_MEMBERS_MAX, TAGS_MAX, TagDefinitions};
use crate::provider::listen::Forgets;
use crate::provider::sql::{bare, cell, cut, failure, garbage, read_only};
use crate::provider::{Asking, ProviderError, Step};
use arc_swap::ArcSwapOption;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio_postgres::{Client, Row, Statement};

/// Most rows of an answer: a tag without a list is one, too.
const ROWS_MAX: usize = TAGS_MAX + TAG_MEMBERS_MAX;

/// The queries; each is put into a sub-select, so it has to be one SELECT.
#[derive(Debug, Clone)]
pub struct TagQueries {
    /// Four columns: name, access, owner (may be NULL), and `text[]` with the domains, user ids or groups that
    /// go with the access (NULL counts as empty).
    pub tags: String,
    /// Two columns: group and member.
    pub groups: Option<String>,
}

/// Asks a database, by one connection of its own.
pub struct TagTable {
    connector: Connector,
    queries: TagQueries,
    timeout: Duration,
    /// How long definitions are kept; zero = asked for every statement.
    age_max: Duration,
    /// The same while a change would not be heard of.
    unheard_age_max: Duration,
    heard: AtomicBool,
    kept: ArcSwapOption<Kept>,
    /// Counts clearings: definitions asked for before one are not kept after it.
    epoch: AtomicU64,
    /// Number of the last flight that took off.
    started: AtomicU64,
    /// Held by the flight under way.
    runway: Mutex<Runway>,
}

struct Kept {
    definitions: Arc<TagDefinitions>,
    number: u64,
    epoch: u64,
    since: Instant,
}

/// The connection, and what the last flight brought.
#[derive(Default)]
struct Runway {
    connection: Option<Connection>,
    landed: Option<(u64, Result<Arc<TagDefinitions>, ProviderError>)>,
}

struct Connection {
    client: Client,
    tags: Statement,
    groups: Option<Statement>,
}

impl TagTable {
    /// A source that connects when it is first asked. `timeout` bounds each answer, waiting and connecting
    /// included; `ages` says how long an answer may be used again, and how long while [`Forgets::set_heard`]
    /// says that changes would not be heard of, as they are not until it says so.
    pub(crate) fn new(
        connector: Connector,
        queries: TagQueries,
        timeout: Duration,
        (age_max, unheard_age_max): (Duration, Duration),
    ) -> Self {
        Self {
            connector,
            queries,
            timeout,
            age_max,
            unheard_age_max,
            heard: AtomicBool::new(false),
            kept: ArcSwapOption::empty(),
            epoch: AtomicU64::new(0),
            started: AtomicU64::new(0),
            runway: Mutex::default(),
        }
    }

    /// Reads the definitions once, so that wrong ones are found at start.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub async fn probe(&self) -> Result<(), ProviderError> {
        self.definitions().await.map(drop)
    }

    fn kept(&self) -> Option<Arc<Kept>> {
        let kept = self.kept.load_full()?;
        let age_max = match self.heard.load(Ordering::SeqCst) {
            true => self.age_max,
            false => self.unheard_age_max,
        };
        let fresh =
            kept.epoch == self.epoch.load(Ordering::SeqCst) && kept.since.elapsed() < age_max;
        fresh.then_some(kept)
    }

    /// The definitions as of now.
    ///
    /// # Errors
    /// Why they cannot be had.
    pub async fn definitions(&self) -> Result<Arc<TagDefinitions>, ProviderError> {
        if let Some(kept) = self.kept() {
            return Ok(Arc::clone(&kept.definitions));
        }
        tokio::time::timeout(self.timeout, self.share())
            .await
            .unwrap_or(Err(ProviderError::Timeout))
    }

    /// Asks, or shares the answer of a flight that took off after this call: never of an earlier one, so a tag that
    /// was closed before a statement arrived is closed for that statement.
    async fn share(&self) -> Result<Arc<TagDefinitions>, ProviderError> {
        let arrived = self.started.load(Ordering::SeqCst);
        let mut runway = self.runway.lock().await;
        if let Some((number, answer)) = &runway.landed
            && *number > arrived
        {
            return answer.clone();
        }
        let number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
        let (epoch, since) = (self.epoch.load(Ordering::SeqCst), Instant::now());
        // Taken out while it is asked: if this is dropped half way, so is the connection.
        let connection = runway.connection.take();
        let answer = match self.ask(connection).await {
            Ok((definitions, connection)) => {
                runway.connection = Some(connection);
                Ok(Arc::new(definitions))
            }
            Err(error) => Err(error),
        };
        if let Ok(definitions) = &answer {
            let definitions = Arc::clone(definitions);
            self.kept.store(Some(Arc::new(Kept {
                definitions,
                number,
                epoch,
                since,
            })));
        }
        runway.landed = Some((number, answer.clone()));
        answer
    }

    /// A kept connection that turns out to be dead is replaced once.
    async fn ask(
        &self,
        kept: Option<Connection>,
    ) -> Result<(TagDefinitions, Connection), ProviderError> {
        if let Some(connection) = kept.filter(|kept| !kept.client.is_closed()) {
            match connection.read().await {
                Ok(definitions) => return Ok((definitions, connection)),
                Err(_) if connection.client.is_closed() => {}
                Err(error) => return Err(error),
            }
        }
        let connection = self.open().await?;
        let definitions = connection.read().await?;
        Ok((definitions, connection))
    }

    async fn open(&self) -> Result<Connection, ProviderError> {
        let client = read_only(&self.connector, self.timeout).await?;
        let tags = client
            .prepare(&tags_query(&self.queries.tags))
            .await
            .map_err(|error| failure(&error))?;
        let groups = match &self.queries.groups {
            None => None,
            Some(groups) => {
                let prepared = client.prepare(&groups_query(groups)).await;
                Some(prepared.map_err(|error| failure(&error))?)
            }
        };
        Ok(Connection {
            client,
            tags,
            groups,
        })
    }
}

impl Forgets for TagTable {
    fn named(&self) -> &str {
        "tags"
    }

    fn forget(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.kept.store(None);
    }

    fn forget_user(&self, _user_id: &str) {
        // Whoever told may have changed a group for that user; asking once more costs little.
        self.forget();
    }

    fn set_heard(&self, heard: bool) {
        self.heard.store(heard, Ordering::SeqCst);
    }
}

impl Step for TagTable {
    fn name(&self) -> &str {
        "tags"
    }

    fn ready(&self) -> Asking<'_, ()> {
        Box::pin(self.probe())
    }

    fn complete<'a>(&'a self, caller: &'a Caller, found: &'a mut Findings) -> Asking<'a, ()> {
        Box::pin(async move {
            add_tags(&*self.definitions().await?, caller, found);
            Ok(())
        })
    }

    fn generation(&self) -> Option<u64> {
        // Once they are too old, whoever asks has to fetch them.
        self.kept().map(|kept| kept.number)
    }

    fn clear(&self) {
        self.forget();
    }
}

impl Connection {
    async fn read(&self) -> Result<TagDefinitions, ProviderError> {
        // Polled together, the two travel in one round trip.
        let (tags, groups) =
            tokio::try_join!(self.rows(Some(&self.tags)), self.rows(self.groups.as_ref()))?;
        let mut definitions = TagDefinitions::default();
        let mut rows = tags.iter().peekable();
        while let Some(row) = rows.next() {
            let number: Option<i64> = cell(row, 0)?;
            let (name, access) = (required(row, 1, "name")?, required(row, 2, "access")?);
            let owner: Option<String> = cell(row, 3)?;
            let mut allowed = Vec::new();
            if cell::<i32>(row, 4)? > Some(0) {
                allowed.push(required(row, 5, "element of a list")?);
            }
            while let Some(next) = rows.peek()
                && cell::<i64>(next, 0)? == number
            {
                allowed.push(required(next, 5, "element of a list")?);
                rows.next();
            }
            definitions
                .define(&name, &access, owner.as_deref(), &allowed)
                .map_err(|error| garbage(&error.to_string()))?;
        }
        for row in &groups {
            let (group, member) = (required(row, 0, "group")?, required(row, 1, "member")?);
            definitions
                .add_member(&group, &member)
                .map_err(|error| garbage(&error.to_string()))?;
        }
        Ok(definitions)
    }

    async fn rows(&self, statement: Option<&Statement>) -> Result<Vec<Row>, ProviderError> {
        let Some(statement) = statement else {
            return Ok(Vec::new());
        };
        let rows = self.client.query(statement, &[]).await;
        let rows = rows.map_err(|error| failure(&error))?;
        if rows.len() > ROWS_MAX {
            return Err(ProviderError::Oversize("too many tags or members"));
        }
        Ok(rows)
    }
}

/// One row a tag and element of its list, or a tag without one. Everything is cut one character above its bound:
/// too long stays too long, but never gigabytes.
fn tags_query(query: &str) -> String {
    format!(
        "SELECT q.n, {}, {}, {}, pg_catalog.cardinality(q.d), {}
         FROM (SELECT pg_catalog.row_number() OVER () AS n, a, b, c, d::pg_catalog.text[] AS d
               FROM ({}\n) AS p(a, b, c, d)) AS q
         LEFT JOIN LATERAL pg_catalog.unnest(q.d) AS e(e) ON true
         ORDER BY q.n LIMIT {}",
        text("q.a"),
        text("q.b"),
        text("q.c"),
        text("e.e"),
        bare(query),
        ROWS_MAX + 1
    )
}

fn groups_query(query: &str) -> String {
    format!(
        "SELECT {}, {} FROM ({}\n) AS q(a, b) LIMIT {}",
        text("q.a"),
        text("q.b"),
        bare(query),
        ROWS_MAX + 1
    )
}

fn text(column: &str) -> String {
    cut(column, TAG_BYTES_MAX)
}

fn required(row: &Row, index: usize, what: &str) -> Result<String, ProviderError> {
    let value: Option<String> = cell(row, index)?;
    value.ok_or_else(|| garbage(&format!("a tag's or group's {what} is NULL")))
}
