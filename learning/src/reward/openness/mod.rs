//! How closed-ended a question is: P(its answers are of two levels, right and wrong, and not of all qualities).
//!
//! Invariant: plain numbers, no tensor; what is known of a question is a function of the events that are remembered.

pub mod moments;
pub mod spike_slab;
mod vote_entropy;

pub use vote_entropy::vote_entropy;

#[cfg(test)]
mod fixtures;
