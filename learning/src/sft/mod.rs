//! Supervised fine-tuning: the policy learns to say what somebody wrote.
//!
//! Invariant: only the completion's tokens count; a prompt is read and never learned.

mod learner;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::error::LearningError;
use crate::optimiser::AdamConfig;
use crate::ppo::whiten::masked_mean;
use crate::schedule::Schedule;

pub use learner::{SftLearner, SftProgress, SftUpdate};

/// Mean negative log-likelihood in nats a token over the true positions of `completion_mask`. Both `[B, T]`.
pub fn completion_loss(logprobs: &Tensor, completion_mask: &Tensor) -> Tensor {
    -masked_mean(logprobs, completion_mask)
}

/// A prompt and what should follow, the end-of-sequence token included where the answer ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftExample {
    /// Token ids up to and including the generation prompt; not empty.
    pub prompt: Vec<i64>,
    /// Token ids to learn; not empty.
    pub completion: Vec<i64>,
}

/// Settings of a [`SftLearner`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SftConfig {
    /// Passes over the examples of an update.
    pub epochs: usize,
    /// Examples to one optimiser step.
    pub minibatch_size: usize,
    /// Examples to one forward and backward pass: bounds memory, does not change the result.
    pub micro_batch_size: usize,
    /// Learning rate.
    pub learning_rate: f64,
    /// How it changes with the number of steps.
    pub schedule: Schedule,
    /// The optimiser's other settings.
    pub adam: AdamConfig,
    /// Largest global norm of the gradient.
    pub max_grad_norm: f64,
    /// Positions whose logits are alive at a time.
    pub logit_chunk: usize,
}

impl Default for SftConfig {
    fn default() -> Self {
        Self {
            epochs: 1,
            minibatch_size: 8,
            micro_batch_size: 4,
            learning_rate: 2e-5,
            schedule: Schedule::default(),
            adam: AdamConfig { eps: 1e-8, ..AdamConfig::default() },
            max_grad_norm: 1.0,
            logit_chunk: 256,
        }
    }
}

impl SftConfig {
    /// Whether the values can work.
    pub fn validate(&self) -> Result<(), LearningError> {
        let fail = |field, value: String, remedy| Err(LearningError::Config { field, value, remedy });
        let counts = [
            ("epochs", self.epochs),
            ("minibatch_size", self.minibatch_size),
            ("micro_batch_size", self.micro_batch_size),
            ("logit_chunk", self.logit_chunk),
        ];
        if let Some((field, value)) = counts.into_iter().find(|(_, value)| *value == 0) {
            return fail(field, value.to_string(), "give a whole number above 0");
        }
        for (field, value) in [("learning_rate", self.learning_rate), ("adam.eps", self.adam.eps)] {
            if !(value.is_finite() && value >= 0.0) {
                return fail(field, value.to_string(), "give a number that is not below 0");
            }
        }
        if !(self.max_grad_norm.is_finite() && self.max_grad_norm > 0.0) {
            return fail("max_grad_norm", self.max_grad_norm.to_string(), "give a number above 0");
        }
        Ok(())
    }
}

/// One update of a [`SftLearner`].
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct SftReport {
    /// Examples learned from.
    pub examples: usize,
    /// Examples dropped: empty, longer than the model allows, or with unknown tokens.
    pub dropped: usize,
    /// Completion tokens in them.
    pub tokens: usize,
    /// Optimiser steps done.
    pub steps: usize,
    /// Optimiser steps skipped because a loss or gradient was not finite.
    pub skipped_steps: usize,
    /// Mean loss of the minibatches, each before its step; nats a token.
    pub loss: f64,
    /// Mean norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Rate of the last step.
    pub learning_rate: f64,
}
