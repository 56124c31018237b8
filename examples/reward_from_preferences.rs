//! Trains a reward model on preferences as they arrive: every rating is foretold before it is learned from.
//!
//! The model is a tiny random one, the people are simulated and like longer answers; they give stars, thumbs, pairs and
//! rankings as they please, and one model learns from all of it.
//!
//! Run: `cargo run --example reward_from_preferences`

use std::sync::Arc;

use anyhow::Result;
use understudy_learning::annotators::{Annotator, Population, PopulationConfig, RatedAnswer, RatingTask};
use understudy_learning::gold::Taste;
use understudy_learning::reward::{RewardConfig, RewardExample, RewardLearner};
use understudy_learning::rng::{Purpose, Stream};
use understudy_learning::stages::{Prompt, Question, Rollout};
use understudy_model::testing::tiny_model;

const WORDS: [&str; 8] = ["tea", "cup", "hot", "and", "pot", "leaf", "cold", "sip"];
const BATCH: usize = 8;

fn main() -> Result<()> {
    let taste = Taste { relevance: 0.0, repetition: 0.0, ending: 0.0, length_centre: 8.0, ..Default::default() };
    let taste = Taste { length_width: 4.0, ..taste };
    let config = PopulationConfig { taste, awake_hours: 24.0, gold_mean: 0.4, gold_spread: 0.35, ..Default::default() };
    let people = Population::draw(&config, 1)?;

    let model = tiny_model(1);
    let config = RewardConfig { learning_rate: 3e-3, head_learning_rate: 1e-2, ..Default::default() };
    let mut learner = RewardLearner::new(model.trunk, &model.branch, config, 1)?;

    let mut stream = Stream::new(1, Purpose::Evaluation, 0);
    let examples: Vec<RewardExample> =
        (0..800).filter_map(|number| rating(&people[number % people.len()], number as u64, &mut stream)).collect();
    println!("{} people, {} ratings\n", people.len(), examples.len());
    println!("ratings   accuracy   log-loss   calibration error (each over the recent past, before learning)");
    for (step, batch) in examples.chunks(BATCH).enumerate() {
        let expected = learner.predict_all(batch)?;
        expected.iter().flatten().for_each(|prediction| learner.record(prediction));
        learner.learn(batch)?;
        if (step + 1) % 10 == 0 {
            let recent = learner.stats().recent();
            println!(
                "{:>7}   {:>8.3}   {:>8.3}   {:>8.3}",
                (step + 1) * BATCH,
                recent.accuracy.unwrap_or(f64::NAN),
                recent.log_loss.unwrap_or(f64::NAN),
                recent.calibration_error.unwrap_or(f64::NAN),
            );
        }
    }
    println!("\nby kind of feedback, since the beginning:");
    for (kind, total, _) in learner.stats().by_kind() {
        println!("{kind:>8}: {:>4.0} events, accuracy {:.3}", total.events, total.accuracy.unwrap_or(f64::NAN));
    }
    let texts = ["tea", "tea and hot", "tea and hot cup and leaf and"];
    let answers: Vec<Rollout> = texts.iter().map(|text| answer(0, question(), (*text).to_owned())).collect();
    println!("\nscores of answers that it never saw:");
    for (text, score) in texts.iter().zip(learner.score(&answers)?) {
        println!("{:>6.2}  {text}", score.score);
    }
    Ok(())
}

/// What `person` says of four random answers.
fn rating(person: &Annotator, number: u64, stream: &mut Stream) -> Option<RewardExample> {
    let question = question();
    let answers: Vec<Rollout> = (0..4)
        .map(|i| {
            let words: Vec<&str> = (0..1 + stream.below(7)).map(|_| WORDS[stream.below(WORDS.len())]).collect();
            answer(4 * number + i, question.clone(), words.join(" "))
        })
        .collect();
    let seen = answers
        .iter()
        .map(|answer| RatedAnswer { id: answer.id, text: &answer.text, finished: true, judged: None })
        .collect();
    let task = RatingTask { question: &question, answers: seen, number };
    let feedback = person.rate(&task, 0, &mut person.task_stream(number))?;
    Some(RewardExample { seq: number, answers, feedback, closedness: 0.5, lines: Vec::new() })
}

fn question() -> Arc<Question> {
    Arc::new(Question {
        id: "example/1".into(),
        source: "example".into(),
        title: "Which tea?".into(),
        body: String::new(),
        tags: Vec::new(),
        author: None,
        url: None,
        licence: None,
        asked_at: 0,
        closedness: None,
        terms: None,
    })
}

/// The tiny model's tokens are bytes.
fn answer(id: u64, question: Arc<Question>, text: String) -> Rollout {
    let bytes = |text: &str| text.bytes().map(i64::from).collect::<Vec<_>>();
    let tokens = bytes(&text);
    let prompt = Prompt { tokens: bytes(&question.title), question };
    Rollout::written(id, id / 4 * 4, prompt, tokens, text, true)
}
