//! A question whose answers people voted on.
//!
//! Invariant: a pair is of two answers of one question whose scores differ; answers are oldest first, and which of them are
//! kept is a function of the question's id alone.

use std::collections::BTreeMap;
use std::path::Path;

use understudy_learning::rng::{Purpose, Stream};
use understudy_learning::stages::{Author, Question};

use super::accuracy;
use crate::corpus::{self, Thread, VoteKind};
use crate::sources::SourceError;
use crate::sources::split;
use crate::sources::stack_exchange::{Event, EventKind, Site, events_of_file};

/// An answer with its votes.
#[derive(Debug, Clone, PartialEq)]
pub struct VotedAnswer {
    /// `<site>/<id>`.
    pub id: String,
    /// Its place among the question's answers, oldest first, from 0; some of them may be left out here.
    pub place: usize,
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
    /// Link to the original.
    pub url: Option<String>,
    /// The asker chose it; `false` where the source does not say.
    pub accepted: bool,
    /// Votes for and against; `None` where the source tells only their difference.
    pub ballot: Option<Ballot>,
}

/// Votes for and against one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ballot {
    /// For.
    pub up: u32,
    /// Against.
    pub down: u32,
}

impl VotedAnswer {
    fn of_post((place, post): (usize, &corpus::Post), thread: &Thread) -> Self {
        let count = |kind| post.votes.iter().filter(|vote| vote.kind == kind).count() as u32;
        let told = (!post.votes.is_empty()).then(|| Ballot { up: count(VoteKind::Up), down: count(VoteKind::Down) });
        Self {
            id: format!("{}/{}", thread.source, post.id),
            place,
            text: post.text.clone(),
            score: post.score,
            at: post.at,
            author: post.author.clone(),
            licence: post.licence.clone(),
            url: post.url.clone(),
            accepted: thread.accepted == Some(post.id),
            ballot: told,
        }
    }

    /// Votes for and against; where only their difference is known, the fewest that make it.
    pub fn votes(&self) -> Ballot {
        let fewest = |score: i64| score.clamp(0, i64::from(u32::MAX)) as u32;
        self.ballot.unwrap_or(Ballot { up: fewest(self.score), down: fewest(-self.score) })
    }
}

/// A question and its answers in time order.
#[derive(Debug, Clone, PartialEq)]
pub struct VotedQuestion {
    /// What was asked.
    pub question: Question,
    /// Oldest first.
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
                    let (author, licence, url) = (answer.author, answer.licence, answer.url);
                    let (place, accepted, ballot) = (thread.answers.len(), false, None);
                    thread.answers.push(VotedAnswer {
                        id,
                        place,
                        text,
                        score,
                        at,
                        author,
                        licence,
                        url,
                        accepted,
                        ballot,
                    });
                }
            }
        }
    }
    let threads = order.iter().filter_map(|id| threads.remove(id)).map(|thread| thread.at_most(answers));
    Ok(threads.filter(|thread| !thread.pairs(PairRule { later_won: false }).is_empty()).collect())
}

impl VotedQuestion {
    /// A corpus's thread with all its answers; it may have no pair.
    pub fn of_thread(thread: &Thread) -> Self {
        let answers = thread.answers.iter().enumerate().map(|placed| VotedAnswer::of_post(placed, thread)).collect();
        Self { question: thread.question(), answers }
    }

    /// Keeps `most` answers, drawn by the question's id, in time order.
    pub fn at_most(mut self, most: usize) -> Self {
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
