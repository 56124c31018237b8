//! `Daemon`: builds the Bus, starts all actors under supervision, and ends them in the order of flow.
//!
//! Invariant: a daemon that starts is ready: every model is built and every learner restored, or the start is an error.
//! Ending goes by explicit closes from the edge to the sink, never by the order of drops.

mod config;
mod drain;
#[cfg(test)]
mod fault_kit;
#[cfg(test)]
mod fault_lockstep_tests;
#[cfg(test)]
mod fault_matrix_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod guard_tests;
mod handle;
mod in_step;
#[cfg(test)]
mod in_step_tests;
mod parts;
mod resume;
mod staging;
mod start;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use understudy_checkpoints::StoreError;
use understudy_learning::LearningError;
use understudy_model::ModelError;

use crate::checkpoint::SavedError;
use crate::error::ActorError;
use crate::reward::MindError;
use crate::seams::PublishError;
use crate::supervision::Verdict;

pub use config::{DaemonConfig, Threads};
pub use handle::{ActorStatus, ChatRequest, ChatStream, DaemonHandle, DaemonStatus, LinkStatus};
pub use parts::{BaseModel, DaemonParts};
pub use resume::ResumeReport;
pub use start::Daemon;

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Settings that cannot work together.
    #[error("{0}")]
    Config(String),
    /// Settings of a learner, or a state that does not fit it.
    #[error("{0}")]
    Learning(#[from] LearningError),
    /// The model.
    #[error("{0}")]
    Model(#[from] ModelError),
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A checkpoint.
    #[error("{0}")]
    Checkpoint(#[from] SavedError),
    /// The checkpoints are of another model.
    #[error(
        "what is in '{}' was learned from another model, or with another number of layers that learn; name that one \
         (model.path, model.trainable_layers), or another data directory for this one", .checkpoints.display()
    )]
    OtherModel {
        /// Where they lie.
        checkpoints: PathBuf,
    },
    /// The reward actor's state.
    #[error("{0}")]
    Reward(#[from] MindError),
    /// The published versions.
    #[error("{0}")]
    Publish(#[from] PublishError),
    /// The stage's files.
    #[error("the stage: {0}")]
    Stage(String),
    /// A record of the journal that is not what its kind says.
    #[error("journal record {seq} does not read ({reason}); run `understudy doctor`")]
    Record {
        /// Which.
        seq: u64,
        /// What does not fit.
        reason: String,
    },
    /// A thread.
    #[error("{0}")]
    Actor(#[from] ActorError),
    /// An actor could not be built.
    #[error("the {actor} actor did not start: {verdict}")]
    Actors {
        /// Which.
        actor: &'static str,
        /// How it ended.
        verdict: Verdict,
    },
}
