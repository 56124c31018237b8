//! Settings of the annotators' reliability.
//!
//! Invariant: every bound on memory and influence is here.

use serde::{Deserialize, Serialize};

use crate::error::LearningError;

/// How annotators are judged and how much each may weigh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReliabilityConfig {
    /// Whether annotators have parameters of their own; off, everybody is believed alike.
    pub learn: bool,
    /// Annotators who are believed whatever others say: reliability near 1, temperature 1, shift 0.
    pub pinned: Vec<String>,
    /// Events of an annotator before temperature and shift are learned.
    pub temperature_after: u64,
    /// Events that an annotator is judged by: beyond them an event replaces an older one.
    pub memory: u32,
    /// Most share of the recent weight that one annotator has, once there are at least 1 / `most_share` of them.
    pub most_share: f64,
    /// Recent events of anybody that are never capped.
    pub free_events: f64,
    /// Events of anybody after which an event counts half as recent.
    pub half_life: u32,
    /// P(an annotator tells the opposite | gold) above which what they say is turned round.
    pub proof: f64,
    /// Annotators kept; the one not heard for longest goes back to the prior.
    pub most_annotators: usize,
    /// Gold judgements kept; the oldest goes.
    pub most_gold: usize,
}

impl Default for ReliabilityConfig {
    fn default() -> Self {
        Self {
            learn: true,
            pinned: Vec::new(),
            temperature_after: 50,
            memory: 200,
            most_share: 0.25,
            free_events: 32.0,
            half_life: 400,
            proof: 0.99,
            most_annotators: 10_000,
            most_gold: 20_000,
        }
    }
}

impl ReliabilityConfig {
    /// Whether the values can work together; names the first that cannot.
    pub fn validate(&self) -> Result<(), LearningError> {
        let fail = |field, value: String, remedy| Err(LearningError::Config { field, value, remedy });
        if !(self.most_share > 0.0 && self.most_share <= 1.0) {
            return fail("reliability.most_share", self.most_share.to_string(), "give a number above 0 and at most 1");
        }
        if !(self.free_events.is_finite() && self.free_events >= 1.0) {
            return fail("reliability.free_events", self.free_events.to_string(), "give at least 1");
        }
        if !(0.5..1.0).contains(&self.proof) {
            return fail("reliability.proof", self.proof.to_string(), "give a number from 0.5 to below 1");
        }
        let counts = [
            ("reliability.memory", self.memory as usize),
            ("reliability.half_life", self.half_life as usize),
            ("reliability.most_annotators", self.most_annotators),
            ("reliability.most_gold", self.most_gold),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((field, _)) => fail(field, "0".to_owned(), "give a whole number above 0"),
            None => Ok(()),
        }
    }
}
