//! Weights for tokens that another policy sampled: `w = f(e^{prox − behave})`, never differentiated.
//!
//! Invariant: where the policy at the start of the update is the one that sampled, every weight is 1 and the loss is
//! plain PPO.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::whiten::zero_outside;

/// What is done with `w = e^{prox − behave}`, a token's probability at the start of the update over that when sampled.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Correction {
    /// Every token weighs 1, whoever sampled it.
    None,
    /// `w` cut to `low ..= high` (truncated importance sampling).
    Truncate {
        /// Least weight.
        low: f64,
        /// Greatest weight.
        high: f64,
    },
    /// `w` where it lies in `low ..= high`, else the token counts for nothing ("icepop").
    MaskTokens {
        /// Least weight that counts.
        low: f64,
        /// Greatest weight that counts.
        high: f64,
    },
    /// `w` in sequences whose geometric mean of `w` lies in `low ..= high`; other sequences count for nothing.
    MaskSequences {
        /// Least mean that counts.
        low: f64,
        /// Greatest mean that counts.
        high: f64,
    },
}

/// `[B, T]` detached weights, 0 where `mask` (true = sampled token) is false.
///
/// `behave_logprobs` are those of the FULL softmax at the sampling temperature. A generator that cut the support
/// reports `ln(p/S)` with `S` the kept mass; see [`full_softmax`].
pub fn weights(prox_logprobs: &Tensor, behave_logprobs: &Tensor, mask: &Tensor, correction: Correction) -> Tensor {
    let log_ratio = zero_outside(&(prox_logprobs - behave_logprobs), mask).clamp(-20.0, 20.0).detach();
    let weight = log_ratio.exp();
    let kept = match correction {
        Correction::None => weight.ones_like(),
        Correction::Truncate { low, high } => weight.clamp(low, high),
        Correction::MaskTokens { low, high } => {
            let inside = weight.ge(low).logical_and(&weight.le(high));
            zero_outside(&weight, &inside)
        }
        Correction::MaskSequences { low, high } => {
            let lengths = mask.sum_dim_intlist([1i64].as_slice(), true, weight.kind()).clamp_min(1.0);
            let mean = (log_ratio.sum_dim_intlist([1i64].as_slice(), true, weight.kind()) / lengths).exp();
            zero_outside(&weight, &mean.ge(low).logical_and(&mean.le(high)).expand_as(&weight))
        }
    };
    zero_outside(&kept, mask)
}

/// The behaviour policy's log-probability in the full softmax: `ln(p/S) + ln S = ln p`.
///
/// Sampling with top-k, top-p or min-p draws from `p` renormalised over a kept support of mass `S`, and that is the
/// log-probability which the generator reports. The learner's log-probabilities are of the full softmax. Compared as
/// they are, every ratio would be multiplied by `S` even with unchanged weights; on the same footing it is exactly 1.
pub fn full_softmax(old_logprob: f32, kept_mass: f32) -> f32 {
    old_logprob + kept_mass.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ppo::loss::{PolicyClip, policy_loss};

    fn table(numbers: &[f64]) -> Tensor {
        Tensor::from_slice(numbers).reshape([2, -1])
    }

    fn run(weights_wanted: &[f64], correction: Correction) {
        // Row 0: w = 0.4, 1, 4; row 1: w = 1.2, 1.1 and padding.
        let ln = |w: f64| w.ln();
        let prox = table(&[ln(0.4), 0.0, ln(4.0), ln(1.2), ln(1.1), f64::NAN]);
        let mask = Tensor::from_slice(&[true, true, true, true, true, false]).reshape([2, 3]);
        let found = weights(&prox, &prox.zeros_like(), &mask, correction).reshape([-1]);
        let found = Vec::<f64>::try_from(found).unwrap();
        assert!(found.iter().zip(weights_wanted).all(|(f, w)| (f - w).abs() < 1e-12), "{correction:?} {found:?}");
    }

    #[test]
    fn truncation_cuts_masking_drops_and_sequences_drop_together() {
        run(&[1.0, 1.0, 1.0, 1.0, 1.0, 0.0], Correction::None);
        run(&[0.5, 1.0, 2.0, 1.2, 1.1, 0.0], Correction::Truncate { low: 0.5, high: 2.0 });
        run(&[0.0, 1.0, 0.0, 1.2, 1.1, 0.0], Correction::MaskTokens { low: 0.5, high: 2.0 });
        // Geometric means: (0.4·1·4)^{1/3} = 1.17 and (1.2·1.1)^{1/2} = 1.149.
        run(&[0.0, 0.0, 0.0, 1.2, 1.1, 0.0], Correction::MaskSequences { low: 0.9, high: 1.16 });
    }

    #[test]
    fn decoupled_ppo_is_plain_ppo_where_the_sampler_is_the_proximal_policy() {
        let (prox, now) = (table(&[-1.0, -2.0, -0.5, -3.0]), table(&[-0.8, -2.5, -0.5, -2.0]));
        let advantages = table(&[1.0, -1.0, 2.0, 0.3]);
        let mask = prox.ones_like().to_kind(tch::Kind::Bool);
        let clip = PolicyClip { low: 0.2, high: 0.2, dual: None };
        let plain = policy_loss(&now, &prox, &advantages, clip);
        let weight = weights(&prox, &prox, &mask, Correction::Truncate { low: 0.0, high: 2.0 });
        assert_eq!((plain.copy() * weight - plain).abs().max().double_value(&[]), 0.0);
    }

    #[test]
    fn a_cut_support_does_not_enter_the_ratio() {
        let (p, kept) = (0.3f32, 0.9f32);
        let reported = (p / kept).ln();
        assert!((full_softmax(reported, kept) - p.ln()).abs() < 1e-6);
        // The mistake that this guards against: a ratio of S with unchanged weights.
        assert!(((p.ln() - reported).exp() - 0.9).abs() < 1e-6);
    }
}
