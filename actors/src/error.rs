//! What can go wrong with actors as machinery.
//!
//! Invariant: each message names the thing, the value and the remedy; faults of a model, a file or a rating have their
//! own errors in the crates below.

use std::time::Duration;

/// A fault of the machinery.
#[derive(Debug, thiserror::Error)]
pub enum ActorError {
    /// A dedicated thread could not be started.
    #[error("the thread for '{name}' could not be started: {cause}; raise the limit of processes (ulimit -u)")]
    Thread {
        /// The place's name.
        name: &'static str,
        /// What the system said.
        cause: String,
    },
    /// A dedicated thread did not end in time.
    #[error("the thread '{name}' did not end within {waited:?}; a unit of work on it is too long or hangs")]
    ThreadKeptOn {
        /// The place's name.
        name: &'static str,
        /// How long was waited.
        waited: Duration,
    },
    /// A fail point's rule that cannot be read.
    #[error(
        "fail point rule '{0}' is not NAME=panic|error|delay:MS, with @N, @N+ or %N behind it for the hits it means"
    )]
    FailpointRule(String),
}
