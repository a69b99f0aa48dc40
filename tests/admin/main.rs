//! Managing permissions over HTTP and by command, against the real program and database, with curl.

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

mod changes;
mod commands;
mod definitions;
mod door;
mod gate;
mod listener;
#[path = "../support/mod.rs"]
mod support;
