//! How strongly the policy is held to the reference, and how that strength follows the measured divergence.
//!
//! Invariant: the unit is nats per SEQUENCE (the sum over an answer's tokens, averaged over answers). A target meant
//! per token differs by the mean length of an answer.

/// Largest relative error that one correction acts on.
const ERROR_CLIP: f64 = 0.2;

/// Gives the coefficient β of the KL penalty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KlController {
    /// β stays.
    Fixed {
        /// β.
        coefficient: f64,
    },
    /// β follows the measured divergence. Ziegler et al., "Fine-Tuning Language Models from Human Preferences" (2019),
    /// section 2.2: `β ← β·(1 + clip(KL/target − 1, ±0.2)·n/horizon)`.
    Adaptive {
        /// β now.
        coefficient: f64,
        /// Wanted divergence in nats per sequence.
        target_per_sequence: f64,
        /// Sequences over which a full error changes β by `0.2`.
        horizon: f64,
    },
}

impl KlController {
    /// β.
    pub fn coefficient(&self) -> f64 {
        match self {
            Self::Fixed { coefficient } | Self::Adaptive { coefficient, .. } => *coefficient,
        }
    }

    /// Puts β back to a saved value.
    pub fn set_coefficient(&mut self, value: f64) {
        match self {
            Self::Fixed { coefficient } | Self::Adaptive { coefficient, .. } => *coefficient = value,
        }
    }

    /// Learns that `sequences` answers had a mean divergence of `kl_per_sequence` nats. Ignores what is not finite.
    pub fn observe(&mut self, kl_per_sequence: f64, sequences: usize) {
        if let Self::Adaptive { coefficient, target_per_sequence, horizon } = self
            && kl_per_sequence.is_finite()
        {
            let error = (kl_per_sequence / *target_per_sequence - 1.0).clamp(-ERROR_CLIP, ERROR_CLIP);
            // A batch larger than five horizons could otherwise turn the penalty's sign.
            let share = (sequences as f64 / *horizon).min(1.0);
            *coefficient *= 1.0 + error * share;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coefficient_follows_four_known_measurements() {
        let mut controller = KlController::Adaptive { coefficient: 0.15, target_per_sequence: 6.0, horizon: 10_000.0 };
        for kl in [0.0, 3.0, 20.0, 6.3] {
            controller.observe(kl, 512);
        }
        // By hand: 0.15 · 0.98976² · 1.01024 · 1.00256; eight digits are given.
        assert!((controller.coefficient() - 0.148_828_46).abs() < 5e-9, "{}", controller.coefficient());
    }

    #[test]
    fn the_target_is_per_sequence_so_a_per_token_measurement_would_pull_the_other_way() {
        let start = KlController::Adaptive { coefficient: 1.0, target_per_sequence: 6.0, horizon: 100.0 };
        let (length, per_token) = (17.6, 0.5);
        let (mut sequence, mut token) = (start, start);
        sequence.observe(per_token * length, 10);
        token.observe(per_token, 10);
        assert!(sequence.coefficient() > 1.0 && token.coefficient() < 1.0);
    }

    #[test]
    fn a_fixed_coefficient_stays_and_nonsense_changes_nothing() {
        let mut fixed = KlController::Fixed { coefficient: 0.05 };
        fixed.observe(100.0, 16);
        assert_eq!(fixed.coefficient(), 0.05);
        let mut adaptive = KlController::Adaptive { coefficient: 0.05, target_per_sequence: 6.0, horizon: 10.0 };
        adaptive.observe(f64::NAN, 16);
        assert_eq!(adaptive.coefficient(), 0.05);
        adaptive.observe(0.0, 1_000_000);
        assert!(adaptive.coefficient() > 0.0, "a huge batch cannot turn the sign");
    }
}
