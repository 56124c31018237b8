//! A phase in a checkpoint, and back.
//!
//! Invariant: what is read is bit for bit what was written, or an error that names the part; numbers with a fraction that
//! decide anything are kept as their bits.

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use understudy_actors::checkpoint::{decode, encode};
use understudy_checkpoints::checkpoint::{Checkpoint, Retention, commit, prune, recover};
use understudy_learning::LearnerState;

use super::Settings;

/// Of the parts.
const FORMAT: u32 = 1;
const LEARNER: &str = "learner.safetensors";
const BEST: &str = "best.safetensors";
const SCALARS: &str = "state.json";
/// The one before the newest stays, for a disk that damages the newest.
const KEPT: usize = 2;

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    format: u32,
    /// Steps done.
    pub(super) step: u64,
    /// The step of the last look.
    pub(super) looked: Option<u64>,
    /// The best look.
    pub(super) best: Option<BestLook>,
    /// Bits of the loss that a gain is measured against.
    pub(super) to_beat: Option<u64>,
    /// Looks since there was a gain.
    pub(super) without_gain: u64,
    /// Too many of them.
    pub(super) enough: bool,
    /// What the first look told.
    pub(super) first: Map<String, Value>,
    /// What the last step told.
    pub(super) last: Map<String, Value>,
    /// Seconds of learning, over all starts.
    pub(super) seconds: f64,
    /// A line a look.
    pub(super) curve: Vec<Value>,
    /// With what it began.
    pub(super) settings: Settings,
}

/// The look at which the held-out loss was least.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct BestLook {
    pub(super) step: u64,
    /// Bits of the loss.
    pub(super) loss: u64,
    pub(super) figures: Map<String, Value>,
}

impl Position {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            format: FORMAT,
            step: 0,
            looked: None,
            best: None,
            to_beat: None,
            without_gain: 0,
            enough: false,
            first: Map::new(),
            last: Map::new(),
            seconds: 0.0,
            curve: Vec::new(),
            settings,
        }
    }
}

/// What a checkpoint holds.
pub(super) struct Saved {
    pub(super) position: Position,
    pub(super) learner: LearnerState,
    pub(super) best: Option<LearnerState>,
}

/// Commits a checkpoint and lets the oldest go.
pub(super) fn write(
    dir: &Path,
    position: &Position,
    learner: &LearnerState,
    best: Option<&LearnerState>,
) -> anyhow::Result<()> {
    let mut parts = vec![(LEARNER, encode(&learner.tensors)?)];
    if let Some(best) = best {
        parts.push((BEST, encode(&best.tensors)?));
    }
    let best = best.map(|best| &best.scalars);
    let scalars = json!({ "position": position, "learner": learner.scalars, "best": best });
    parts.push((SCALARS, serde_json::to_vec_pretty(&scalars)?));
    let parts: Vec<(&str, &[u8])> = parts.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let loss = position.best.as_ref().map(|best| f64::from_bits(best.loss));
    commit(dir, position.step, &parts, json!({ "step": position.step, "best_loss": loss }))?;
    prune(dir, &Retention { keep_last: KEPT, keep_every: None, keep_best: None, keep_for: None })?;
    Ok(())
}

/// The newest whole checkpoint, if there is one.
pub(super) fn read(dir: &Path) -> anyhow::Result<Option<Saved>> {
    let recovery = recover(dir)?;
    for skipped in &recovery.skipped {
        tracing::warn!(path = %skipped.path.display(), reason = skipped.reason, "a checkpoint is damaged; an older one is tried");
    }
    let Some(checkpoint) = recovery.checkpoint else { return Ok(None) };
    let of = || format!("the checkpoint '{}'; remove it, or begin anew with --anew", checkpoint.path.display());
    read_whole(&checkpoint).with_context(of).map(Some)
}

fn read_whole(checkpoint: &Checkpoint) -> anyhow::Result<Saved> {
    let mut scalars: Value = serde_json::from_slice(&checkpoint.read(SCALARS)?)?;
    let position: Position = serde_json::from_value(scalars["position"].take())?;
    anyhow::ensure!(position.format == FORMAT, "its format is {}, this program reads {FORMAT}", position.format);
    let learner = LearnerState { tensors: decode(&checkpoint.read(LEARNER)?)?, scalars: scalars["learner"].take() };
    let best = match checkpoint.manifest.part(BEST) {
        Some(_) => Some(LearnerState { tensors: decode(&checkpoint.read(BEST)?)?, scalars: scalars["best"].take() }),
        None => None,
    };
    Ok(Saved { position, learner, best })
}
