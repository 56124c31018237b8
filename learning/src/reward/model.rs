//! The network of the reward model: one logit an answer, read at its last real token.
//!
//! Invariant: right padding never reaches a logit, and an answer's logit does not depend on what else is in the batch
//! (but for rounding).

use tch::{Device, Kind, Tensor};
use understudy_model::{HeadInit, ScalarBranch, Trunk, trunk_states};

use crate::error::LearningError;
use crate::rng::{Purpose, Stream};
use crate::stages::{Rollout, TrunkStates};

/// Index of the reward model's head among the streams of fresh weights.
const HEAD_STREAM: u64 = 1;

/// Trunk and reward branch.
pub(super) struct RewardModel {
    trunk: Trunk,
    branch: ScalarBranch,
}

impl RewardModel {
    /// The policy's layers under a head of Normal(0, 1/√(D + 1)) (Stiennon et al. 2020, appendix B.1).
    pub(super) fn new(trunk: Trunk, policy: &understudy_model::Branch, seed: u64) -> Self {
        let init = HeadInit::Normal(Stream::new(seed, Purpose::Init, HEAD_STREAM));
        let branch = ScalarBranch::from_branch(policy, init);
        branch.set_trainable(true);
        Self { trunk, branch }
    }

    /// The branch's parameters: layers and head.
    pub(super) fn parameters(&self) -> Vec<(String, Tensor)> {
        self.branch.parameters()
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
        let rows: Vec<&Rollout> = indices.iter().map(|&index| answers[index]).collect();
        let states = self.states(&rows)?;
        let last: Vec<i64> = rows.iter().map(|row| length(row) as i64 - 1).collect();
        let last = Tensor::from_slice(&last).to_device(self.device()).unsqueeze(1);
        Ok(self.branch.forward(&states).gather(1, &last, false).squeeze_dim(1))
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

/// Tokens of prompt and answer.
pub(super) fn length(rollout: &Rollout) -> usize {
    rollout.prompt.tokens.len() + rollout.tokens.len()
}
