//! The program: command line, configuration, question sources, HTTP, telemetry.
//!
//! Invariant: decisions about learning live in `understudy-learning`, decisions about when in `understudy-actors`; here
//! is only what connects them to the outside.

pub mod assembly;
pub mod bell;
pub mod cli;
pub mod clock;
pub mod config;
pub mod corpus;
pub mod cuda;
pub mod evaluation;
pub mod failure;
#[doc(hidden)]
pub mod fuzz;
pub mod gateway;
pub mod markdown;
pub mod notes;
pub mod observer;
pub mod phases;
pub mod plot;
pub mod preferences;
pub mod resources;
pub mod service;
pub mod signals;
pub mod sources;
pub mod speaker;
pub mod tasks;
pub mod telemetry;
pub mod view;
