//! Votes on the answers of Stack Exchange questions, as comparisons that a reward model can learn from.
//!
//! Invariant: a comparison is between two answers of one question whose scores differ; which answers and which part of
//! the split a question belongs to are functions of its id alone.

pub mod accuracy;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use understudy_learning::rng::{Purpose, Stream};
use understudy_learning::stages::{Author, Question};

use crate::sources::SourceError;
use crate::sources::split;
use crate::sources::stack_exchange::{Event, EventKind, Site, events_of_file};

/// An answer with its votes.
#[derive(Debug, Clone, PartialEq)]
pub struct VotedAnswer {
    /// `<site>/<id>`.
    pub id: String,
    /// Markdown.
    pub text: String,
    /// Up minus down votes.
    pub score: i64,
    /// When it was posted, in milliseconds since the Unix epoch.
    pub at: i64,
    /// Who wrote it.
    pub author: Option<Author>,
    /// Its licence.
    pub licence: String,
}

/// A question with at least two answers of different score, in time order.
#[derive(Debug, Clone, PartialEq)]
pub struct VotedQuestion {
    /// What was asked.
    pub question: Question,
    /// At least two, oldest first.
    pub answers: Vec<VotedAnswer>,
}

/// "`better` has the higher score", as indices into [`VotedQuestion::answers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VotedPair {
    /// Index of the answer with the higher score.
    pub better: usize,
    /// Index of the other one.
    pub worse: usize,
}

/// Which comparisons are made of a question's votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairRule {
    /// Keep a pair only where the answer that was posted later has the higher score. An earlier answer collects votes
    /// for longer, so that it often wins whatever it says; a later one has to be better.
    pub later_won: bool,
}

/// The voted questions of a dump's `Posts.xml`, each with at most `answers` answers (drawn by the question's id).
///
/// Memory is bounded by the dump's posts. Answers to questions that are not in the dump are left out.
pub fn of_file(path: &Path, answers: usize) -> Result<Vec<VotedQuestion>, SourceError> {
    of_events(events_of_file(path, Site::new("", path))?, answers)
}

/// [`of_file`] for events in time order.
pub fn of_events(
    events: impl Iterator<Item = Result<Event, SourceError>>,
    answers: usize,
) -> Result<Vec<VotedQuestion>, SourceError> {
    let mut order = Vec::new();
    let mut threads: BTreeMap<String, VotedQuestion> = BTreeMap::new();
    for event in events {
        let Event { at, kind } = event?;
        match kind {
            EventKind::Asked(question) => {
                order.push(question.id.clone());
                threads.insert(question.id.clone(), VotedQuestion { question, answers: Vec::new() });
            }
            EventKind::Answered(answer) => {
                if let Some(thread) = threads.get_mut(&answer.question) {
                    let (id, text, score) = (answer.id, answer.text, answer.score);
                    let (author, licence) = (answer.author, answer.licence);
                    thread.answers.push(VotedAnswer { id, text, score, at, author, licence });
                }
            }
        }
    }
    let threads = order.iter().filter_map(|id| threads.remove(id)).map(|thread| thread.at_most(answers));
    Ok(threads.filter(|thread| !thread.pairs(PairRule { later_won: false }).is_empty()).collect())
}

impl VotedQuestion {
    /// Keeps `most` answers, drawn by the question's id, in time order.
    fn at_most(mut self, most: usize) -> Self {
        let mut stream = Stream::new(split::hash(&self.question.id), Purpose::Evaluation, 0);
        let mut kept = stream.permutation(self.answers.len());
        kept.truncate(most);
        let mut place = 0..self.answers.len();
        self.answers.retain(|_| place.next().is_some_and(|place| kept.contains(&place)));
        self
    }

    /// Every two answers of different score: n(n − 1)/2 of n answers at most, 10 of 5.
    pub fn pairs(&self, rule: PairRule) -> Vec<VotedPair> {
        let mut pairs = Vec::new();
        for later in 0..self.answers.len() {
            for earlier in 0..later {
                let (early, late) = (&self.answers[earlier], &self.answers[later]);
                if late.score > early.score && (!rule.later_won || late.at > early.at) {
                    pairs.push(VotedPair { better: later, worse: earlier });
                } else if early.score > late.score && !rule.later_won {
                    pairs.push(VotedPair { better: earlier, worse: later });
                }
            }
        }
        pairs
    }

    /// Answers of one score each, best first: a weak order.
    pub fn levels(&self) -> Vec<Vec<usize>> {
        let mut levels: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        self.answers.iter().enumerate().for_each(|(place, answer)| {
            levels.entry(-answer.score).or_default().push(place);
        });
        levels.into_values().collect()
    }

    /// Share of `pairs` whose better answer has the greater `value`; half a point where both have the same.
    pub fn right(&self, pairs: &[VotedPair], value: impl Fn(usize) -> f64) -> accuracy::Tally {
        let point = |pair: &VotedPair| match value(pair.better).partial_cmp(&value(pair.worse)) {
            Some(std::cmp::Ordering::Greater) => 1.0,
            Some(std::cmp::Ordering::Equal) => 0.5,
            _ => 0.0,
        };
        accuracy::Tally { right: pairs.iter().map(point).sum(), pairs: pairs.len() }
    }

    /// "The longer answer is better", by characters.
    pub fn longer_is_right(&self, pairs: &[VotedPair]) -> accuracy::Tally {
        self.right(pairs, |place| self.answers[place].text.chars().count() as f64)
    }

    /// "The older answer is better."
    pub fn older_is_right(&self, pairs: &[VotedPair]) -> accuracy::Tally {
        self.right(pairs, |place| -(self.answers[place].at as f64))
    }
}
