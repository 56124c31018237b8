//! How good fresh answers are by the gold reward, with the error of the mean.
//!
//! Invariant: the same questions, seed and weights give the same figures; questions are the units of the error, since
//! answers to one question resemble each other.

use indicatif::ProgressBar;
use serde::Serialize;
use understudy_learning::gold::{Taste, Types, worth_by_type};
use understudy_learning::stages::Question;
use understudy_model::Output;

use super::answers::{Answers, ask, finished};
use super::estimate::Estimate;
use crate::config::Generation;
use crate::speaker::Speaker;

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// Whose answers; 0 is the base model.
    pub policy_version: u64,
    /// Questions asked.
    pub questions: usize,
    /// Answers to each.
    pub samples: usize,
    /// Gold reward, or quality by type where questions have types.
    pub gold: Estimate,
    /// Answers' words.
    pub words: Estimate,
    /// Share of answers that ended by themselves.
    pub finished: f64,
    /// Each question's mean gold reward, in order.
    pub by_question: Vec<f64>,
    /// The first answer to each of the first questions.
    pub examples: Vec<Example>,
}

/// A question and an answer, to read.
#[derive(Debug, Clone, Serialize)]
pub struct Example {
    /// The question's id.
    pub id: String,
    /// Its title.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// Its gold reward.
    pub gold: f64,
}

/// How to evaluate.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Sampling and bounds.
    pub generation: &'a Generation,
    /// What is liked.
    pub taste: &'a Taste,
    /// Which questions have right and wrong answers.
    pub types: Types,
    /// Answers to each question.
    pub samples: usize,
    /// Seed of the sampling.
    pub seed: u64,
    /// Answers to keep for reading.
    pub examples: usize,
}

/// Asks `speaker` every question and judges the answers.
pub fn evaluate(
    speaker: &Speaker,
    questions: &[Question],
    plan: Plan<'_>,
    progress: &ProgressBar,
) -> anyhow::Result<Evaluation> {
    let answers = ask(speaker, questions, plan.generation, plan.samples, plan.seed, progress)?;
    Ok(judged(speaker.version, &answers, plan))
}

/// Judges answers of a policy.
pub fn judged(policy_version: u64, answers: &[Answers], plan: Plan<'_>) -> Evaluation {
    let judged = |question: &Question, output: &Output| {
        worth_by_type(plan.taste, &plan.types, question, &output.text, finished(output))
    };
    let by_question: Vec<f64> = answers
        .iter()
        .map(|asked| {
            let sum: f64 = asked.outputs.iter().map(|output| judged(&asked.question, output)).sum();
            sum / asked.outputs.len().max(1) as f64
        })
        .collect();
    let all: Vec<&Output> = answers.iter().flat_map(|asked| &asked.outputs).collect();
    let words: Vec<f64> = all.iter().map(|output| output.text.split_whitespace().count() as f64).collect();
    let examples = answers
        .iter()
        .take(plan.examples)
        .filter_map(|asked| Some((&asked.question, asked.outputs.first()?)))
        .map(|(question, output)| Example {
            id: question.id.clone(),
            question: question.title.clone(),
            answer: output.text.clone(),
            gold: judged(question, output),
        })
        .collect();
    Evaluation {
        policy_version,
        questions: answers.len(),
        samples: plan.samples,
        gold: Estimate::of(&by_question),
        words: Estimate::of(&words),
        finished: all.iter().filter(|output| finished(output)).count() as f64 / all.len().max(1) as f64,
        by_question,
        examples,
    }
}

/// The mean of the differences, question by question: the same questions make it sharper than two means apart.
pub fn difference(before: &Evaluation, after: &Evaluation) -> Estimate {
    let pairs = before.by_question.iter().zip(&after.by_question);
    Estimate::of(&pairs.map(|(before, after)| after - before).collect::<Vec<_>>())
}
