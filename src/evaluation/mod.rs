//! How good answers and rewards are, on questions that nobody learned from.
//!
//! Invariant: questions are the units of every error, since answers to one question resemble each other; the same questions,
//! seed and weights give the same figures.

pub mod answers;
pub mod divergence;
pub mod diversity;
pub mod estimate;
pub mod gold;
pub mod heard;
pub mod judge;
pub mod length_control;
pub mod perplexity;
pub mod picture;
pub mod report;
pub mod reward_accuracy;
pub mod scored;
#[cfg(test)]
mod tests;
pub mod win_rate;

pub use answers::{Answers, ask};
pub use estimate::Estimate;
pub use gold::{Evaluation, Example, Plan, difference, evaluate};
