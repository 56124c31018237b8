//! How many votes an answer was to be expected to get, whatever it says: by its age, its place and its question.
//!
//! Invariant: estimated from the corpora alone and deterministic. While it is estimated, 16 bytes an answer are in memory;
//! afterwards a table.

use std::collections::BTreeMap;

use serde::Serialize;

use super::question::VotedQuestion;
use super::score::Scoring;
use crate::corpus::{Corpus, CorpusError, Thread, VoteKind};
use crate::sources::{Shares, Split, split};

const DAY_MS: f64 = 86_400_000.0;
/// Ends of the bins of age in days; the last bin has none. Most votes come in the first days.
const ENDS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 30.0, 90.0, 365.0, 1095.0];
const BINS: usize = ENDS.len() + 1;
/// Places told apart: first, second, third, fourth, and later ones together.
const PLACES: usize = 5;
/// Rounds of the alternating fit; it changes in the fourth digit by then.
const ROUNDS: usize = 12;

/// Expected votes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exposure {
    /// Up votes a day of an average answer's age, by bin of age; 0 everywhere where single votes are not known.
    pub rate: [f64; BINS],
    /// Factor of the place in time order.
    pub place: [f64; PLACES],
    /// The last moment of each source, in milliseconds since the Unix epoch.
    pub end: BTreeMap<String, i64>,
    /// Up votes whose day is known.
    pub votes: u64,
}

/// One answer while the fit goes on.
struct Seen {
    at: i64,
    question: u32,
    up: u32,
}

/// What is gathered before the fit.
#[derive(Default)]
pub struct Gathering {
    seen: Vec<Seen>,
    /// Of each question its source.
    source: Vec<u16>,
    sources: Vec<String>,
    end: Vec<i64>,
    /// Whether a source tells single votes.
    told: Vec<bool>,
    /// Up votes by bin of age.
    by_age: [f64; BINS],
}

impl Gathering {
    /// Takes a thread of training questions in.
    pub fn add(&mut self, thread: &Thread) {
        let source = match self.sources.iter().position(|name| *name == thread.source) {
            Some(known) => known,
            None => {
                self.sources.push(thread.source.clone());
                self.end.push(i64::MIN);
                self.told.push(false);
                self.sources.len() - 1
            }
        };
        let question = self.source.len() as u32;
        self.source.push(source as u16);
        self.end[source] = self.end[source].max(thread.question.at);
        for post in &thread.answers {
            let mut up = 0;
            for vote in &post.votes {
                self.told[source] = true;
                self.end[source] = self.end[source].max(vote.at);
                if vote.kind == VoteKind::Up {
                    up += 1;
                    // Votes are dated to the day: noon is off by half a day at most.
                    self.by_age[bin((vote.at as f64 + DAY_MS / 2.0 - post.at as f64) / DAY_MS)] += 1.0;
                }
            }
            if post.votes.is_empty() {
                up = post.score.clamp(0, i64::from(u32::MAX)) as u32;
            }
            self.end[source] = self.end[source].max(post.at);
            self.seen.push(Seen { at: post.at, question, up });
        }
    }

    /// The fit: see docs/PREFERENCES.md.
    pub fn fit(self) -> Exposure {
        let votes = self.by_age.iter().sum::<f64>() as u64;
        // Days that answers spent in each bin, of the sources that tell single votes.
        let mut days = [0.0; BINS];
        for seen in &self.seen {
            let source = self.source[seen.question as usize] as usize;
            if self.told[source] {
                spent(age(self.end[source], seen.at)).iter().zip(&mut days).for_each(|(own, all)| *all += own);
            }
        }
        let rate = std::array::from_fn(|bin| if days[bin] > 0.0 { self.by_age[bin] / days[bin] } else { 0.0 });
        let mut found = Exposure { rate, place: [1.0; PLACES], end: BTreeMap::new(), votes };
        let by_age: Vec<f64> = self
            .seen
            .iter()
            .map(|seen| found.by_age(age(self.end[self.source[seen.question as usize] as usize], seen.at)))
            .collect();
        let mut places = Vec::with_capacity(self.seen.len());
        for (index, seen) in self.seen.iter().enumerate() {
            let before = self.seen[..index].iter().rev().take_while(|other| other.question == seen.question).count();
            places.push(before.min(PLACES - 1) as u8);
        }
        for _ in 0..ROUNDS {
            let mut of_question = vec![(0.0, 0.0); self.source.len()];
            for ((seen, by_age), place) in self.seen.iter().zip(&by_age).zip(&places) {
                let (up, expected) = &mut of_question[seen.question as usize];
                *up += f64::from(seen.up);
                *expected += by_age * found.place[*place as usize];
            }
            let (mut up, mut expected) = ([0.0; PLACES], [0.0; PLACES]);
            for ((seen, by_age), place) in self.seen.iter().zip(&by_age).zip(&places) {
                let (all, wanted) = of_question[seen.question as usize];
                up[*place as usize] += f64::from(seen.up);
                expected[*place as usize] += by_age * popularity(all, wanted);
            }
            // One vote more on both sides keeps a place that was hardly seen at 1.
            found.place = std::array::from_fn(|place| (up[place] + 1.0) / (expected[place] + 1.0));
        }
        found.end = self.sources.into_iter().zip(self.end).collect();
        found
    }
}

impl Exposure {
    /// Every answer may expect the same: only the question's popularity is left.
    pub fn neutral() -> Self {
        Self { rate: [0.0; BINS], place: [1.0; PLACES], end: BTreeMap::new(), votes: 0 }
    }

    /// What `scoring` needs: of one part of `corpora` where scores are corrected, so that no other part teaches anything, not
    /// even how votes come; else none.
    pub fn needed(scoring: Scoring, corpora: &[Corpus], shares: Shares, part: Split) -> Result<Self, CorpusError> {
        match scoring {
            Scoring::Corrected => Self::of_corpora(corpora, |thread| split::of(&thread.id, shares) == part),
            Scoring::Votes | Scoring::StackLlama => Ok(Self::neutral()),
        }
    }

    /// Of all threads of `corpora` for which `wanted` holds.
    pub fn of_corpora(corpora: &[Corpus], wanted: impl Fn(&Thread) -> bool) -> Result<Self, CorpusError> {
        let mut gathering = Gathering::default();
        for corpus in corpora {
            for thread in corpus.threads()? {
                let thread = thread?;
                if wanted(&thread) {
                    gathering.add(&thread);
                }
            }
        }
        Ok(gathering.fit())
    }

    /// `[K]` up votes that each answer of `question` was to be expected to get, were all equally good:
    /// popularity · factor of its place · ∫ rate over its age.
    pub fn expected(&self, question: &VotedQuestion) -> Vec<f64> {
        let newest = question.answers.iter().map(|answer| answer.at).max().unwrap_or(0);
        let end = self.end.get(&question.question.source).copied().unwrap_or(newest).max(newest);
        let bare: Vec<f64> = question
            .answers
            .iter()
            .map(|answer| self.by_age(age(end, answer.at)) * self.place[answer.place.min(PLACES - 1)])
            .collect();
        let up: f64 = question.answers.iter().map(|answer| f64::from(answer.votes().up)).sum();
        let popularity = popularity(up, bare.iter().sum());
        bare.into_iter().map(|bare| bare * popularity).collect()
    }

    /// Up votes of an average answer until it is `days` old; 1 where no single votes are known.
    pub fn by_age(&self, days: f64) -> f64 {
        if self.votes == 0 {
            return 1.0;
        }
        spent(days).iter().zip(&self.rate).map(|(days, rate)| days * rate).sum()
    }
}

/// How much more is voted on a question's answers than on others: the posterior mean under a Gamma(1, 1) prior.
fn popularity(up: f64, expected: f64) -> f64 {
    (up + 1.0) / (expected + 1.0)
}

fn age(end: i64, at: i64) -> f64 {
    ((end - at) as f64 / DAY_MS).max(0.0)
}

fn bin(days: f64) -> usize {
    ENDS.partition_point(|end| *end <= days)
}

/// Days spent in each bin until an age of `days`.
fn spent(days: f64) -> [f64; BINS] {
    std::array::from_fn(|bin| {
        let begin = if bin == 0 { 0.0 } else { ENDS[bin - 1] };
        let end = ENDS.get(bin).copied().unwrap_or(f64::INFINITY);
        (days.min(end) - begin).max(0.0)
    })
}
