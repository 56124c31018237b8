//! The gold reward: a documented, honest taste in answers that a program can judge.
//!
//! Invariant: a pure function of the question's and the answer's words. It stands in for people in simulations and is
//! never shown to the learner, so that learning from ratings can be measured against it.
//!
//! gold = relevance · (share of the question's content words that the answer uses)
//!      + length · exp(−((words − centre) / width)²)
//!      − repetition · (share of the answer's word trigrams that repeat an earlier one)
//!      + ending · (1 if the answer ended by itself)
//!      + steps · (how far a "how" question is answered in steps).
//!
//! Each part lies in `[0, 1]` before its weight.

mod types;
mod words;

use serde::{Deserialize, Serialize};

use crate::stages::Question;
pub use types::{QuestionType, Types, worth_by_type};
use words::{content_stems, words};

/// What is liked, and how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Taste {
    /// Weight of using the question's content words.
    pub relevance: f64,
    /// Weight of the wanted length.
    pub length: f64,
    /// Weight against repeated trigrams.
    pub repetition: f64,
    /// Weight of ending by itself.
    pub ending: f64,
    /// Weight of steps in answers to "how" questions; 0 leaves them out.
    pub steps: f64,
    /// The wanted number of words.
    pub length_centre: f64,
    /// How far from it an answer may be: at this distance the length counts 1/e.
    pub length_width: f64,
}

impl Default for Taste {
    fn default() -> Self {
        Self {
            relevance: 1.0,
            length: 1.0,
            repetition: 1.5,
            ending: 0.5,
            steps: 0.0,
            length_centre: 28.0,
            length_width: 12.0,
        }
    }
}

/// The parts of the gold reward, each in `[0, 1]` before its weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GoldParts {
    /// Share of the question's content words in the answer.
    pub relevance: f64,
    /// Closeness to the wanted length.
    pub length: f64,
    /// Share of repeated trigrams.
    pub repetition: f64,
    /// 1 if the answer ended by itself.
    pub ending: f64,
    /// Steps, 1 from three on; 0 for questions that do not ask how.
    pub steps: f64,
}

/// Markers of steps from which on an answer is fully in steps.
const ENOUGH_STEPS: f64 = 3.0;

/// Judges the parts of an answer. The question's words are its title's, or its body's where there is no title.
pub fn gold_parts(taste: &Taste, question: &Question, answer: &str, finished: bool) -> GoldParts {
    let asked = if question.title.trim().is_empty() { &question.body } else { &question.title };
    let said = words(answer);
    let wanted = content_stems(asked);
    let used = content_stems(answer);
    let relevance = match wanted.len() {
        0 => 0.0,
        count => wanted.intersection(&used).count() as f64 / count as f64,
    };
    let distance = (said.len() as f64 - taste.length_centre) / taste.length_width;
    let asks_how = words(asked).iter().any(|word| word == "how");
    GoldParts {
        relevance,
        length: (-distance * distance).exp(),
        repetition: repeated_trigrams(&said),
        ending: f64::from(finished),
        steps: if asks_how { (step_markers(answer, &said) as f64 / ENOUGH_STEPS).min(1.0) } else { 0.0 },
    }
}

/// The gold reward of `answer` to `question`; `finished` says whether it ended by itself.
pub fn gold_reward(taste: &Taste, question: &Question, answer: &str, finished: bool) -> f64 {
    let parts = gold_parts(taste, question, answer, finished);
    taste.relevance * parts.relevance + taste.length * parts.length - taste.repetition * parts.repetition
        + taste.ending * parts.ending
        + taste.steps * parts.steps
}

fn repeated_trigrams(words: &[String]) -> f64 {
    let trigrams: Vec<&[String]> = words.windows(3).collect();
    let distinct: std::collections::BTreeSet<_> = trigrams.iter().collect();
    match trigrams.len() {
        0 => 0.0,
        count => (count - distinct.len()) as f64 / count as f64,
    }
}

/// Numbered or bulleted lines, and words that order steps.
fn step_markers(answer: &str, words: &[String]) -> usize {
    let is_item = |line: &&str| {
        let line = line.trim_start();
        let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let numbered = rest.len() < line.len() && rest.starts_with(['.', ')']);
        numbered || line.starts_with("- ") || line.starts_with("* ")
    };
    let ordering = ["first", "second", "third", "then", "next", "finally", "after", "step"];
    let spoken = words.iter().filter(|word| ordering.contains(&word.as_str())).count();
    answer.lines().filter(is_item).count().max(spoken)
}

#[cfg(test)]
mod tests;
