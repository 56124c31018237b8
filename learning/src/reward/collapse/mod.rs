//! Reward collapse: where the prompt-aware loss must end, and how far a model has gone there.
//!
//! Invariant: plain f64 numbers in, plain numbers out; only the experiment touches a network.
//!
//! On a strict order of K answers an interpolating network maximises Σ U(r_i − r_j) alone, so the utility U (and K) fixes
//! the rewards whatever the prompt was: Song, Cai, Lee, Su 2023 (arXiv 2305.17608).

mod beta;
mod box_newton;
pub mod experiment;
pub mod law;
pub mod monitor;
mod null;
mod nystrom;
pub mod optimum;
pub mod picture;
mod report;
pub mod wasserstein;

#[cfg(test)]
mod experiment_tests;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod monitor_tests;

pub use experiment::{Experiment, Outcome};
pub use law::{Law, law, w1_to_law};
pub use monitor::{Monitor, Probe, TrainProbe};
pub use null::{Null, permutation_null};
pub use optimum::{Optimum, dial_optimum, optimum, optimum_of_pairs};
pub use picture::{Between, Picture, Prompt, picture};
pub use report::{COMMON, CollapseReport, DISTINCT, FITTED, Figures, MERGED, MISSING};
pub use wasserstein::{Curve, barycentre, w1};
