//! What the program gives the daemon.
//!
//! Invariant: the model's tensors are shared, never copied, and never written: every learner trains a copy of its own.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tch::Device;
use understudy_checkpoints::Store;
use understudy_learning::LearnerState;
use understudy_model::generate::{Engine, EngineConfig};
use understudy_model::weights::LoadedModel;
use understudy_model::{Branch, ModelError, TextCodec, Trunk, build, digest_of};

use crate::annotator::{Rater, RatersClock};
use crate::failpoint::Failpoints;
use crate::locked::locked;
use crate::reward::Judge;
use crate::source::QuestionSource;

/// The model as it was before any learning. Clones share its tensors.
#[derive(Clone)]
pub struct BaseModel {
    /// Tokenizer and chat template.
    pub text: TextCodec,
    /// Tokens that end an answer.
    pub eos: Vec<i64>,
    /// Names its weights: what a checkpoint says that learning began with.
    pub digest: String,
    device: Device,
    parts: Arc<Mutex<(Trunk, Branch)>>,
}

impl BaseModel {
    /// A model in two parts.
    pub fn new(trunk: Trunk, branch: Branch, text: TextCodec, eos: Vec<i64>) -> Self {
        let device = trunk.device();
        let digest = digest_of(&trunk, &branch);
        Self { text, eos, digest, device, parts: Arc::new(Mutex::new((trunk, branch))) }
    }

    /// A loaded model whose upper `trainable_layers` learn.
    pub fn of(loaded: &LoadedModel, trainable_layers: usize, device: Device) -> Result<Self, ModelError> {
        let (trunk, branch) = build(&loaded.config, &loaded.weights, trainable_layers, device)?;
        Ok(Self::new(trunk, branch, loaded.text.clone(), loaded.defaults.eos_tokens.clone()))
    }

    /// The same tensors for another thread.
    pub fn share(&self) -> (Trunk, Branch) {
        let parts = locked(&self.parts);
        (parts.0.shallow_clone(), parts.1.shallow_clone())
    }

    /// Numbers in the state of a token at the split point.
    pub fn width(&self) -> usize {
        locked(&self.parts).0.width()
    }

    /// A generator with the base weights.
    pub fn engine(&self, config: EngineConfig) -> Engine {
        let (trunk, branch) = self.share();
        Engine::new(trunk, branch, self.text.clone(), self.eos.clone(), config, self.device)
    }
}

/// Everything that the loop is made of.
pub struct DaemonParts {
    /// The model before any learning.
    pub model: BaseModel,
    /// The open store of the data directory.
    pub store: Store,
    /// Where checkpoints lie.
    pub checkpoints: PathBuf,
    /// Where questions come from.
    pub sources: Vec<Box<dyn QuestionSource>>,
    /// Simulated people, if any, and their clock.
    pub rater: Option<(Box<dyn Rater>, RatersClock)>,
    /// Scores answers in place of the reward model, where that is wanted.
    pub judge: Option<Judge>,
    /// What the reward model begins with where there is no checkpoint, as a reward learner's `state` gave it; without it the
    /// model begins with no opinion. Ratings taken back are learned anew from here.
    pub reward_start: Option<LearnerState>,
    /// Where tests make it fail.
    pub failpoints: Failpoints,
}
