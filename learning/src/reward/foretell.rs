//! What the model expects of an event before learning from it.
//!
//! Invariant: a pure function of logits and thresholds; learning's own losses are not used here, so the two can be
//! checked against each other.

use super::calibration::{Outcome, Prequential};
use super::terms::{LEVELS, Said};

/// Thresholds of grades (rising, `LEVELS − 1`) and of thumbs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Thresholds {
    pub(super) grades: Vec<f64>,
    pub(super) thumb: f64,
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The expectation of `said`, given the logits of the batch's answers.
pub(super) fn foretell(kind: &'static str, said: &Said, logits: &[f64], thresholds: &Thresholds) -> Prequential {
    match said {
        Said::Order { pairs } => {
            let weight = 1.0 / pairs.len() as f64;
            let won = |better: usize, worse: usize| sigmoid(logits[better] - logits[worse]);
            let outcomes: Vec<Outcome> =
                pairs.iter().map(|pair| Outcome { probability: won(pair.better, pair.worse), weight }).collect();
            let log_mean = outcomes.iter().map(|outcome| outcome.probability.ln() * weight).sum::<f64>();
            let right = outcomes.iter().filter(|outcome| outcome.probability > 0.5).count();
            let correct = Some(2 * right > pairs.len());
            Prequential { kind, probability: log_mean.exp(), correct, outcomes, ..Default::default() }
        }
        Said::Grade { answer, shares, position } => {
            let levels = level_probabilities(logits[*answer], &thresholds.grades);
            let floor = f64::MIN_POSITIVE;
            let log = shares.iter().zip(&levels).map(|(share, p)| share * p.max(floor).ln()).sum::<f64>();
            let below: f64 = levels[..LEVELS / 2].iter().sum();
            let above: f64 = levels[LEVELS - LEVELS / 2..].iter().sum();
            let up = above / (above + below);
            two_way(kind, log.exp(), up, (*position != 0.5).then_some(*position > 0.5))
        }
        Said::Thumb { answer, up } => {
            let expected = sigmoid(logits[*answer] - thresholds.thumb);
            two_way(kind, if *up { expected } else { 1.0 - expected }, expected, Some(*up))
        }
    }
}

/// An event with one two-way question: `up` is the probability of yes, `said` the answer.
fn two_way(kind: &'static str, probability: f64, up: f64, said: Option<bool>) -> Prequential {
    let given = said.map(|said| if said { up } else { 1.0 - up });
    let outcomes = given.map(|probability| Outcome { probability, weight: 1.0 }).into_iter().collect();
    Prequential { kind, probability, correct: given.map(|given| given > 0.5), outcomes, ..Default::default() }
}

fn level_probabilities(score: f64, thresholds: &[f64]) -> Vec<f64> {
    let cumulative: Vec<f64> = thresholds.iter().map(|threshold| sigmoid(threshold - score)).collect();
    let upper = cumulative.iter().copied().chain([1.0]);
    let lower = [0.0].into_iter().chain(cumulative.iter().copied());
    upper.zip(lower).map(|(upper, lower)| upper - lower).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::losses::weak_order::WeightedPair;

    fn thresholds() -> Thresholds {
        let quarter = 3f64.ln();
        Thresholds { grades: vec![-2.0 * quarter, -quarter, quarter, 2.0 * quarter], thumb: quarter }
    }

    #[test]
    fn each_kind_by_hand() {
        let logits = [3f64.ln(), 0.0];
        let of = |said: Said| foretell("x", &said, &logits, &thresholds());
        let pair = |better, worse| Said::Order { pairs: vec![WeightedPair { better, worse, weight: 1.0 }] };
        assert!((of(pair(0, 1)).probability - 0.75).abs() < 1e-12);
        assert_eq!((of(pair(0, 1)).correct, of(pair(1, 0)).correct), (Some(true), Some(false)));
        let thumb = of(Said::Thumb { answer: 1, up: false });
        assert!((thumb.probability - 0.75).abs() < 1e-12 && thumb.correct == Some(true));
        // Score 0: P = 1/10, 3/20, 1/2, 3/20, 1/10 (sigmoid(-2 ln 3) = 1/10, sigmoid(-ln 3) = 1/4).
        let stars = of(Said::Grade { answer: 1, shares: vec![0.0, 0.0, 0.0, 1.0, 0.0], position: 0.75 });
        assert!((stars.probability - 0.15).abs() < 1e-12);
        assert!((stars.outcomes[0].probability - 0.5).abs() < 1e-12, "above and below the middle are alike here");
        let middling = of(Said::Grade { answer: 1, shares: vec![0.0, 0.0, 1.0, 0.0, 0.0], position: 0.5 });
        assert_eq!((middling.correct, middling.outcomes.len()), (None, 0));
        assert!((middling.probability - 0.5).abs() < 1e-12);
    }
}
