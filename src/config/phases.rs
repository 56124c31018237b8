//! `[phases]`: what `sft`, `reward` and `ppo` learn from, how long, and when they are good enough.
//!
//! Invariant: everything that changes what is learned stands here or in the sections of the learners, so that a run can
//! tell which key is another one than when it began.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use understudy_learning::optimiser::AdamConfig;
use understudy_learning::reward::RewardConfig;
use understudy_learning::schedule::Schedule;
use understudy_learning::sft::SftConfig;

use crate::preferences::Scoring;

/// `[reward]`: the reward model, and what it begins with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reward {
    /// Folder of a reward model that `serve` begins with; empty: no opinion.
    pub start: PathBuf,
    /// How it learns.
    #[serde(flatten)]
    pub learner: RewardConfig,
}

impl Deref for Reward {
    type Target = RewardConfig;

    fn deref(&self) -> &RewardConfig {
        &self.learner
    }
}

impl DerefMut for Reward {
    fn deref_mut(&mut self) -> &mut RewardConfig {
        &mut self.learner
    }
}

/// `[phases]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phases {
    /// Most training questions.
    pub questions: usize,
    /// Most held-out questions.
    pub held_out: usize,
    /// Tokens of a learned answer.
    pub max_tokens: usize,
    /// Whether written answers keep the addresses of their links.
    pub links: bool,
    /// Least score of an answer to imitate.
    pub min_score: i64,
    /// Answers of one question to imitate.
    pub answers: usize,
    /// Answers of one question to compare.
    pub compared: usize,
    /// By which scores answers are compared.
    pub scores: Scoring,
    /// Only pairs that the later answer won.
    pub later_won: bool,
    /// Imitation.
    pub sft: Sft,
    /// The reward model.
    pub reward: Pace,
    /// The policy.
    pub ppo: Pace,
}

/// How long a phase takes, and when it has learned enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// Steps in all.
    pub steps: u64,
    /// Steps between two looks at held-out questions.
    pub evaluate_every: u64,
    /// Steps between two checkpoints.
    pub save_every: u64,
    /// Looks without a gain before it ends; 0 never ends it.
    pub patience: u64,
    /// What counts as a gain.
    pub min_delta: f64,
}

/// `[phases.sft]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sft {
    /// Examples to one optimiser step.
    pub minibatch_size: usize,
    /// Examples to one forward and backward pass.
    pub micro_batch_size: usize,
    /// Learning rate.
    pub learning_rate: f64,
    /// Steps until the full rate.
    pub warmup: u64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Largest norm of the gradient.
    pub max_grad_norm: f64,
    /// How long.
    #[serde(flatten)]
    pub pace: Pace,
}

impl Sft {
    /// The learner's settings; the cut of its one minibatch at a time is the phase's own.
    pub fn learner(&self, logit_chunk: usize) -> SftConfig {
        SftConfig {
            epochs: 1,
            minibatch_size: self.minibatch_size,
            micro_batch_size: self.micro_batch_size,
            learning_rate: self.learning_rate,
            schedule: Schedule { warmup: self.warmup, ..Schedule::default() },
            adam: AdamConfig { eps: 1e-8, weight_decay: self.weight_decay, ..AdamConfig::default() },
            max_grad_norm: self.max_grad_norm,
            logit_chunk,
        }
    }
}
