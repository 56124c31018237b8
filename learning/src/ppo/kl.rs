//! Estimates of the KL divergence between the policy and the reference from log-probabilities of sampled tokens.
//!
//! Invariant: element-wise. No mask and no mean here, so padding can neither enter nor be forgotten.

use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Which estimator of KL(policy ‖ reference) is used for a token sampled from the policy.
///
/// J. Schulman, "Approximating KL Divergence" (2020), with `k1 = logprob − ref_logprob`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlEstimator {
    /// `k1`: unbiased, may be negative for a token.
    K1,
    /// `k1² / 2`: biased, never negative, its gradient is that of the KL.
    K2,
    /// `e^{−k1} − 1 + k1`: unbiased, never negative.
    K3,
}

/// Bounds that keep one absurd token from ruining a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KlClamp {
    /// The log-ratio is cut to ± this before anything else.
    pub log_ratio: f64,
    /// The estimate is cut to ± this.
    pub estimate: f64,
}

impl KlClamp {
    /// The public implementations' usual bounds: ±20 on the log-ratio, ±10 on the estimate.
    pub const USUAL: Self = Self { log_ratio: 20.0, estimate: 10.0 };
    /// No bounds.
    pub const NONE: Self = Self { log_ratio: f64::INFINITY, estimate: f64::INFINITY };
}

/// Per-token estimate of the KL divergence, any shape, differentiable.
///
/// Of the three only `k2` has the right gradient when used as a loss; see [`straight_through_k3`].
pub fn estimate_kl(logprobs: &Tensor, ref_logprobs: &Tensor, estimator: KlEstimator, clamp: KlClamp) -> Tensor {
    let k1 = (logprobs - ref_logprobs).clamp(-clamp.log_ratio, clamp.log_ratio);
    let estimate = match estimator {
        KlEstimator::K1 => k1,
        KlEstimator::K2 => k1.square() * 0.5,
        KlEstimator::K3 => (-&k1).expm1() + k1,
    };
    estimate.clamp(-clamp.estimate, clamp.estimate)
}

/// `k3` as the value, `k2` as the gradient: `k2 − sg(k2) + sg(k3)`.
///
/// The gradient of `k3` at a sampled token is not that of the KL divergence; that of `k2`, in expectation, is.
pub fn straight_through_k3(logprobs: &Tensor, ref_logprobs: &Tensor, clamp: KlClamp) -> Tensor {
    let k2 = estimate_kl(logprobs, ref_logprobs, KlEstimator::K2, clamp);
    let k3 = estimate_kl(logprobs, ref_logprobs, KlEstimator::K3, clamp).detach();
    &k2 - k2.detach() + k3
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    fn at(k1: f64, estimator: KlEstimator, clamp: KlClamp) -> f64 {
        estimate_kl(&Tensor::from(k1), &Tensor::from(0f64), estimator, clamp).double_value(&[])
    }

    #[test]
    fn estimators_are_their_formulas_inside_the_clamps() {
        for k1 in [-3.0f64, -0.1, 0.0, 0.7, 5.0] {
            let wanted = [k1, k1 * k1 / 2.0, (-k1).exp() - 1.0 + k1];
            for (estimator, wanted) in [KlEstimator::K1, KlEstimator::K2, KlEstimator::K3].into_iter().zip(wanted) {
                assert!((at(k1, estimator, KlClamp::NONE) - wanted).abs() < 1e-12, "{estimator:?} {k1}");
            }
        }
    }

    #[test]
    fn clamps_bound_the_log_ratio_at_20_and_the_estimate_at_10() {
        assert_eq!(at(400.0, KlEstimator::K1, KlClamp::USUAL), 10.0);
        assert_eq!(at(-400.0, KlEstimator::K1, KlClamp::USUAL), -10.0);
        assert_eq!(at(400.0, KlEstimator::K2, KlClamp { estimate: f64::INFINITY, ..KlClamp::USUAL }), 200.0);
        assert_eq!(at(-800.0, KlEstimator::K3, KlClamp::USUAL), 10.0);
    }

    /// Expected gradient over all ten actions of `value(logprobs, ref)`, weighted by the policy's own probabilities.
    fn expected_gradient(value: impl Fn(&Tensor, &Tensor) -> Tensor) -> Tensor {
        let (logits, reference) = ten_way();
        let logprobs = logits.log_softmax(-1, Kind::Double);
        (logprobs.exp().detach() * value(&logprobs, &reference)).sum(Kind::Double).backward();
        logits.grad()
    }

    fn ten_way() -> (Tensor, Tensor) {
        let number = |i: i64, k: f64| ((i as f64 + 1.0) * k).sin();
        let logits: Vec<f64> = (0..10).map(|i| number(i, 1.7)).collect();
        let reference: Vec<f64> = (0..10).map(|i| number(i, 0.6)).collect();
        let reference = Tensor::from_slice(&reference).log_softmax(-1, Kind::Double);
        (Tensor::from_slice(&logits).set_requires_grad(true), reference)
    }

    #[test]
    fn straight_through_k3_has_the_exact_gradient_of_the_divergence_and_plain_k3_has_not() {
        let (logits, reference) = ten_way();
        let logprobs = logits.log_softmax(-1, Kind::Double);
        (logprobs.exp() * (&logprobs - &reference)).sum(Kind::Double).backward();
        let exact = logits.grad();
        let through = expected_gradient(|p, q| straight_through_k3(p, q, KlClamp::NONE));
        assert!((&through - &exact).abs().max().double_value(&[]) < 1e-12);
        let plain = expected_gradient(|p, q| estimate_kl(p, q, KlEstimator::K3, KlClamp::NONE));
        assert!((&plain - &exact).abs().max().double_value(&[]) > 1e-2);
        let value = straight_through_k3(&logprobs, &reference, KlClamp::NONE);
        let k3 = estimate_kl(&logprobs, &reference, KlEstimator::K3, KlClamp::NONE);
        assert!((value - k3).abs().max().double_value(&[]) < 1e-14);
    }
}
