//! The loss and the annotators' evidence of a mixed batch against formulas written down a second time, in plain numbers.

use tch::Tensor;

use super::config::{RewardConfig, UtilityChoice};
use super::likelihood::{Scale, Speakers, event_nll};
use super::losses::davidson::Choice;
use super::losses::ordinal::even_thresholds;
use super::losses::utility::Utility;
use super::losses::weak_order::WeightedPair;
use super::objective::{batch_loss, evidence};
use super::reliability::Voice;
use super::said::{Said, Statements};
use super::terms::LEVELS;

fn numbers(values: &[f64]) -> Tensor {
    Tensor::from_slice(values)
}

fn scale() -> Scale {
    let grades = numbers(&even_thresholds(LEVELS));
    Scale { grades, thumb: numbers(&[0.3]), line: numbers(&[-0.2]), tie: numbers(&[-0.5]) }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// P(said) where it is meant with probability `eta`, `p` if it is meant.
fn mixed(eta: f64, p: f64) -> f64 {
    eta * p + (1.0 - eta) * (1.0 - p)
}

fn voice(eta: f64, beta: f64, shift: f64, weight: f64) -> Voice {
    Voice { parameters: [(eta / (1.0 - eta)).ln(), beta.ln(), shift], eta_in_use: eta, eta, weight, learned: true }
}

fn pair(better: usize, worse: usize, strength: f64) -> Said {
    Said::Pair { better, worse, strength }
}

/// Statements by the annotators 0, 1, ... about answers of the given questions.
fn statements(said: Vec<(usize, Said)>, question: &[usize]) -> Statements {
    let (by, said): (Vec<usize>, Vec<Option<Said>>) = said.into_iter().map(|(by, said)| (by, Some(said))).unzip();
    let annotators = (0..=by.iter().copied().max().unwrap_or(0)).map(|one| one.to_string()).collect();
    let (closedness, question) = (vec![0.5; said.len()], question.iter().copied().map(Some).collect());
    Statements { said, by, annotators, closedness, question }
}

#[test]
fn the_loss_of_a_mixed_batch_by_hand() {
    let z = [0.7, -0.4, 0.2, 1.1, -0.3];
    let said = vec![
        (0, pair(0, 1, 1.0)),
        (1, pair(3, 4, 1.0)),
        (2, Said::Thumb { answer: 2, up: true }),
        (1, Said::Two { first: 1, second: 2, outcome: Choice::Win }),
    ];
    let statements = statements(said, &[0, 0, 0, 1, 1]);
    let voices = [voice(0.9, 1.3, 0.0, 0.5), voice(0.8, 1.0, 0.0, 1.0), voice(0.7, 2.0, 0.4, 0.25)];
    let utility = Utility::Inv { s: 1.0, eps: Some(0.1) };
    let config = RewardConfig {
        centring: 0.2,
        utility_weight: 0.3,
        utility: UtilityChoice::Common { utility },
        utility_answers: 2,
        ..Default::default()
    };
    let loss = batch_loss(&statements, &numbers(&z), &scale(), &voices, &config);
    // Davidson: e^{d/2} : nu : e^{-d/2}.
    let half = (z[1] - z[2]) / 2.0f64;
    let all = half.exp() + (-half).exp() + (-0.5f64).exp();
    let two = 0.8 * half.exp() / all + 0.2 * (-half).exp() / all;
    let likelihood = (0.5 * -mixed(0.9, sigmoid(1.3 * (z[0] - z[1]))).ln()
        - mixed(0.8, sigmoid(z[3] - z[4])).ln()
        - 0.25 * mixed(0.7, sigmoid(2.0 * (z[2] - 0.4 - 0.3))).ln()
        - two.ln())
        / 4.0;
    assert!((loss.likelihood - likelihood).abs() < 1e-12, "{} {likelihood}", loss.likelihood);
    // Each pair weighs its maker's weight times 2 eta - 1; a question's term weighs the mean of those. U(1) - U(0) = 1.
    let gap = |better: usize, worse: usize| sigmoid(z[better]) - sigmoid(z[worse]);
    let u = |x: f64| {
        let value = if x > 0.0 { 10.0 - 1.0 / (x + 0.1) } else { 100.0 * x };
        value / (10.0 - 1.0 / 1.1)
    };
    let (first, second) = (0.5 * 0.8, 0.6);
    let one = -(first * u(gap(0, 1)) + second * u(gap(1, 2))) / (first + second) * (first + second) / 2.0;
    let other = -u(gap(3, 4)) * 0.6;
    assert_eq!(loss.utility_questions, 2);
    assert!((loss.utility - (one + other) / 2.0).abs() < 1e-12, "{} {one} {other}", loss.utility);
    let centring = 0.2 * (((z[0] + z[1] + z[2]) / 3.0).powi(2) + ((z[3] + z[4]) / 2.0).powi(2)) / 2.0;
    let total = likelihood + 0.3 * (one + other) / 4.0 + centring;
    assert!((loss.total.double_value(&[]) - total).abs() < 1e-12, "{} {total}", loss.total.double_value(&[]));
}

#[test]
fn the_evidence_on_an_annotator_is_the_sum_of_each_events_gradient_and_of_its_square() {
    let z = [0.7, -0.4];
    let said = vec![
        (0, Said::Thumb { answer: 0, up: true }),
        (1, Said::Thumb { answer: 0, up: false }),
        (0, Said::Thumb { answer: 1, up: true }),
        (0, pair(0, 1, 1.0)),
    ];
    let statements = statements(said, &[0, 0]);
    let voices = [voice(0.9, 1.3, 0.4, 1.0), voice(0.6, 1.0, 0.0, 1.0)];
    let found = evidence(&statements, &numbers(&z), &scale(), &voices, &RewardConfig::default()).unwrap();
    let nll = |event: usize, [eta, beta, shift]: [f64; 3]| {
        let (eta, beta) = (sigmoid(eta), beta.exp());
        let thumb = |answer: usize| sigmoid(beta * (z[answer] - shift - 0.3));
        let p = [thumb(0), thumb(1), sigmoid(beta * (z[0] - z[1]))][event];
        -mixed(eta, p).ln()
    };
    // Central differences with a step of 1e-5 are off by about 1e-10.
    let slope = |event: usize, which: usize| {
        let at = |step: f64| {
            let mut moved = voices[0].parameters;
            moved[which] += step;
            nll(event, moved)
        };
        (at(1e-5) - at(-1e-5)) / 2e-5
    };
    assert_eq!((found[0].events, found[1].events), (3.0, 1.0));
    for which in 0..3 {
        let slopes: Vec<f64> = (0..3).map(|event| slope(event, which)).collect();
        let (sum, squares) = (slopes.iter().sum::<f64>(), slopes.iter().map(|slope| slope * slope).sum::<f64>());
        assert!((found[0].gradient[which] - sum).abs() < 1e-8, "{which}: {found:?} {slopes:?}");
        assert!((found[0].squares[which] - squares).abs() < 1e-8, "{which}: {found:?} {slopes:?}");
    }
}

#[test]
fn every_event_is_read_by_its_own_speakers_numbers_and_reversed_as_a_whole() {
    let z = [0.7, -0.4, 0.2];
    let order = |answers: Vec<usize>| {
        let pairs = vec![WeightedPair { better: answers[0], worse: answers[1], weight: 1.0 }];
        Said::Order { answers, ranks: vec![0, 1], pairs }
    };
    let said = vec![
        (0, pair(1, 0, 3.0)),
        (0, Said::Lines { marks: vec![(0, true), (1, false)] }),
        (0, order(vec![0, 1])),
        (0, order(vec![2, 1])),
        (0, Said::Lines { marks: vec![(2, true)] }),
    ];
    let statements = statements(said, &[0, 0, 0]);
    let (eta, beta, shift) = ([0.8, 0.7, 0.9, 0.6, 0.95], [1.3, 0.8, 0.5, 2.0, 1.1], [0.4, -0.2, 0.1, 0.0, 0.3]);
    let speakers = Speakers { eta: numbers(&eta), beta: numbers(&beta), shift: numbers(&shift) };
    let nll = Vec::<f64>::try_from(event_nll(&statements, &numbers(&z), &scale(), &speakers, 0.5)).unwrap();
    // A strength of 3 asks for a gap of 2 margins, of the one who says the opposite as well.
    let strong = |d: f64| sigmoid(d - 2.0 * 0.5);
    let line = |event: usize, answer: usize| sigmoid(beta[event] * (z[answer] - shift[event] + 0.2));
    let (right, wrong) = (line(1, 0), 1.0 - line(1, 1));
    let expected = [
        0.8 * strong(1.3 * (z[1] - z[0])) + 0.2 * strong(1.3 * (z[0] - z[1])),
        0.7 * right * wrong + 0.3 * (1.0 - right) * (1.0 - wrong),
        mixed(0.9, sigmoid(0.5 * (z[0] - z[1]))),
        mixed(0.6, sigmoid(2.0 * (z[2] - z[1]))),
        mixed(0.95, line(4, 2)),
    ];
    for (event, (nll, expected)) in nll.iter().zip(expected).enumerate() {
        assert!((nll + expected.ln()).abs() < 1e-12, "event {event}: {nll} {}", -expected.ln());
    }
}
