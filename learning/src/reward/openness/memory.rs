//! Which questions and events are remembered.
//!
//! Invariant: at most so many questions, and at most [`MOST_MENTIONS`] mentions of answers in the events of each; the
//! least recently heard leave first.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::bits;
use super::event::{Heard, Record};
use super::evidence::squares;
use super::gate::Features;

/// Most answers named in the remembered events of one question (an answer named twice counts twice).
pub(super) const MOST_MENTIONS: usize = 256;

/// What is remembered of one question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Known {
    /// As projected for the gate.
    #[serde(with = "bits::features")]
    pub(super) features: Option<Features>,
    /// Bits of what it declared of itself when it was last heard of.
    declared: Option<u64>,
    pub(super) record: Record,
    pub(super) events: VecDeque<Heard>,
    /// Sum of squares within answers and its degrees of freedom; made anew from the events.
    #[serde(skip)]
    pub(super) squares: (f64, usize),
}

impl Known {
    fn new(features: Option<Features>) -> Self {
        Self { features, declared: None, record: Record::NONE, events: VecDeque::new(), squares: (0.0, 0) }
    }

    pub(super) fn declared(&self) -> Option<f64> {
        self.declared.map(f64::from_bits)
    }

    /// The first `count` events.
    pub(super) fn first(&self, count: usize) -> Vec<&Heard> {
        self.events.iter().take(count).collect()
    }

    pub(super) fn all(&self) -> Vec<&Heard> {
        self.first(self.events.len())
    }

    pub(super) fn sum_up(&mut self) {
        self.squares = squares(self.events.iter());
    }

    fn is_fresh(&self, id: &str) -> bool {
        self.events.iter().all(|event| event.id != id)
    }

    fn heard_last(&self) -> u64 {
        self.events.back().map_or(0, |event| event.seq)
    }
}

/// Questions by id.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Memory {
    pub(super) questions: BTreeMap<String, Known>,
}

impl Memory {
    /// Remembers an event; `false` where the question already holds one of this id.
    pub(super) fn hear(
        &mut self,
        question: &str,
        features: impl FnOnce() -> Option<Features>,
        declared: Option<f64>,
        event: Heard,
        most: usize,
    ) -> bool {
        let known = self.questions.entry(question.to_owned()).or_insert_with(|| Known::new(features()));
        if !known.is_fresh(&event.id) {
            return false;
        }
        known.declared = declared.map(f64::to_bits);
        known.events.push_back(Heard { before: known.record, ..event });
        let mut mentions: usize = known.events.iter().map(|event| event.said.mentions()).sum();
        while mentions > MOST_MENTIONS
            && let Some(oldest) = known.events.pop_front()
        {
            mentions -= oldest.said.mentions();
        }
        known.sum_up();
        while self.questions.len() > most {
            let oldest = self.questions.iter().min_by_key(|(id, known)| (known.heard_last(), *id));
            let Some(id) = oldest.map(|(id, _)| id.clone()) else { break };
            self.questions.remove(&id);
        }
        true
    }

    /// Question and place of an event.
    pub(super) fn find(&self, event: &str) -> Option<(String, usize)> {
        self.questions.iter().find_map(|(id, known)| {
            let place = known.events.iter().position(|heard| heard.id == event)?;
            Some((id.clone(), place))
        })
    }

    /// The usual within variance of grades: all questions' together, and `(v0, nu0)` beside them.
    pub(super) fn usual_within(&self, prior: (f64, f64)) -> f64 {
        let start = (prior.0 * prior.1, prior.1);
        let (sum, freedom) = self
            .questions
            .values()
            .fold(start, |(sum, freedom), known| (sum + known.squares.0, freedom + known.squares.1 as f64));
        // Perfect agreement everywhere must not make a later disagreement impossible.
        (sum / freedom).max(prior.0 / 10.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_within_variance_is_pooled_and_never_nothing() {
        let of = |squares: (f64, usize)| {
            let known = Known { squares, ..Known::new(None) };
            Memory { questions: BTreeMap::from([("a".to_owned(), known.clone()), ("b".to_owned(), known)]) }
        };
        // (0.12 + 2 * 1) / (4 + 2 * 10).
        assert!((of((1.0, 10)).usual_within((0.03, 4.0)) - 2.12 / 24.0).abs() < 1e-15);
        assert_eq!(of((0.0, 10_000)).usual_within((0.03, 4.0)), 0.003, "a tenth of what was expected");
    }
}
