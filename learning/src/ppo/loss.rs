//! The clipped losses of policy and value model, per token.
//!
//! Invariant: every function is element-wise; whoever sums divides by the token count of the whole minibatch, the same
//! for policy and value model, so that the gradient does not depend on how a minibatch is cut into micro-batches.

use tch::Tensor;

/// Log-ratios are cut to ± this before `exp`.
const LOG_RATIO_CLAMP: f64 = 20.0;

/// How the policy's ratio is clipped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PolicyClip {
    /// The ratio is not followed below `1 − low`.
    pub low: f64,
    /// The ratio is not followed above `1 + high`; a `high` above `low` is "clip-higher" (Yu et al., DAPO, 2025,
    /// section 3.1).
    pub high: f64,
    /// `c > 1`: where the advantage is negative the loss is at most `−c·A` (Ye et al., 2020, equation 5).
    pub dual: Option<f64>,
}

/// `e^{now − before}`, the log-ratio cut to ±20. Any shape.
pub fn ratio(logprobs: &Tensor, prox_logprobs: &Tensor) -> Tensor {
    (logprobs - prox_logprobs).clamp(-LOG_RATIO_CLAMP, LOG_RATIO_CLAMP).exp()
}

/// `max(−A·ρ, −A·clip(ρ, 1 − low, 1 + high))` for each token, with the dual clip where it is asked for.
///
/// Schulman et al., "Proximal Policy Optimization Algorithms" (2017), equation 7. `prox_logprobs` are those of the
/// policy at the start of the update: the ratio is clipped around them. Who sampled the tokens enters through a weight
/// (see [`super::correction`]), which is decoupled PPO (Hilton et al., 2022, equation 3).
pub fn policy_loss(logprobs: &Tensor, prox_logprobs: &Tensor, advantages: &Tensor, clip: PolicyClip) -> Tensor {
    let ratio = ratio(logprobs, prox_logprobs);
    let clipped = ratio.clamp(1.0 - clip.low, 1.0 + clip.high);
    let loss = (-advantages * ratio).maximum(&(-advantages * clipped));
    match clip.dual {
        None => loss,
        Some(c) => loss.minimum(&(advantages * -c)).where_self(&advantages.lt(0.0), &loss),
    }
}

/// `½·max((V − R)², (clip(V, V_old ± clip) − R)²)` for each state. Any shape.
///
/// The clip keeps the value model within reach of the values that the advantages were made of.
pub fn value_loss(values: &Tensor, old_values: &Tensor, returns: &Tensor, clip: f64) -> Tensor {
    let clipped = old_values + (values - old_values).clamp(-clip, clip);
    (values - returns).square().maximum(&(clipped - returns).square()) * 0.5
}

/// Whether the clipped value was the worse one, and so gave the loss. Boolean, any shape.
pub fn value_is_clipped(values: &Tensor, old_values: &Tensor, returns: &Tensor, clip: f64) -> Tensor {
    let clipped = old_values + (values - old_values).clamp(-clip, clip);
    (clipped - returns).square().gt_tensor(&(values - returns).square())
}

/// Entropy in nats of the softmax of `logits` `[…, V]`: `lse − Σ p·l`, shape `[…]`.
pub fn entropy(logits: &Tensor) -> Tensor {
    let probabilities = logits.softmax(-1, logits.kind());
    logits.logsumexp([-1], false) - (probabilities * logits).sum_dim_intlist([-1].as_slice(), false, logits.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    const PLAIN: PolicyClip = PolicyClip { low: 0.2, high: 0.2, dual: None };

    fn loss_at(ratio: f64, advantage: f64, clip: PolicyClip) -> f64 {
        let t = |x: f64| Tensor::from_slice(&[x]);
        policy_loss(&t(ratio.ln()), &t(0.0), &t(advantage), clip).double_value(&[0])
    }

    fn check(ratio: f64, advantage: f64, clip: PolicyClip, wanted: f64) {
        let have = loss_at(ratio, advantage, clip);
        assert!((have - wanted).abs() < 1e-12, "ratio {ratio} advantage {advantage}: {have}, wanted {wanted}");
    }

    #[test]
    fn the_ratio_is_clipped_only_where_following_it_would_gain() {
        check(1.5, 1.0, PLAIN, -1.2);
        check(0.5, 1.0, PLAIN, -0.5);
        check(1.5, -1.0, PLAIN, 1.5);
        check(0.5, -1.0, PLAIN, 0.8);
        check(1.1, 2.0, PLAIN, -2.2);
    }

    #[test]
    fn clip_higher_gives_room_above_only() {
        let higher = PolicyClip { high: 0.28, ..PLAIN };
        check(1.5, 1.0, higher, -1.28);
        check(0.5, -1.0, higher, 0.8);
    }

    #[test]
    fn the_dual_clip_bounds_the_loss_of_bad_actions_that_became_likely() {
        let dual = PolicyClip { dual: Some(3.0), ..PLAIN };
        check(10.0, -1.0, dual, 3.0);
        check(2.0, -1.0, dual, 2.0);
        check(10.0, 1.0, dual, -1.2);
    }

    #[test]
    fn an_absurd_log_ratio_stays_finite() {
        let t = |x: f32| Tensor::from_slice(&[x]);
        let loss = policy_loss(&t(500.0), &t(-500.0), &t(-1.0), PLAIN).double_value(&[0]);
        assert!((loss / 20f64.exp() - 1.0).abs() < 1e-5, "{loss}");
    }

    #[test]
    fn the_value_loss_takes_the_worse_of_clipped_and_plain() {
        let at = |value: f64, old: f64, target: f64| {
            let t = |x: f64| Tensor::from_slice(&[x]);
            value_loss(&t(value), &t(old), &t(target), 0.2).double_value(&[0])
        };
        // Plain: (1 − 1)² = 0; clipped to 0.2: (0.2 − 1)² = 0.64; half of the greater.
        assert!((at(1.0, 0.0, 1.0) - 0.32).abs() < 1e-12);
        // Moved away from the target: the plain error 2² is the worse.
        assert!((at(-1.0, 0.0, 1.0) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn entropy_is_minus_the_sum_of_p_log_p_and_log_n_for_equal_logits() {
        let logits = Tensor::from_slice(&[0.3f64, -2.0, 1.0, 0.0, 7.0, 7.0, 7.0, 7.0]).reshape([2, 4]);
        let logprobs = logits.log_softmax(-1, Kind::Double);
        let direct = -(logprobs.exp() * &logprobs).sum_dim_intlist([-1i64].as_slice(), false, Kind::Double);
        let found = entropy(&logits);
        assert!((&found - direct).abs().max().double_value(&[]) < 1e-12);
        assert!((found.double_value(&[1]) - 4f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn temperature_enters_before_the_softmax_and_the_taken_token_is_logit_less_logsumexp() {
        let logits = Tensor::from_slice(&[0.3f64, -2.0, 1.0]);
        let scaled = &logits / 0.7;
        let taken = scaled.double_value(&[2]) - scaled.logsumexp([0], false).double_value(&[]);
        let softmax = scaled.log_softmax(-1, Kind::Double).double_value(&[2]);
        assert!((taken - softmax).abs() < 1e-12);
        assert!((taken - logits.log_softmax(-1, Kind::Double).double_value(&[2])).abs() > 0.05);
    }
}
