//! The embedded cluster and the demo command, as a person meets them.

#[path = "../support/mod.rs"]
mod support;

mod cluster;
mod command;
mod process;
mod readme;
