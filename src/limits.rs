//! Every bound of the system, in one place. Nothing in Rowgate grows without one.

use serde::Deserialize;
use std::time::Duration;

/// The bounds. `[limits]` of `rowgate.toml` sets any of them; the defaults are below.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Longest SQL text, in bytes.
    pub sql_bytes_max: usize,
    /// Most tokens in one statement.
    pub sql_tokens_max: usize,
    /// Deepest nesting of parentheses, subqueries, CASE and comments.
    pub sql_depth_max: usize,
    /// Most operators chained in one statement (a left-deep tree is as deep as its chain is long).
    pub sql_operators_max: usize,
    /// Most statements in one simple query.
    pub statements_max: usize,
    /// Most bind parameters.
    pub parameters_max: usize,
    /// Largest frame a client may send after login, in bytes.
    pub frame_bytes_max: usize,
    /// Largest frame before login, in bytes.
    pub startup_bytes_max: usize,
    /// Most messages, and `batch_bytes_max` bytes, a client may pipeline before a Sync or Flush.
    pub batch_messages_max: usize,
    /// See `batch_messages_max`.
    pub batch_bytes_max: usize,
    /// Most prepared statements one session may hold.
    pub statements_per_session_max: usize,
    /// Most portals and cursors one session may have open.
    pub portals_per_session_max: usize,
    /// Most savepoints in one transaction.
    pub savepoints_max: usize,
    /// Most simultaneous client connections.
    pub clients_max: usize,
    /// Most connections beyond `clients_max`, which are served only if they bring a cancel request.
    pub cancels_max: usize,
    /// Threads that serve clients; 0 = half as many as there are processors. SQL that was not seen before is read on
    /// others.
    pub worker_threads: usize,
    /// Time from accept to the end of login, in milliseconds.
    pub login_ms_max: u64,
    /// How long a session may hold an upstream connection without sending anything, in milliseconds
    /// (an idle transaction, or a pipeline without Sync).
    pub idle_in_transaction_ms_max: u64,
    /// How long a client may take to accept bytes we send, in milliseconds.
    pub client_write_ms_max: u64,
    /// Most rows one request may return; 0 = no limit.
    pub rows_max: u64,
    /// Most bytes one request may return; 0 = no limit.
    pub result_bytes_max: u64,
    /// `statement_timeout` of the upstream session, in milliseconds.
    pub statement_ms_max: u64,
    /// How long a database that says nothing is waited for beyond `statement_ms_max`, in milliseconds; then the
    /// statement ends as if the connection were lost.
    pub grace_ms_max: u64,
    /// `lock_timeout` of the upstream session, in milliseconds.
    pub lock_ms_max: u64,
    /// Rewrites kept in the cache.
    pub rewrites_max: u64,
    /// Prepared statements kept on one upstream connection.
    pub prepared_per_connection_max: usize,
    /// Records the audit queue holds.
    pub audit_queue_max: usize,
    /// How long a request waits for its audit record to be written, in milliseconds.
    pub audit_ms_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sql_bytes_max: 128 * 1024,
            sql_tokens_max: 20_000,
            sql_depth_max: 60,
            sql_operators_max: 500,
            statements_max: 200,
            parameters_max: 2_000,
            frame_bytes_max: 16 * 1024 * 1024,
            startup_bytes_max: 10_000,
            batch_messages_max: 4_096,
            batch_bytes_max: 32 * 1024 * 1024,
            statements_per_session_max: 1_000,
            portals_per_session_max: 100,
            savepoints_max: 10_000,
            clients_max: 5_000,
            cancels_max: 16,
            worker_threads: 0,
            login_ms_max: 15_000,
            idle_in_transaction_ms_max: 300_000,
            client_write_ms_max: 300_000,
            rows_max: 0,
            result_bytes_max: 0,
            statement_ms_max: 60_000,
            grace_ms_max: 10_000,
            lock_ms_max: 5_000,
            rewrites_max: 10_000,
            prepared_per_connection_max: 500,
            audit_queue_max: 10_000,
            audit_ms_max: 5_000,
        }
    }
}

impl Limits {
    /// [`Limits::login_ms_max`] as a duration.
    pub fn login(&self) -> Duration {
        Duration::from_millis(self.login_ms_max)
    }
}
