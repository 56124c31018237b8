//! What is learned: rewards, advantages, losses, updates.
//!
//! Invariant: pure. Nothing here sees a clock, a thread, a socket, a file or actix; time, randomness and paths are
//! arguments.

pub mod annotators;
mod batches;
pub mod error;
pub mod gold;
pub mod optimiser;
pub mod ppo;
pub mod reward;
pub mod schedule;
pub mod sft;
pub mod stages;
pub mod state;
pub mod tensors;

pub use error::LearningError;
pub use state::LearnerState;
pub use understudy_model::rng;
