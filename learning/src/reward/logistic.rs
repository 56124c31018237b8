//! The logistic function of plain numbers.
//!
//! Invariant: finite numbers give a number in `[0, 1]`, without overflow.

/// 1 / (1 + e^{−x}).
pub(in crate::reward) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
