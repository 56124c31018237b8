//! From measured rollouts to what a learner learns from: advantages, returns and weights of the whole batch.
//!
//! Invariant: made once for the whole batch and never changed; nothing here depends on micro-batches or their order.

use tch::{Device, Kind, Tensor};

use super::advantage::generalised_advantages;
use super::config::PpoConfig;
use super::correction::{full_softmax, weights};
use super::kl::{KlClamp, estimate_kl};
use super::reward::{ScorePlacement, length_mask, shape_rewards};
use super::score::{RunningMoments, condition_scores};
use super::stats::{explained_variance, per_sequence};
use super::whiten::{masked_mean, masked_sum, whiten, whiten_keeping_mean, zero_outside};
use crate::stages::{Finish, PolicyVersion, Rollout, ScoredRollout};
use crate::tensors::pad_rows;

/// What the models say of a batch before the first step. One row a rollout, R its answer's length.
#[derive(Debug, Default)]
pub struct Measured {
    /// `[R]` of the policy at the start of the update.
    pub prox_logprobs: Vec<Vec<f32>>,
    /// `[R]` of the reference.
    pub ref_logprobs: Vec<Vec<f32>>,
    /// `[R + 1]` values of the states before each token, and of the state after the last.
    pub values: Vec<Vec<f32>>,
}

/// A batch ready to be learned from. Tables are `[B, W]`, W one more than the longest answer.
#[derive(Debug)]
pub struct Experience {
    /// True = a sampled token.
    pub mask: Tensor,
    /// True = a state whose value is learned: `mask`, and with the score one past the last token also that state.
    pub value_mask: Tensor,
    /// Of the policy at the start of the update: the ratio is clipped around them.
    pub prox_logprobs: Tensor,
    /// Of the reference.
    pub ref_logprobs: Tensor,
    /// Values at the start of the update.
    pub values: Tensor,
    /// As the policy loss uses them: whitened where that is configured.
    pub advantages: Tensor,
    /// What the value model learns.
    pub returns: Tensor,
    /// Of tokens that an older policy sampled; 1 for the rest.
    pub weights: Tensor,
    /// Figures of the batch.
    pub figures: Figures,
}

/// Figures of a batch, taken before the first step.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    /// As the reward model gave them.
    pub mean_score: f64,
    /// Conditioned score less the KL penalty, before whitening.
    pub mean_reward: f64,
    /// Nats per sequence, k1.
    pub kl_per_sequence: f64,
    /// See [`super::PpoReport::explained_variance`].
    pub explained_variance: f64,
    /// See [`super::PpoReport::mean_weight`].
    pub mean_weight: f64,
    /// See [`super::PpoReport::max_logprob_gap`].
    pub max_logprob_gap: Option<f64>,
}

impl Experience {
    /// Shapes rewards, estimates advantages over the whole batch and whitens them once. `batch` is not empty and
    /// `measured` has a row for each of its rollouts.
    pub fn build(
        batch: &[ScoredRollout],
        measured: &Measured,
        config: &PpoConfig,
        kl_coef: f64,
        version: PolicyVersion,
        moments: &mut RunningMoments,
    ) -> Self {
        let lengths: Vec<i64> = batch.iter().map(|scored| scored.rollout.tokens.len() as i64).collect();
        let width = lengths.iter().max().map_or(1, |longest| *longest as usize + 1);
        let past = i64::from(config.score_placement == ScorePlacement::OnePastLast);
        let rows = |scored: &ScoredRollout| behaviour(&scored.rollout);
        let behave = pad_rows(&batch.iter().map(rows).collect::<Vec<_>>(), width);
        let (prox, reference) = (pad_rows(&measured.prox_logprobs, width), pad_rows(&measured.ref_logprobs, width));
        let all_values = pad_rows(&measured.values, width);
        let lengths = Tensor::from_slice(&lengths);
        let (mask, value_mask) = (length_mask(&lengths, width as i64, 0), length_mask(&lengths, width as i64, past));

        let kl = zero_outside(&estimate_kl(&prox, &reference, config.kl_estimator, KlClamp::USUAL), &mask);
        let scores = Tensor::from_slice(&conditioned_scores(batch, config, moments));
        let mut rewards = shape_rewards(&kl, &scores, &lengths, kl_coef, config.score_placement);
        let mean_reward = per_sequence(&rewards, &value_mask);
        if config.whiten_rewards {
            rewards = whiten_keeping_mean(&rewards, &value_mask);
        }
        let values = zero_outside(&all_values, &value_mask);
        let bootstrap = bootstrap(batch, &all_values, &lengths, config);
        let found = generalised_advantages(&rewards, &values, &value_mask, &bootstrap, config.gamma, config.gae_lambda);
        let advantages = if config.whiten_advantages {
            whiten(&found.advantages, &mask)
        } else {
            zero_outside(&found.advantages, &mask)
        };
        let weights = weights(&prox, &behave, &mask, config.correction);
        let figures = Figures {
            mean_score: batch.iter().map(|scored| scored.score).sum::<f64>() / batch.len().max(1) as f64,
            mean_reward,
            kl_per_sequence: per_sequence(&(&prox - &reference).to_kind(Kind::Double), &mask),
            explained_variance: explained_variance(&values, &found.returns, &value_mask),
            mean_weight: masked_mean(&weights.to_kind(Kind::Double), &mask).double_value(&[]),
            max_logprob_gap: max_logprob_gap(batch, &(&prox - &behave), version),
        };
        Self {
            mask,
            value_mask,
            prox_logprobs: prox,
            ref_logprobs: reference,
            values,
            advantages,
            returns: found.returns,
            weights,
            figures,
        }
    }

    /// The true positions of `table` in `rows`, laid end to end in the order of `rows`. `[N]` on `device`.
    pub fn gather(&self, table: &Tensor, mask: &Tensor, rows: &Tensor, device: Device) -> Tensor {
        table.index_select(0, rows).masked_select(&mask.index_select(0, rows)).to_device(device)
    }

    /// Sampled tokens in `rows`.
    pub fn tokens(&self, rows: &Tensor) -> i64 {
        super::whiten::count(&self.mask.index_select(0, rows))
    }
}

/// `[R]` log-probabilities of the sampler in its full softmax.
fn behaviour(rollout: &Rollout) -> Vec<f32> {
    rollout.old_logprobs.iter().zip(&rollout.kept_mass).map(|(old, kept)| full_softmax(*old, *kept)).collect()
}

/// Scores after the rule for missing ends, clipping and scaling. f32, as all tables.
fn conditioned_scores(batch: &[ScoredRollout], config: &PpoConfig, moments: &mut RunningMoments) -> Vec<f32> {
    let ended = |scored: &ScoredRollout| scored.rollout.finish != Finish::Length;
    let mut scores: Vec<f64> =
        batch.iter().map(|scored| config.missing_eos.apply(scored.score, ended(scored))).collect();
    condition_scores(&mut scores, config.score_clip, config.scale_scores.then_some(moments));
    scores.iter().map(|score| *score as f32).collect()
}

/// `[B]` value of the state after the answer where it was cut off, 0 where it ended.
///
/// With the score one past the last token that state has a row of its own and there is nothing behind it.
fn bootstrap(batch: &[ScoredRollout], values: &Tensor, lengths: &Tensor, config: &PpoConfig) -> Tensor {
    let after = values.gather(1, &lengths.unsqueeze(1), false).squeeze_dim(1);
    if !config.truncation_bootstrap || config.score_placement == ScorePlacement::OnePastLast {
        return after.zeros_like();
    }
    let cut: Vec<bool> = batch.iter().map(|scored| scored.rollout.finish == Finish::Length).collect();
    zero_outside(&after, &Tensor::from_slice(&cut))
}

/// Over answers that `version` sampled from first to last: behind a swap the sampler still reads the keys and values that
/// the older weights left in its cache, and a difference there is no disagreement.
fn max_logprob_gap(batch: &[ScoredRollout], gap: &Tensor, version: PolicyVersion) -> Option<f64> {
    let now = |rollout: &Rollout| {
        let whole = rollout.version_spans.iter().all(|span| span.version == version);
        vec![f32::from(u8::from(whole)); rollout.tokens.len()]
    };
    let rows: Vec<Vec<f32>> = batch.iter().map(|scored| now(&scored.rollout)).collect();
    let mask = pad_rows(&rows, gap.size()[1] as usize).gt(0.5);
    let any = masked_sum(&mask.to_kind(Kind::Float), &mask).double_value(&[]) > 0.0;
    any.then(|| zero_outside(gap, &mask).abs().max().double_value(&[]))
}
