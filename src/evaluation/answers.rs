//! Fresh answers to questions.
//!
//! Invariant: the same questions, seed and weights give the same answers, in the order of the questions.

use indicatif::ProgressBar;
use understudy_learning::stages::Question;
use understudy_model::{Finish, Output, Request};

use crate::config::Generation;
use crate::speaker::{Speaker, answer_all, engine_config, sampling};

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

/// Whether the answer ended by itself.
pub fn finished(output: &Output) -> bool {
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
