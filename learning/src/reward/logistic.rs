//! The logistic function of plain numbers, and its integral.
//!
//! Invariant: finite numbers give finite numbers, without overflow; [`sigmoid`] stays in `[0, 1]`.

/// 1 / (1 + e^{−x}).
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// ln(1 + e^x) = −ln σ(−x).
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}
