//! What an update tells about itself.
//!
//! Invariant: every mean is over what counted: tokens without padding, rollouts without those dropped.

use serde::{Deserialize, Serialize};

use super::stats::RatioStats;
use crate::stages::PolicyVersion;

/// How an update ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The policy has a new version.
    Learned,
    /// Every rollout was dropped or every step skipped; weights and version are as before.
    #[default]
    NothingToLearn,
}

/// Rollouts that were not learned from, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dropped {
    /// Sampled too many updates ago.
    pub stale: usize,
    /// Sampled at another temperature, or with a repetition penalty, whose probabilities the learner cannot repeat.
    pub sampling: usize,
    /// Empty, of lengths that do not match, or with numbers that are not finite.
    pub invalid: usize,
}

/// One update of a [`super::PpoLearner`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PpoReport {
    /// How it ended.
    pub outcome: Outcome,
    /// The learner's version after it.
    pub version: PolicyVersion,
    /// Rollouts learned from.
    pub rollouts: usize,
    /// Their answers' tokens.
    pub tokens: usize,
    /// Rollouts dropped because they were too old.
    pub dropped_stale: usize,
    /// Rollouts dropped because of how they were sampled.
    pub dropped_sampling: usize,
    /// Rollouts dropped because they made no sense.
    pub dropped_invalid: usize,
    /// Optimiser steps done.
    pub steps: usize,
    /// Optimiser steps skipped because a loss or gradient was not finite.
    pub skipped_steps: usize,
    /// Epochs begun.
    pub epochs: usize,
    /// Whether epochs were left out because the policy had moved far enough.
    pub stopped_early: bool,
    /// Mean score as the reward model gave it.
    pub mean_score: f64,
    /// Mean sum of a rollout's rewards: conditioned score less the KL penalty, before any whitening.
    pub mean_reward: f64,
    /// KL to the reference, nats per sequence, estimated with k1.
    pub kl_per_sequence: f64,
    /// β that shaped these rewards.
    pub kl_coef: f64,
    /// β of the next update.
    pub next_kl_coef: f64,
    /// Mean entropy of the policy at the sampled positions, nats.
    pub entropy: f64,
    /// Mean policy loss of the minibatches.
    pub policy_loss: f64,
    /// Mean value loss of the minibatches.
    pub value_loss: f64,
    /// Second-order estimate of the policy's move within the update, mean over all epochs.
    pub approx_kl: f64,
    /// Share of tokens outside the clip range, all epochs.
    pub clipfrac: f64,
    /// Mean ratio, all epochs.
    pub ratio_mean: f64,
    /// Variance of the ratio, all epochs.
    pub ratio_var: f64,
    /// Greatest ratio, all epochs.
    pub ratio_max: f64,
    /// Greatest `|ratio − 1|` before the first optimiser step: 0 but for rounding, or something is broken.
    pub first_ratio_gap: f64,
    /// Share of tokens outside the clip range before the first optimiser step: 0.
    pub first_clipfrac: f64,
    /// Mean weight of the tokens for having been sampled by an older policy; 1 when none was.
    pub mean_weight: f64,
    /// How well the values foretold the returns: 1 fully, 0 not at all.
    pub explained_variance: f64,
    /// Mean norm of the policy's gradient before clipping.
    pub grad_norm: f64,
    /// Mean norm of the value model's gradient before clipping.
    pub value_grad_norm: f64,
    /// Rate of the policy's steps.
    pub learning_rate: f64,
    /// Greatest difference between a token's log-probability when served and now, over answers that the learner's
    /// very version sampled from first to last; absent when there was none.
    pub max_logprob_gap: Option<f64>,
    /// Mean tokens in an answer.
    pub mean_length: f64,
    /// Share of answers cut off by the token limit.
    pub truncated: f64,
    /// Mean updates since a rollout's oldest token was sampled.
    pub staleness_mean: f64,
}

impl PpoReport {
    /// Takes over the statistics of the ratios.
    pub(crate) fn set_ratio(&mut self, stats: RatioStats) {
        self.approx_kl = stats.approx_kl;
        self.clipfrac = stats.clipfrac;
        self.ratio_mean = stats.ratio_mean;
        self.ratio_var = stats.ratio_var;
        self.ratio_max = stats.ratio_max;
        self.entropy = stats.entropy;
    }
}
