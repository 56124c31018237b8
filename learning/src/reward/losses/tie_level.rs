//! One tie level of an exact Plackett-Luce likelihood, in plain numbers.
//!
//! Invariant: value and gradient come from the same pass, so that they agree to rounding.

/// −log of the probability that the `level`'s answers, in any order, are chosen before the `worse` ones (which must not
/// be empty); adds its gradient to `gradient`, both over all `scores`.
///
/// Up to `most` answers: the sum over all orders by dynamic programming over the sets S that are still to be chosen,
/// F(S) = Σ_{i in S} e^{z_i} / (Σ_S e^z + Σ_worse e^z) · F(S without i), F(none) = 1; O(2^m·m) time, O(2^m) memory.
/// Above: m! orders, each as likely as Efron's (1977) average order; O(m·K).
pub(super) fn level_nll(scores: &[f64], level: &[usize], worse: &[usize], most: usize, gradient: &mut [f64]) -> f64 {
    let rest = worse.iter().map(|&answer| scores[answer]).fold(f64::NEG_INFINITY, log_add);
    let (nll, of_rest) =
        if level.len() <= most { subsets(scores, level, rest, gradient) } else { efron(scores, level, rest, gradient) };
    for &answer in worse {
        gradient[answer] += of_rest * (scores[answer] - rest).exp();
    }
    nll
}

/// The value, and its derivative by the log-sum-exp of the worse answers.
fn subsets(scores: &[f64], level: &[usize], rest: f64, gradient: &mut [f64]) -> (f64, f64) {
    let z: Vec<f64> = level.iter().map(|&answer| scores[answer]).collect();
    let all = (1usize << z.len()) - 1;
    let members = |set: usize| (0..z.len()).filter(move |i| set >> i & 1 == 1);
    // log Σ_{S and worse} e^z, and log F(S).
    let (mut total, mut log_f, mut choices) = (vec![rest; all + 1], vec![0.0; all + 1], vec![0.0; all + 1]);
    for set in 1..=all {
        let first = set.trailing_zeros() as usize;
        total[set] = log_add(total[set & (set - 1)], z[first]);
        choices[set] = members(set).map(|i| z[i] + log_f[set ^ 1 << i]).fold(f64::NEG_INFINITY, log_add);
        log_f[set] = choices[set] - total[set];
    }
    // Backwards: weight[S] = d log F(all) / d log F(S) = P(S is ever what is left of the level | the level comes first).
    let mut weight = vec![0.0; all + 1];
    weight[all] = 1.0;
    let mut of_rest = 0.0;
    for set in (1..=all).rev() {
        let own = weight[set];
        for i in members(set) {
            let share = own * (z[i] + log_f[set ^ 1 << i] - choices[set]).exp();
            weight[set ^ 1 << i] += share;
            gradient[level[i]] += own * (z[i] - total[set]).exp() - share;
        }
        of_rest += own * (rest - total[set]).exp();
    }
    (-log_f[all], of_rest)
}

/// As [`subsets`], by Efron's approximation.
fn efron(scores: &[f64], level: &[usize], rest: f64, gradient: &mut [f64]) -> (f64, f64) {
    let own = level.iter().map(|&answer| scores[answer]).fold(f64::NEG_INFINITY, log_add);
    let (mut nll, mut of_rest, mut of_own) = (0.0, 0.0, 0.0);
    for gone in 0..level.len() {
        let left = own + (1.0 - gone as f64 / level.len() as f64).ln();
        let total = log_add(rest, left);
        nll += total - ((gone + 1) as f64).ln();
        of_rest += (rest - total).exp();
        of_own += (left - total).exp();
    }
    for &answer in level {
        nll -= scores[answer];
        gradient[answer] += of_own * (scores[answer] - own).exp() - 1.0;
    }
    (nll, of_rest)
}

/// log(e^a + e^b).
fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if high == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}
