//! `RewardActor`: scores answers and learns from what people say of them.
//!
//! Invariant: scoring goes before extra learning, but what people said is heard and learned from after a bounded number
//! of groups; scores wait for the learner only while its port is full, and feedback does not wait with them.

mod custody;
mod hearing;
mod in_step;
mod job;
mod journal;
mod judging;
mod metric;
mod mind;
#[cfg(test)]
mod mind_tests;
mod probes;
mod rebuild;
#[cfg(test)]
mod rebuild_tests;
mod replay;
mod saved;
mod watch;
mod wording;

use understudy_learning::LearnerState;
use understudy_learning::stages::RewardVersion;

use crate::worker::Worker;

pub use hearing::HearingConfig;
pub use job::RewardJob;
pub use judging::{JudgeRequest, Judged};
pub use metric::*;
pub use mind::{Judge, MindError};
pub(crate) use mind::{Mind, MindParts};
pub use rebuild::{AnchorMarks, Anchors};
pub(crate) use wording::Wording;

/// The actor.
pub type RewardActor = Worker<RewardJob>;

/// What the actor gives for a checkpoint.
#[derive(Debug)]
pub struct RewardState {
    /// The learner's tensors and scalars, and what was heard.
    pub learner: LearnerState,
    /// The reward model's version.
    pub version: RewardVersion,
    /// The journal sequence up to which feedback is in it.
    pub up_to: u64,
    /// The journal sequence up to which what was taken back is not in it.
    pub clean_up_to: u64,
}

/// What others may see of the actor.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct RewardView {
    /// The reward model's version.
    pub version: RewardVersion,
    /// The journal sequence up to which feedback was heard.
    pub up_to: u64,
    /// Events heard since the beginning.
    pub heard: u64,
    /// Events in the replay.
    pub replay: usize,
    /// Whether it is learned anew without something that was taken back.
    pub rebuilding: bool,
    /// Share of two-way questions foretold rightly, recently.
    pub accuracy: Option<f64>,
    /// Log-loss of the same predictions.
    pub log_loss: Option<f64>,
    /// Their calibration error.
    pub calibration_error: Option<f64>,
    /// Seconds from the newest learned rating's arrival to the end of its first minibatch.
    pub heard_to_learned_s: Option<f64>,
    /// 1 − d_types / d_want: 0 is healthy, 1 is collapsed.
    pub collapse_index: Option<f64>,
    /// Distance between the rewards of closed-ended and open-ended questions.
    pub d_types: Option<f64>,
    /// The same distance where the loss ends.
    pub d_want: Option<f64>,
}
