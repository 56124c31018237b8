//! The reward model: what people say of answers becomes one number an answer.
//!
//! Invariant: one score per answer. Every kind of feedback is a likelihood term of it, and every event is foretold
//! before it is learned from.

pub mod calibration;
pub mod collapse;
mod config;
pub mod drift;
mod epistemic;
mod foretell;
mod known;
mod likelihood;
pub mod logistic;
pub mod losses;
mod model;
pub mod normalise;
mod objective;
pub mod openness;
pub mod reliability;
pub mod replay;
mod said;
mod terms;
mod update;

#[cfg(test)]
mod incremental_tests;
#[cfg(test)]
mod objective_tests;
#[cfg(test)]
mod population_tests;
#[cfg(test)]
mod tests;

pub use calibration::{Outcome, Prequential, PrequentialStats, Summary};
pub use config::{HeadStart, Readout, RewardConfig, UtilityChoice};
pub use normalise::Normalisation;
pub use reliability::{AnnotatorReport, ReliabilityConfig, Standing};
pub use terms::{RewardExample, edited_id};
pub use update::{RewardLearner, RewardReport, RewardScore};
