//! Checkpoints as places from which the reward model can be learned anew.
//!
//! Invariant: a state is given only when its digests verify and its manifest says that it is usable; what does not read
//! is passed over and told.

use std::path::PathBuf;

use understudy_checkpoints::checkpoint::{list, load};
use understudy_learning::LearnerState;

use super::{Saved, SavedError, SavedState};
use crate::reward::{AnchorMarks, Anchors};

/// The checkpoints of a directory.
#[derive(Debug)]
pub(crate) struct CheckpointAnchors(pub(crate) PathBuf);

impl Anchors for CheckpointAnchors {
    fn newest(&self, usable: &dyn Fn(AnchorMarks) -> bool) -> Option<LearnerState> {
        let listed = list(&self.0).inspect_err(|error| tracing::warn!(%error, "checkpoints do not list")).ok()?;
        listed.into_iter().rev().find_map(|one| {
            let state: SavedState = serde_json::from_value(one.manifest.ok()?.extra).ok()?;
            let marks = AnchorMarks { up_to: state.feedback_up_to, clean_up_to: state.feedback_clean_up_to };
            if !usable(marks) {
                return None;
            }
            let read = load(&one.path).map_err(SavedError::from).and_then(|checkpoint| Saved::reward(&checkpoint));
            read.inspect_err(|error| tracing::warn!(%error, "a checkpoint does not read; an older one is taken")).ok()
        })
    }
}
