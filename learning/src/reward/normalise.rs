//! Gain and bias that give the reference answers' scores mean 0 and variance 1.
//!
//! Invariant: rising in the raw score (the gain is above 0), so normalising never changes an order.

/// score = gain · z + bias.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalisation {
    /// > 0.
    pub gain: f64,
    /// Added after the gain.
    pub bias: f64,
}

impl Default for Normalisation {
    fn default() -> Self {
        Self { gain: 1.0, bias: 0.0 }
    }
}

/// A spread below this is no spread: dividing by it would blow rounding up into reward.
const LEAST_SPREAD: f64 = 1e-4;

impl Normalisation {
    /// From the raw scores of reference answers: g = σ_target / σ, b = μ_target − g·μ with targets 1 and 0.
    ///
    /// Ziegler et al. 2019 (arXiv 1909.08593), section 2: rewards are normalised on samples of the reference policy
    /// before and after each fit. Fewer than two answers, or answers without spread, give gain 1.
    pub fn from_reference(raw: &[f64]) -> Self {
        let count = raw.len() as f64;
        if raw.is_empty() {
            return Self::default();
        }
        let mean = raw.iter().sum::<f64>() / count;
        let spread = (raw.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / count).sqrt();
        if raw.len() < 2 || spread.is_nan() || spread < LEAST_SPREAD {
            return Self { gain: 1.0, bias: -mean };
        }
        Self { gain: 1.0 / spread, bias: -mean / spread }
    }

    /// gain · z + bias.
    pub fn apply(&self, raw: f64) -> f64 {
        self.gain * raw + self.bias
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_scores_get_mean_0_and_variance_1() {
        let raw = [3.0, 5.0, 4.5, -1.0, 0.25];
        let scores: Vec<f64> = raw.iter().map(|&z| Normalisation::from_reference(&raw).apply(z)).collect();
        let mean = scores.iter().sum::<f64>() / 5.0;
        let variance = scores.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / 5.0;
        assert!(mean.abs() < 1e-12 && (variance - 1.0).abs() < 1e-12, "{mean} {variance}");
    }

    #[test]
    fn without_spread_only_the_mean_is_taken_away() {
        assert_eq!(Normalisation::from_reference(&[2.0, 2.0]), Normalisation { gain: 1.0, bias: -2.0 });
        assert_eq!(Normalisation::from_reference(&[2.0]), Normalisation { gain: 1.0, bias: -2.0 });
        assert_eq!(Normalisation::from_reference(&[]), Normalisation::default());
    }
}
