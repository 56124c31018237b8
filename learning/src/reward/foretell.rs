//! What the model expects of an event before learning from it.
//!
//! Invariant: a pure function of logits and thresholds; learning's own losses are not used here, so the two can be
//! checked against each other.

use super::calibration::{Outcome, Prequential};
use super::logistic::sigmoid;
use super::losses::davidson::Choice;
use super::reliability::Voice;
use super::said::Said;
use super::terms::LEVELS;

/// Thresholds of grades (rising, `LEVELS − 1`), of thumbs and of marked lines, and the log of Davidson's nu.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Thresholds {
    pub(super) grades: Vec<f64>,
    pub(super) thumb: f64,
    pub(super) line: f64,
    pub(super) tie: f64,
}

/// The expectation of `said` by a speaker like `voice`, given the logits of the batch's answers.
pub(super) fn foretell(
    kind: &'static str,
    said: &Said,
    logits: &[f64],
    thresholds: &Thresholds,
    voice: &Voice,
) -> Prequential {
    let [_, log_beta, shift] = voice.parameters;
    let (eta, beta) = (voice.eta, log_beta.exp());
    let meant = |said: f64, reversed: f64| eta * said + (1.0 - eta) * reversed;
    let won = |better: usize, worse: usize| {
        let p = sigmoid(beta * (logits[better] - logits[worse]));
        meant(p, 1.0 - p)
    };
    match said {
        Said::Order { pairs, .. } => {
            several(kind, pairs.iter().map(|pair| won(pair.better, pair.worse)).collect::<Vec<_>>())
        }
        Said::Pair { better, worse, .. } => several(kind, vec![won(*better, *worse)]),
        Said::Two { first, second, outcome } => {
            let half = beta * (logits[*first] - logits[*second]) / 2.0;
            // Taken out: the larger of the two, so that nothing overflows.
            let [win, loss, tie] = [half, -half, thresholds.tie].map(|log| (log - half.abs()).exp());
            let all = win + loss + tie;
            let up = meant(win / (win + loss), loss / (win + loss));
            match outcome {
                Choice::Tie => two_way(kind, tie / all, up, None),
                Choice::Win => two_way(kind, meant(win / all, loss / all), up, Some(true)),
                Choice::Loss => two_way(kind, meant(loss / all, win / all), up, Some(false)),
            }
        }
        Said::Grade { answer, shares, position } => {
            let levels = level_probabilities(beta, logits[*answer] - shift, &thresholds.grades);
            let floor = f64::MIN_POSITIVE;
            let log = |shares: &mut dyn Iterator<Item = &f64>| -> f64 {
                shares.zip(&levels).map(|(share, p)| share * p.max(floor).ln()).sum()
            };
            let probability = meant(log(&mut shares.iter()).exp(), log(&mut shares.iter().rev()).exp());
            let below: f64 = levels[..LEVELS / 2].iter().sum();
            let above: f64 = levels[LEVELS - LEVELS / 2..].iter().sum();
            let up = (above + floor) / (above + below + 2.0 * floor);
            two_way(kind, probability, meant(up, 1.0 - up), (*position != 0.5).then_some(*position > 0.5))
        }
        Said::Thumb { answer, up } => {
            let expected = sigmoid(beta * (logits[*answer] - shift - thresholds.thumb));
            let expected = meant(expected, 1.0 - expected);
            two_way(kind, if *up { expected } else { 1.0 - expected }, expected, Some(*up))
        }
        Said::Lines { marks } => {
            let of = |(answer, right): &(usize, bool)| {
                let expected = sigmoid(beta * (logits[*answer] - shift - thresholds.line));
                let expected = meant(expected, 1.0 - expected);
                if *right { expected } else { 1.0 - expected }
            };
            several(kind, marks.iter().map(of).collect())
        }
    }
}

/// An event of several two-way questions with the given probabilities of what was said.
fn several(kind: &'static str, probabilities: Vec<f64>) -> Prequential {
    let weight = 1.0 / probabilities.len() as f64;
    let log_mean = probabilities.iter().map(|probability| probability.ln() * weight).sum::<f64>();
    let right = probabilities.iter().filter(|probability| **probability > 0.5).count();
    let correct = Some(2 * right > probabilities.len());
    let outcomes = probabilities.into_iter().map(|probability| Outcome { probability, weight }).collect();
    Prequential { kind, probability: log_mean.exp(), correct, outcomes, ..Default::default() }
}

/// An event with one two-way question: `up` is the probability of yes, `said` the answer.
fn two_way(kind: &'static str, probability: f64, up: f64, said: Option<bool>) -> Prequential {
    let given = said.map(|said| if said { up } else { 1.0 - up });
    let outcomes = given.map(|probability| Outcome { probability, weight: 1.0 }).into_iter().collect();
    Prequential { kind, probability, correct: given.map(|given| given > 0.5), outcomes, ..Default::default() }
}

/// P of each level, worst first, under rising `thresholds` at slope `beta`.
pub(super) fn level_probabilities(beta: f64, score: f64, thresholds: &[f64]) -> Vec<f64> {
    let cumulative: Vec<f64> = thresholds.iter().map(|threshold| sigmoid(beta * (threshold - score))).collect();
    let upper = cumulative.iter().copied().chain([1.0]);
    let lower = [0.0].into_iter().chain(cumulative.iter().copied());
    upper.zip(lower).map(|(upper, lower)| upper - lower).collect()
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;
    use crate::reward::likelihood::{Scale, Speakers, event_nll};
    use crate::reward::losses::ordinal::rising_thresholds;
    use crate::reward::losses::weak_order::WeightedPair;
    use crate::reward::said::Statements;

    fn thresholds() -> Thresholds {
        let quarter = 3f64.ln();
        Thresholds {
            grades: vec![-2.0 * quarter, -quarter, quarter, 2.0 * quarter],
            thumb: quarter,
            line: 0.0,
            tie: 0.0,
        }
    }

    fn voice(eta: f64, beta: f64, shift: f64) -> Voice {
        Voice { parameters: [0.0, beta.ln(), shift], eta_in_use: eta, eta, weight: 1.0, learned: true }
    }

    fn pair(better: usize, worse: usize) -> Said {
        Said::Pair { better, worse, strength: 1.0 }
    }

    #[test]
    fn each_kind_by_hand() {
        let logits = [3f64.ln(), 0.0];
        let of = |said: Said| foretell("x", &said, &logits, &thresholds(), &voice(1.0, 1.0, 0.0));
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
        // alpha 3 and 1, nu 1: 3 : sqrt(3) : 1.
        let all = 4.0 + 3f64.sqrt();
        let two = |outcome| of(Said::Two { first: 0, second: 1, outcome });
        assert!((two(Choice::Win).probability - 3.0 / all).abs() < 1e-12);
        assert!((two(Choice::Tie).probability - 3f64.sqrt() / all).abs() < 1e-12);
        assert!((two(Choice::Win).outcomes[0].probability - 0.75).abs() < 1e-12);
    }

    #[test]
    fn a_reverser_a_strict_and_a_vague_one_are_foretold_as_they_are() {
        let logits = [3f64.ln(), 0.0];
        let of = |said: &Said, voice: Voice| foretell("x", said, &logits, &thresholds(), &voice).probability;
        assert!((of(&pair(1, 0), voice(0.1, 1.0, 0.0)) - (0.1 * 0.25 + 0.9 * 0.75)).abs() < 1e-12);
        // Half the slope: sigmoid(ln 3 / 2) = sqrt(3) / (1 + sqrt(3)).
        assert!((of(&pair(0, 1), voice(1.0, 0.5, 0.0)) - 3f64.sqrt() / (1.0 + 3f64.sqrt())).abs() < 1e-12);
        let down = Said::Thumb { answer: 0, up: false };
        assert!((of(&down, voice(1.0, 1.0, 3f64.ln())) - 0.75).abs() < 1e-12, "strict by ln 3");
    }

    #[test]
    fn what_is_foretold_is_what_the_loss_takes_the_logarithm_of() {
        let logits = [0.7, -0.4, 0.2];
        let kinds = [
            pair(0, 1),
            Said::Two { first: 1, second: 0, outcome: Choice::Win },
            Said::Two { first: 1, second: 0, outcome: Choice::Tie },
            Said::Grade { answer: 0, shares: vec![0.0, 0.25, 0.75, 0.0, 0.0], position: 0.4375 },
            Said::Thumb { answer: 2, up: false },
            Said::Lines { marks: vec![(2, true)] },
            Said::Order {
                answers: vec![0, 1],
                ranks: vec![0, 1],
                pairs: vec![WeightedPair { better: 0, worse: 1, weight: 1.0 }],
            },
        ];
        let number = |values: &[f64]| Tensor::from_slice(values);
        let free = number(&[-1.0, 0.3, 0.1, 0.5]);
        let scale = Scale { grades: free, thumb: number(&[0.3]), line: number(&[-0.2]), tie: number(&[-0.5]) };
        let grades = Vec::<f64>::try_from(rising_thresholds(&scale.grades)).unwrap();
        let thresholds = Thresholds { grades, thumb: 0.3, line: -0.2, tie: -0.5 };
        let voice = voice(0.8, 1.3, 0.4);
        let count = kinds.len();
        let statements = Statements {
            said: kinds.iter().cloned().map(Some).collect(),
            by: vec![0; count],
            annotators: vec!["a".into()],
            closedness: vec![0.5; count],
            question: vec![Some(0); 3],
        };
        let all = |value: f64| Tensor::full([count as i64], value, (Kind::Double, tch::Device::Cpu));
        let speakers = Speakers { eta: all(0.8), beta: all(1.3), shift: all(0.4) };
        let nll = Vec::<f64>::try_from(event_nll(&statements, &number(&logits), &scale, &speakers, 0.5)).unwrap();
        for (said, nll) in kinds.iter().zip(nll) {
            let expected = -foretell("x", said, &logits, &thresholds, &voice).probability.ln();
            assert!((nll - expected).abs() < 1e-12, "{said:?}: {nll} {expected}");
        }
    }

    #[test]
    fn an_ignored_speaker_is_foretold_as_they_are_and_half_right_is_not_right() {
        let ignored = Voice { eta_in_use: 0.5, ..voice(0.2, 1.0, 0.0) };
        let of = |said: Said, voice: &Voice| foretell("x", &said, &[3f64.ln(), 0.0], &thresholds(), voice);
        assert!((of(pair(0, 1), &ignored).probability - (0.2 * 0.75 + 0.8 * 0.25)).abs() < 1e-12);
        // P(right) = 3/4 and 1/2 against the threshold 0: both are said to be right.
        let lines = |marks: Vec<(usize, bool)>| of(Said::Lines { marks }, &voice(1.0, 1.0, 0.0));
        let both = lines(vec![(0, true), (1, true)]);
        assert!((both.probability - (0.75f64 * 0.5).sqrt()).abs() < 1e-12, "the geometric mean");
        assert_eq!((both.correct, both.outcomes.len()), (Some(false), 2));
        assert_eq!(lines(vec![(0, true), (0, true)]).correct, Some(true));
    }
}
