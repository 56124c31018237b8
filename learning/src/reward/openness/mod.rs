//! How closed-ended a question is: P(its answers are of two levels, right and wrong, and not of all qualities).
//!
//! Invariant: plain numbers, no tensor; what is known of a question is a function of the events that are remembered.

mod bits;
mod comparisons;
mod config;
mod decide;
mod estimator;
mod event;
mod evidence;
mod explain;
mod gate;
mod learned;
mod memory;
pub mod moments;
pub mod spike_slab;
mod state;
mod vote_entropy;

pub use config::OpennessConfig;
pub use decide::{CLOSED_TAG, Closedness, OPEN_TAG, Origin, declared};
pub use estimator::Openness;
pub use evidence::{Basis, Figures};
pub use explain::Explanation;
pub use vote_entropy::vote_entropy;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
