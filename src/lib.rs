//! Rowgate: the gate an AI agent's SQL goes through.
//!
//! ```text
//! client -> wire -> session -> gateway -> identity/provider   who asks?         Principal
//!                                      -> policy              what may they see? Grants
//!                                      -> sql                 what did they ask? VerifiedQuery | Refusal
//!                                      -> audit               one record, before the first row leaves
//!                                      -> upstream            run it, relay the rows
//! ```
//!
//! Start reading at [`gateway`]. `ARCHITECTURE.md` has the map and the invariants.

#![forbid(unsafe_code)]

pub mod admin;
pub mod app;
pub mod audit;
mod catalog;
pub mod cli;
pub mod config;
mod control;
pub mod demo;
pub mod error;
pub mod gateway;
pub mod http;
pub mod identity;
pub mod install;
pub mod limits;
pub mod manage;
pub mod metrics;
pub mod ops;
pub mod policy;
pub mod provider;
pub mod query_api;
pub mod session;
pub mod sql;
pub mod telemetry;
pub mod tuples;
pub mod upstream;
pub mod wire;
