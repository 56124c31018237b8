//! The official `.7z` of a site, streamed: no table is unpacked whole, neither in memory nor on disk.
//!
//! Invariant: an archive that declares more than text packs into, or memory that no dump needs, is refused before
//! anything is unpacked; a broken one is an error that names the table and the byte.

use std::io::{BufReader, Read, Seek};
use std::path::Path;

use indicatif::ProgressBar;
use sevenz_rust2::{ArchiveReader, Password};

use super::gather::{Gathered, wanted};
use crate::sources::{SourceError, shown};

/// Tables pack to about a sixth of their size; nothing that people wrote packs to less than a hundredth.
const MOST_RATIO: u64 = 100;
/// Below this an archive may claim what it likes.
const SMALL: u64 = 16 << 20;

/// Takes in every wanted table of the archive, in its order; `reading` counts the bytes that were unpacked.
pub(super) fn take(path: &Path, gathered: &mut Gathered, reading: &ProgressBar) -> Result<(), SourceError> {
    let file = shown(path);
    let broken = |place: String, message: String| SourceError::Broken { file: file.clone(), place, message };
    let packed = std::fs::metadata(path).map_err(|cause| SourceError::Read { file: file.clone(), cause })?.len();
    let opened = ArchiveReader::open(path, Password::empty());
    let mut archive = opened.map_err(|error| broken("in its header".to_owned(), told(&error)))?;
    let declared = unpacked_length(&archive);
    if declared > SMALL && declared / packed.max(1) > MOST_RATIO {
        let message = format!(
            "it unpacks from {packed} to {declared} bytes, more than {MOST_RATIO} times as much; no dump does, so it is not one"
        );
        return Err(broken("in its header".to_owned(), message));
    }
    let mut failed = None;
    let walked = archive.for_each_entries(|entry, input| {
        let name = entry.name().rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        if wanted(&name).is_none() || failed.is_some() {
            // What is not read is skipped by the archive itself, which has to unpack a solid block for it.
            return Ok(failed.is_none());
        }
        let place = format!("{file}:{name}");
        if let Err(error) = gathered.take(&name, BufReader::with_capacity(1 << 16, reading.wrap_read(input)), &place) {
            failed = Some(error);
        }
        Ok(failed.is_none())
    });
    match (failed, walked) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(broken("where it is packed".to_owned(), told(&error))),
        (None, Ok(())) => Ok(()),
    }
}

/// Bytes of all tables that will be read.
pub(super) fn length(path: &Path) -> u64 {
    ArchiveReader::open(path, Password::empty()).map_or(0, |archive| {
        let read = archive
            .archive()
            .files
            .iter()
            .filter(|entry| entry.name().rsplit(['/', '\\']).next().is_some_and(|name| wanted(name).is_some()));
        read.map(|entry| entry.size()).sum()
    })
}

fn unpacked_length<R: Read + Seek>(archive: &ArchiveReader<R>) -> u64 {
    archive.archive().files.iter().fold(0, |sum: u64, entry| sum.saturating_add(entry.size()))
}

fn told(error: &sevenz_rust2::Error) -> String {
    format!("{error}; fetch it again, or unpack it and give the folder")
}
