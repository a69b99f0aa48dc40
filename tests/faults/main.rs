//! The running program when something goes wrong: the database, the disk, the operator's files, and
//! clients that are slow, broken or hostile. What goes wrong for one must stay with that one, no row
//! may escape by it, and when it is over everything works again.
//!
//! Everything here runs `rowgate serve` as its own process, so that its exit code, its log and its memory
//! can be looked at.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "a test fails by panicking, and nobody links against it"
)]

#[path = "../support/mod.rs"]
mod support;
#[path = "../attacks/wire.rs"]
mod wire;

mod audit;
mod cancel;
mod clients;
mod held;
mod posture;
mod program;
mod reload;
mod revoked;
mod tls;
mod upstream;
