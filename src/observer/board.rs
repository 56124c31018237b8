//! What a chart and a list of happenings need: figures over time and the rare events in words.
//!
//! Invariant: memory is bounded by the number of [`NAMES`] times [`series::MOST`](super::series::MOST) points and by
//! [`MOST_MARKS`] marks of at most [`MOST_CHARS`] characters. Every name is always there, if empty.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use understudy_actors::messages::LoopEvent;
use understudy_actors::reward::RewardView;

use super::series::{Point, Series};

/// The series that are kept.
pub const NAMES: [&str; 21] = [
    "reward",
    "reward_std",
    "kl",
    "kl_coef",
    "entropy",
    "policy_loss",
    "value_loss",
    "reward_loss",
    "reward_accuracy",
    "reward_log_loss",
    "calibration_error",
    "gold",
    "answers_per_min",
    "ratings_per_min",
    "tokens_per_s",
    "publish_to_first_token_s",
    "heard_to_learned_s",
    "collapse_index",
    "d_types",
    "d_want",
    "annotator_agreement",
];
/// Most marks on the timeline; the oldest leave first.
pub const MOST_MARKS: usize = 256;
/// Longest text of a mark.
pub const MOST_CHARS: usize = 300;

/// Something that happened, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// When it was seen.
    pub t_ms: i64,
    /// `start`, `policy_rollback`, `stage`, `reward_rebuilt`, `reward_alarm`, `checkpoint` or `trouble`.
    pub kind: &'static str,
    /// One sentence.
    pub text: String,
}

/// Everything that `GET /v1/history` shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct History {
    /// Points of each series, oldest first.
    pub series: BTreeMap<&'static str, Vec<Point>>,
    /// Marks, oldest first.
    pub timeline: Vec<Mark>,
}

/// What happened since the last beat.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    answers: u64,
    ratings: u64,
    tokens: u64,
}

/// The figures of one life of the daemon.
#[derive(Debug, Clone)]
pub struct Board {
    series: BTreeMap<&'static str, Series>,
    timeline: VecDeque<Mark>,
    counts: Counts,
    beat_ms: i64,
    /// Policy that publishes the newest answers, as the events tell it.
    policy: u64,
    seen: RewardView,
}

impl Board {
    /// An empty board at the daemon's start.
    pub fn new(t_ms: i64) -> Self {
        let series = NAMES.into_iter().map(|name| (name, Series::default())).collect();
        let (timeline, counts, seen) = (VecDeque::new(), Counts::default(), RewardView::default());
        Self { series, timeline, counts, beat_ms: t_ms, policy: 0, seen }
    }

    /// Adds a value to a series; an unknown name is nobody's and left out.
    pub fn push(&mut self, name: &str, t_ms: i64, version: u64, value: f64) {
        if let Some(series) = self.series.get_mut(name) {
            series.push(t_ms, version, value);
        }
    }

    /// Adds a mark.
    pub fn mark(&mut self, t_ms: i64, kind: &'static str, text: &str) {
        if self.timeline.len() == MOST_MARKS {
            self.timeline.pop_front();
        }
        let short = text.chars().take(MOST_CHARS).collect();
        self.timeline.push_back(Mark { t_ms, kind, text: short });
    }

    /// The policy that the newest figures belong to.
    pub fn policy(&self) -> u64 {
        self.policy
    }

    /// Takes up what happened.
    pub fn take(&mut self, t_ms: i64, event: &LoopEvent) {
        match event {
            LoopEvent::Answered { version, tokens, .. } => {
                self.policy = self.policy.max(*version);
                self.counts.answers += 1;
                self.counts.tokens += *tokens as u64;
            }
            LoopEvent::FirstToken { version, seconds } => {
                self.policy = self.policy.max(*version);
                self.push("publish_to_first_token_s", t_ms, *version, *seconds);
            }
            LoopEvent::Rated { .. } => self.counts.ratings += 1,
            LoopEvent::Scored { mean_score, scores, .. } => {
                self.push("reward", t_ms, self.policy, *mean_score);
                let std = scores.iter().map(|score| score.2).sum::<f64>() / scores.len() as f64;
                self.push("reward_std", t_ms, self.policy, std);
            }
            LoopEvent::RewardUpdate { version, report, prequential_accuracy, prequential_log_loss, .. } => {
                self.push("reward_loss", t_ms, *version, report.likelihood_loss);
                let told = [("reward_accuracy", prequential_accuracy), ("reward_log_loss", prequential_log_loss)];
                told.into_iter().for_each(|(name, value)| self.push(name, t_ms, *version, value.unwrap_or(f64::NAN)));
            }
            LoopEvent::PolicyUpdate { version, report, .. } => {
                self.policy = self.policy.max(*version);
                let figures = [
                    ("kl", report.kl_per_sequence),
                    ("kl_coef", report.kl_coef),
                    ("entropy", report.entropy),
                    ("policy_loss", report.policy_loss),
                    ("value_loss", report.value_loss),
                ];
                figures.into_iter().for_each(|(name, value)| self.push(name, t_ms, *version, value));
            }
            LoopEvent::Gold { version, gold, .. } => self.push("gold", t_ms, *version, *gold),
            LoopEvent::PolicyRollback { version, weights_of, reason, why } => {
                self.policy = self.policy.max(*version);
                let text = format!("policy {version} has the weights of {weights_of} ({reason}): {why}");
                self.mark(t_ms, "policy_rollback", &text);
            }
            LoopEvent::Stage { change } => self.mark(t_ms, "stage", &change.to_string()),
            LoopEvent::RewardRebuilt { version, seconds, .. } => {
                let text = format!("reward model {version} was learned anew in {seconds:.1} s");
                self.mark(t_ms, "reward_rebuilt", &text);
            }
            LoopEvent::RewardAlarm { alarm, on, why, .. } => {
                let state = if *on { "on" } else { "off" };
                self.mark(t_ms, "reward_alarm", &format!("{alarm} alarm {state}: {why}"));
            }
            LoopEvent::Checkpoint { step, policy_version, reward_version, .. } => {
                let text = format!("checkpoint {step}: policy {policy_version}, reward model {reward_version}");
                self.mark(t_ms, "checkpoint", &text);
            }
            LoopEvent::Trouble { actor, what } => self.mark(t_ms, "trouble", &format!("{actor}: {what}")),
        }
    }

    /// A regular look: how much happened since the last one, and what only the reward model's view tells.
    pub fn beat(&mut self, t_ms: i64, view: &RewardView) {
        let seconds = (t_ms - self.beat_ms) as f64 / 1000.0;
        if seconds <= 0.0 {
            return; // the wall clock was put back; what was counted comes with the next look
        }
        let Counts { answers, ratings, tokens } = std::mem::take(&mut self.counts);
        let (policy, seen) = (self.policy, std::mem::replace(&mut self.seen, *view));
        self.beat_ms = t_ms;
        let rates = [
            ("answers_per_min", answers as f64 * 60.0 / seconds),
            ("ratings_per_min", ratings as f64 * 60.0 / seconds),
            ("tokens_per_s", tokens as f64 / seconds),
        ];
        for (name, value) in rates {
            if let Some(series) = self.series.get_mut(name) {
                series.measure(t_ms, policy, value);
            }
        }
        let figures = [
            ("calibration_error", view.calibration_error, seen.calibration_error),
            ("heard_to_learned_s", view.heard_to_learned_s, seen.heard_to_learned_s),
            ("collapse_index", view.collapse_index, seen.collapse_index),
            ("d_types", view.d_types, seen.d_types),
            ("d_want", view.d_want, seen.d_want),
        ];
        for (name, value, before) in figures {
            if let Some(value) = value.filter(|_| value != before) {
                self.push(name, t_ms, view.version, value);
            }
        }
    }

    /// All of it.
    pub fn history(&self) -> History {
        let series = self.series.iter().map(|(name, series)| (*name, series.points())).collect();
        History { series, timeline: self.timeline.iter().cloned().collect() }
    }
}
