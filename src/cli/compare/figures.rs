//! What a run is judged by, from qualities and scores.
//!
//! Invariant: plain numbers in, plain numbers out. Questions are the units: each counts alike, however many pairs it has.

use serde::{Deserialize, Serialize};

/// One held-out question: what its answers are worth, before and after learning, and how the reward model scored the
/// answers from before.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judged {
    /// Qualities of the base policy's answers.
    pub(super) base: Vec<f64>,
    /// Scores of the same answers.
    pub(super) scores: Vec<f64>,
    /// Qualities of the final policy's answers.
    pub(super) policy: Vec<f64>,
}

/// Means over questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures {
    /// Over how many questions.
    pub(super) questions: usize,
    /// Quality of the base policy's answers, 0 to 1.
    pub(super) base: f64,
    /// Quality of the final policy's.
    pub(super) policy: f64,
    /// The second less the first.
    pub(super) gain: f64,
    /// Quality of the best of the base policy's answers less that of the one that the reward model prefers.
    pub(super) regret: f64,
    /// The same where chance prefers.
    pub(super) regret_of_chance: f64,
    /// Share of pairs of different quality that the reward model orders rightly, equal scores half; `None` where no two
    /// answers differ.
    pub(super) accuracy: Option<f64>,
}

impl Figures {
    /// Of some questions, at least one.
    pub(super) fn of(judged: &[&Judged]) -> Self {
        let over = |value: &dyn Fn(&Judged) -> f64| mean(judged.iter().map(|question| value(question)));
        let base = over(&|question| mean(question.base.iter().copied()));
        let policy = over(&|question| mean(question.policy.iter().copied()));
        let accuracies: Vec<f64> =
            judged.iter().filter_map(|question| accuracy(&question.base, &question.scores)).collect();
        Self {
            questions: judged.len(),
            base,
            policy,
            gain: policy - base,
            regret: over(&|question| regret(&question.base, &question.scores)),
            regret_of_chance: over(&|question| regret(&question.base, &vec![0.0; question.base.len()])),
            accuracy: (!accuracies.is_empty()).then(|| mean(accuracies.iter().copied())),
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
    sum / count.max(1) as f64
}

/// The best quality less the mean quality of those with the highest score.
fn regret(quality: &[f64], scores: &[f64]) -> f64 {
    let most = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let highest = most(scores);
    let preferred = quality.iter().zip(scores).filter(|(_, score)| **score == highest).map(|(quality, _)| *quality);
    most(quality) - mean(preferred)
}

/// Over the pairs of different quality.
fn accuracy(quality: &[f64], scores: &[f64]) -> Option<f64> {
    let mut hits = Vec::new();
    for (i, (better, high)) in quality.iter().zip(scores).enumerate() {
        for (j, (worse, low)) in quality.iter().zip(scores).enumerate() {
            if i != j && better > worse {
                hits.push(if high > low { 1.0 } else { f64::from(high == low) / 2.0 });
            }
        }
    }
    (!hits.is_empty()).then(|| mean(hits.iter().copied()))
}
