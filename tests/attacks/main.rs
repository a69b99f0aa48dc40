//! The attacks, as data: each file of this folder is a class of them, each case says what must happen
//! and what must not be seen. They run
//!
//! - against a naive rewriter that only prepends the filtered CTEs ([`naive`]): a case that does it no
//!   harm proves nothing and has to say why it is kept;
//! - against `sql::admit`, without a server;
//! - through a running gate, by both protocols and in every enforcement mode.
//!
//! A found hole becomes a case for good; no case is ever deleted.

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

mod case;
mod gate;
mod grants;
mod naive;
mod pure;
#[path = "../support/mod.rs"]
mod support;
mod wire;
