//! A copy of one checkpoint outside its directory: a folder that needs nothing else to be verified and read.
//!
//! Invariant: the folder appears by one rename after every byte of it was read back against the manifest, and nothing
//! that was there before is written over.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::commit::with_suffix;
use super::manifest::{MANIFEST, MANIFEST_DIGEST};
use super::{Checkpoint, Name, load};
use crate::{Disk, StoreError};

/// Left free besides the copy itself.
const SPARE_BYTES: u64 = 16 << 20;

/// Copies a checkpoint to the folder `to`, which is absent or empty, and answers the copy. The digests are verified
/// before, so damage is not carried on, and after. An error leaves `to` as it was, or whole where only the last sync failed.
pub fn export(checkpoint: &Checkpoint, to: &Path) -> Result<Checkpoint, StoreError> {
    export_on(&Disk::real(), checkpoint, to)
}

/// [`export`] on a disk with a hook.
pub fn export_on(disk: &Disk, checkpoint: &Checkpoint, to: &Path) -> Result<Checkpoint, StoreError> {
    let to = std::path::absolute(to).map_err(StoreError::io("find", to))?;
    require_free_name(checkpoint, &to)?;
    checkpoint.verify()?;
    let parent = to.parent().unwrap_or(&to);
    disk.create_dir(parent).map_err(StoreError::io("create the directory", parent))?;
    let bytes: u64 = checkpoint.manifest.parts.iter().map(|part| part.bytes).sum();
    disk.require_space(parent, bytes.saturating_add(SPARE_BYTES))?;

    let tmp = with_suffix(&to, "tmp");
    if tmp.exists() {
        return Err(StoreError::NotEmpty { path: tmp });
    }
    let copied = copy_all(disk, checkpoint, &tmp).and_then(|()| load(&tmp)?.verify()).and_then(|()| {
        disk.rename(&tmp, &to).map_err(StoreError::io("rename", &tmp))?;
        disk.sync_dir(parent).map_err(StoreError::io("sync the directory", parent))
    });
    if let Err(error) = copied {
        // Gives back the space of a full disk; what cannot be removed now is named by the next attempt.
        let _ = fs::remove_dir_all(&tmp);
        return Err(error);
    }
    load(&to)
}

/// The folder must be absent or empty, and must not have another checkpoint's name.
fn require_free_name(checkpoint: &Checkpoint, to: &Path) -> Result<(), StoreError> {
    if Name::of(to).is_some_and(|name| name.step != checkpoint.step) {
        return Err(StoreError::OtherStep { path: to.to_path_buf(), step: checkpoint.step });
    }
    match fs::read_dir(to) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(StoreError::NotEmpty { path: to.to_path_buf() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(StoreError::NotADirectory { path: to.to_path_buf() })
        }
        Err(error) => Err(StoreError::io("list", to)(error)),
    }
}

fn copy_all(disk: &Disk, checkpoint: &Checkpoint, tmp: &Path) -> Result<(), StoreError> {
    disk.create_dir(tmp).map_err(StoreError::io("create the directory", tmp))?;
    let parts = checkpoint.manifest.parts.iter().map(|part| part.name.as_str());
    for name in parts.chain([MANIFEST, MANIFEST_DIGEST]) {
        copy_file(disk, &checkpoint.path.join(name), &tmp.join(name))?;
    }
    disk.sync_dir(tmp).map_err(StoreError::io("sync the directory", tmp))
}

/// Holds one piece of the file in memory at a time.
fn copy_file(disk: &Disk, from: &Path, to: &Path) -> Result<(), StoreError> {
    let mut input = File::open(from).map_err(StoreError::io("open", from))?;
    let mut output = disk.create_file(to).map_err(StoreError::io("create", to))?;
    let mut piece = vec![0; 1 << 20];
    loop {
        let read = input.read(&mut piece).map_err(StoreError::io("read", from))?;
        if read == 0 {
            return disk.sync_all(&output, to).map_err(StoreError::io("sync", to));
        }
        disk.write(&mut output, to, &piece[..read]).map_err(StoreError::io("write", to))?;
    }
}
