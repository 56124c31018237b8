//! Damage to a data directory between two runs.
//!
//! Invariant: only what the program promises to survive is damaged: the newest checkpoint, or the replay store that the
//! journal can rebuild.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use understudy_checkpoints::checkpoint::{Checkpoint, recover};

use super::schedule::{Dice, Fault};

/// The newest whole checkpoint, as the next start should find it.
pub(super) fn newest(data: &Path) -> Option<Checkpoint> {
    recover(&data.join("checkpoints")).expect("checkpoints can be listed").checkpoint
}

/// Checkpoints that are there, whole or not.
pub(super) fn checkpoints(data: &Path) -> Vec<PathBuf> {
    let listed = understudy_checkpoints::checkpoint::list(&data.join("checkpoints")).unwrap_or_default();
    listed.into_iter().map(|listed| listed.path).collect()
}

/// Does the damage; what was damaged.
pub(super) fn damage(data: &Path, fault: Fault, dice: &mut Dice) -> Option<PathBuf> {
    match fault {
        Fault::Nothing => None,
        Fault::RemoveSled => {
            let sled = data.join("sled");
            fs::remove_dir_all(&sled).expect("it can be removed");
            Some(sled)
        }
        Fault::TruncatePart | Fault::FlipBit => {
            let checkpoint = newest(data)?;
            let parts: Vec<_> = checkpoint.manifest.parts.iter().filter(|part| part.bytes > 0).collect();
            let part = dice.of(&parts)?;
            let path = checkpoint.path.join(&part.name);
            let length = usize::try_from(part.bytes).expect("a tiny model's part");
            match fault {
                Fault::TruncatePart => {
                    let file = OpenOptions::new().write(true).open(&path).expect("it is there");
                    file.set_len(dice.below(length) as u64).expect("it can be cut");
                }
                _ => {
                    let mut bytes = fs::read(&path).expect("it is there");
                    bytes[dice.below(length)] ^= 1 << dice.below(8);
                    fs::write(&path, bytes).expect("it can be written");
                }
            }
            Some(checkpoint.path)
        }
    }
}
