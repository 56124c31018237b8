//! Proximal policy optimisation for language models.
//!
//! Invariant: masks say what counts (true = a sampled token); shapes are `[B, T]` tables or `[N]` ragged rows laid end
//! to end; the formulas are pure functions in the files beside this one and know nothing of models.

pub mod advantage;
pub mod correction;
pub mod kl;
pub mod kl_control;
pub mod loss;
pub mod reward;
pub mod score;
pub mod staleness;
pub mod stats;
pub mod whiten;

#[cfg(test)]
mod golden;
