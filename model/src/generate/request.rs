//! What is asked of the engine and what it gives back.
//!
//! Invariant: parameters are checked once, when a request is submitted; the engine sees only valid ones.

use serde::{Deserialize, Serialize};

/// How tokens are drawn.
///
/// Order: repetition penalty, temperature, top-k, top-p, min-p, as `transformers` has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SamplingParams {
    /// Softmax temperature; 0 takes the likeliest token (and tells its log-probability at temperature 1).
    pub temperature: f64,
    /// Keep the k likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the smallest set of likeliest tokens with this mass; 1 keeps all.
    pub top_p: f64,
    /// Keep tokens with at least this share of the likeliest one's probability; 0 keeps all.
    pub min_p: f64,
    /// Divides positive and multiplies negative logits of tokens already in prompt or answer; 1 is off.
    pub repetition_penalty: f64,
    /// Most tokens in the answer.
    pub max_tokens: usize,
    /// Strings that end the answer; they are cut off its text.
    pub stop: Vec<String>,
    /// Seed of the request's random streams, one for each sample.
    pub seed: u64,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            max_tokens: 128,
            stop: Vec::new(),
            seed: 0,
        }
    }
}

impl SamplingParams {
    /// Checks every field; the error names the first that is out of range.
    pub fn validate(&self) -> Result<(), EngineError> {
        let invalid = |what: String| Err(EngineError::Invalid { reason: what });
        if !self.temperature.is_finite() || self.temperature < 0.0 {
            return invalid(format!("temperature is {}: give 0 or more", self.temperature));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return invalid(format!("top_p is {}: give more than 0 and at most 1", self.top_p));
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return invalid(format!("min_p is {}: give 0 to 1", self.min_p));
        }
        if !self.repetition_penalty.is_finite() || self.repetition_penalty <= 0.0 {
            return invalid(format!("repetition_penalty is {}: give more than 0", self.repetition_penalty));
        }
        if self.max_tokens == 0 {
            return invalid("max_tokens is 0: give at least 1".to_owned());
        }
        if self.stop.iter().any(String::is_empty) {
            return invalid("stop holds an empty string: leave it out".to_owned());
        }
        Ok(())
    }

    /// True if no token is cut away before drawing.
    pub(crate) fn full_support(&self) -> bool {
        self.top_k == 0 && self.top_p >= 1.0 && self.min_p <= 0.0
    }
}

/// A prompt and how to go on from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The caller's name for it; unique among those not finished.
    pub id: u64,
    /// `[P]` token ids.
    pub prompt: Vec<i64>,
    /// How many answers; they share the prompt's pass.
    pub samples: usize,
    /// How to sample.
    pub params: SamplingParams,
    /// Whether each [`Output`] carries the trunk states of prompt and answer.
    pub capture_trunk: bool,
}

/// The engine's bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Sequences that run at a time.
    pub max_sequences: usize,
    /// Longest prompt with answer, in tokens; the model's own limit caps it.
    pub max_context: usize,
    /// Requests that may wait; more are refused.
    pub max_waiting: usize,
    /// Most prompt tokens in one step: bounds how long a long prompt holds up those that run.
    pub prefill_chunk: usize,
    /// What new weights do to running answers.
    pub on_swap: OnSwap,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { max_sequences: 16, max_context: 1024, max_waiting: 64, prefill_chunk: 256, on_swap: OnSwap::Continue }
    }
}

/// What new weights do to running answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnSwap {
    /// They go on with the new weights over the keys and values of the old; spans tell which tokens are whose.
    #[default]
    Continue,
    /// They finish on the old weights; nothing new starts before.
    FinishFirst,
}

/// Why a request was refused. Nothing of it stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Too many wait.
    #[error("{waiting} requests wait already, the most that max_waiting allows: try again later")]
    Full {
        /// Requests that wait.
        waiting: usize,
    },
    /// No room for an answer.
    #[error("the prompt has {length} tokens, but a prompt may have at most {limit} here: shorten it")]
    PromptTooLong {
        /// Its tokens.
        length: usize,
        /// Most that would do.
        limit: usize,
    },
    /// Something is out of range.
    #[error("{reason}")]
    Invalid {
        /// What, and what would do.
        reason: String,
    },
}

/// What happened in a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A token was sampled.
    Token {
        /// The request.
        request: u64,
        /// Which of its samples.
        sample: usize,
        /// The token.
        token: i64,
        /// Text that became certain with it.
        text: String,
        /// Its log-probability at the sampling temperature over the support really sampled from.
        logprob: f32,
        /// That support's mass in the full softmax.
        kept_mass: f32,
        /// The weights that it was sampled from.
        version: u64,
    },
    /// An answer is complete; its tokens were all told before.
    Finished {
        /// The request.
        request: u64,
        /// Which of its samples.
        sample: usize,
        /// The answer.
        output: Output,
    },
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// `[R]` tokens, the end-of-sequence token included where it was sampled.
    pub tokens: Vec<i64>,
    /// Their text without special tokens and without a met stop string.
    pub text: String,
    /// `[R]` log-probabilities at the sampling temperature over the support really sampled from.
    pub logprobs: Vec<f32>,
    /// `[R]` mass of that support in the full softmax; 1 where nothing was cut away.
    pub kept_mass: Vec<f32>,
    /// `(start, version)`: from token `start` on, `version` sampled. Ascending, the first at 0.
    pub spans: Vec<(usize, u64)>,
    /// Why it ended.
    pub finish: Finish,
    /// `([P + R, D], D)` trunk states of every token of prompt and answer, where the request wanted them.
    pub trunk: Option<(Vec<f32>, usize)>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// An end-of-sequence token, the last of the answer.
    EndOfSequence,
    /// A stop string.
    StopString,
    /// `max_tokens`, or the longest context.
    Length,
}
