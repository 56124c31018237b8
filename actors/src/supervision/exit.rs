//! How incarnations and actors end.
//!
//! Invariant: every incarnation ends in exactly one `Exit`, every supervised actor in exactly one `Verdict`.

use std::time::Duration;

use super::in_hand::Held;

/// How one incarnation ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Exit {
    /// It had nothing more to do.
    #[error("finished")]
    Finished,
    /// It said why it cannot go on, or stopped without a verdict.
    #[error("failed: {0}")]
    Failed(String),
    /// It panicked.
    #[error("panicked: {0}")]
    Panicked(String),
    /// A unit of work took longer than its budget.
    #[error("stuck in '{unit}' for {after:?}")]
    Stuck {
        /// The unit's name.
        unit: String,
        /// How long it had worked without a mark.
        after: Duration,
    },
}

impl Exit {
    /// The word in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed(_) => "failed",
            Self::Panicked(_) => "panicked",
            Self::Stuck { .. } => "stuck",
        }
    }
}

/// How a supervised actor ended, for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Verdict {
    /// It had nothing more to do.
    #[error("finished")]
    Finished,
    /// It was told to stop and did.
    #[error("stopped ({0})")]
    Stopped(
        /// How the last incarnation ended.
        Exit,
    ),
    /// It could not be kept alive.
    #[error("gave up after {restarts} restarts: {last}")]
    GaveUp {
        /// Restarts in all.
        restarts: u64,
        /// How the last incarnation ended.
        last: Exit,
    },
}

impl Verdict {
    /// Whether the daemon must end with an error because of it.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::GaveUp { .. })
    }
}

/// One incarnation's end that was not wished for.
#[derive(Debug, Clone)]
pub struct Crash {
    /// The actor.
    pub actor: &'static str,
    /// Which incarnation, from 0.
    pub incarnation: u64,
    /// How it ended.
    pub exit: Exit,
    /// What it was working on: lost, and to be looked at.
    pub in_hand: Vec<Held>,
}
