//! Who does it, when, and what happens when it fails: links, supervision, threads, shutdown and the actors themselves.
//!
//! Invariant: actors decide when, the core decides what. Nothing here computes a loss, a reward or a token; nothing here
//! is global: ports, places, fail points and counters are arguments, so a test builds its own universe.

pub mod cancel;
pub mod control;
pub mod error;
pub mod failpoint;
pub mod invariant;
pub mod link;
pub mod metric;
pub mod place;
pub mod runtime;
pub mod supervision;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;

mod locked;
