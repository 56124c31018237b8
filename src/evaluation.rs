//! How good fresh answers are by the gold reward, with the error of the mean.
//!
//! Invariant: the same questions, seed and weights give the same figures; questions are the units of the error, since
//! answers to one question resemble each other.

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use understudy_learning::gold::{Taste, Types, worth_by_type};
use understudy_learning::stages::Question;
use understudy_model::{Finish, Output, Request};

use crate::config::Generation;
use crate::speaker::{Speaker, answer_all, engine_config, sampling};

/// A mean with its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error; 0 with fewer than two values.
    pub standard_error: f64,
}

impl Estimate {
    /// Of independent values.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n.max(1.0);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let standard_error = if values.len() < 2 { 0.0 } else { (squares / (n - 1.0) / n).sqrt() };
        Self { mean, standard_error }
    }
}

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

/// A question and what was answered.
#[derive(Debug, Clone)]
pub struct Answers {
    /// What was asked.
    pub question: Question,
    /// `[P]` the tokens before the answers.
    pub prompt: Vec<i64>,
    /// The answers.
    pub outputs: Vec<Output>,
}

impl Answers {
    /// Each answer's text, and whether it ended by itself.
    pub fn said(&self) -> impl Iterator<Item = (&str, bool)> {
        self.outputs.iter().map(|output| (output.text.as_str(), finished(output)))
    }
}

fn finished(output: &Output) -> bool {
    output.finish == Finish::EndOfSequence
}

/// Asks `speaker` every question `samples` times; `progress` counts the answers.
pub fn ask(
    speaker: &Speaker,
    questions: &[Question],
    generation: &Generation,
    samples: usize,
    seed: u64,
    progress: &ProgressBar,
) -> anyhow::Result<Vec<Answers>> {
    let limit = generation.max_context - generation.max_tokens;
    let mut requests = Vec::with_capacity(questions.len());
    for (at, question) in questions.iter().enumerate() {
        let prompt = speaker.prompt(&generation.system, question, limit)?;
        let params = sampling(generation, seed.wrapping_mul(1_000_003).wrapping_add(at as u64));
        requests.push(Request { id: at as u64, prompt, samples, params, capture_trunk: false });
    }
    let prompts: Vec<Vec<i64>> = requests.iter().map(|request| request.prompt.clone()).collect();
    let mut engine = speaker.engine(engine_config(generation));
    let answers = answer_all(&mut engine, requests, |_| progress.inc(1))?;
    let asked = questions.iter().zip(prompts).zip(answers);
    Ok(asked.map(|((question, prompt), outputs)| Answers { question: question.clone(), prompt, outputs }).collect())
}

/// Asks `speaker` every question and judges the answers.
pub fn evaluate(
    speaker: &Speaker,
    questions: &[Question],
    plan: Plan<'_>,
    progress: &ProgressBar,
) -> anyhow::Result<Evaluation> {
    let answers = ask(speaker, questions, plan.generation, plan.samples, plan.seed, progress)?;
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
    Ok(Evaluation {
        policy_version: speaker.version,
        questions: questions.len(),
        samples: plan.samples,
        gold: Estimate::of(&by_question),
        words: Estimate::of(&words),
        finished: all.iter().filter(|output| finished(output)).count() as f64 / all.len().max(1) as f64,
        by_question,
        examples,
    })
}

/// The mean of the differences, question by question: the same questions make it sharper than two means apart.
pub fn difference(before: &Evaluation, after: &Evaluation) -> Estimate {
    let pairs = before.by_question.iter().zip(&after.by_question);
    Estimate::of(&pairs.map(|(before, after)| after - before).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::Estimate;

    #[test]
    fn the_standard_error_of_a_hand_made_case() {
        // Mean 2; squares 1 + 0 + 1 = 2; variance 1; error sqrt(1/3).
        let estimate = Estimate::of(&[1.0, 2.0, 3.0]);
        assert_eq!(estimate.mean, 2.0);
        assert!((estimate.standard_error - (1.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(Estimate::of(&[5.0]), Estimate { mean: 5.0, standard_error: 0.0 });
        assert_eq!(Estimate::of(&[]), Estimate { mean: 0.0, standard_error: 0.0 });
    }
}
