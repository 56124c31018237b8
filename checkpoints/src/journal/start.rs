//! Where the journal begins. Oldest segments are deleted on purpose; the file `first` says up to where, and is durable
//! before the deletion, so that a segment that vanished otherwise is a gap and not taken for a deleted one.

use std::fs;
use std::io;
use std::path::Path;

use crate::{Disk, StoreError};

const NAME: &str = "first";

/// The sequence number with which the journal begins at the latest; 1 as long as nothing was deleted.
pub(super) fn read(dir: &Path) -> Result<u64, StoreError> {
    let path = dir.join(NAME);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(1),
        Err(error) => return Err(StoreError::io("read", &path)(error)),
    };
    let number = text.split_whitespace().next().and_then(|first| first.parse().ok());
    match number.filter(|first| line(*first) == text) {
        Some(first) => Ok(first),
        None => Err(StoreError::JournalDamaged { path, offset: 0, reason: "it does not hold a number".to_owned() }),
    }
}

/// Makes it durable that everything before `first` may be absent.
pub(super) fn write(dir: &Path, disk: &Disk, first: u64) -> Result<(), StoreError> {
    super::compact::replace(disk, &dir.join(NAME), line(first).as_bytes())?;
    disk.sync_dir(dir).map_err(StoreError::io("sync the directory", dir))
}

fn line(first: u64) -> String {
    format!("{first} {:08x}\n", crc32c::crc32c(&first.to_le_bytes()))
}
