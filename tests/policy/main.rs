//! View files against a real PostgreSQL: what is installed, who reads what, what is refused.

#[path = "../support/mod.rs"]
mod support;

mod apply;
