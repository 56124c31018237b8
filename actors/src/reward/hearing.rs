//! How the reward actor divides its work.
//!
//! Invariant: plain values with defaults; each has a reason in config/default.toml.

use serde::{Deserialize, Serialize};
use understudy_learning::reward::drift::DriftConfig;

/// How the reward actor learns from the stream of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HearingConfig {
    /// Minibatches for each new event, on average; at least one follows every minibatch of new events.
    pub minibatches_per_event: f64,
    /// Most minibatches that may be owed: when people are quicker than the learner, extra learning is given up first.
    pub most_owed: f64,
    /// Events kept for replay.
    pub replay: usize,
    /// Share of the replay that holds the newest events whatever comes, and of draws that come from them; the rest is a
    /// uniform sample of all older ones.
    pub recent_share: f64,
    /// Newest events of the replay that keep their trunk states in memory.
    pub cached: usize,
    /// Answers by which scores are normalised: the first ones that are scored.
    pub reference_answers: usize,
    /// Updates between two normalisations.
    pub normalise_every: u64,
    /// Groups that are scored at most before waiting feedback is heard and learned.
    pub groups_before_feedback: usize,
    /// Events that must have been learned from before scores are passed on to the policy's learner.
    pub ratings_before_scores: u64,
    /// Updates between two looks at whether the reward model has collapsed; 0 never looks.
    pub monitor_every: u64,
    /// Questions of each class (closed-ended, open-ended) that are scored for it, of the rated and of the unrated ones.
    pub monitor_probes: usize,
    /// When a change of taste is called one.
    pub drift: DriftConfig,
}

impl Default for HearingConfig {
    fn default() -> Self {
        Self {
            minibatches_per_event: 0.5,
            most_owed: 64.0,
            replay: 4096,
            recent_share: 0.5,
            cached: 512,
            reference_answers: 32,
            normalise_every: 8,
            groups_before_feedback: 1,
            ratings_before_scores: 24,
            monitor_every: 16,
            monitor_probes: 8,
            drift: DriftConfig::default(),
        }
    }
}
