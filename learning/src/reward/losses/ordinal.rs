//! Grades in levels (stars), and scores on a declared scale, by the cumulative logit model.
//!
//! Invariant: thresholds rise. They are kept as a first threshold and the softplus of gaps, so no step can cross them.

use tch::{Kind, Tensor};

/// log P(Y = k) of each answer and level: `[N]` scores, `[L − 1]` rising thresholds → `[N, L]`.
///
/// McCullagh 1980: P(Y ≤ k) = sigmoid(kappa·(tau_k + bias − s)). The difference of two sigmoids a > b is taken in
/// logs: log(sigmoid a − sigmoid b) = log sigmoid(a) + log sigmoid(−b) + log(1 − e^{b−a}), which stays exact in the
/// tails. `kappa` and `bias` (a person's slope and shift) are scalars, or `[N, 1]` for a person an answer.
pub fn level_log_probabilities(scores: &Tensor, thresholds: &Tensor, kappa: &Tensor, bias: &Tensor) -> Tensor {
    let levels = thresholds.size()[0] + 1;
    let cumulative = (thresholds.unsqueeze(0) + bias - scores.unsqueeze(1)) * kappa;
    let (below, above) = (cumulative.log_sigmoid(), (-&cumulative).log_sigmoid());
    let first = below.narrow(1, 0, 1);
    let last = above.narrow(1, levels - 2, 1);
    if levels == 2 {
        return Tensor::cat(&[first, last], 1);
    }
    let upper = below.narrow(1, 1, levels - 2);
    let lower = above.narrow(1, 0, levels - 2);
    let gap = (thresholds.narrow(0, 0, levels - 2) - thresholds.narrow(0, 1, levels - 2)) * kappa;
    let between = upper + lower + (-gap.expm1()).log();
    Tensor::cat(&[first, between, last], 1)
}

/// `[N]` −Σ_k share[n, k]·log P(Y = k): the negative log-likelihood of grades given as shares of levels `[N, L]`.
///
/// A whole grade has share 1 at its level; a grade between two levels is shared linearly between them.
pub fn cumulative_logit_nll(log_probabilities: &Tensor, shares: &Tensor) -> Tensor {
    -(log_probabilities * shares).sum_dim_intlist(1, false, None::<Kind>)
}

/// A value on a scale of `levels` grades as shares of the levels; `position` in `[0, 1]` runs from worst to best.
pub fn level_shares(position: f64, levels: usize) -> Vec<f64> {
    let place = position.clamp(0.0, 1.0) * (levels - 1) as f64;
    let low = (place.floor() as usize).min(levels.saturating_sub(2));
    let mut shares = vec![0.0; levels];
    shares[low] = 1.0 - (place - low as f64);
    shares[low + 1] = place - low as f64;
    shares
}

/// Rising thresholds from free numbers `[L − 1]`: the first as it is, then + softplus(each next).
pub fn rising_thresholds(free: &Tensor) -> Tensor {
    let count = free.size()[0];
    let gaps = -(-free.narrow(0, 1, count - 1)).log_sigmoid();
    Tensor::cat(&[free.narrow(0, 0, 1), gaps], 0).cumsum(0, None::<Kind>)
}

/// The free numbers of [`rising_thresholds`] for which a score of 0 gives each of `levels` grades the same chance.
pub fn even_thresholds(levels: usize) -> Vec<f64> {
    let logit = |k: usize| {
        let p = k as f64 / levels as f64;
        (p / (1.0 - p)).ln()
    };
    let free = |k: usize| match k {
        1 => logit(1),
        // The inverse of softplus: log(e^gap − 1).
        k => (logit(k) - logit(k - 1)).exp_m1().ln(),
    };
    (1..levels).map(free).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::losses::gradcheck::{close, f64s, finite_differences, numbers};

    fn one() -> Tensor {
        f64s(&[1.0])
    }

    #[test]
    fn even_thresholds_give_each_grade_a_fifth_and_rise() {
        let tau = rising_thresholds(&f64s(&even_thresholds(5)));
        // logit(1/5) = -ln 4, logit(2/5) = ln(2/3).
        close(&tau, &[-(4f64.ln()), (2f64 / 3.0).ln(), 1.5f64.ln(), 4f64.ln()], 1e-12);
        let log_p = level_log_probabilities(&f64s(&[0.0]), &tau, &one(), &f64s(&[0.0]));
        close(&log_p.exp(), &[0.2; 5], 1e-12);
        let random = numbers(&rising_thresholds(&f64s(&[3.0, -20.0, 5.0, -7.0])));
        assert!(random.windows(2).all(|two| two[0] < two[1]), "{random:?}");
    }

    #[test]
    fn probabilities_sum_to_one_and_the_tails_stay_finite() {
        let tau = f64s(&[-1.0, 0.0, 1.0, 2.0]);
        let log_p = level_log_probabilities(&f64s(&[0.3, 60.0, -400.0]), &tau, &f64s(&[1.3]), &f64s(&[0.2]));
        assert!(numbers(&log_p).iter().all(|value| value.is_finite()), "{log_p}");
        close(&log_p.exp().sum_dim_intlist(1, false, None::<Kind>), &[1.0, 1.0, 1.0], 1e-12);
    }

    #[test]
    fn a_score_between_two_grades_is_shared_between_them() {
        assert_eq!(level_shares(0.0, 5), [1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(level_shares(1.0, 5), [0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(level_shares(0.625, 5), [0.0, 0.0, 0.5, 0.5, 0.0]);
        assert_eq!(level_shares(1.25, 5), level_shares(1.0, 5), "kept on the scale");
        assert_eq!(level_shares(-0.25, 5), level_shares(0.0, 5));
    }

    #[test]
    fn gradients_agree_with_finite_differences_in_scores_thresholds_slope_and_shift() {
        let shares = f64s(&[1.0, 0.0, 0.0, 0.0, 0.25, 0.75, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]).view([3, 4]);
        finite_differences(&[0.4, -1.2, 0.9, -1.0, 0.3, 0.7, 1.2, -0.3], &|x| {
            let tau = rising_thresholds(&x.narrow(0, 3, 3));
            let log_p = level_log_probabilities(&x.narrow(0, 0, 3), &tau, &x.narrow(0, 6, 1), &x.narrow(0, 7, 1));
            cumulative_logit_nll(&log_p, &shares).sum(None::<Kind>)
        });
    }
}
