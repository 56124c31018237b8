//! New questions from the Stack Exchange API (version 2.3), politely and without losing or repeating one.
//!
//! Invariant: what was fetched is on disk before the place in the stream moves; one request at a time, never faster than
//! the configured rate, never before the API said, never below the reserve of the quota.

mod answer;
mod feed;
mod manners;
mod metric;
mod poller;
mod polls;
#[cfg(test)]
mod polls_tests;
#[cfg(test)]
pub(crate) mod server;
#[cfg(test)]
mod tests;
mod web;

pub use feed::{Feed, FeedReader, forget_authors};
pub use metric::*;
pub use poller::{Halt, Poller, Polling};
pub use polls::Polls;
pub use web::{Transport, Web};

/// Tells the time and waits; tests have one of their own.
pub trait Clock: Send {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
    /// Waits; `false` when it is time to end.
    fn wait(&self, ms: u64) -> bool;
}

/// The newest state of a poller, for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// Questions on disk.
    pub questions: u64,
    /// What the API says is left of today's requests.
    pub quota_remaining: Option<u64>,
    /// Requests since it was opened.
    pub requests: u64,
    /// Those that were not answered, or with an error.
    pub errors: u64,
    /// New questions since it was opened.
    pub fetched: u64,
}
