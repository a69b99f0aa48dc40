//! The attacks, as data: each file of this folder is a class of them, each case says what must happen
//! and what must not be seen. They run
//!
//! - against a naive rewriter that only prepends the filtered CTEs ([`naive`]): a case that does it no
//!   harm proves nothing and has to say why it is kept;
//! - against `sql::admit`, without a server;
//! - through a running gate, by both protocols and in every enforcement mode.
//!
//! A found hole becomes a case for good; no case is ever deleted.

mod case;
mod gate;
mod grants;
mod naive;
mod pure;
#[path = "../support/mod.rs"]
mod support;
mod wire;
