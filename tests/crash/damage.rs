//! Damage to a data directory between two runs.
//!
//! Invariant: only what the program promises to survive is damaged: the newest checkpoint, the replay store that the
//! journal can rebuild, and the journal's end where nobody was told of it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use understudy_checkpoints::checkpoint::{Checkpoint, Manifest, list, recover};

use super::oracle::Oracle;
use super::schedule::{Dice, Fault};
use super::torn::{self, Torn};

const PAGE: usize = 4096;

/// What was done, and what the next start has to say of it.
#[derive(Debug)]
pub(super) struct Done {
    /// The damage.
    pub(super) fault: Fault,
    /// In words.
    pub(super) what: String,
    /// The checkpoint that is no longer whole.
    pub(super) checkpoint: Option<PathBuf>,
    /// The message of the log that must tell of it.
    pub(super) says: Option<&'static str>,
    /// Where the journal must be cut.
    pub(super) cut_at: Option<u64>,
}

/// The start says this when the journal's end was cut.
const CUT: &str = "cut an unacknowledged batch off the journal's end";
/// The start says this when sled was not what the journal says.
pub(super) const REBUILT: &str = "the replay store is rebuilt from the journal";
const PASSED_OVER: &str = "a checkpoint was passed over";

/// The newest whole checkpoint, as the next start should find it.
pub(super) fn newest(data: &Path) -> Option<Checkpoint> {
    recover(&data.join("checkpoints")).expect("checkpoints can be listed").checkpoint
}

/// Checkpoints that are there, whole or not.
pub(super) fn checkpoints(data: &Path) -> Vec<PathBuf> {
    list(&data.join("checkpoints")).unwrap_or_default().into_iter().map(|listed| listed.path).collect()
}

/// What the checkpoints say that they hold.
pub(super) fn manifests(data: &Path) -> Vec<(PathBuf, Manifest)> {
    let listed = list(&data.join("checkpoints")).unwrap_or_default();
    listed.into_iter().filter_map(|listed| Some((listed.path, listed.manifest.ok()?))).collect()
}

/// Does the damage, where there is something to damage.
pub(super) fn damage(data: &Path, fault: Fault, oracle: &Oracle, dice: &mut Dice) -> Option<Done> {
    let done = |what: String, says| Done { fault, what, checkpoint: None, says, cut_at: None };
    match fault {
        Fault::Nothing => None,
        Fault::RemoveSled => {
            fs::remove_dir_all(data.join("sled")).expect("it can be removed");
            Some(done("sled is gone".to_owned(), Some(REBUILT)))
        }
        // The page may hold nothing that still counts; so nothing is demanded but that no record is missing.
        Fault::SledPage => spoil_page(&data.join("sled").join("db"), dice).map(|what| done(what, None)),
        Fault::TearTail => {
            let Torn { path, how, offset } = match dice.below(2) {
                0 => torn::cut(data, oracle, dice).or_else(|| torn::tear(data, dice)),
                _ => torn::tear(data, dice),
            }?;
            Some(Done { cut_at: offset, ..done(format!("{}: {how}", name(&path)), offset.map(|_| CUT)) })
        }
        Fault::TruncatePart | Fault::FlipBit | Fault::RemovePart => {
            let checkpoint = newest(data)?;
            let part = spoil_part(&checkpoint, fault, dice)?;
            let what = format!("{}: {part}", name(&checkpoint.path));
            Some(Done { checkpoint: Some(checkpoint.path), ..done(what, Some(PASSED_OVER)) })
        }
    }
}

fn spoil_part(checkpoint: &Checkpoint, fault: Fault, dice: &mut Dice) -> Option<String> {
    let parts: Vec<_> = checkpoint.manifest.parts.iter().filter(|part| part.bytes > 0).collect();
    let part = dice.of(&parts)?;
    let path = checkpoint.path.join(&part.name);
    let length = usize::try_from(part.bytes).expect("a tiny model's part");
    match fault {
        Fault::TruncatePart => {
            let file = OpenOptions::new().write(true).open(&path).expect("it is there");
            file.set_len(dice.below(length) as u64).expect("it can be cut");
        }
        Fault::RemovePart => fs::remove_file(&path).expect("it can be removed"),
        _ => {
            let mut bytes = fs::read(&path).expect("it is there");
            bytes[dice.below(length)] ^= 1 << dice.below(8);
            fs::write(&path, bytes).expect("it can be written");
        }
    }
    Some(part.name.clone())
}

/// A page that holds something gets zeros or noise.
fn spoil_page(path: &Path, dice: &mut Dice) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let pages = bytes.chunks(PAGE).enumerate().filter(|(_, page)| page.iter().any(|byte| *byte != 0));
    let page = *dice.of(&pages.map(|(at, _)| at).collect::<Vec<_>>())?;
    let noisy = dice.below(2) == 0;
    let content: Vec<u8> = (0..PAGE).map(|_| if noisy { dice.next() as u8 } else { 0 }).collect();
    let length = bytes.len().min((page + 1) * PAGE) - page * PAGE;
    let file = OpenOptions::new().write(true).open(path).expect("it is there");
    file.write_all_at(&content[..length], (page * PAGE) as u64).expect("it can be written");
    Some(format!("page {page} of {} of sled is {}", bytes.len() / PAGE, if noisy { "noise" } else { "zeros" }))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
