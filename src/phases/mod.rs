//! From a corpus to a better model in three phases: imitation (`sft`), a reward model (`reward`), the policy (`ppo`).
//!
//! Invariant: held-out questions are never learned from, by any phase; a phase that is stopped and started again goes on
//! bit for bit, or says which setting is another one now; what comes out names every post that went in.

pub mod credit;
pub mod folder;
pub mod material;
pub mod ppo;
pub mod reward;
pub mod run;
mod saved;
pub mod sft;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};
use understudy_learning::LearnerState;
use understudy_model::digest;

use crate::bell::Bell;
use crate::speaker::Speaker;

/// Keys of the configuration (and what else decides) with their values, as a run began with them.
pub type Settings = BTreeMap<String, Value>;

/// What a look at held-out questions gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// What is to become small; finite.
    pub loss: f64,
    /// Everything worth telling of it.
    pub figures: Map<String, Value>,
}

/// What one phase does; [`run::run`] says when.
///
/// A phase is a function of its settings, its material and the step: whatever it draws, it draws by the step's number, so
/// that a restored one goes on as if nothing had happened.
pub trait Phase {
    /// Learns for the `step`-th time (from 0) and tells figures of it; `None`, and nothing is learned, where `stop` came
    /// before it could.
    fn step(&mut self, step: u64, stop: &Bell) -> anyhow::Result<Option<Map<String, Value>>>;

    /// Looks at held-out questions; `None` where `stop` came first.
    fn look(&mut self, stop: &Bell) -> anyhow::Result<Option<Look>>;

    /// Everything that it needs to go on.
    fn state(&self) -> LearnerState;

    /// Goes on from what [`Phase::state`] gave.
    fn restore(&mut self, state: LearnerState) -> anyhow::Result<()>;

    /// What is kept of the best look: what becomes the model.
    fn product(&self) -> LearnerState;
}

/// Where a phase keeps its state, and where its model goes.
#[derive(Debug, Clone)]
pub struct Places {
    /// Checkpoints and the curve.
    pub work: PathBuf,
    /// The model folder.
    pub model: PathBuf,
}

impl Places {
    /// In a data directory: `DATA/PHASE` and `DATA/models/MODEL`.
    pub fn of(data: &std::path::Path, phase: &str, model: &str) -> Self {
        Self { work: data.join(phase), model: data.join("models").join(model) }
    }
}

/// The digests of a model's frozen and of its learning part.
pub fn digests(speaker: &Speaker) -> [String; 2] {
    [digest(&speaker.trunk.tensors()), digest(&speaker.branch.tensors())]
}
