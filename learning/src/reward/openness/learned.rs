//! The gate with the log of what it learned, so that an event can be unlearned.
//!
//! Invariant: the weights in use are the base's after replaying the log in order; what leaves the log is folded into
//! the base and stays learned.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::gate::{EVIDENCE, Features, Pace, Row, Weights};

/// One step of learning and the event that it came from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    /// The feedback's id.
    pub(super) event: String,
    pub(super) question: String,
    pub(super) row: Row,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Learned {
    pub(super) base: Weights,
    /// Steps folded into the base.
    pub(super) folded: u64,
    pub(super) steps: VecDeque<Step>,
    now: Weights,
    pace: Pace,
    most: usize,
}

impl Learned {
    pub(super) fn new(size: usize, most: usize, pace: Pace) -> Self {
        let base = Weights::new(size);
        Self { now: base.clone(), base, folded: 0, steps: VecDeque::new(), pace, most }
    }

    /// Puts a saved base and log in place.
    pub(super) fn put(&mut self, base: Weights, folded: u64, steps: VecDeque<Step>) {
        (self.base, self.folded, self.steps) = (base, folded, steps);
        self.replay();
    }

    /// Learns a step; the oldest leaves the log when it is full.
    pub(super) fn learn(&mut self, step: Step) {
        self.now.learn(&step.row, self.pace);
        self.steps.push_back(step);
        while self.steps.len() > self.most
            && let Some(oldest) = self.steps.pop_front()
        {
            self.base.learn(&oldest.row, self.pace);
            self.folded += 1;
        }
    }

    /// Unlearns `event` as if it had never been. `later` holds the rows that the later events of its question teach
    /// without it, by event (`None`: nothing any more).
    pub(super) fn unlearn(&mut self, event: &str, later: &BTreeMap<String, Option<Row>>) {
        let before = self.steps.len();
        let mut changed = false;
        self.steps.retain_mut(|step| match later.get(&step.event) {
            _ if step.event == event => false,
            Some(Some(row)) => {
                changed = true;
                step.row = row.clone();
                true
            }
            Some(None) => false,
            None => true,
        });
        if changed || self.steps.len() != before {
            self.replay();
        }
    }

    fn replay(&mut self) {
        self.now = self.base.clone();
        self.steps.iter().for_each(|step| self.now.learn(&step.row, self.pace));
    }

    /// Whether at least `questions` different questions were learned from (a folded step counts as one).
    pub(super) fn is_ready(&self, questions: usize) -> bool {
        let mut known = BTreeSet::new();
        let wanted = questions.saturating_sub(self.folded as usize);
        known.len() >= wanted || self.steps.iter().any(|step| known.insert(&step.question) && known.len() >= wanted)
    }

    /// P(closed-ended) by the prompt, and by the evidence where it is given.
    pub(super) fn opinion(&self, features: Option<&Features>, evidence: Option<&[f64; EVIDENCE]>) -> f64 {
        self.now.opinion(features, evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_left_the_log_stay_learned_and_count_as_questions() {
        let pace = Pace { rate: 0.5, decay: 1e-3 };
        let step = |event: usize| {
            let row = Row { features: None, evidence: None, target: 0.9, weight: 1.0 };
            Step { event: event.to_string(), question: "a".into(), row }
        };
        let (mut short, mut long) = (Learned::new(0, 2, pace), Learned::new(0, 100, pace));
        for event in 0..5 {
            short.learn(step(event));
            long.learn(step(event));
        }
        assert_eq!((short.folded, short.steps.len()), (3, 2));
        assert_eq!(short.opinion(None, None), long.opinion(None, None));
        assert!(short.is_ready(4) && !short.is_ready(5), "three folded and one question in the log");
        assert!(long.is_ready(1) && !long.is_ready(2));
        short.unlearn("4", &BTreeMap::new());
        long.unlearn("4", &BTreeMap::new());
        assert_eq!(short.opinion(None, None), long.opinion(None, None), "replayed from the base");
    }
}
