//! The prompt-aware loss: a utility of reward differences over one prompt's weak order.
//!
//! Invariant: rewards are r = sigmoid(z) and the loss is per prompt; no term links two prompts, so the absolute level
//! has to come from another term.

use tch::{Kind, Tensor};

use super::weak_order::{WeightedPair, pair_tensors};

/// How a prompt's pairs are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Weighted mean: each prompt counts the same, however many pairs it has.
    Mean,
    /// Weighted sum.
    Sum,
}

/// L = −(1/W) Σ w·U(sigmoid(z_better) − sigmoid(z_worse)), W = Σ w for the mean and 1 for the sum.
///
/// Song, Cai, Lee, Su 2023 (arXiv 2305.17608), their training objective, with weights and weak orders.
/// `z`: `[K]` logits of one prompt's answers. No pairs give 0.
pub fn listwise_utility_loss(
    z: &Tensor,
    pairs: &[WeightedPair],
    utility: impl Fn(&Tensor) -> Tensor,
    reduction: Reduction,
) -> Tensor {
    if pairs.is_empty() {
        return z.sum(z.kind()) * 0.0;
    }
    let (better, worse, weight) = pair_tensors(pairs, z.kind(), z.device());
    let rewards = z.sigmoid();
    let difference = rewards.index_select(0, &better) - rewards.index_select(0, &worse);
    let total = -(utility(&difference) * &weight).sum(None::<Kind>);
    match reduction {
        Reduction::Mean => total / weight.sum(None::<Kind>),
        Reduction::Sum => total,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::losses::gradcheck::{close, f64s, finite_differences};
    use crate::reward::losses::utility::{Dial, Utility};
    use crate::reward::losses::weak_order::pairs_of_ranks;

    #[test]
    fn a_single_pair_by_hand() {
        // r = (sigmoid(ln 3), sigmoid(0)) = (0.75, 0.5); U = x: -0.25; wrong way round with the dial p = 1/2: the
        // tangent, 0.25 * 2.3130352855.
        let z = f64s(&[3f64.ln(), 0.0]);
        let loss = |ranks: &[i64], utility: &dyn Fn(&Tensor) -> Tensor| {
            listwise_utility_loss(&z, &pairs_of_ranks(ranks), utility, Reduction::Mean)
        };
        close(&loss(&[0, 1], &|x| Utility::X.value(x)), &[-0.25], 1e-15);
        let dial = Dial::from_closedness(0.5, (0.05, 0.95));
        close(&loss(&[1, 0], &|x| dial.value(x)), &[0.25 * 2.313_035_285_499_331_5], 1e-15);
        close(&loss(&[0, 0], &|x| dial.value(x)), &[0.0], 0.0);
    }

    #[test]
    fn gradients_agree_with_finite_differences_for_ties_and_weights() {
        let mut pairs = pairs_of_ranks(&[0, 1, 1, 2, 3]);
        pairs.iter_mut().enumerate().for_each(|(i, pair)| pair.weight = 0.5 + i as f64 / 7.0);
        for closedness in [0.05, 0.5, 0.95] {
            let dial = Dial::from_closedness(closedness, (0.05, 0.95));
            finite_differences(&[0.3, -0.4, 1.2, 0.9, -2.0], &|z| {
                listwise_utility_loss(z, &pairs, |x| dial.value(x), Reduction::Mean)
            });
        }
    }

    #[test]
    fn open_prompts_learn_spread_rewards_and_closed_ones_two_heaps() {
        // Gradient ascent on one strict order of 8, as an interpolating network would do. The optimum of p -> 0 is
        // nearly even, that of p -> 1 half ones and half zeros.
        let middle = |closedness: f64| {
            let dial = Dial::from_closedness(closedness, (0.05, 0.95));
            let pairs = pairs_of_ranks(&[0, 1, 2, 3, 4, 5, 6, 7]);
            let mut z = f64s(&[0.3, 0.2, 0.1, 0.05, -0.05, -0.1, -0.2, -0.3]);
            for _ in 0..3000 {
                let leaf = z.detach().set_requires_grad(true);
                listwise_utility_loss(&leaf, &pairs, |x| dial.value(x), Reduction::Mean).backward();
                z = leaf.detach() - leaf.grad() * 2.0;
            }
            let rewards = z.sigmoid();
            rewards.double_value(&[2]) - rewards.double_value(&[5])
        };
        let (open, closed) = (middle(0.05), middle(0.95));
        assert!((open - 3.0 / 7.0).abs() < 0.1, "near even spacing: {open}");
        assert!(closed > 0.9, "heaps at the ends: {closed}");
    }

    #[test]
    fn a_pair_counts_in_the_mean_and_in_the_sum_by_its_weight() {
        // Rewards 0.75, 0.5, 0.25 and U = x: differences of 0.25 (weight 3) and 0.5 (weight 1).
        let z = f64s(&[3f64.ln(), 0.0, -(3f64.ln())]);
        let pair = |better, worse, weight| WeightedPair { better, worse, weight };
        let pairs = [pair(0, 1, 3.0), pair(0, 2, 1.0)];
        let loss = |reduction| listwise_utility_loss(&z, &pairs, |x| Utility::X.value(x), reduction);
        close(&loss(Reduction::Mean), &[-1.25 / 4.0], 1e-15);
        close(&loss(Reduction::Sum), &[-1.25], 1e-15);
    }
}
