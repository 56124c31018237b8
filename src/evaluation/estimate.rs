//! A number with its error.
//!
//! Invariant: no number without an error; what was measured once has an error of 0, never none.

use serde::{Deserialize, Serialize};

/// A mean with its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error; 0 with fewer than two values.
    pub standard_error: f64,
}

impl Estimate {
    /// Of independent values.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n.max(1.0);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let standard_error = if values.len() < 2 { 0.0 } else { (squares / (n - 1.0) / n).sqrt() };
        Self { mean, standard_error }
    }
}

#[cfg(test)]
mod tests {
    use super::Estimate;

    #[test]
    fn the_standard_error_of_a_hand_made_case() {
        // Mean 2; squares 1 + 0 + 1 = 2; variance 1; error sqrt(1/3).
        let estimate = Estimate::of(&[1.0, 2.0, 3.0]);
        assert_eq!(estimate.mean, 2.0);
        assert!((estimate.standard_error - (1.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(Estimate::of(&[5.0]), Estimate { mean: 5.0, standard_error: 0.0 });
        assert_eq!(Estimate::of(&[]), Estimate { mean: 0.0, standard_error: 0.0 });
    }
}
