//! The last layer's uncertainty against a direct inverse, on cases by hand and through the learner.

use understudy_model::testing::tiny_model;

use super::*;
use crate::reward::{RewardConfig, RewardExample, RewardLearner};
use crate::stages::{Feedback, FeedbackKind, Prompt, Question, Rollout};

fn features(rows: usize, width: i64, stream: &mut Stream) -> Tensor {
    let values: Vec<f32> = (0..rows as i64 * width).map(|_| stream.normal() as f32).collect();
    Tensor::from_slice(&values).view([rows as i64, width])
}

fn stream(index: u64) -> Stream {
    Stream::new(5, Purpose::Evaluation, index)
}

fn pair(answer: usize, against: usize) -> Witness {
    Witness { answer, against: Some(against), information: 0.25 }
}

#[test]
fn the_covariance_is_the_inverse_of_the_precision() {
    // 40 random terms on 12 dimensions; 1e-6 is far above what 40 rank-one updates in f64 lose (1e-14).
    let mut epistemic = Epistemic::new(12, 64, 2.0, 1);
    let known = epistemic.project(&[features(20, 12, &mut stream(0))]);
    let mut precision = Tensor::eye(12, (Kind::Double, Device::Cpu)) * 2.0;
    let mut draw = stream(1);
    for seq in 0..40 {
        let (answer, other) = (draw.below(20), draw.below(20));
        let against = (seq % 3 != 0 && answer != other).then_some(other);
        let witness = Witness { answer, against, information: draw.uniform() * 0.25 };
        epistemic.hear(seq, &known, &[witness]);
        let own = known.get(answer as i64);
        let direction = against.map_or(own.shallow_clone(), |other| own - known.get(other as i64));
        precision += direction.outer(&direction) * witness.information;
    }
    let wrong = (precision.inverse() - &epistemic.covariance).abs().max().double_value(&[]);
    assert!(wrong < 1e-6, "{wrong}");
    assert_eq!(epistemic.covariance, epistemic.covariance.tr(), "symmetric to the last bit");
    assert_eq!(epistemic.skipped(), 0);
    let by_hand = known.matmul(&precision.inverse()).multiply(&known).sum_dim_intlist(1, false, Kind::Double).sqrt();
    let wrong = (Tensor::from_slice(&epistemic.deviations(&known).unwrap()) - by_hand).abs().max().double_value(&[]);
    assert!(wrong < 1e-6, "{wrong}");
}

#[test]
fn ratings_make_like_answers_sure_and_leave_others_unsure() {
    // Answers near one of two random directions of 300; ratings are about those near the first only.
    let mut draw = stream(2);
    let towards = features(2, 300, &mut draw);
    let near = |which: i64, draw: &mut Stream| towards.get(which).unsqueeze(0) + features(30, 300, draw) * 0.3;
    let (rated, like, other) = (near(0, &mut draw), near(0, &mut draw), near(1, &mut draw));
    let mut epistemic = Epistemic::new(300, 64, 1.0, 1);
    let mean = |epistemic: &Epistemic, parts: &Tensor| {
        let stds = epistemic.deviations(&epistemic.project(&[parts.shallow_clone()])).unwrap();
        stds.iter().sum::<f64>() / stds.len() as f64
    };
    let before = (mean(&epistemic, &like), mean(&epistemic, &other));
    // Projection to 64 dimensions keeps lengths to about 1/sqrt(64) = 12 %, two standard deviations of it.
    assert!((before.0 - 1.0).abs() < 0.25 && (before.1 - 1.0).abs() < 0.25, "{before:?}");
    let known = epistemic.project(&[rated]);
    let mut last = before.0;
    for seq in 0..30 {
        epistemic.hear(seq, &known, &[Witness { answer: seq as usize, against: None, information: 0.25 }]);
        let now = mean(&epistemic, &like);
        assert!(now <= last, "it only shrinks");
        last = now;
    }
    let after = (last, mean(&epistemic, &other));
    // 30 ratings at 1/4 along one direction: about 1/sqrt(1 + 7.5) = 0.34 of what it was, and what noise adds.
    assert!(after.0 < 0.6 * before.0 && after.1 > 0.85 * before.1, "{before:?} {after:?}");
}

#[test]
fn an_event_is_heard_once_and_differences_say_nothing_of_what_both_have() {
    let mut epistemic = Epistemic::new(8, 8, 1.0, 1);
    let known = epistemic.project(&[features(3, 8, &mut stream(3))]);
    assert!(epistemic.is_new(4));
    epistemic.hear(4, &known, &[pair(0, 1)]);
    let once = epistemic.covariance.copy();
    assert!(!epistemic.is_new(4));
    epistemic.hear(4, &known, &[pair(0, 1), pair(1, 2)]);
    assert_eq!(epistemic.covariance, once);
    epistemic.hear(5, &known, &[pair(2, 2)]);
    assert_eq!(epistemic.covariance, once, "an answer against itself");
    epistemic.centre_on(&known.narrow(0, 0, 1));
    assert_eq!(epistemic.deviations(&known.narrow(0, 0, 1)).unwrap(), [0.0], "the reference is sure by definition");
}

#[test]
fn what_is_not_finite_changes_only_the_count() {
    let mut epistemic = Epistemic::new(4, 4, 1.0, 1);
    let known = epistemic.project(&[features(2, 4, &mut stream(4))]);
    let before = epistemic.covariance.copy();
    epistemic.hear(1, &known, &[Witness { answer: 0, against: None, information: f64::NAN }]);
    epistemic.hear(2, &known, &[Witness { answer: 0, against: None, information: -1.0 }]);
    epistemic.hear(3, &(&known * f64::INFINITY), &[pair(0, 1)]);
    assert_eq!((epistemic.skipped(), epistemic.covariance), (3, before));
}

#[test]
fn a_restored_state_goes_on_bit_for_bit_and_a_wrong_one_is_refused() {
    let mut whole = Epistemic::new(40, 16, 1.0, 9);
    let known = whole.project(&[features(10, 40, &mut stream(5))]);
    (0..6).for_each(|seq| whole.hear(seq, &known, &[pair(seq as usize, seq as usize + 1)]));
    whole.centre_on(&known);
    let saved = whole.tensors();
    let mut resumed = Epistemic::new(40, 16, 1.0, 9).restored(&saved, 3).unwrap();
    assert_eq!(resumed.skipped(), 3);
    for epistemic in [&mut whole, &mut resumed] {
        epistemic.hear(5, &known, &[pair(5, 6)]);
        epistemic.hear(6, &known, &[pair(8, 2)]);
    }
    assert_eq!(whole.covariance, resumed.covariance);
    assert_eq!(whole.deviations(&known).unwrap(), resumed.deviations(&known).unwrap());

    let empty = Epistemic::new(40, 16, 1.0, 9);
    let refused = |name: &str, value: Tensor| {
        let changed: Vec<(String, Tensor)> = saved
            .iter()
            .map(|(own, tensor)| (own.clone(), if own == name { value.copy() } else { tensor.copy() }))
            .collect();
        empty.restored(&changed, 0).unwrap_err().to_string()
    };
    let lopsided = Tensor::ones([16, 16], (Kind::Double, Device::Cpu)).triu(0);
    assert!(refused("covariance", lopsided).contains("symmetric"));
    assert!(refused("covariance", Tensor::eye(9, (Kind::Double, Device::Cpu))).contains("covariance"));
    assert!(refused("centre", Tensor::full([16], f64::NAN, (Kind::Double, Device::Cpu))).contains("finite"));
    assert!(refused("seen", Tensor::zeros([3], (Kind::Int64, Device::Cpu))).contains("seen"));
    assert!(empty.restored(&saved[1..], 0).unwrap_err().to_string().contains("missing"));
}

#[test]
fn where_it_is_unsure_it_is_wrong_by_more() {
    // People compare pairs of answers by a linear taste; the head is the posterior mode (Newton's method). Half of the
    // answers vary in dimensions that ratings never reach. The error of unseen scores then goes with its stated size.
    let width = 24;
    let mut draw = stream(6);
    let mut make = |count: usize, rare: bool| {
        let rows = features(count, width, &mut draw);
        let mut quiet = rows.narrow(1, if rare { 0 } else { width / 2 }, width / 2);
        quiet *= 0.2;
        rows
    };
    let (rated, unseen) = (make(60, false), Tensor::cat(&[make(100, false), make(100, true)], 0));
    let mut draw = stream(7);
    let mut epistemic = Epistemic::new(width as usize, 64, 0.25, 1);
    let (known, asked) = (epistemic.project(&[rated]), epistemic.project(&[unseen]));
    // Drawn from the prior: variance 1/0.25 each.
    let taste = Tensor::from_slice(&(0..width).map(|_| 2.0 * draw.normal()).collect::<Vec<f64>>());
    let (truth, wanted) = (known.mv(&taste), asked.mv(&taste));
    let mut pairs = Vec::new();
    for _ in 0..300 {
        let (a, b) = (draw.below(60), draw.below(60));
        let p = 1.0 / (1.0 + (truth.double_value(&[b as i64]) - truth.double_value(&[a as i64])).exp());
        pairs.push(if draw.uniform() < p { (a as i64, b as i64) } else { (b as i64, a as i64) });
    }
    let index = |of: fn(&(i64, i64)) -> i64| Tensor::from_slice(&pairs.iter().map(of).collect::<Vec<_>>());
    let phi = known.index_select(0, &index(|pair| pair.0)) - known.index_select(0, &index(|pair| pair.1));
    let mut mode = Tensor::zeros([width], (Kind::Double, Device::Cpu));
    for _ in 0..20 {
        let p = phi.mv(&mode).sigmoid();
        let gradient = phi.tr().mv(&(1.0 - &p)) - &mode * 0.25;
        let spread: Tensor = &p - p.square();
        let curvature =
            phi.tr().matmul(&(&phi * spread.unsqueeze(1))) + Tensor::eye(width, (Kind::Double, Device::Cpu)) * 0.25;
        mode += curvature.inverse().mv(&gradient);
    }
    for (seq, (better, worse)) in pairs.iter().enumerate() {
        let d = (known.get(*better) - known.get(*worse)).dot(&mode).double_value(&[]);
        let information = witness::choice_information(d, 1.0, 1.0);
        let said = Witness { answer: *better as usize, against: Some(*worse as usize), information };
        epistemic.hear(seq as u64, &known, &[said]);
    }
    let errors = Vec::<f64>::try_from((asked.mv(&mode) - wanted).abs()).unwrap();
    let stated = epistemic.deviations(&asked).unwrap();
    // If errors are normal with the stated deviations (which differ by a factor of 2 or so), ranks correlate at about
    // 0.3; under no relation 200 answers give 0 +- 0.07.
    let rho = spearman(&errors, &stated);
    assert!(rho > 0.2, "{rho}");
    // The mean square of the standardised error is 1 by rights; it has few degrees of freedom (24 weights).
    let square = errors.iter().zip(&stated).map(|(error, std)| (error / std).powi(2)).sum::<f64>() / 200.0;
    assert!((0.4..2.0).contains(&square), "{square}");
}

fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let ranks = |values: &[f64]| {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
        let mut ranks = vec![0.0; values.len()];
        order.into_iter().enumerate().for_each(|(rank, place)| ranks[place] = rank as f64);
        ranks
    };
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

/// A learner with frozen layers on a tiny model, and answers to one question each.
fn tiny(seed: u64) -> (RewardLearner, Vec<RewardExample>) {
    let model = tiny_model(seed);
    let mut draw = stream(8);
    let mut rated = |seq: u64| {
        let text: String = (0..12).map(|_| char::from(97 + draw.below(26) as u8)).collect();
        let question = Question {
            id: format!("test/{seq}"),
            source: "test".into(),
            title: "Which?".into(),
            body: String::new(),
            tags: Vec::new(),
            author: None,
            url: None,
            licence: None,
            asked_at: 0,
            closedness: None,
            terms: None,
        };
        let tokens: Vec<i64> = text.bytes().map(i64::from).collect();
        let prompt = Prompt { question: question.into(), tokens: vec![63, 32] };
        let answer = Rollout::written(seq, seq, prompt, tokens, text, true);
        let kind = FeedbackKind::Thumb { answer: seq, up: seq.is_multiple_of(2) };
        let feedback = Feedback { id: format!("f{seq}"), annotator: "a".into(), at: 0, kind, why: None };
        RewardExample { seq, answers: vec![answer], feedback, closedness: 0.5, lines: Vec::new() }
    };
    let events = (0..24).map(&mut rated).collect();
    (RewardLearner::new(model.trunk, &model.branch, RewardConfig::default(), 7).unwrap(), events)
}

#[test]
fn the_learners_scores_come_with_an_error_that_falls_with_ratings_and_survives_a_restart() {
    let (mut learner, events) = tiny(3);
    let answers: Vec<Rollout> = events.iter().map(|event| event.answers[0].clone()).collect();
    learner.normalise(&answers).unwrap();
    let stds = |learner: &RewardLearner| -> Vec<f64> {
        learner.score(&answers).unwrap().iter().map(|score| score.reward_std).collect()
    };
    let before = stds(&learner);
    assert!(before.iter().all(|std| *std > 0.0 && std.is_finite()), "{before:?}");
    for batch in events[..16].chunks(8) {
        learner.learn(batch).unwrap();
    }
    let after = stds(&learner);
    let fallen =
        |range: std::ops::Range<usize>| range.clone().map(|i| after[i] / before[i]).sum::<f64>() / range.len() as f64;
    assert!(after.iter().zip(&before).all(|(after, before)| after <= before));
    assert!(fallen(0..16) < fallen(16..24), "{} {}", fallen(0..16), fallen(16..24));
    // Learning the same again tells nothing new.
    learner.learn(&events[..8]).unwrap();
    assert_eq!(stds(&learner), after);

    let (mut resumed, _) = tiny(3);
    resumed.restore(&learner.state()).unwrap();
    for learner in [&mut learner, &mut resumed] {
        learner.learn(&events[4..20]).unwrap();
    }
    assert_eq!(stds(&learner), stds(&resumed));
    assert!(stds(&learner)[17] < after[17] && learner.epistemic_skipped() == 0);
}

#[test]
fn a_comparison_makes_both_of_its_answers_surer() {
    let (mut learner, events) = tiny(3);
    let answers: Vec<Rollout> = events[..2].iter().map(|event| event.answers[0].clone()).collect();
    let others: Vec<Rollout> = events[2..].iter().map(|event| event.answers[0].clone()).collect();
    learner.normalise(&others).unwrap();
    let stds = |learner: &RewardLearner| -> Vec<f64> {
        learner.score(&answers).unwrap().iter().map(|score| score.reward_std).collect()
    };
    let before = stds(&learner);
    let kind = FeedbackKind::Pair { better: 1, worse: 0, strength: 1.0 };
    let feedback = Feedback { kind, ..events[0].feedback.clone() };
    learner.learn(&[RewardExample { answers: answers.clone(), feedback, ..events[0].clone() }]).unwrap();
    let after = stds(&learner);
    assert!(after[0] < before[0] && after[1] < before[1], "{before:?} {after:?}");
    // In units of the normalised scores: twice the gain is twice the deviation.
    let mut state = learner.state();
    let gain = state.scalars["gain"].as_u64().map(f64::from_bits).unwrap();
    state.scalars["gain"] = (2.0 * gain).to_bits().into();
    learner.restore(&state).unwrap();
    assert!(stds(&learner).iter().zip(&after).all(|(double, std)| (double - 2.0 * std).abs() < 1e-12));
}

#[test]
fn the_parts_that_the_head_reads_count_alike_whatever_their_size() {
    let epistemic = Epistemic::new(12, 12, 1.0, 1);
    let (one, other) = (features(5, 6, &mut stream(9)), features(5, 6, &mut stream(10)));
    let plain = epistemic.project(&[one.shallow_clone(), other.shallow_clone()]);
    let large = epistemic.project(&[one * 1000.0, other]);
    // Rounding of f32.
    assert!((plain - large).abs().max().double_value(&[]) < 1e-5);
}
