//! Plackett-Luce against enumeration, finite differences and extreme scores.

use proptest::prelude::*;

use super::*;
use crate::reward::losses::gradcheck::{close, f64s, finite_differences, gradient, numbers};

fn nll(z: &[f64], ranks: &[i64], ties: Ties) -> f64 {
    plackett_luce_nll(&f64s(z), ranks, ties, None).double_value(&[])
}

/// All orders of `0..n`.
fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let longer = |short: Vec<usize>| {
        (0..n).map(move |at| short[..at].iter().copied().chain([n - 1]).chain(short[at..].iter().copied()).collect())
    };
    permutations(n - 1).into_iter().flat_map(longer).collect()
}

/// All weak orders of `n` as ranks without gaps.
fn weak_orders(n: usize) -> Vec<Vec<i64>> {
    let all = (0..n.pow(n as u32)).map(|code| (0..n).map(|i| (code / n.pow(i as u32) % n) as i64).collect());
    let whole = |ranks: &Vec<i64>| (0..=*ranks.iter().max().unwrap()).all(|rank| ranks.contains(&rank));
    all.filter(whole).collect()
}

fn by_hand(z: &[f64], order: &[usize]) -> f64 {
    (0..order.len()).map(|at| z[order[at]].exp() / order[at..].iter().map(|&i| z[i].exp()).sum::<f64>()).product()
}

#[test]
fn there_are_13_and_75_weak_orders_of_3_and_4() {
    assert_eq!((weak_orders(3).len(), weak_orders(4).len(), permutations(5).len()), (13, 75, 120));
}

#[test]
fn three_answers_by_hand() {
    // alpha = (1, 2, 3): P(2 > 1 > 0) = 3/6 · 2/3.
    let z = [0.0, 2f64.ln(), 3f64.ln()];
    let third = 3f64.ln();
    for ties in [Ties::Strict, Ties::Breslow, Ties::Efron, Ties::Exact] {
        assert!((nll(&z, &[2, 1, 0], ties) - third).abs() < 1e-14, "{ties:?}");
    }
    // 0 and 1 tied before 2: Breslow 1/6 · 2/6, Efron 1/6 · 2/4.5; exact 1/6 · 2/5 + 2/6 · 1/4.
    let breslow = [36.0 / 2.0, 27.0 / 2.0].map(f64::ln);
    assert!((nll(&z, &[0, 0, 1], Ties::Breslow) - breslow[0]).abs() < 1e-14);
    assert!((nll(&z, &[0, 0, 1], Ties::Efron) - breslow[1]).abs() < 1e-14);
    assert!((nll(&z, &[0, 0, 1], Ties::Exact) - (20f64 / 3.0).ln()).abs() < 1e-14);
    assert!(nll(&z, &[4, 4, 4], Ties::Exact).abs() < 1e-14, "what is sure costs nothing");
    assert_eq!(nll(&[], &[], Ties::Exact), 0.0);
}

#[test]
fn strict_takes_equals_in_the_order_given() {
    let z = [0.3, -1.0, 0.8, 0.1];
    assert_eq!(nll(&z, &[1, 0, 1, 0], Ties::Strict), nll(&z, &[2, 0, 3, 1], Ties::Strict));
}

proptest! {
    #[test]
    fn exact_is_the_sum_over_the_strict_orders_that_agree(
        z in prop::collection::vec(-4.0..4.0f64, 5), ranks in prop::collection::vec(0..3i64, 5)
    ) {
        let agrees = |order: &Vec<usize>| order.windows(2).all(|two| ranks[two[0]] <= ranks[two[1]]);
        let sum: f64 = permutations(5).iter().filter(|order| agrees(order)).map(|order| by_hand(&z, order)).sum();
        let exact = nll(&z, &ranks, Ties::Exact);
        prop_assert!((exact + sum.ln()).abs() < 1e-12, "{exact} {}", -sum.ln());
    }

    #[test]
    fn the_rankings_into_given_levels_share_all_of_the_probability(z in prop::collection::vec(-4.0..4.0f64, 4)) {
        // Every strict order agrees with exactly one way of dealing the answers into levels of 2, 1 and 1.
        let deals = weak_orders(4).into_iter().filter(|ranks| {
            (0..3).map(|rank| ranks.iter().filter(|own| **own == rank).count()).eq([2, 1, 1])
        });
        let sum: f64 = deals.map(|ranks| (-nll(&z, &ranks, Ties::Exact)).exp()).sum();
        let strict: f64 = permutations(4)
            .iter()
            .map(|order| {
                let mut ranks = vec![0; 4];
                order.iter().enumerate().for_each(|(rank, &answer)| ranks[answer] = rank as i64);
                (-nll(&z, &ranks, Ties::Strict)).exp()
            })
            .sum();
        prop_assert!((sum - 1.0).abs() < 1e-12 && (strict - 1.0).abs() < 1e-12, "{sum} {strict}");
    }

}

proptest! {
    // A case is some 300 likelihoods.
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn davidson_luce_sums_to_one_over_all_weak_orders(
        z in prop::collection::vec(-4.0..4.0f64, 4), delta in prop::collection::vec(-2.0..2.0f64, 3)
    ) {
        for n in [3, 4] {
            for most in 1..=n {
                let log_delta = f64s(&delta[..most - 1]);
                let of = |ranks: Vec<i64>| {
                    plackett_luce_nll(&f64s(&z[..n]), &ranks, Ties::DavidsonLuce, Some(&log_delta))
                };
                let sum: f64 = weak_orders(n).into_iter().map(|ranks| (-of(ranks).double_value(&[])).exp()).sum();
                prop_assert!((sum - 1.0).abs() < 1e-12, "{n} answers, ties up to {most}: {sum}");
            }
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences_with_and_without_ties() {
    let points =
        [[0.3, -0.4, 1.2, 0.9, -2.0, 0.0], [0.0; 6], [3.0, 5.0, -4.0, 0.1, 0.2, -6.0], [-1.0, 0.2, 0.2, 7.0, 1.0, 0.5]];
    let orders = [[0, 1, 2, 3, 4, 5], [0, 0, 1, 2, 2, 2], [1, 1, 1, 1, 0, 2], [0; 6], [5, 3, 3, 3, 9, 9]];
    for (z, ranks) in points.iter().flat_map(|z| orders.iter().map(move |ranks| (z, ranks))) {
        for ties in [Ties::Strict, Ties::Breslow, Ties::Efron, Ties::Exact, Ties::DavidsonLuce] {
            finite_differences(z, &|z| plackett_luce_nll(z, ranks, ties, None));
        }
        let both: Vec<f64> = z.iter().copied().chain([-0.4, -1.1, 0.3, 0.0, -2.0]).collect();
        finite_differences(&both, &|x| {
            let log_delta = x.narrow(0, 6, 5);
            plackett_luce_nll(&x.narrow(0, 0, 6), ranks, Ties::DavidsonLuce, Some(&log_delta))
        });
    }
}

#[test]
fn gradients_of_the_largest_exact_level_and_of_the_first_beyond_it_agree_with_finite_differences() {
    for tied in [MOST_EXACT, MOST_EXACT + 1] {
        let z: Vec<f64> = (0..tied + 2).map(|i| (i as f64 * 1.7).sin() * 2.0).collect();
        let ranks: Vec<i64> = (0..tied + 2).map(|i| i64::from(i >= tied)).collect();
        finite_differences(&z, &|z| plackett_luce_nll(z, &ranks, Ties::Exact, None));
    }
}

#[test]
fn a_level_too_large_to_sum_is_close_to_the_sum() {
    // Twelve alike answers before two others of the same score: the sum is known, 1 in 14 choose 2.
    let alike = |tied: usize| {
        let ranks: Vec<i64> = (0..tied + 2).map(|i| i64::from(i >= tied)).collect();
        nll(&vec![0.7; tied + 2], &ranks, Ties::Exact)
    };
    assert!((alike(12) - 91f64.ln()).abs() < 1e-12);
    // For alike answers Efron's average order is every order.
    assert!((alike(13) - 105f64.ln()).abs() < 1e-12, "{}", alike(13));
}

#[test]
fn extreme_scores_stay_finite_in_both_precisions() {
    let scores = [800.0, -700.0, 799.0, 0.0, -700.5];
    for ties in [Ties::Strict, Ties::Breslow, Ties::Efron, Ties::Exact, Ties::DavidsonLuce] {
        for ranks in [[0, 1, 2, 3, 4], [1, 0, 1, 2, 2], [2, 0, 2, 0, 1]] {
            assert!(nll(&scores, &ranks, ties).is_finite(), "{ties:?}");
            let slopes = gradient(&scores, &|z| plackett_luce_nll(z, &ranks, ties, None));
            assert!(slopes.iter().all(|slope| slope.is_finite()), "{ties:?} {slopes:?}");
            let single = f64s(&scores).to_kind(Kind::Float).set_requires_grad(true);
            let loss = plackett_luce_nll(&single, &ranks, ties, None);
            assert_eq!(loss.kind(), Kind::Float);
            loss.backward();
            // Scores of 800 have 5e-5 of rounding in f32.
            close(&single.grad(), &slopes, 1e-3);
            assert!(numbers(&single.grad()).iter().sum::<f64>().abs() < 1e-3, "only differences count");
        }
    }
}

#[test]
fn a_tie_larger_than_the_prevalences_allow_is_impossible() {
    let loss = plackett_luce_nll(&f64s(&[0.0; 3]), &[0, 0, 0], Ties::DavidsonLuce, Some(&f64s(&[0.1])));
    assert_eq!(loss.double_value(&[]), f64::INFINITY);
}
