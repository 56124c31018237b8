//! A tiny random model is heard, judged and told of.

use indicatif::ProgressBar;

use super::heard::{Asking, Heard, accuracy, divergence, hear, opinions, rewards, temperature};
use super::judge::Judge;
use super::length_control::LengthControlled;
use super::report::{AnswerFigures, Comparison, Report, RewardFigures, duels};
use super::scored::tests::tiny;
use super::win_rate::WinRate;
use super::*;
use crate::preferences::{Exposure, Rule, VotedQuestion, by_hand};

#[test]
fn a_model_is_told_of_beside_another_and_does_not_diverge_from_itself() {
    let (model, mut config) = tiny(3);
    let (other, _) = tiny(5);
    (config.generation.max_tokens, config.generation.max_context) = (12, 400);
    let questions: Vec<_> = crate::sources::sample::questions().unwrap().take(6).map(Result::unwrap).collect();
    let written =
        [(questions[0].clone(), "People wrote this.".to_owned()), (questions[1].clone(), "And this".to_owned())];
    let generation = &config.generation;
    let asking =
        Asking { questions: &questions, written: &written, generation, samples: 2, seed: 1, answer_tokens: 30 };
    let hidden = ProgressBar::hidden();
    let listen = |speaker, name: &str| -> Heard { hear(speaker, name.to_owned(), asking, &hidden).unwrap() };
    let (own, of_other) = (listen(&model, "tiny"), listen(&other, "other"));
    let temperature = temperature(generation);
    let itself = divergence(&own.logprobs, &opinions(&model, &own.answers, temperature).unwrap());
    assert_eq!((itself.k1.mean, itself.k3.mean), (0.0, 0.0));
    let apart = divergence(&own.logprobs, &opinions(&other, &own.answers, temperature).unwrap());
    assert!(apart.k3.mean > 0.1 && apart.k1.mean > 0.0, "{apart:?}");
    // What the engine drew with is what the model says of it afterwards.
    let drawn: Vec<f64> = own.answers[0].outputs[0].logprobs.iter().map(|logprob| f64::from(*logprob)).collect();
    let far = drawn.iter().zip(&own.logprobs[0][0]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(far < 1e-3, "{far}: sums in another order, single precision");
    let perplexity = own.perplexity.unwrap();
    // A random model guesses among some 259 tokens.
    assert!((50.0..2000.0).contains(&perplexity.perplexity) && perplexity.questions == 2, "{perplexity:?}");

    let judge = Judge::gold(&config);
    let (gold, gold_of_other) = (rewards(&judge, &own.answers).unwrap(), rewards(&judge, &of_other.answers).unwrap());
    let found = duels(&own.answers, &gold, &of_other.answers, &gold_of_other);
    let thread = by_hand(1, &[(1, 3, "a first answer"), (2, 9, "b"), (3, 0, "ccc ccc")]);
    let voted = [VotedQuestion::of_thread(&thread)];
    let accuracy = accuracy(&judge, &model, &voted, &Rule::default(), asking, &hidden).unwrap();
    assert_eq!(accuracy.model.pairs, voted[0].voted_pairs(&Rule::default(), &Exposure::neutral()).len());
    let gains: Vec<f64> = found.iter().map(|duel| duel.model - duel.other).collect();
    let report = Report {
        judge: judge.name(),
        questions: 6,
        samples: 2,
        temperature,
        duplicates: 0,
        model: AnswerFigures::of("tiny", &own.answers, &gold, own.perplexity),
        comparison: Some(Comparison {
            other: AnswerFigures::of("other", &of_other.answers, &gold_of_other, of_other.perplexity),
            gain: Estimate::of(&gains),
            win_rate: WinRate::of(&found),
            length_controlled: LengthControlled::of(&found),
            divergence: apart,
            duels: found,
        }),
        reward_model: Some(RewardFigures { name: judge.name(), accuracy }),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.svg");
    picture::draw(&path, &report).unwrap();
    let drawn = std::fs::read_to_string(&path).unwrap();
    assert!(drawn.contains("the longer") && drawn.contains("Win-rate by length") && !drawn.contains("NaN"));
    let text = report.markdown(Some("report.svg"));
    for wanted in
        ["# Evaluation of tiny", "| other |", "win-rate at equal length", "distinct-2", "(report.svg)", "KL, nats"]
    {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    // Each row of a table has as many cells as its head.
    let cells: Vec<usize> = text
        .lines()
        .skip_while(|line| !line.starts_with("| | tiny"))
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.matches('|').count())
        .collect();
    assert!(cells.len() > 8 && cells.iter().all(|count| *count == 4), "{cells:?}");
    let json = serde_json::to_value(&report).unwrap();
    assert!(
        json["comparison"]["win_rate"]["share"].is_number() && json["reward_model"]["model"]["interval"].is_array()
    );
}
