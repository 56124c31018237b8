//! The estimator that the reward actor owns: hears events, decides, explains, forgets.
//!
//! Invariant: evidence and gate are functions of the remembered events in the order they were heard, so that an event
//! that is forgotten leaves no trace in them.

use std::collections::BTreeMap;

use super::config::OpennessConfig;
use super::decide::{Closedness, decide, declared};
use super::event::{Heard, Record, Said};
use super::evidence::{Figures, figures};
use super::explain::{Explanation, sentence};
use super::gate::{Features, Pace, Projection, Row, evidence_features};
use super::learned::{Learned, Step};
use super::memory::{Known, Memory};
use super::spike_slab::posterior_mean;
use crate::stages::{Feedback, Question};

/// P(closed-ended) by question.
#[derive(Debug, Clone)]
pub struct Openness {
    pub(super) config: OpennessConfig,
    pub(super) width: usize,
    pub(super) seed: u64,
    pub(super) projection: Projection,
    pub(super) memory: Memory,
    pub(super) gate: Learned,
}

impl Openness {
    /// An estimator that has heard nothing. `width` is the length of a prompt's features; `seed` draws their projection.
    pub fn new(config: OpennessConfig, width: usize, seed: u64) -> Self {
        let projection = Projection::new(width, config.gate_features, seed);
        let pace = Pace { rate: config.gate_learning_rate, decay: config.gate_decay };
        let gate = Learned::new(projection.size(), config.events, pace);
        Self { config, width, seed, projection, memory: Memory::default(), gate }
    }

    /// P(closed-ended) of a question with prompt features `features` (`[width]`; any other length says nothing).
    /// Changes nothing.
    pub fn decide(&self, question: &Question, features: &[f32]) -> Closedness {
        match self.memory.questions.get(&question.id) {
            Some(known) => self.judge(known, declared(question)),
            None => {
                let opinion = self.opinion(self.projection.apply(features).as_ref(), None);
                let (p, origin) = decide(declared(question), None, opinion, opinion, &self.config);
                Closedness { p, origin, version: 0 }
            }
        }
    }

    /// Hears one event about an answer to `question`: its evidence is remembered, then the gate learns, then the
    /// question's p goes on record. An event that says nothing of quality, or whose id the question already holds,
    /// changes nothing. Costs one likelihood on the grid, whatever was heard before.
    pub fn observe(&mut self, question: &Question, features: &[f32], seq: u64, feedback: &Feedback) {
        let Some(said) = Said::of(feedback) else { return };
        let (id, annotator) = (feedback.id.clone(), feedback.annotator.clone());
        let event = Heard { seq, id, annotator, said, before: Record::NONE };
        let Self { memory, projection, config, .. } = self;
        let features = || projection.apply(features);
        if !memory.hear(&question.id, features, declared(question), event, config.questions) {
            return;
        }
        let Some(known) = self.memory.questions.get(&question.id) else { return };
        if let Some(row) = self.row(known, known.events.len()) {
            self.gate.learn(Step { event: feedback.id.clone(), question: question.id.clone(), row });
        }
        self.put_on_record(&question.id);
    }

    /// Forgets an event: evidence and gate become, bit for bit, what they would be had it never been heard, and where
    /// it was the last event of all, so does everything else.
    ///
    /// Three limits. A question or an event that was pushed out of memory to make room for it does not come back. What
    /// an event taught the gate stays once `events` later ones were learned from. What went on record (p, version) of
    /// other questions meanwhile stays until they are heard of again. Unknown ids change nothing.
    pub fn forget(&mut self, feedback_id: &str) {
        let Some((question, place)) = self.memory.find(feedback_id) else {
            // Its question left the memory, its learning perhaps not.
            return self.gate.unlearn(feedback_id, &BTreeMap::new());
        };
        let Some(known) = self.memory.questions.get_mut(&question) else { return };
        let Some(event) = known.events.remove(place) else { return };
        let was_last = place == known.events.len();
        known.sum_up();
        let known = &self.memory.questions[&question];
        let later = |at: usize| (known.events[at].id.clone(), self.row(known, at + 1));
        let later: BTreeMap<String, Option<Row>> = (place..known.events.len()).map(later).collect();
        self.gate.unlearn(feedback_id, &later);
        if known.events.is_empty() {
            self.memory.questions.remove(&question);
        } else if was_last {
            self.record(&question, event.before);
        } else {
            self.put_on_record(&question);
        }
    }

    /// Which evidence gave which p; `None` for a question that nothing was heard of, or that was forgotten since.
    pub fn explain(&self, question_id: &str) -> Option<Explanation> {
        let known = self.memory.questions.get(question_id)?;
        let declared = known.declared();
        let decided = self.judge(known, declared);
        let evidence = self.figures(known);
        let gate = self.opinion(known.features.as_ref(), None);
        let p_by_ratings = evidence.likelihood.as_ref().map(|one| posterior_mean(one, 0.5, self.config.strength));
        Some(Explanation {
            question: question_id.to_owned(),
            p: decided.p,
            origin: decided.origin,
            version: decided.version,
            declared,
            sentence: sentence(decided, &evidence, p_by_ratings, gate, declared),
            evidence,
            p_by_ratings,
            gate,
        })
    }

    /// Questions that evidence is remembered of.
    pub fn questions(&self) -> usize {
        self.memory.questions.len()
    }

    /// Ids of the questions that evidence is remembered of, in order.
    pub fn question_ids(&self) -> impl Iterator<Item = &str> {
        self.memory.questions.keys().map(String::as_str)
    }

    fn opinion(&self, features: Option<&Features>, evidence: Option<&Figures>) -> Option<f64> {
        let evidence = evidence.map(evidence_features);
        let ready = features.is_some() && self.gate.is_ready(self.config.gate_questions);
        ready.then(|| self.gate.opinion(features, evidence.as_ref()))
    }

    fn figures(&self, known: &Known) -> Figures {
        let usual = self.memory.usual_within((self.config.within_variance, self.config.within_weight));
        figures(&known.all(), usual, &self.config)
    }

    fn fresh(&self, known: &Known, declared: Option<f64>) -> Closedness {
        let evidence = self.figures(known);
        let prior = self.opinion(known.features.as_ref(), None);
        let opinion = self.opinion(known.features.as_ref(), evidence.basis.is_some().then_some(&evidence));
        let (p, origin) = decide(declared, Some(&evidence), prior, opinion, &self.config);
        Closedness { p, origin, version: 0 }
    }

    fn judge(&self, known: &Known, declared: Option<f64>) -> Closedness {
        let fresh = self.fresh(known, declared);
        let Record { p, version } = known.record.moved(fresh.p);
        Closedness { p, origin: fresh.origin, version }
    }

    /// What the gate learns of a question from its first `events` events. The usual within variance is the configured
    /// one here, and the prior even: a target that depended on other questions, or on the gate, could not be unlearned.
    fn row(&self, known: &Known, events: usize) -> Option<Row> {
        let features = known.features.clone();
        if let Some(p) = known.declared() {
            return Some(Row { features, evidence: None, target: p, weight: 1.0 });
        }
        let figures = figures(&known.first(events), self.config.within_variance, &self.config);
        let target = posterior_mean(figures.likelihood.as_ref()?, 0.5, self.config.strength);
        Some(Row { features, evidence: Some(evidence_features(&figures)), target, weight: figures.weight() })
    }

    fn put_on_record(&mut self, question: &str) {
        if let Some(known) = self.memory.questions.get(question) {
            let moved = known.record.moved(self.fresh(known, known.declared()).p);
            self.record(question, moved);
        }
    }

    fn record(&mut self, question: &str, record: Record) {
        if let Some(known) = self.memory.questions.get_mut(question) {
            known.record = record;
        }
    }
}
