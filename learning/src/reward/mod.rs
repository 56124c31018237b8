//! The reward model: what people say of answers becomes one number an answer.
//!
//! Invariant: one score per answer. Every kind of feedback is a likelihood term of it, and every event is foretold
//! before it is learned from.

pub mod bradley_terry;
pub mod calibration;
pub mod normalise;
pub mod ordinal;
pub mod prompt_aware;
pub mod thumbs;
pub mod utility;
pub mod weak_order;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod gradcheck;

pub use calibration::{Prequential, PrequentialStats};
