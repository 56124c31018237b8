//! What a checkpoint holds, and how a restart reads it.
//!
//! Invariant: what [`Saved::new`] wrote, [`Saved::read`] gives back bit for bit; a part that does not read is an error
//! that names it, never a fresh start in silence.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use understudy_checkpoints::StoreError;
use understudy_checkpoints::checkpoint::{Checkpoint, recover};
use understudy_learning::LearnerState;
use understudy_learning::stages::{AnswerId, PolicyVersion, RewardVersion};

use super::tensors::{TensorsError, decode, encode};
use crate::lockstep::RoundState;
use crate::ppo::{LastUpdate, PpoState};
use crate::reward::RewardState;

pub(crate) const PPO: &str = "ppo.safetensors";
pub(crate) const REWARD: &str = "reward.safetensors";
const SCALARS: &str = "state.json";
/// Of the parts and of [`SavedState`].
const FORMAT: u32 = 1;

/// What the manifest tells without reading the parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedState {
    /// Of the parts.
    pub format: u32,
    /// Names the weights that learning began with; checkpoints of earlier programs do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The policy, as published.
    pub policy_version: PolicyVersion,
    /// Updates that the learner had done.
    pub updates: u64,
    /// The reward model.
    pub reward_version: RewardVersion,
    /// The journal sequence up to which feedback is in the reward model.
    pub feedback_up_to: u64,
    /// The journal sequence up to which what was taken back is not in it.
    #[serde(default)]
    pub feedback_clean_up_to: u64,
    /// The next answer id.
    pub next_answer: AnswerId,
    /// What the policy's last update measured; retention may choose the best by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update: Option<LastUpdate>,
    /// Where a run in lockstep stood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lockstep: Option<RoundState>,
}

/// Why a checkpoint could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// Tensors that do not write or read.
    #[error("checkpoint part {part}: {error}")]
    Tensors {
        /// Which part.
        part: &'static str,
        /// What is wrong.
        error: TensorsError,
    },
    /// Scalars that do not read.
    #[error("checkpoint part {part}: {reason}; use an older checkpoint")]
    Scalars {
        /// Which part.
        part: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Written by a newer program.
    #[error("the checkpoint has format {found} and this program reads {FORMAT}; use the program that wrote it")]
    Format {
        /// Its format.
        found: u32,
    },
    /// The files do not read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SavedState {
    /// Whether learning began with the weights of this name, as far as is known.
    pub fn began_with(&self, base: &str) -> bool {
        self.base.as_ref().is_none_or(|own| own == base)
    }

    /// For the manifest.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("numbers only")
    }

    /// From a manifest.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self, SavedError> {
        let state: Self = serde_json::from_value(checkpoint.manifest.extra.clone())
            .map_err(|error| SavedError::Scalars { part: "manifest.json", reason: error.to_string() })?;
        if state.format != FORMAT { Err(SavedError::Format { found: state.format }) } else { Ok(state) }
    }
}

/// The parts of a checkpoint.
#[derive(Debug)]
pub struct Saved {
    /// What the manifest tells.
    pub state: SavedState,
    /// Files by name.
    pub parts: Vec<(&'static str, Vec<u8>)>,
}

impl Saved {
    /// The parts of the learners' states.
    pub fn new(
        base: String,
        ppo: PpoState,
        reward: RewardState,
        next_answer: AnswerId,
        lockstep: Option<RoundState>,
    ) -> Result<Self, SavedError> {
        let state = SavedState {
            format: FORMAT,
            base: Some(base),
            policy_version: ppo.version,
            updates: ppo.updates,
            reward_version: reward.version,
            feedback_up_to: reward.up_to,
            feedback_clean_up_to: reward.clean_up_to,
            next_answer,
            last_update: ppo.last_update,
            lockstep,
        };
        let tensors = |part, learner: &LearnerState| {
            encode(&learner.tensors).map_err(|error| SavedError::Tensors { part, error }).map(|bytes| (part, bytes))
        };
        let scalars = serde_json::json!({ "ppo": ppo.learner.scalars, "reward": reward.learner.scalars });
        let scalars = (SCALARS, serde_json::to_vec_pretty(&scalars).expect("JSON values write"));
        Ok(Self { parts: vec![tensors(PPO, &ppo.learner)?, tensors(REWARD, &reward.learner)?, scalars], state })
    }

    /// The newest whole checkpoint of `dir`, if there is one.
    pub fn newest(dir: &Path) -> Result<Option<(SavedState, Checkpoint)>, SavedError> {
        let Some(checkpoint) = recover(dir)?.checkpoint else { return Ok(None) };
        Ok(Some((SavedState::of(&checkpoint)?, checkpoint)))
    }

    /// The policy learner's state in a checkpoint.
    pub fn ppo(checkpoint: &Checkpoint) -> Result<LearnerState, SavedError> {
        Self::learner(checkpoint, PPO, "ppo")
    }

    /// The reward learner's state in a checkpoint.
    pub fn reward(checkpoint: &Checkpoint) -> Result<LearnerState, SavedError> {
        Self::learner(checkpoint, REWARD, "reward")
    }

    /// The reward actor's scalars in a checkpoint, without the tensors: the learner's own under "learner".
    pub fn reward_scalars(checkpoint: &Checkpoint) -> Result<Value, SavedError> {
        Self::scalars(checkpoint, "reward")
    }

    fn scalars(checkpoint: &Checkpoint, key: &str) -> Result<Value, SavedError> {
        let scalars: Value = serde_json::from_slice(&checkpoint.read(SCALARS)?)
            .map_err(|error| SavedError::Scalars { part: SCALARS, reason: error.to_string() })?;
        let missing = || SavedError::Scalars { part: SCALARS, reason: format!("it has nothing under {key:?}") };
        scalars.get(key).cloned().ok_or_else(missing)
    }

    fn learner(checkpoint: &Checkpoint, part: &'static str, key: &str) -> Result<LearnerState, SavedError> {
        let tensors = decode(&checkpoint.read(part)?).map_err(|error| SavedError::Tensors { part, error })?;
        Ok(LearnerState { tensors, scalars: Self::scalars(checkpoint, key)? })
    }
}
