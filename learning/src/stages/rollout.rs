//! From a prompt to a scored answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use understudy_model::SamplingParams;

use super::Question;

/// Names one answer for ever: rises by one with each answer, also across restarts.
pub type AnswerId = u64;

/// Counts the published policies; 0 is the policy before any update.
pub type PolicyVersion = u64;

/// Counts the reward model's updates; 0 is the reward model before any feedback.
pub type RewardVersion = u64;

/// A question rendered through the chat template and tokenised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// Where it came from.
    pub question: Arc<Question>,
    /// `[P]` token ids, up to and including the generation prompt.
    pub tokens: Vec<i64>,
}

/// How tokens were drawn. Every log-probability of a rollout is at `temperature`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Softmax temperature, > 0.
    pub temperature: f64,
    /// Keep the k likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the smallest set with this mass; 1 keeps all.
    pub top_p: f64,
    /// Keep tokens with at least this share of the likeliest one's probability; 0 keeps all.
    pub min_p: f64,
    /// Divides positive and multiplies negative logits of tokens already seen; 1 is off.
    pub repetition_penalty: f64,
    /// Most tokens in the answer.
    pub max_tokens: usize,
    /// Seed of this request's own random stream.
    pub seed: u64,
}

impl From<&SamplingParams> for Sampling {
    fn from(params: &SamplingParams) -> Self {
        Self {
            temperature: params.temperature,
            top_k: params.top_k,
            top_p: params.top_p,
            min_p: params.min_p,
            repetition_penalty: params.repetition_penalty,
            max_tokens: params.max_tokens,
            seed: params.seed,
        }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// The model ended it with an end-of-sequence token (the last of `tokens`).
    EndOfSequence,
    /// A stop string was met.
    StopString,
    /// The token limit cut it off: the value of what would have followed is bootstrapped.
    Length,
}

impl From<understudy_model::Finish> for Finish {
    fn from(finish: understudy_model::Finish) -> Self {
        match finish {
            understudy_model::Finish::EndOfSequence => Self::EndOfSequence,
            understudy_model::Finish::StopString => Self::StopString,
            understudy_model::Finish::Length => Self::Length,
        }
    }
}

/// From token `start` on (counted within the answer), tokens were sampled by `version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionSpan {
    /// Index of the span's first token.
    pub start: usize,
    /// The policy that sampled it.
    pub version: PolicyVersion,
}

/// Hidden states at the split point for every token of prompt and answer: `[P + R, D]`, row-major.
///
/// They travel beside a rollout in process memory only (never to disk); whoever misses them recomputes them.
#[derive(Clone, Default)]
pub enum TrunkStates {
    /// Not at hand: recompute from the tokens.
    #[default]
    Absent,
    /// As the generator computed them.
    Present {
        /// `[P + R, D]` row-major.
        values: Arc<Vec<f32>>,
        /// `D`.
        width: usize,
    },
}

impl std::fmt::Debug for TrunkStates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => write!(f, "Absent"),
            Self::Present { values, width } => write!(f, "Present([{}, {width}])", values.len() / width.max(&1)),
        }
    }
}

impl PartialEq for TrunkStates {
    /// A cache is no part of a rollout's identity.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// An answer as the generator made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Names the answer.
    pub id: AnswerId,
    /// The id of the first answer to the same prompt request: answers with one `group` are compared with each other.
    pub group: AnswerId,
    /// What was answered.
    pub prompt: Prompt,
    /// `[R]` sampled token ids, the end-of-sequence token included where it was sampled.
    pub tokens: Vec<i64>,
    /// The tokens as text, special tokens and a met stop string left out.
    pub text: String,
    /// `[R]` log-probabilities of `tokens` at the sampling temperature, over the support really sampled from.
    pub old_logprobs: Vec<f32>,
    /// `[R]` probability mass of that support in the full softmax; 1 where nothing was cut away.
    pub kept_mass: Vec<f32>,
    /// Ascending by `start`, the first at 0.
    pub version_spans: Vec<VersionSpan>,
    /// How it was sampled.
    pub sampling: Sampling,
    /// Why it ended.
    pub finish: Finish,
    /// Cached hidden states, in process memory only.
    #[serde(skip)]
    pub trunk: TrunkStates,
}

impl Rollout {
    /// A text that somebody wrote, as if the model had given it at temperature 1: for a reward model, which looks neither at
    /// log-probabilities nor at the sampling. `whole` says that the answer ends where its tokens do.
    pub fn written(id: AnswerId, group: AnswerId, prompt: Prompt, tokens: Vec<i64>, text: String, whole: bool) -> Self {
        Self {
            id,
            group,
            prompt,
            old_logprobs: vec![0.0; tokens.len()],
            kept_mass: vec![1.0; tokens.len()],
            tokens,
            text,
            version_spans: Vec::new(),
            sampling: Sampling {
                temperature: 1.0,
                top_k: 0,
                top_p: 1.0,
                min_p: 0.0,
                repetition_penalty: 1.0,
                max_tokens: 0,
                seed: 0,
            },
            finish: if whole { Finish::EndOfSequence } else { Finish::Length },
            trunk: TrunkStates::Absent,
        }
    }

    /// The oldest policy that took part in the answer.
    pub fn oldest_version(&self) -> PolicyVersion {
        self.version_spans.iter().map(|span| span.version).min().unwrap_or(0)
    }

    /// `[P + R]` prompt and answer.
    pub fn all_tokens(&self) -> Vec<i64> {
        [self.prompt.tokens.as_slice(), self.tokens.as_slice()].concat()
    }
}

/// A rollout with the reward model's opinion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoredRollout {
    /// What was scored.
    pub rollout: Rollout,
    /// Normalised score (mean 0, variance 1 over reference answers), before KL shaping.
    pub score: f64,
    /// Standard error of the score where the reward model knows it, else 0.
    pub reward_std: f64,
    /// The reward model that scored it.
    pub reward_version: RewardVersion,
}
