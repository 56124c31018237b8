//! Proximal policy optimisation for language models.
//!
//! Invariant: masks say what counts (true = a sampled token); shapes are `[B, T]` tables or `[N]` ragged rows laid end
//! to end; the formulas are pure functions in the files beside this one and know nothing of models.

pub mod advantage;
pub mod config;
pub mod correction;
pub mod experience;
mod guard;
pub mod kl;
pub mod kl_control;
mod learner;
pub mod loss;
mod report;
pub mod reward;
pub mod score;
pub mod staleness;
pub mod stats;
mod units;
mod update;
pub mod whiten;

pub use config::PpoConfig;
pub use guard::{GoneBad, GuardConfig, Rollback};
pub use learner::PpoLearner;
pub use report::{Dropped, Outcome, PpoReport};
pub use update::{Phase, Progress, Update};

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
