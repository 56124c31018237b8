//! How far a policy has gone from its base: Kullback-Leibler divergence from log-probabilities of sampled tokens.
//!
//! Invariant: an answer's figure is the sum over its tokens, in nats; answers were drawn from the policy itself.

use serde::Serialize;

use super::Estimate;

/// KL(policy ‖ base) in nats an answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Divergence {
    /// By `k1 = log π − log π_base`: unbiased.
    pub k1: Estimate,
    /// By `k3 = e^{−k1} − 1 + k1`: unbiased, never negative, of smaller variance near 0.
    pub k3: Estimate,
    /// k1 in nats a token.
    pub k1_per_token: f64,
}

impl Divergence {
    /// `answers` holds `[T]` log-probabilities of each answer's tokens under the policy and under the base, grouped by
    /// question; questions are the units of the error. J. Schulman, "Approximating KL Divergence" (2020).
    pub fn of(questions: &[Vec<(Vec<f64>, Vec<f64>)>]) -> Self {
        let mean = |per_answer: &dyn Fn(f64) -> f64| {
            let of_question = |answers: &Vec<(Vec<f64>, Vec<f64>)>| {
                let sum =
                    |(own, base): &(Vec<f64>, Vec<f64>)| own.iter().zip(base).map(|(a, b)| per_answer(a - b)).sum();
                answers.iter().map(sum).collect::<Vec<f64>>().iter().sum::<f64>() / answers.len().max(1) as f64
            };
            let asked = questions.iter().filter(|answers| !answers.is_empty());
            Estimate::of(&asked.map(of_question).collect::<Vec<_>>())
        };
        let all = || questions.iter().flatten();
        let tokens: usize = all().map(|(own, _)| own.len()).sum();
        let sum: f64 = all().flat_map(|(own, base)| own.iter().zip(base).map(|(a, b)| a - b)).sum();
        Self {
            k1: mean(&|ratio| ratio),
            k3: mean(&|ratio| (-ratio).exp_m1() + ratio),
            k1_per_token: sum / tokens.max(1) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use understudy_learning::rng::{Purpose, Stream};

    #[test]
    fn both_estimators_by_hand() {
        let questions = [vec![(vec![-1.0, -2.0], vec![-1.5, -1.0])], vec![(vec![-0.5], vec![-0.5])]];
        let found = Divergence::of(&questions);
        // 0.5 - 1 = -0.5, and 0: mean -0.25, error 0.25.
        assert_eq!(found.k1, Estimate { mean: -0.25, standard_error: 0.25 });
        let k3 = ((-0.5f64).exp() - 0.5) + (1f64.exp() - 2.0);
        assert!((found.k3.mean - k3 / 2.0).abs() < 1e-12);
        assert!((found.k1_per_token + 0.5 / 3.0).abs() < 1e-12);
        assert_eq!(Divergence::of(&[]).k1.mean, 0.0);
    }

    #[test]
    fn both_estimators_find_the_divergence_of_two_coins() {
        let (p, q) = (0.7f64, 0.5f64);
        let exact = p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln();
        let mut stream = Stream::new(1, Purpose::Evaluation, 8);
        let mut one = || {
            let heads = stream.uniform() < p;
            let at = |share: f64| vec![if heads { share.ln() } else { (1.0 - share).ln() }];
            vec![(at(p), at(q))]
        };
        let found = Divergence::of(&(0..4000).map(|_| one()).collect::<Vec<_>>());
        for estimate in [found.k1, found.k3] {
            assert!((estimate.mean - exact).abs() < 4.0 * estimate.standard_error, "{estimate:?} and {exact}");
        }
        assert!(found.k3.standard_error < found.k1.standard_error);
    }
}
