//! One type a stage: `Question` → `Prompt` → `Rollout` → `ScoredRollout`, and `Feedback` beside them.
//!
//! Invariant: these are plain values. No tensor, no lock, no channel and no "not yet" lives in them, so that each can
//! be written to disk, compared and sent between threads.

mod feedback;
mod links;
mod question;
mod rollout;

pub use feedback::{Feedback, FeedbackError, FeedbackKind};
pub use links::without_targets;
pub use question::{Author, Question};
pub use rollout::{
    AnswerId, Finish, PolicyVersion, Prompt, RewardVersion, Rollout, Sampling, ScoredRollout, TrunkStates, VersionSpan,
};
