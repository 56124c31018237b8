//! What a model says to held-out questions, and what it thinks of others' answers.
//!
//! Invariant: one model is in memory at a time, but for the judge's layers; what was heard of one is kept as numbers and
//! tokens.

use indicatif::ProgressBar;
use understudy_learning::stages::Question;

use super::answers::{Answers, ask, finished};
use super::divergence::Divergence;
use super::judge::{Judge, Said};
use super::perplexity::Perplexity;
use super::reward_accuracy::RewardAccuracy;
use super::scored::{logprobs, written};
use crate::config::Generation;
use crate::preferences::score::stack_llama;
use crate::preferences::{Exposure, Rule, VotedAnswer, VotedQuestion};
use crate::speaker::Speaker;

/// `[questions][samples][tokens]` log-probabilities.
pub type Logprobs = Vec<Vec<Vec<f64>>>;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// Of every model.
    pub questions: &'a [Question],
    /// Answers that people wrote, with their questions.
    pub written: &'a [(Question, String)],
    /// Sampling and bounds.
    pub generation: &'a Generation,
    /// Answers to each question.
    pub samples: usize,
    /// Seed of the sampling.
    pub seed: u64,
    /// People's answers are cut to this many tokens.
    pub answer_tokens: usize,
}

/// What was heard of one model.
pub struct Heard {
    /// Its name.
    pub name: String,
    /// Version of its policy; 0 is as it was read.
    pub version: u64,
    /// Its answers.
    pub answers: Vec<Answers>,
    /// Of their tokens, under the model itself.
    pub logprobs: Logprobs,
    /// Of people's answers, where there are any.
    pub perplexity: Option<Perplexity>,
}

/// The temperature at which answers are drawn; where the likeliest token is taken, that of the model itself.
pub fn temperature(generation: &Generation) -> f64 {
    if generation.temperature > 0.0 { generation.temperature } else { 1.0 }
}

/// Asks a model everything; `progress` counts answers, its own and people's.
pub fn hear(speaker: &Speaker, name: String, asking: Asking<'_>, progress: &ProgressBar) -> anyhow::Result<Heard> {
    let Asking { questions, generation, samples, seed, .. } = asking;
    let answers = ask(speaker, questions, generation, samples, seed, progress)?;
    let logprobs = opinions(speaker, &answers, temperature(generation))?;
    let mut sums = Vec::with_capacity(asking.written.len());
    for (question, text) in asking.written {
        let Prompted { prompt, tokens, .. } = prompted(speaker, question, text, generation, asking.answer_tokens)?;
        let own = self::logprobs(speaker, &prompt, &tokens, 1.0)?;
        sums.push((own.iter().sum(), own.len()));
        progress.inc(1);
    }
    let perplexity = (!sums.is_empty()).then(|| Perplexity::of(&sums));
    Ok(Heard { name, version: speaker.version, answers, logprobs, perplexity })
}

/// What a model thinks of answers, its own or another's.
pub fn opinions(speaker: &Speaker, answers: &[Answers], temperature: f64) -> anyhow::Result<Logprobs> {
    let of = |asked: &Answers| {
        asked.outputs.iter().map(|output| logprobs(speaker, &asked.prompt, &output.tokens, temperature)).collect()
    };
    answers.iter().map(of).collect()
}

/// From `base`, whose opinions of the model's own answers are given.
pub fn divergence(own: &Logprobs, base: &Logprobs) -> Divergence {
    let question =
        |(own, base): (&Vec<Vec<f64>>, &Vec<Vec<f64>>)| own.iter().cloned().zip(base.iter().cloned()).collect();
    Divergence::of(&own.iter().zip(base).map(question).collect::<Vec<_>>())
}

/// `[questions][samples]` rewards of answers.
pub fn rewards(judge: &Judge, answers: &[Answers]) -> anyhow::Result<Vec<Vec<f64>>> {
    let of = |asked: &Answers| {
        let said = |output: &understudy_model::Output| Said {
            tokens: output.tokens.clone(),
            text: output.text.clone(),
            finished: finished(output),
        };
        judge.score(&asked.question, &asked.prompt, &asked.outputs.iter().map(said).collect::<Vec<_>>())
    };
    answers.iter().map(of).collect()
}

/// How a judge orders people's answers, by their votes under `rule`.
pub fn accuracy(
    judge: &Judge,
    speaker: &Speaker,
    voted: &[VotedQuestion],
    rule: &Rule,
    asking: Asking<'_>,
    progress: &ProgressBar,
) -> anyhow::Result<RewardAccuracy> {
    let mut judged = Vec::with_capacity(voted.len());
    for question in voted {
        let pairs = question.voted_pairs(rule, &Exposure::neutral());
        let (mut said, mut asked) = (Vec::new(), Vec::new());
        for answer in &question.answers {
            let most = asking.answer_tokens;
            let Prompted { prompt, tokens, whole: finished } =
                prompted(speaker, &question.question, &answer.text, asking.generation, most)?;
            asked = prompt;
            said.push(Said { tokens, text: answer.text.clone(), finished });
        }
        judged.push((question, pairs, judge.score(&question.question, &asked, &said)?));
        progress.inc(1);
    }
    Ok(RewardAccuracy::of(&judged))
}

/// The answer to learn from of a question: the accepted or best voted, none that was not liked.
pub fn best_written(question: &VotedQuestion) -> Option<&VotedAnswer> {
    let worth = |answer: &&VotedAnswer| stack_llama(answer.score, answer.accepted);
    let liked = question.answers.iter().filter(|answer| worth(answer) > 0 && !answer.text.trim().is_empty());
    liked.max_by_key(|answer| (worth(answer), answer.score, std::cmp::Reverse(answer.at)))
}

/// A question and a written answer to it, in tokens.
struct Prompted {
    prompt: Vec<i64>,
    tokens: Vec<i64>,
    /// The answer was not cut.
    whole: bool,
}

fn prompted(
    speaker: &Speaker,
    question: &Question,
    answer: &str,
    generation: &Generation,
    most: usize,
) -> anyhow::Result<Prompted> {
    // Room for the answer and the token that ends it.
    let limit = generation.max_context.min(speaker.trunk.max_position()).saturating_sub(most + 1).max(1);
    let (tokens, whole) = written(speaker, answer, most)?;
    Ok(Prompted { prompt: speaker.prompt(&generation.system, question, limit)?, tokens, whole })
}
