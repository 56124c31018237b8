//! The reward learner on a tiny model: it learns what can be learned, nothing from noise, and resumes bit for bit.

use std::sync::Arc;

use understudy_model::Trunk;
use understudy_model::testing::tiny_model;

use super::update::MOST_SKIPPED;
use super::*;
use crate::annotators::{Annotator, KindWeights, Population, PopulationConfig, RatedAnswer, RatingTask};
use crate::gold::Taste;
use crate::rng::{Purpose, Stream};
use crate::stages::{Feedback, FeedbackKind, Prompt, Question, Rollout, TrunkStates};

mod statements;

const WORDS: [&str; 8] = ["tea", "cup", "hot", "and", "pot", "leaf", "cold", "sip"];

pub(super) fn question(id: usize) -> Question {
    Question {
        id: format!("test/{id}"),
        source: "test".into(),
        title: "Which tea?".into(),
        body: String::new(),
        tags: Vec::new(),
        author: None,
        url: None,
        licence: None,
        asked_at: 0,
        closedness: None,
        terms: None,
    }
}

/// An answer of random words; its tokens are its bytes, its trunk states are computed when asked for.
pub(super) fn answer(id: u64, question: &Arc<Question>, stream: &mut Stream) -> Rollout {
    let count = 1 + stream.below(7);
    let text = (0..count).map(|_| WORDS[stream.below(WORDS.len())]).collect::<Vec<_>>().join(" ");
    let tokens: Vec<i64> = text.bytes().map(i64::from).collect();
    let prompt = Prompt { question: question.clone(), tokens: "Q: ".bytes().map(i64::from).collect() };
    Rollout::written(id, id / 4 * 4, prompt, tokens, text, true)
}

/// Ratings of groups of four random answers by `population`.
pub(super) fn ratings(population: &[Annotator], count: usize, seed: u64) -> Vec<RewardExample> {
    let mut stream = Stream::new(seed, Purpose::Evaluation, 0);
    let rate = |number: usize| {
        let asked = Arc::new(question(number));
        let answers: Vec<Rollout> = (0..4).map(|i| answer(4 * number as u64 + i, &asked, &mut stream)).collect();
        let view = |answer| {
            let Rollout { id, text, .. }: &Rollout = answer;
            RatedAnswer { id: *id, text, finished: true, judged: None }
        };
        let member = &population[number % population.len()];
        let task = RatingTask { question: &asked, answers: answers.iter().map(view).collect(), number: number as u64 };
        let feedback = member.rate(&task, 0, &mut member.task_stream(number as u64))?;
        Some(RewardExample { seq: number as u64, answers, feedback, closedness: 0.5, lines: Vec::new() })
    };
    (0..count).filter_map(rate).collect()
}

/// Likes answers of about eight words: with at most seven words, the longer the better.
pub(super) fn population(config: PopulationConfig) -> Vec<Annotator> {
    let taste = Taste {
        relevance: 0.0,
        repetition: 0.0,
        ending: 0.0,
        length_centre: 8.0,
        length_width: 4.0,
        ..Default::default()
    };
    let config = PopulationConfig { members: 6, taste, awake_hours: 24.0, gold_mean: 0.4, gold_spread: 0.35, ..config };
    Population::draw(&config, 1).unwrap()
}

pub(super) fn learner(config: RewardConfig) -> RewardLearner {
    let model = tiny_model(3);
    RewardLearner::new(model.trunk, &model.branch, config, 7).unwrap()
}

pub(super) fn fast() -> RewardConfig {
    RewardConfig { head_start: HeadStart::Normal, learning_rate: 3e-3, head_learning_rate: 1e-2, ..Default::default() }
}

/// Foretells, records and learns in batches of eight; returns the prequential accuracy of the last half.
fn accuracy_of_the_last_half(examples: &[RewardExample]) -> f64 {
    let mut learner = learner(fast());
    let mut late = PrequentialStats::new(100);
    for (step, batch) in examples.chunks(8).enumerate() {
        for prediction in learner.predict_all(batch).unwrap().into_iter().flatten() {
            learner.record(&prediction);
            if step >= examples.len() / 16 {
                late.add(&prediction);
            }
        }
        learner.learn(batch).unwrap();
    }
    assert_eq!(learner.version(), examples.len().div_ceil(8) as u64);
    late.total().accuracy.unwrap()
}

#[test]
fn a_taste_that_can_be_learned_is_learned_from_all_kinds_of_feedback() {
    let good = population(PopulationConfig { good: 1.0, noisy: 0.0, hostile: 0.0, ..Default::default() });
    let accuracy = accuracy_of_the_last_half(&ratings(&good, 480, 1));
    assert!(accuracy > 0.7, "{accuracy}");
}

#[test]
fn from_noise_nothing_is_learned() {
    let config = PopulationConfig { good: 0.0, noisy: 1.0, hostile: 0.0, noisy_lapse: 1.0, ..Default::default() };
    let accuracy = accuracy_of_the_last_half(&ratings(&population(config), 480, 1));
    // About 210 two-way questions of weight 1: standard error 0.035; three of them.
    assert!((accuracy - 0.5).abs() < 0.105, "{accuracy}");
}

#[test]
fn a_saved_learner_goes_on_bit_for_bit() {
    let good = population(PopulationConfig::default());
    let examples = ratings(&good, 64, 2);
    let reference = &examples[0].answers;
    let run = |learner: &mut RewardLearner, examples: &[RewardExample]| {
        for batch in examples.chunks(8) {
            learner.predict_all(batch).unwrap().iter().flatten().for_each(|prediction| learner.record(prediction));
            learner.learn(batch).unwrap();
            learner.normalise(reference).unwrap();
        }
    };
    let mut whole = learner(fast());
    run(&mut whole, &examples);
    let (first, rest) = examples.split_at(32);
    let mut before = learner(fast());
    run(&mut before, first);
    let saved = before.state();
    run(&mut before, rest);
    let mut after = learner(fast());
    after.restore(&saved).unwrap();
    run(&mut after, rest);
    let (end, expected) = (after.state(), whole.state());
    assert_eq!(end.scalars.to_string(), expected.scalars.to_string());
    for ((name, tensor), (_, other)) in end.tensors.iter().zip(&expected.tensors) {
        assert_eq!(tensor, other, "{name}");
    }
    let mut other = learner(fast());
    let mut broken = before.state();
    broken.tensors.pop();
    assert!(other.restore(&broken).is_err());
    assert_eq!(other.version(), 0, "a refused state changes nothing");
}

#[test]
fn a_step_in_parts_is_the_same_step() {
    let examples = ratings(&population(PopulationConfig::default()), 8, 3);
    let after = |tokens_per_pass: usize| {
        let mut learner = learner(RewardConfig { tokens_per_pass, ..fast() });
        let report = learner.learn(&examples).unwrap();
        let scores = learner.score(&examples[0].answers).unwrap();
        (report.grad_norm, scores[0].score)
    };
    let (whole, parts) = (after(100_000), after(64));
    // The same numbers in another order of summation, in f32.
    assert!((whole.0 - parts.0).abs() < 1e-4 * whole.0, "{whole:?} {parts:?}");
    assert!((whole.1 - parts.1).abs() < 1e-3, "{whole:?} {parts:?}");
}

/// Trunk states as the generator would have sent them along.
fn with_states(trunk: &Trunk, rollout: &Rollout) -> Rollout {
    let states = understudy_model::trunk_states(trunk, &[rollout.all_tokens()]);
    let values = Vec::<f32>::try_from(states.contiguous().view([-1])).unwrap();
    let trunk = TrunkStates::Present { values: Arc::new(values), width: trunk.width() };
    Rollout { trunk, ..rollout.clone() }
}

#[test]
fn a_score_is_read_at_the_last_token_wherever_the_states_come_from_and_whatever_is_beside_it() {
    let trunk = tiny_model(3).trunk;
    let learner = learner(RewardConfig { readout: Readout::LastToken, ..fast() });
    let answers = ratings(&population(PopulationConfig::default()), 1, 4).remove(0).answers;
    let together = learner.score(&answers).unwrap();
    let mixed: Vec<Rollout> = answers
        .iter()
        .enumerate()
        .map(|(i, answer)| if i % 2 == 0 { with_states(&trunk, answer) } else { answer.clone() })
        .collect();
    for (i, answer) in answers.iter().enumerate() {
        let alone = learner.score(std::slice::from_ref(answer)).unwrap()[0].score;
        assert!((alone - together[i].score).abs() < 1e-5, "answer {i}");
        assert!((learner.score(&mixed).unwrap()[i].score - alone).abs() < 1e-5, "answer {i}");
        let mut other = answer.clone();
        *other.tokens.last_mut().unwrap() += 1;
        let other = learner.score(std::slice::from_ref(&other)).unwrap()[0].score;
        assert!((other - alone).abs() > 1e-4, "the very last token counts");
    }
    let mut wrong = with_states(&trunk, &answers[0]);
    wrong.tokens.push(1);
    assert!(learner.score(&[wrong]).unwrap_err().to_string().contains("trunk states"));
}

#[test]
fn filled_states_are_those_that_the_trunk_gives_each_answer_alone() {
    let learner = learner(fast());
    let asked = Arc::new(question(3));
    let mut stream = Stream::new(4, Purpose::Evaluation, 1);
    let mut answers: Vec<Rollout> = (0..3).map(|id| answer(id, &asked, &mut stream)).collect();
    let alone: Vec<Rollout> = answers.iter().map(|one| with_states(&tiny_model(3).trunk, one)).collect();
    answers[1] = alone[1].clone();
    learner.fill_states(&mut answers).unwrap();
    for (filled, expected) in answers.iter().zip(&alone) {
        let (TrunkStates::Present { values: a, width }, TrunkStates::Present { values: b, .. }) =
            (&filled.trunk, &expected.trunk)
        else {
            panic!("{filled:?} has no states");
        };
        assert_eq!((a.len(), *width), (b.len(), learner_width()));
        // Padding changes the order of some sums: a few f32 roundings.
        assert!(a.iter().zip(b.iter()).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

fn learner_width() -> usize {
    tiny_model(3).trunk.width()
}

/// A learner whose part `name` of the head is all `value` and whose other parts are 0.
fn reading_only(readout: Readout, name: &str, value: f64) -> RewardLearner {
    let mut learner = learner(RewardConfig { readout, ..fast() });
    let mut state = learner.state();
    for (known, tensor) in state.tensors.iter_mut().filter(|(known, _)| known.starts_with("model.score.")) {
        let _ = tensor.fill_(if *known == format!("model.score.{name}") { value } else { 0.0 });
    }
    learner.restore(&state).unwrap();
    learner
}

#[test]
fn the_joint_readout_reads_the_mean_of_the_answer_after_and_before_the_layers() {
    let answer = ratings(&population(PopulationConfig::default()), 1, 4).remove(0).answers.remove(0);
    let beginning = |count: usize| Rollout { tokens: answer.tokens[..count].to_vec(), ..answer.clone() };
    let beginnings: Vec<Rollout> = (1..=answer.tokens.len()).map(beginning).collect();
    let scores = |learner: RewardLearner, answers: &[Rollout]| -> Vec<f64> {
        learner.score(answers).unwrap().iter().map(|score| score.score).collect()
    };
    // Under a causal mask the state of token k is what the last token of the first k tokens says.
    let last = scores(reading_only(Readout::LastToken, "weight", 0.3), &beginnings);
    let mean = last.iter().sum::<f64>() / last.len() as f64;
    let joint = scores(reading_only(Readout::Joint, "answer", 0.3), std::slice::from_ref(&answer))[0];
    assert!((joint - mean).abs() < 1e-4, "{joint} {mean}");
    let empty = beginning(0);
    let prompt = scores(reading_only(Readout::LastToken, "weight", 0.3), std::slice::from_ref(&empty));
    let joint = scores(reading_only(Readout::Joint, "answer", 0.3), &[empty]);
    assert!((joint[0] - prompt[0]).abs() < 1e-4, "an empty answer is read at its prompt's end");

    let TrunkStates::Present { values, width } = with_states(&tiny_model(3).trunk, &answer).trunk else {
        panic!("states were asked for")
    };
    let said = &values[answer.prompt.tokens.len() * width..];
    let count = answer.tokens.len() as f64;
    let mean: Vec<f64> =
        (0..width).map(|d| said.iter().skip(d).step_by(width).map(|v| f64::from(*v)).sum::<f64>() / count).collect();
    let size = (mean.iter().map(|v| v * v).sum::<f64>() / width as f64 + 1e-6).sqrt();
    let expected = 0.3 * mean.iter().sum::<f64>() / size;
    let before = scores(reading_only(Readout::Joint, "trunk", 0.3), &[answer])[0];
    assert!((before - expected).abs() < 1e-4, "{before} {expected}");
}

#[test]
fn frozen_layers_stay_as_they_are_and_the_head_learns() {
    let good = population(PopulationConfig::default());
    let mut learner = learner(RewardConfig { learning_rate: 0.0, ..fast() });
    let before = learner.state();
    learner.learn(&ratings(&good, 8, 2)).unwrap();
    for ((name, old), (_, new)) in before.tensors.iter().zip(&learner.state().tensors) {
        let layer = name.starts_with("model.") && !name.starts_with("model.score.");
        assert!(!layer || old == new, "{name} moved");
        assert!(name != "model.score.answer" || old != new, "{name} did not move");
    }
}

#[test]
fn under_frozen_layers_the_same_bits_are_read_of_an_answer_at_any_time_and_beside_any_other() {
    let config = || RewardConfig { learning_rate: 0.0, ..fast() };
    let learner = learner(config());
    let trunk = tiny_model(3).trunk;
    let plain = ratings(&population(PopulationConfig::default()), 2, 4).remove(1).answers;
    let answers: Vec<Rollout> = plain.iter().map(|answer| with_states(&trunk, answer)).collect();
    // The products with the head are summed in another order beside others; what is read is not.
    let bits = |learner: &RewardLearner, answers: &[Rollout]| -> Vec<Vec<u32>> {
        let read = learner.features(answers).unwrap();
        read.iter().map(|one| one.iter().map(|number| number.to_bits()).collect()).collect()
    };
    let alone: Vec<Vec<u32>> = answers.iter().flat_map(|one| bits(&learner, std::slice::from_ref(one))).collect();
    assert_eq!(bits(&learner, &answers), alone);
    let mixed: Vec<Rollout> = [&answers[2], &plain[0], &answers[1]].map(Rollout::clone).to_vec();
    let mixed = bits(&learner, &mixed);
    assert_eq!([&mixed[0], &mixed[2]], [&alone[2], &alone[1]], "beside one without states");
    // A learner that has read nothing before computes what the other remembers.
    let mut other = super::RewardLearner::new(tiny_model(3).trunk, &tiny_model(3).branch, config(), 7).unwrap();
    let reversed: Vec<Rollout> = answers.iter().rev().cloned().collect();
    assert_eq!(bits(&other, &reversed), alone.iter().rev().cloned().collect::<Vec<_>>());
    // Layers of another model: what was read by the old ones is forgotten.
    let model = tiny_model(4);
    let elsewhere = super::RewardLearner::new(model.trunk, &model.branch, config(), 7).unwrap();
    other.restore(&elsewhere.state()).unwrap();
    assert!(bits(&other, &answers).iter().zip(&alone).all(|(new, old)| new != old));
}

#[test]
fn a_digested_answer_is_scored_and_learned_from_to_the_bit_as_a_whole_one_without_its_states() {
    let config = || RewardConfig { learning_rate: 0.0, ..fast() };
    let (mut plain, mut short) = (learner(config()), learner(config()));
    let examples = ratings(&population(PopulationConfig::default()), 8, 4);
    let mut digested = examples.clone();
    for (learner, examples, digest) in [(&mut plain, &examples, false), (&mut short, &mut digested, true)] {
        let mut examples = examples.clone();
        for example in &mut examples {
            learner.fill_states(&mut example.answers).unwrap();
            assert!(!digest || learner.digest(&mut example.answers).unwrap());
        }
        let kept = |answer: &Rollout| match &answer.trunk {
            TrunkStates::Present { values, .. } => values.len(),
            TrunkStates::Absent => usize::MAX,
        };
        assert!(examples.iter().flat_map(|one| &one.answers).all(|answer| (kept(answer) == 0) == digest));
        for _ in 0..3 {
            learner.learn(&examples).unwrap();
        }
    }
    for ((name, one), (_, other)) in plain.state().tensors.iter().zip(&short.state().tensors) {
        assert!(one.equal(other), "{name}");
    }
    assert!(!learner(fast()).digest(&mut digested[0].answers).unwrap(), "layers that learn read anew each time");
}

#[test]
fn a_head_that_starts_at_zero_has_no_opinion_before_the_first_rating() {
    let examples = ratings(&population(PopulationConfig::default()), 1, 4);
    let learner = learner(RewardConfig { head_start: HeadStart::Zero, ..fast() });
    assert!(learner.score(&examples[0].answers).unwrap().iter().all(|score| score.score == 0.0));
}

#[test]
fn reference_answers_get_mean_0_and_variance_1_and_a_step_that_is_not_finite_is_skipped() {
    let examples = ratings(&population(PopulationConfig::default()), 24, 5);
    let reference: Vec<Rollout> = examples.iter().flat_map(|example| example.answers.clone()).collect();
    let mut learner = learner(fast());
    learner.learn(&examples[..8]).unwrap();
    learner.normalise(&reference).unwrap();
    let scores: Vec<f64> = learner.score(&reference).unwrap().iter().map(|score| score.score).collect();
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / scores.len() as f64;
    assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-6, "{mean} {variance}");

    let mut broken = examples[8..16].to_vec();
    for answer in &mut broken[0].answers {
        let TrunkStates::Present { values, width } = with_states(&tiny_model(3).trunk, answer).trunk else { continue };
        let mut values = values.to_vec();
        values[0] = f32::NAN;
        answer.trunk = TrunkStates::Present { values: Arc::new(values), width };
    }
    let before = learner.state();
    let skipped = learner.learn(&broken).unwrap();
    assert!(skipped.skipped && learner.skipped() == 1, "{skipped:?}");
    assert_eq!(learner.version(), 1);
    assert!(before.tensors.iter().zip(&learner.state().tensors).all(|(a, b)| a.1 == b.1), "nothing else changed");
    assert!(!learner.learn(&examples[8..16]).unwrap().skipped, "and the next step is a step again");
    // Only skips in a row are a divergence.
    let broken = &broken[..1];
    assert!((1..MOST_SKIPPED).all(|_| learner.learn(broken).unwrap().skipped));
    assert!(!learner.learn(&examples[..1]).unwrap().skipped);
    assert!((1..MOST_SKIPPED).all(|_| learner.learn(broken).unwrap().skipped));
    assert!(learner.learn(broken).unwrap_err().to_string().starts_with("3 steps"));
}

#[test]
fn learning_lowers_the_loss_of_each_kind_and_kinds_that_say_nothing_are_left_out() {
    let asked = Arc::new(question(0));
    let mut stream = Stream::new(9, Purpose::Evaluation, 1);
    let answers: Vec<Rollout> = (0..4).map(|id| answer(id, &asked, &mut stream)).collect();
    let example = |kind: FeedbackKind| {
        let feedback = Feedback { id: "f".into(), annotator: "a".into(), at: 0, kind, why: None };
        RewardExample { seq: 1, answers: answers.clone(), feedback, closedness: 0.5, lines: vec![2] }
    };
    let kinds = [
        FeedbackKind::Stars { answer: 0, stars: 5 },
        FeedbackKind::Score { answer: 1, value: 2.5, min: 0.0, max: 10.0 },
        FeedbackKind::Thumb { answer: 2, up: true },
        FeedbackKind::Flag { answer: 2, reason: "rude".into() },
        FeedbackKind::Pair { better: 3, worse: 0, strength: 2.0 },
        FeedbackKind::Ranking { levels: vec![vec![2], vec![0, 1], vec![3]] },
        FeedbackKind::Ranking { levels: vec![vec![1, 2]] },
        FeedbackKind::Steps { answer: 0, marks: vec![Some(true)] },
    ];
    for kind in kinds {
        let example = example(kind);
        let mut learner = learner(fast());
        let before = learner.predict(&example).unwrap().unwrap();
        let reports: Vec<RewardReport> =
            (0..40).map(|_| learner.learn(std::slice::from_ref(&example)).unwrap()).collect();
        let after = learner.predict(&example).unwrap().unwrap();
        assert!(after.probability > before.probability, "{:?}: {before:?} {after:?}", example.feedback.kind);
        if reports[0].answers == 1 {
            // One answer, no centring: the loss is exactly what was foretold.
            assert!((reports[0].likelihood_loss + before.probability.ln()).abs() < 1e-4, "{:?}", reports[0]);
        }
        assert_eq!(reports[0].utility_questions, usize::from(reports[0].answers == 4));
    }
    let mut learner = learner(fast());
    let nothing = [
        FeedbackKind::Edit { answer: 0, text: "better".into() },
        FeedbackKind::Retract { feedback: "g".into() },
        FeedbackKind::Ranking { levels: vec![vec![0, 1, 2]] },
    ];
    for kind in nothing {
        assert_eq!(learner.predict(&example(kind.clone())).unwrap(), None);
        assert_eq!(learner.learn(&[example(kind)]).unwrap().events, 0);
    }
    assert_eq!(learner.version(), 0);
    let unknown = example(FeedbackKind::Thumb { answer: 99, up: true });
    assert!(learner.learn(&[unknown]).unwrap_err().to_string().contains("99"));
}

#[test]
fn kinds_alone_are_enough() {
    // Each kind by itself points the same way: a smoke test against a sign turned round in one likelihood.
    for kind in 0..4 {
        let mut weights = [0.0; 4];
        weights[kind] = 1.0;
        let [stars, thumbs, pairs, rankings] = weights;
        let kinds = KindWeights { stars, thumbs, pairs, rankings };
        let config =
            PopulationConfig { good: 1.0, noisy: 0.0, hostile: 0.0, bias_spread: 0.0, kinds, ..Default::default() };
        let accuracy = accuracy_of_the_last_half(&ratings(&population(config), 240, 6));
        assert!(accuracy > 0.6, "kind {kind}: {accuracy}");
    }
}
