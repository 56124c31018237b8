//! Generating with log-probabilities.
//!
//! Invariant: the engine is polled in short units; it never calls back and never blocks on another actor.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use understudy_learning::stages::{Finish, PolicyVersion, Sampling, TrunkStates, VersionSpan};
use understudy_model::generate::{Engine, EngineError, Event, Request, SamplingParams};
use understudy_model::{Branch, ModelError};

use super::PolicySnapshot;
use crate::link::Latest;

/// What is to be generated. The id is the idempotency key: an engine answers each id once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerateRequest {
    /// Names the request at this engine.
    pub id: u64,
    /// `[P]` prompt tokens.
    pub prompt: Vec<i64>,
    /// Answers wanted.
    pub samples: usize,
    /// How to sample.
    pub sampling: Sampling,
    /// An answer ends before the first of these.
    pub stop: Vec<String>,
    /// Whether somebody waits for it; else it is asked only to learn.
    #[serde(default)]
    pub people: bool,
}

/// What an engine tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Generated {
    /// One more token.
    Token {
        /// Which request.
        request: u64,
        /// Which of its answers, from 0.
        sample: usize,
        /// The token.
        token: i64,
        /// Text that is now certain; may be empty.
        text: String,
        /// At the sampling temperature.
        logprob: f32,
        /// The policy that sampled it.
        version: PolicyVersion,
    },
    /// An answer is whole.
    Finished {
        /// Which request.
        request: u64,
        /// Which of its answers, from 0.
        sample: usize,
        /// The answer.
        answer: GeneratedAnswer,
    },
}

/// A whole answer with everything that learning needs of the moment of sampling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GeneratedAnswer {
    /// `[R]` tokens.
    pub tokens: Vec<i64>,
    /// Without special tokens and met stop strings.
    pub text: String,
    /// `[R]` at the sampling temperature, over the support sampled from.
    pub old_logprobs: Vec<f32>,
    /// `[R]` mass of that support in the full softmax.
    pub kept_mass: Vec<f32>,
    /// Which policy sampled from where.
    pub version_spans: Vec<VersionSpan>,
    /// Why it ended.
    pub finish: Finish,
    /// In process memory only.
    #[serde(skip)]
    pub trunk: TrunkStates,
}

/// Why an engine does not take a request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EngineRefusal {
    /// No room now.
    #[error("the engine is full; try again when an answer has ended")]
    Full,
    /// This request can never be served.
    #[error("{0}")]
    Invalid(String),
}

/// Generates answers with log-probabilities, in short units.
pub trait RolloutEngine {
    /// Takes a request.
    fn submit(&mut self, request: GenerateRequest) -> Result<(), EngineRefusal>;
    /// Gives a request up; nothing more is told of it.
    fn cancel(&mut self, request: u64);
    /// One short unit: every running answer gets at most one token.
    fn step(&mut self) -> Result<Vec<Generated>, ModelError>;
    /// Loads the newest published version, if it is newer than the one at work; says which, and when it was published.
    fn load_newest(&mut self) -> Option<(PolicyVersion, Instant)>;
    /// The version at work.
    fn version(&self) -> PolicyVersion;
    /// Whether nothing runs and nothing waits.
    fn is_idle(&self) -> bool;
}

impl RolloutEngine for Box<dyn RolloutEngine> {
    fn submit(&mut self, request: GenerateRequest) -> Result<(), EngineRefusal> {
        (**self).submit(request)
    }

    fn cancel(&mut self, request: u64) {
        (**self).cancel(request);
    }

    fn step(&mut self) -> Result<Vec<Generated>, ModelError> {
        (**self).step()
    }

    fn load_newest(&mut self) -> Option<(PolicyVersion, Instant)> {
        (**self).load_newest()
    }

    fn version(&self) -> PolicyVersion {
        (**self).version()
    }

    fn is_idle(&self) -> bool {
        (**self).is_idle()
    }
}

/// The engine in this process: it shares the trunk with the learners and takes its branch from the snapshots link.
pub struct LocalEngine {
    engine: Engine,
    snapshots: Latest<PolicySnapshot>,
    seen: u64,
}

impl LocalEngine {
    /// An engine that follows `snapshots`. It starts with the weights that it was made with.
    pub fn new(engine: Engine, snapshots: Latest<PolicySnapshot>) -> Self {
        Self { engine, snapshots, seen: 0 }
    }

    /// Takes these weights: at once, or when the running answers have finished, as the engine is set.
    pub(crate) fn take(&mut self, version: PolicyVersion, branch: Branch) {
        self.engine.set_branch(branch, version);
    }
}

impl RolloutEngine for LocalEngine {
    fn submit(&mut self, request: GenerateRequest) -> Result<(), EngineRefusal> {
        let GenerateRequest { id, prompt, samples, sampling, stop, people: _ } = request;
        let params = SamplingParams {
            temperature: sampling.temperature,
            top_k: sampling.top_k,
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            repetition_penalty: sampling.repetition_penalty,
            max_tokens: sampling.max_tokens,
            stop,
            seed: sampling.seed,
        };
        let request = Request { id, prompt, samples, params, capture_trunk: true };
        self.engine.submit(request).map_err(|error| match error {
            EngineError::Full { .. } => EngineRefusal::Full,
            other => EngineRefusal::Invalid(other.to_string()),
        })
    }

    fn cancel(&mut self, request: u64) {
        self.engine.cancel(request);
    }

    fn step(&mut self) -> Result<Vec<Generated>, ModelError> {
        Ok(self.engine.step()?.into_iter().map(generated).collect())
    }

    fn load_newest(&mut self) -> Option<(PolicyVersion, Instant)> {
        let look = |stamp, snapshot: &PolicySnapshot| {
            (stamp, snapshot.version, snapshot.published_at, snapshot.branch.shallow_clone())
        };
        let (stamp, version, published_at, branch) = self.snapshots.read_newer(self.seen, look)?;
        self.engine.set_branch(branch, version);
        self.seen = stamp;
        Some((version, published_at))
    }

    fn version(&self) -> PolicyVersion {
        self.engine.version()
    }

    fn is_idle(&self) -> bool {
        self.engine.is_idle()
    }
}

fn generated(event: Event) -> Generated {
    match event {
        Event::Token { request, sample, token, text, logprob, version, .. } => {
            Generated::Token { request, sample, token, text, logprob, version }
        }
        Event::Finished { request, sample, output } => {
            let version_spans = output.spans.into_iter().map(|(start, version)| VersionSpan { start, version });
            let trunk = match output.trunk {
                Some((values, width)) => TrunkStates::Present { values: Arc::new(values), width },
                None => TrunkStates::Absent,
            };
            let answer = GeneratedAnswer {
                tokens: output.tokens,
                text: output.text,
                old_logprobs: output.logprobs,
                kept_mass: output.kept_mass,
                version_spans: version_spans.collect(),
                finish: output.finish.into(),
                trunk,
            };
            Generated::Finished { request, sample, answer }
        }
    }
}
