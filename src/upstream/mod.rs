//! The database side: a bounded pool of raw connections, and frames relayed from them to the client.
//!
//! What is sent is a [`crate::sql::VerifiedQuery`] or one of this module's own constant texts; no
//! function here takes SQL from anywhere else. Rows are never decoded: frames are cut at their headers
//! and passed on as they are (PostgreSQL manual, section 55.7).

mod binding;
mod cancel;
mod close;
mod command;
mod connection;
mod description;
mod encode;
mod errors;
mod frames;
mod in_force;
mod login;
mod ping;
mod pool;
mod received;
mod registry;
mod relay;
mod rows;
mod script;
mod stream;
mod wrapped;

pub use cancel::{CancelKey, CancelSlot};
pub use command::{CursorCommand, Setting, TransactionCommand};
pub use connection::{Connection, StatementName};
pub use description::Shape;
pub use encode::Binding;
pub use errors::UpstreamError;
pub use login::Target;
pub use ping::ping;
pub use pool::{Lease, Pool, PoolOptions, Usage};
pub use received::Received;
pub use registry::{Registration, Registry};
pub use relay::{Bounds, Downstream, Failure, Gate, RelayEnd, relay};
pub use rows::{Broken, Column, Frame, Row, cut};
pub use script::{Request, Script};
