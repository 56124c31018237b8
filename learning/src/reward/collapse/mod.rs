//! Reward collapse: where the prompt-aware loss must end, and how far a model has gone there.
//!
//! Invariant: plain f64 numbers in, plain numbers out; only the experiment touches a network.
//!
//! On a strict order of K answers an interpolating network maximises Σ U(r_i − r_j) alone, so the utility U (and K) fixes
//! the rewards whatever the prompt was: Song, Cai, Lee, Su 2023 (arXiv 2305.17608).

mod beta;
mod box_newton;
pub mod law;
mod nystrom;
pub mod optimum;
pub mod wasserstein;

#[cfg(test)]
mod fixtures;

pub use law::{Law, law, w1_to_law};
pub use optimum::{Optimum, dial_optimum, optimum, optimum_of_pairs};
pub use wasserstein::{Curve, barycentre, w1};
