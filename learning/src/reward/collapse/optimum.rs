//! The rewards at which the prompt-aware loss of one prompt ends, for finitely many answers.
//!
//! Invariant: live rewards are compared with these, never with a limit law, which finite K misses by about 1/(4K).

use super::super::logistic::softplus;
use super::super::losses::utility::Utility;
use super::super::losses::weak_order::WeightedPair;
use super::box_newton;
use crate::error::LearningError;

/// Where the loss of one prompt ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimum {
    /// The rewards in `[0, 1]`: best first for a strict order, by index for given pairs.
    pub rewards: Vec<f64>,
    /// Σ w·U(r_better − r_worse) there; −∞ for an ideal utility whose pairs cannot all be kept apart.
    pub objective_sum: f64,
}

/// More answers than this are refused: the solver's matrix is n².
pub const MOST_ANSWERS: usize = 1024;

/// The optimum of the exp dial U(x) = (1 − e^{−λx})/λ (any scaling of it) for a strict order of `n`, best first.
///
/// Closed form: m rewards are piled at each end, the k = n − 2m between them are equally spaced, and one number c > 0
/// says all: 2·ln(m/c) + (k − 1)·ln(1 + 1/c) = λ; the gap to the pile is ln(m/c)/λ, the spacing ln(1 + 1/c)/λ. m is the
/// largest for which the innermost of the pile does not want to leave it, c(c + 1)/m ≥ m − 1. (The sums of e^{−λ·distance}
/// on either side of a reward are equal at the optimum; between neighbours such a sum obeys one recursion, fixed point c.)
/// λ ≤ 0 is U(x) = x: half and half, the middle one of an odd `n` at 1/2.
pub fn dial_optimum(lambda: f64, n: usize) -> Vec<f64> {
    let half = n / 2;
    let piled = |m: usize| (0..n).map(move |i| if i < m { 1.0 } else { f64::from(u8::from(2 * i < n)) });
    if half == 0 || lambda <= 0.0 || lambda.is_nan() {
        return halves(n);
    }
    for m in (1..=half).rev() {
        let (size, inner) = (m as f64, n - 2 * m);
        let c = pile_constant(lambda, size, inner);
        if m > 1 && c * (c + 1.0) / size < size - 1.0 {
            continue;
        }
        let (gap, spacing) = ((size / c).ln() / lambda, (1.0 / c).ln_1p() / lambda);
        let mut rewards: Vec<f64> = piled(m).collect();
        for i in 0..inner.div_ceil(2) {
            let reward = 1.0 - gap - spacing * i as f64;
            rewards[m + i] = reward;
            rewards[n - 1 - m - i] = 1.0 - reward;
        }
        if inner % 2 == 1 {
            rewards[half] = 0.5;
        }
        return rewards;
    }
    halves(n)
}

/// The root c of 2·ln(m/c) + (k − 1)·ln(1 + 1/c) = λ.
fn pile_constant(lambda: f64, m: f64, k: usize) -> f64 {
    if k == 0 {
        // m² / (c(c + 1)) = e^λ, the root written so that large λ does not cancel.
        let product = m * m * (-lambda).exp();
        return 2.0 * product / (1.0 + (1.0 + 4.0 * product).sqrt());
    }
    // Falling in u = ln c. ln(1 + e^{−u}) = softplus(−u), which does not overflow.
    let excess = |u: f64| 2.0 * (m.ln() - u) + (k as f64 - 1.0) * softplus(-u) - lambda;
    let (mut low, mut high) = (m.ln() - lambda / 2.0, m.ln() + (k as f64).ln() + 1.0);
    while excess(high) > 0.0 {
        high += 1.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if excess(middle) > 0.0 { low = middle } else { high = middle }
    }
    (0.5 * (low + high)).exp()
}

/// The optimum of U = x: half ones, half zeros; the middle of an odd number is free and put at 1/2.
fn halves(n: usize) -> Vec<f64> {
    (0..n).map(|i| [0.0, 0.5, 1.0][1 + usize::from(2 * i + 1 < n) - usize::from(2 * i + 1 > n)]).collect()
}

/// The optimum for a strict order of `n` answers, best first: the maximiser over `[0, 1]^n` of Σ_{i<j} U(r_i − r_j).
///
/// It is unique for every utility but x, and symmetric, r_i + r_{n+1−i} = 1. The dial by [`dial_optimum`], x by hand, all
/// others by the solver of [`optimum_of_pairs`]; `n` above [`MOST_ANSWERS`] is an error.
pub fn optimum(utility: &Utility, n: usize) -> Result<Optimum, LearningError> {
    check_count(n)?;
    let rewards = match *utility {
        Utility::X => halves(n),
        Utility::Exp { lambda } => dial_optimum(lambda, n),
        _ => {
            let rewards = optimum_of_pairs(utility, n, &strict_pairs(n))?.rewards;
            (0..n).map(|i| 0.5 * (rewards[i] + (1.0 - rewards[n - 1 - i]))).collect()
        }
    };
    let value = |i: usize, j: usize| utility.value_f64(rewards[i] - rewards[j]);
    let objective_sum = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).map(|(i, j)| value(i, j)).sum();
    Ok(Optimum { rewards, objective_sum })
}

/// All pairs of a strict order, best first.
fn strict_pairs(n: usize) -> Vec<WeightedPair> {
    let of = |better: usize| (better + 1..n).map(move |worse| WeightedPair { better, worse, weight: 1.0 });
    (0..n).flat_map(of).collect()
}

/// The maximiser over `[0, 1]^n` of Σ w·U(r_better − r_worse) for any pairs: ties, weights, sparse and even contradictory
/// ones.
///
/// Where the pairs leave it open (an answer in no pair, U = x balanced) the rewards stay where the solver starts: at 1/2
/// without a pair. Errors: an index outside `0..n`, a weight that is not above 0, `n` above [`MOST_ANSWERS`], and a
/// contradiction (a cycle) under an ideal utility, which has no value there.
pub fn optimum_of_pairs(utility: &Utility, n: usize, pairs: &[WeightedPair]) -> Result<Optimum, LearningError> {
    check_count(n)?;
    for pair in pairs {
        if pair.better >= n || pair.worse >= n || pair.better == pair.worse {
            let problem = format!("({}, {}) does not name two of {n} answers", pair.better, pair.worse);
            return Err(LearningError::input("a pair", problem));
        }
        if !(pair.weight > 0.0 && pair.weight.is_finite()) {
            return Err(LearningError::input("a pair's weight", format!("is {}; it must be above 0", pair.weight)));
        }
    }
    let ideal = utility.slope_f64(0.0).is_infinite();
    let start = match (linear_start(n, pairs), ideal) {
        (Some(start), _) => start,
        (None, false) => vec![0.5; n],
        (None, true) => {
            let problem = "contradict each other, and an ideal utility has no value then; use one with a shift eps";
            return Err(LearningError::input("the pairs", problem));
        }
    };
    let rewards = box_newton::maximise(utility, pairs, start);
    let objective_sum =
        pairs.iter().map(|pair| pair.weight * utility.value_f64(rewards[pair.better] - rewards[pair.worse]));
    Ok(Optimum { objective_sum: objective_sum.sum(), rewards })
}

fn check_count(n: usize) -> Result<(), LearningError> {
    if n <= MOST_ANSWERS {
        return Ok(());
    }
    Err(LearningError::input("the number of answers", format!("is {n}; at most {MOST_ANSWERS} are solved")))
}

/// A point at which every pair is strictly in order (Kahn 1962), 1/2 for what is in no pair; `None` if they contradict.
fn linear_start(n: usize, pairs: &[WeightedPair]) -> Option<Vec<f64>> {
    let mut above = vec![0usize; n];
    let mut below = vec![Vec::new(); n];
    for pair in pairs {
        above[pair.worse] += 1;
        below[pair.better].push(pair.worse);
    }
    let linked: Vec<bool> = (0..n).map(|i| above[i] > 0 || !below[i].is_empty()).collect();
    let mut order: Vec<usize> = (0..n).filter(|&i| linked[i] && above[i] == 0).collect();
    let mut next = 0;
    while next < order.len() {
        for &worse in &below[order[next]] {
            above[worse] -= 1;
            if above[worse] == 0 {
                order.push(worse);
            }
        }
        next += 1;
    }
    let count = linked.iter().filter(|&&is| is).count();
    let mut start = vec![0.5; n];
    for (place, &i) in order.iter().enumerate() {
        start[i] = 1.0 - (place as f64 + 0.5) / count as f64;
    }
    (order.len() == count).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Stream};

    fn close(got: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(got.len(), expected.len());
        for (a, b) in got.iter().zip(expected) {
            assert!((a - b).abs() <= tolerance, "{got:?} is not {expected:?}");
        }
    }

    #[test]
    fn the_closed_form_of_the_dial_is_what_the_solver_finds() {
        for lambda in [0.1, 0.5, 2.0, 6.0, 20.0, 38.0] {
            for n in 2..=13 {
                let solved = optimum_of_pairs(&Utility::Exp { lambda }, n, &strict_pairs(n)).expect("sound");
                // For small lambda the middle reward of an odd number is held by a curvature of lambda e^-lambda alone.
                close(&dial_optimum(lambda, n), &solved.rewards, 1e-9);
            }
        }
    }

    #[test]
    fn two_and_three_answers_end_alike_for_every_strictly_concave_utility() {
        let utilities = [Utility::Log { eps: None }, Utility::LogSigmoid { c: 4.0 }, Utility::Pow { gamma: 0.5 }];
        for utility in utilities {
            close(&optimum(&utility, 2).expect("sound").rewards, &[1.0, 0.0], 0.0);
            close(&optimum(&utility, 3).expect("sound").rewards, &[1.0, 0.5, 0.0], 1e-12);
        }
        close(&optimum(&Utility::X, 5).expect("sound").rewards, &[1.0, 1.0, 0.5, 0.0, 0.0], 0.0);
        close(&optimum(&Utility::X, 1).expect("sound").rewards, &[0.5], 0.0);
        assert!(optimum(&Utility::X, 0).expect("sound").rewards.is_empty());
    }

    #[test]
    fn the_logarithm_ends_at_the_gauss_lobatto_nodes() {
        // Stieltjes 1885: the zeros of (1 - x^2) P'_{n-1}; for n = 5 these are 0, ±sqrt(3/7), ±1.
        let node = 0.5 + 0.5 * (3.0f64 / 7.0).sqrt();
        let rewards = optimum(&Utility::Log { eps: None }, 5).expect("sound").rewards;
        close(&rewards, &[1.0, node, 0.5, 1.0 - node, 0.0], 1e-12);
    }

    #[test]
    fn contradictory_pairs_meet_and_lonely_answers_stay_in_the_middle() {
        let pair = |better, worse, weight| WeightedPair { better, worse, weight };
        let both = [pair(0, 1, 1.0), pair(1, 0, 1.0)];
        let met = optimum_of_pairs(&Utility::Exp { lambda: 2.0 }, 3, &both).expect("sound").rewards;
        close(&[met[0] - met[1], met[2]], &[0.0, 0.5], 1e-12);
        // Three against one: U'(d) 3 = 1, that is e^{-2d} = 1/3, d = ln(3)/2.
        let split = [pair(0, 1, 3.0), pair(1, 0, 1.0)];
        let rewards = optimum_of_pairs(&Utility::Exp { lambda: 2.0 }, 2, &split).expect("sound").rewards;
        close(&[rewards[0] - rewards[1]], &[3f64.ln() / 2.0], 1e-9);
        assert!(optimum_of_pairs(&Utility::Log { eps: None }, 2, &both).is_err());
        assert!(optimum_of_pairs(&Utility::X, 2, &[pair(0, 2, 1.0)]).is_err());
        assert!(optimum_of_pairs(&Utility::X, 2, &[pair(0, 1, 0.0)]).is_err());
    }

    #[test]
    fn no_reward_of_any_comparison_graph_wants_to_move() {
        // The conditions of Karush, Kuhn and Tucker: slope 0 inside, outwards at the ends. Ties, cycles and loose ends
        // included; the problem is concave, so this is the optimum.
        let kinds = [
            Utility::X,
            Utility::Log { eps: Some(0.1) },
            Utility::Inv { s: 1.0, eps: Some(0.1) },
            Utility::LogSigmoid { c: 4.0 },
            Utility::Exp { lambda: 0.2 },
            Utility::Exp { lambda: 38.0 },
        ];
        let mut stream = Stream::new(1, Purpose::Evaluation, 0);
        for trial in 0..600 {
            let (n, utility) = (2 + stream.below(9), kinds[trial % kinds.len()]);
            let mut pairs = Vec::new();
            for _ in 0..1 + stream.below(3 * n) {
                let (a, b) = (stream.below(n), stream.below(n));
                // Mostly in one order, now and then against it.
                let (better, worse) = if (a < b) == (stream.uniform() < 0.9) { (a, b) } else { (b, a) };
                if a != b {
                    pairs.push(WeightedPair { better, worse, weight: [0.5, 1.0, 2.0][stream.below(3)] });
                }
            }
            let rewards = optimum_of_pairs(&utility, n, &pairs).expect("sound").rewards;
            let mut slope = vec![0.0; n];
            for pair in &pairs {
                let rise = pair.weight * utility.slope_f64(rewards[pair.better] - rewards[pair.worse]);
                slope[pair.better] += rise;
                slope[pair.worse] -= rise;
            }
            let steepest = utility.slope_f64(0.0);
            for (i, (&reward, &slope)) in rewards.iter().zip(&slope).enumerate() {
                let gain = if slope > 0.0 { slope * (1.0 - reward) } else { -slope * reward };
                assert!(gain <= 1e-9 * steepest, "{utility:?} {pairs:?}: reward {i} of {rewards:?} would gain {gain}");
            }
        }
    }
}
