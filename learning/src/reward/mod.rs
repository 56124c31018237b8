//! The reward model: what people say of answers becomes one number an answer.
//!
//! Invariant: one score per answer. Every kind of feedback is a likelihood term of it, and every event is foretold
//! before it is learned from.

pub mod bradley_terry;
pub mod calibration;
mod config;
mod foretell;
mod model;
pub mod normalise;
mod objective;
pub mod ordinal;
pub mod prompt_aware;
mod terms;
pub mod thumbs;
mod update;
pub mod utility;
pub mod weak_order;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod gradcheck;
#[cfg(test)]
mod tests;

pub use calibration::{Outcome, Prequential, PrequentialStats, Summary};
pub use config::{HeadStart, Readout, RewardConfig};
pub use normalise::Normalisation;
pub use terms::RewardExample;
pub use update::{RewardLearner, RewardReport, RewardScore};
