//! What a learner holds after a restart, told so that it can be compared with the checkpoint from outside.
//!
//! Invariant: the digest is that of the learner's own tensors, written anew; nothing of it is copied from the manifest.

use tracing::Level;
use understudy_checkpoints::checkpoint::{Checkpoint, sha256_hex};
use understudy_learning::LearnerState;

use super::tensors::encode;

/// Logs that a learner goes on from `part` of `checkpoint`; at the level debug also the digest of what it now holds, which
/// equals the part's in the manifest. `state` is asked for only then, since it copies the learner.
pub(crate) fn tell(checkpoint: &Checkpoint, part: &'static str, state: impl FnOnce() -> LearnerState) {
    let digest = || encode(&state().tensors).map_or_else(|error| error.to_string(), |bytes| sha256_hex(&bytes));
    let held = tracing::enabled!(Level::DEBUG).then(digest);
    let (path, step) = (checkpoint.path.display(), checkpoint.step);
    tracing::info!(checkpoint = %path, step, part, held, "a learner goes on from a checkpoint");
}
