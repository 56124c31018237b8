//! The four seams at which a second machine will join: generating, the feedback log, publishing weights, and learning
//! in a group. Each has its in-process form, which the actors use today.
//!
//! Invariant: what crosses a seam is serialisable and carries ids, the policy version and an idempotency key. Behaviour
//! log-probabilities always come from the engine that sampled.

mod engine;
mod log;
mod publisher;
mod train_group;

pub use engine::{EngineRefusal, GenerateRequest, Generated, GeneratedAnswer, LocalEngine, RolloutEngine};
pub use log::{DurableFeedback, FeedbackLog, LogError, LogReply, StoreLog};
pub(crate) use log::{decode_feedback, encode_feedback, feedback_key};
pub(crate) use publisher::highest_published;
pub use publisher::{LocalPublisher, PolicySnapshot, PublishError, WeightPublisher};
pub use train_group::{Alone, GroupError, TrainGroup};
