//! The network of the reward model: one logit an answer, read at its last real token.
//!
//! Invariant: right padding never reaches a logit, and an answer's logit does not depend on what else is in the batch
//! (but for rounding).

use std::sync::Arc;

use tch::{Device, Kind, Tensor};
use understudy_model::{HeadInit, ScalarBranch, Trunk, trunk_states};

use super::config::{HeadStart, Readout, RewardConfig};
use super::known::Known;
use crate::error::LearningError;
use crate::rng::{Purpose, Stream};
use crate::stages::{Rollout, TrunkStates};

/// Index of the reward model's head among the streams of fresh weights.
const HEAD_STREAM: u64 = 1;

/// Trunk, reward branch and what else the head reads.
pub(super) struct RewardModel {
    trunk: Trunk,
    branch: ScalarBranch,
    /// [`Readout::Joint`]: `[1, D]` for the answer's mean state after the layers, and for that before them.
    means: Option<[Tensor; 2]>,
    /// What the head read of answers before; none where the layers learn.
    known: Option<Known>,
}

impl RewardModel {
    /// The policy's layers under a fresh head; the parts of the head that read means start at 0.
    pub(super) fn new(trunk: Trunk, policy: &understudy_model::Branch, config: &RewardConfig, seed: u64) -> Self {
        let init = match config.head_start {
            HeadStart::Normal => HeadInit::Normal(Stream::new(seed, Purpose::Init, HEAD_STREAM)),
            HeadStart::Zero => HeadInit::Zero,
        };
        let branch = ScalarBranch::from_branch(policy, init);
        let fresh = || Tensor::zeros([1, trunk.width() as i64], (Kind::Float, branch.device()));
        let means = (config.readout == Readout::Joint).then(|| [fresh(), fresh()]);
        let known = (config.learning_rate == 0.0).then(Known::new);
        let model = Self { trunk, branch, means, known };
        for (name, parameter) in model.parameters() {
            let _ = parameter.set_requires_grad(config.learning_rate > 0.0 || is_head(&name));
        }
        model
    }

    /// Everything that is learned: layers and head.
    pub(super) fn parameters(&self) -> Vec<(String, Tensor)> {
        let mut named = self.branch.parameters();
        if let Some([after, before]) = &self.means {
            named.push(("score.answer".to_owned(), after.shallow_clone()));
            named.push(("score.trunk".to_owned(), before.shallow_clone()));
        }
        named
    }

    pub(super) fn device(&self) -> Device {
        self.branch.device()
    }

    /// Logits of the answers in `passes` of at most `tokens_per_pass` tokens: each its indices and `[n]` logits.
    pub(super) fn passes(&self, answers: &[&Rollout], tokens_per_pass: usize) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..answers.len()).collect();
        // Answers of like length share a pass: little padding. Ties by index: the same passes every time.
        order.sort_by_key(|&index| (length(answers[index]), index));
        let mut passes: Vec<Vec<usize>> = Vec::new();
        for index in order {
            match passes.last_mut() {
                Some(pass) if (pass.len() + 1) * length(answers[index]) <= tokens_per_pass => pass.push(index),
                _ => passes.push(vec![index]),
            }
        }
        passes
    }

    /// `[N]` logits of the answers at `indices`.
    pub(super) fn logits(&self, answers: &[&Rollout], indices: &[usize]) -> Result<Tensor, LearningError> {
        Ok(self.logits_of(&self.read(answers, indices)?))
    }

    /// `[N, D]` each, of the answers at `indices`, what the parts of the head read: the state at the last token and, for
    /// [`Readout::Joint`], the answer's mean state after the layers and that before them (the latter at unit size).
    pub(super) fn read(&self, answers: &[&Rollout], indices: &[usize]) -> Result<Vec<Tensor>, LearningError> {
        let rows: Vec<&Rollout> = indices.iter().map(|&index| answers[index]).collect();
        let Some(known) = self.known.as_ref().filter(|_| !rows.is_empty()) else { return self.compute(&rows) };
        // Without states there is nothing to know them by: these are passed together.
        let absent: Vec<&Rollout> =
            rows.iter().copied().filter(|row| matches!(row.trunk, TrunkStates::Absent)).collect();
        if absent.len() == rows.len() {
            return self.compute(&rows);
        }
        let computed = if absent.is_empty() { Vec::new() } else { self.compute(&absent)? };
        let (mut parts, mut next) = (Vec::new(), 0);
        for row in rows {
            let own = match &row.trunk {
                TrunkStates::Present { values, .. } => {
                    let tokens = [row.prompt.tokens.len(), row.tokens.len()];
                    known.read(values, tokens, || self.compute(std::slice::from_ref(&row)))?
                }
                TrunkStates::Absent => {
                    next += 1;
                    computed.iter().map(|part| part.narrow(0, next - 1, 1)).collect()
                }
            };
            parts.resize_with(own.len(), Vec::new);
            parts.iter_mut().zip(own).for_each(|(part, own)| part.push(own));
        }
        Ok(parts.iter().map(|part| Tensor::cat(part, 0)).collect())
    }

    /// The layers were replaced: nothing that was read before holds any more.
    pub(super) fn forget(&self) {
        if let Some(known) = &self.known {
            known.forget();
        }
    }

    /// What [`RewardModel::read`] gives, by one pass of the layers.
    fn compute(&self, rows: &[&Rollout]) -> Result<Vec<Tensor>, LearningError> {
        let states = self.states(rows)?;
        let hidden = self.branch.hidden(&states);
        let mut parts = vec![self.mean_of_the_last(&hidden, rows, rows.iter().map(|_| 1))];
        if self.means.is_some() {
            // An empty answer has one witness, the end of its prompt.
            let answer = || rows.iter().map(|row| row.tokens.len().max(1));
            let seen = self.mean_of_the_last(&states, rows, answer());
            let size = (seen.square().mean_dim(1, true, Kind::Float) + 1e-6).sqrt();
            parts.extend([self.mean_of_the_last(&hidden, rows, answer()), seen / size]);
        }
        Ok(parts)
    }

    /// `[N]` logits from what [`RewardModel::read`] gave.
    pub(super) fn logits_of(&self, parts: &[Tensor]) -> Tensor {
        let logits = self.branch.head.forward(&parts[0]);
        let Some([after, before]) = &self.means else { return logits };
        let read = |states: &Tensor, head: &Tensor| states.linear::<&Tensor>(head, None).squeeze_dim(-1);
        logits + read(&parts[1], after) + read(&parts[2], before)
    }

    /// Numbers that the head reads of an answer.
    pub(super) fn features(&self) -> usize {
        self.trunk.width() * if self.means.is_some() { 3 } else { 1 }
    }

    /// `[B, T, D]` to `[B, D]`: the mean over each row's last `counts` real tokens.
    fn mean_of_the_last(&self, states: &Tensor, rows: &[&Rollout], counts: impl Iterator<Item = usize>) -> Tensor {
        let longest = states.size()[1] as usize;
        let mut shares = vec![0f32; rows.len() * longest];
        for ((row, shares), count) in rows.iter().zip(shares.chunks_mut(longest)).zip(counts) {
            let end = length(row);
            shares[end - count..end].fill(1.0 / count as f32);
        }
        let shares = Tensor::from_slice(&shares).view([rows.len() as i64, 1, longest as i64]);
        shares.to_device(self.device()).bmm(states).squeeze_dim(1)
    }

    /// Computes the trunk states of the rollouts that have none, so that nobody has to again.
    pub(super) fn fill_states(&self, rollouts: &mut [Rollout]) -> Result<(), LearningError> {
        let mut absent: Vec<&mut Rollout> =
            rollouts.iter_mut().filter(|row| matches!(row.trunk, TrunkStates::Absent) && length(row) > 0).collect();
        if absent.is_empty() {
            return Ok(());
        }
        let tokens: Vec<Vec<i64>> = absent.iter().map(|row| row.all_tokens()).collect();
        let states = trunk_states(&self.trunk, &tokens);
        for (index, row) in absent.iter_mut().enumerate() {
            let own = states
                .get(index as i64)
                .narrow(0, 0, length(row) as i64)
                .to_device(Device::Cpu)
                .contiguous()
                .view([-1]);
            let values = Arc::new(Vec::<f32>::try_from(own)?);
            row.trunk = TrunkStates::Present { values, width: self.trunk.width() };
        }
        Ok(())
    }

    /// Where the layers are frozen: puts a mark in the place of each answer's trunk states, under which what the head reads
    /// of it is known. Says whether it was done.
    pub(super) fn digest(&self, rollouts: &mut [Rollout]) -> Result<bool, LearningError> {
        let Some(known) = &self.known else { return Ok(false) };
        let _guard = tch::no_grad_guard();
        for rollout in rollouts {
            // Each alone: what is computed does not depend on the others.
            let parts = self.compute(&[&*rollout])?;
            // Its address is what it is known by: an empty vector of its own.
            let mark = Arc::new(Vec::new());
            known.put(&mark, [rollout.prompt.tokens.len(), rollout.tokens.len()], parts);
            rollout.trunk = TrunkStates::Present { values: mark, width: self.trunk.width() };
        }
        Ok(true)
    }

    /// `[D]` mean trunk state of the prompt's tokens with a root mean square of 1.
    pub(super) fn prompt_features(&self, rollout: &Rollout) -> Result<Vec<f32>, LearningError> {
        let _guard = tch::no_grad_guard();
        let tokens = rollout.prompt.tokens.len() as i64;
        if tokens == 0 {
            let what = format!("the prompt of answer {}", rollout.id);
            return Err(LearningError::input(what, "has no tokens; leave it out"));
        }
        let states = match rollout.trunk {
            TrunkStates::Present { .. } => self.states(&[rollout])?,
            TrunkStates::Absent => trunk_states(&self.trunk, std::slice::from_ref(&rollout.prompt.tokens)),
        };
        let mean = states.get(0).narrow(0, 0, tokens).mean_dim(0, false, Kind::Float);
        let size = (mean.square().mean(Kind::Float) + 1e-12).sqrt();
        Ok(Vec::<f32>::try_from((mean / size).to_device(Device::Cpu))?)
    }

    /// `[B, T, D]`, right-padded with zeros; recomputed where a rollout has none.
    fn states(&self, rows: &[&Rollout]) -> Result<Tensor, LearningError> {
        if let Some(row) = rows.iter().find(|row| length(row) == 0) {
            return Err(LearningError::input(format!("answer {}", row.id), "has no tokens; leave it out"));
        }
        let longest = rows.iter().map(|row| length(row)).max().unwrap_or(0);
        let absent: Vec<Vec<i64>> =
            rows.iter().filter(|row| matches!(row.trunk, TrunkStates::Absent)).map(|row| row.all_tokens()).collect();
        if absent.len() == rows.len() {
            return Ok(trunk_states(&self.trunk, &absent));
        }
        let computed = (!absent.is_empty()).then(|| trunk_states(&self.trunk, &absent));
        let mut next = 0;
        let mut padded = Vec::with_capacity(rows.len());
        for row in rows {
            let (tokens, width) = (length(row) as i64, self.trunk.width());
            let own = match (&row.trunk, &computed) {
                (TrunkStates::Present { values, width: stored }, _) => {
                    if *stored != width || values.len() != length(row) * width {
                        let problem = format!(
                            "holds {} numbers of width {stored} where {tokens} tokens of width {width} are wanted; \
                             leave them out to have them computed",
                            values.len()
                        );
                        return Err(LearningError::input(format!("trunk states of answer {}", row.id), problem));
                    }
                    Tensor::from_slice(values).view([tokens, width as i64]).to_device(self.device())
                }
                (TrunkStates::Absent, Some(computed)) => {
                    next += 1;
                    computed.get(next - 1).narrow(0, 0, tokens)
                }
                (TrunkStates::Absent, None) => continue,
            };
            padded.push(own.to_kind(Kind::Float).constant_pad_nd([0, 0, 0, longest as i64 - tokens]));
        }
        Ok(Tensor::stack(&padded, 0))
    }
}

/// Whether a parameter belongs to the head.
pub(super) fn is_head(name: &str) -> bool {
    name.starts_with("score.")
}

/// Tokens of prompt and answer.
pub(super) fn length(rollout: &Rollout) -> usize {
    rollout.prompt.tokens.len() + rollout.tokens.len()
}
