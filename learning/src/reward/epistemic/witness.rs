//! From what an event says to what it tells the posterior.
//!
//! Invariant: the information is the expected (Fisher) one, so it is never negative, also where a mixture's own curvature
//! would be: an annotator who guesses tells nothing.

use crate::reward::foretell::{Thresholds, level_probabilities};
use crate::reward::logistic::sigmoid;
use crate::reward::reliability::Voice;
use crate::reward::said::Said;

/// One likelihood term, as the posterior sees it: it speaks of one score, or of the difference of two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::reward) struct Witness {
    /// Index of the answer.
    pub(in crate::reward) answer: usize,
    /// Index of the answer that is subtracted.
    pub(in crate::reward) against: Option<usize>,
    /// Fisher information of the term about that score or difference, ≥ 0.
    pub(in crate::reward) information: f64,
}

/// Σ (dP_k/ds)² / P_k over what could be said, each outcome mixed with its reversal (the list backwards) by η.
fn information(probabilities: &[f64], slopes: &[f64], eta: f64) -> f64 {
    let mixed = |values: &[f64], k: usize| eta * values[k] + (1.0 - eta) * values[values.len() - 1 - k];
    let term = |k: usize| match mixed(slopes, k) {
        0.0 => 0.0,
        slope => slope * slope / mixed(probabilities, k).max(f64::MIN_POSITIVE),
    };
    (0..probabilities.len()).map(term).sum()
}

/// Information about d of a choice with P = η·sigmoid(β·d) + (1 − η)·sigmoid(−β·d): p·(1 − p) for η = β = 1, and 0 for
/// η = 1/2, a coin.
pub(in crate::reward) fn choice_information(d: f64, eta: f64, beta: f64) -> f64 {
    let p = sigmoid(beta * d);
    let slope = beta * p * sigmoid(-beta * d);
    information(&[sigmoid(-beta * d), p], &[-slope, slope], eta)
}

/// Of a choice that can be a tie (Davidson 1970): win, tie and loss as e^{βd/2}, ν and e^{−βd/2}.
fn tied_information(d: f64, log_nu: f64, eta: f64, beta: f64) -> f64 {
    let half = beta * d / 2.0;
    let most = half.abs().max(log_nu);
    let parts = [half, log_nu, -half].map(|log| (log - most).exp());
    let all: f64 = parts.iter().sum();
    let p = parts.map(|part| part / all);
    let mean = (p[0] - p[2]) / 2.0;
    information(&p, &[beta * p[0] * (0.5 - mean), -beta * p[1] * mean, beta * p[2] * (-0.5 - mean)], eta)
}

/// Of a grade under rising `thresholds` (McCullagh 1980, section 2.5).
fn grade_information(score: f64, thresholds: &[f64], eta: f64, beta: f64) -> f64 {
    let fall = |threshold: &f64| beta * sigmoid(beta * (threshold - score)) * sigmoid(beta * (score - threshold));
    let falls: Vec<f64> = thresholds.iter().map(fall).collect();
    let upper = falls.iter().copied().chain([0.0]);
    let lower = [0.0].into_iter().chain(falls.iter().copied());
    let slopes: Vec<f64> = upper.zip(lower).map(|(upper, lower)| lower - upper).collect();
    information(&level_probabilities(beta, score, thresholds), &slopes, eta)
}

/// The terms of `said` by a speaker like `voice`, for `logits` by answer; those of an order are its pairs at their weights.
/// A pair of strength s is held against a margin of `margin`·(s − 1) logits, as where it is learned from.
pub(in crate::reward) fn witnesses(
    said: &Said,
    logits: &[f64],
    thresholds: &Thresholds,
    voice: &Voice,
    margin: f64,
) -> Vec<Witness> {
    let (eta, [_, log_beta, shift]) = (voice.eta_in_use, voice.parameters);
    let beta = log_beta.exp();
    let against = |answer: usize, other: usize, information: f64| Witness {
        answer,
        against: Some(other),
        information: voice.weight * information,
    };
    let alone =
        |answer: usize, information: f64| Witness { answer, against: None, information: voice.weight * information };
    let choice = |better: usize, worse: usize| choice_information(logits[better] - logits[worse], eta, beta);
    let yes = |answer: usize, threshold: f64| choice_information(logits[answer] - shift - threshold, eta, beta);
    match said {
        Said::Order { pairs, .. } => {
            let of = |better, worse, weight| against(better, worse, weight * choice(better, worse));
            pairs.iter().map(|pair| of(pair.better, pair.worse, pair.weight)).collect()
        }
        Said::Pair { better, worse, strength } => {
            let beyond = logits[*better] - logits[*worse] - margin * (strength - 1.0) / beta;
            vec![against(*better, *worse, choice_information(beyond, eta, beta))]
        }
        Said::Two { first, second, .. } => {
            let d = logits[*first] - logits[*second];
            vec![against(*first, *second, tied_information(d, thresholds.tie, eta, beta))]
        }
        Said::Grade { answer, .. } => {
            vec![alone(*answer, grade_information(logits[*answer] - shift, &thresholds.grades, eta, beta))]
        }
        Said::Thumb { answer, .. } => vec![alone(*answer, yes(*answer, thresholds.thumb))],
        Said::Lines { marks } => {
            marks.iter().map(|(answer, _)| alone(*answer, yes(*answer, thresholds.line))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::losses::weak_order::WeightedPair;

    fn voice(eta: f64, weight: f64) -> Voice {
        Voice { parameters: [0.0; 3], eta_in_use: eta, eta, weight, learned: true }
    }

    #[test]
    fn the_information_of_each_kind_by_hand() {
        // sigmoid(ln 3) = 3/4: 3/16. A coin tells nothing, a reversed one (eta = 0) as much as an honest one.
        let d = 3f64.ln();
        assert!((choice_information(d, 1.0, 1.0) - 3.0 / 16.0).abs() < 1e-15);
        assert_eq!(choice_information(d, 0.5, 1.0), 0.0);
        assert!((choice_information(d, 0.0, 1.0) - 3.0 / 16.0).abs() < 1e-15);
        // eta = 3/4: P = 9/16 + 1/16 = 5/8, slope 3/32: (9/1024) / (15/64) = 3/80.
        assert!((choice_information(d, 0.75, 1.0) - 3.0 / 80.0).abs() < 1e-15);
        // Half the slope at twice the distance: the same p, a quarter of the information.
        assert!((choice_information(2.0 * d, 1.0, 0.5) - 3.0 / 64.0).abs() < 1e-15);
        assert_eq!(choice_information(2000.0, 1.0, 1.0), 0.0, "what is certain tells nothing and breaks nothing");
        // One threshold at the score: two levels of 1/2, slopes of 1/4 up and down: 2 (1/16) / (1/2) = 1/4, a thumb's.
        assert!((grade_information(0.7, &[0.7], 1.0, 1.0) - 0.25).abs() < 1e-15);
        // d = 0, nu = 1: three of 1/3, slopes 1/6, 0, -1/6: 2 (1/36) / (1/3) = 1/6. Without ties: the choice's own.
        assert!((tied_information(0.0, 0.0, 1.0, 1.0) - 1.0 / 6.0).abs() < 1e-15);
        assert!((tied_information(d, -700.0, 1.0, 1.0) - 3.0 / 16.0).abs() < 1e-15);

        let thresholds = Thresholds { grades: vec![-2.0, -1.0, 1.0, 2.0], thumb: d, line: 0.0, tie: 0.0 };
        let of = |said: Said| witnesses(&said, &[2.0 * d, d], &thresholds, &voice(1.0, 0.5), d);
        let pairs = vec![WeightedPair { better: 0, worse: 1, weight: 2.0 }];
        let order = of(Said::Order { answers: vec![0, 1], ranks: vec![0, 1], pairs });
        assert_eq!((order.len(), order[0].answer, order[0].against), (1, 0, Some(1)));
        assert!((order[0].information - 3.0 / 16.0).abs() < 1e-15, "half the trust, twice the weight");
        let pair = |strength| of(Said::Pair { better: 0, worse: 1, strength })[0].information;
        assert!((pair(1.0) - 3.0 / 32.0).abs() < 1e-15, "half the trust in one choice");
        assert!((pair(2.0) - 1.0 / 8.0).abs() < 1e-15, "the margin takes the whole lead: 1/4 at half the trust");
        let thumb = of(Said::Thumb { answer: 0, up: false });
        assert!((thumb[0].information - 3.0 / 32.0).abs() < 1e-15 && thumb[0].against.is_none());
        let lines = of(Said::Lines { marks: vec![(1, true), (1, false)] });
        assert!(lines.len() == 2 && lines.iter().all(|line| (line.information - 3.0 / 32.0).abs() < 1e-15));
        let grade = of(Said::Grade { answer: 1, shares: vec![0.0, 0.0, 1.0, 0.0, 0.0], position: 0.5 });
        // More levels tell more than one threshold, and never more than the logistic's own 1/3.
        assert!(2.0 * grade[0].information < 1.0 / 3.0 && 2.0 * grade[0].information > 0.2, "{grade:?}");
    }

    #[test]
    fn information_is_the_mean_curvature_of_what_is_foretold() {
        // E[-d²/ds² log P] by finite differences over the grades; 1e-5: steps of 1e-3 are off by about 1e-6.
        let thresholds = [-1.5, -0.2, 0.4, 2.0];
        let (s, h, beta, eta) = (0.3, 1e-3, 1.3, 0.8);
        let log = |s: f64| {
            let p = level_probabilities(beta, s, &thresholds);
            (0..p.len()).map(|k| (eta * p[k] + (1.0 - eta) * p[p.len() - 1 - k]).ln()).collect::<Vec<f64>>()
        };
        let (low, mid, high) = (log(s - h), log(s), log(s + h));
        let curvature: f64 = (0..mid.len()).map(|k| -mid[k].exp() * (high[k] - 2.0 * mid[k] + low[k]) / (h * h)).sum();
        assert!((grade_information(s, &thresholds, eta, beta) - curvature).abs() < 1e-5, "{curvature}");
    }

    #[test]
    fn the_information_is_that_of_the_speakers_own_numbers_as_scores_learn_by_them() {
        let thresholds = Thresholds { grades: vec![-1.5, -0.2, 0.4, 2.0], thumb: 0.3, line: -0.2, tie: -0.5 };
        let (beta, shift, eta) = (1.7, 0.4, 0.8);
        let own = Voice { parameters: [0.0, f64::ln(beta), shift], eta_in_use: eta, ..voice(0.3, 1.0) };
        let of = |said: Said| witnesses(&said, &[0.9, -0.6], &thresholds, &own, 0.5)[0].information;
        let near = |got: f64, wanted: f64| assert!((got - wanted).abs() < 1e-12, "{got} {wanted}");
        near(of(Said::Thumb { answer: 0, up: true }), choice_information(0.9 - shift - 0.3, eta, beta));
        near(of(Said::Pair { better: 1, worse: 0, strength: 1.0 }), choice_information(-1.5, eta, beta));
        let grade = Said::Grade { answer: 0, shares: vec![0.0, 0.0, 1.0, 0.0, 0.0], position: 0.5 };
        near(of(grade), grade_information(0.9 - shift, &thresholds.grades, eta, beta));
    }

    #[test]
    fn information_of_a_choice_with_ties_is_the_mean_curvature_too() {
        // As for grades: steps of 1e-3 are off by about 1e-6.
        let (d, h, beta, eta, log_nu) = (0.8, 1e-3, 1.3, 0.8, -0.4f64);
        let log = |d: f64| {
            let parts = [(beta * d / 2.0).exp(), log_nu.exp(), (-beta * d / 2.0).exp()];
            let all: f64 = parts.iter().sum();
            [0, 1, 2].map(|k: usize| (eta * parts[k] / all + (1.0 - eta) * parts[2 - k] / all).ln())
        };
        let (low, mid, high) = (log(d - h), log(d), log(d + h));
        let curvature: f64 = (0..3).map(|k| -mid[k].exp() * (high[k] - 2.0 * mid[k] + low[k]) / (h * h)).sum();
        assert!((tied_information(d, log_nu, eta, beta) - curvature).abs() < 1e-5, "{curvature}");
    }
}
