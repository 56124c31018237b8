//! The quarantine directory: files that tell what an actor had in hand when it died, and the list of what must not be
//! taken up again.
//!
//! Invariant: a file appears whole or not at all, and is on the disk when [`QuarantineFiles::keep`] answers its path. The
//! directory never holds more files or bytes than its bounds; the oldest go first. Nothing is remembered between two
//! calls, so a directory that comes and goes is no fault.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Disk, StoreError};

/// The list of what must not be taken up again.
const LOST: &str = "lost.json";

/// How much a quarantine keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarantineBounds {
    /// Files at most.
    pub files: usize,
    /// Bytes of all files at most; a single file may not be larger.
    pub bytes: u64,
}

impl Default for QuarantineBounds {
    /// 256 files, 64 MiB.
    fn default() -> Self {
        Self { files: 256, bytes: 64 << 20 }
    }
}

/// A file that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where it lies.
    pub path: PathBuf,
    /// Older files that had to go for it.
    pub dropped: Vec<PathBuf>,
}

/// A file of the quarantine, as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    number: u64,
}

/// The quarantine directory.
#[derive(Debug, Clone)]
pub struct QuarantineFiles {
    dir: PathBuf,
    disk: Disk,
    bounds: QuarantineBounds,
}

impl QuarantineFiles {
    /// The quarantine in `dir`, which is made when something is kept.
    pub fn new(dir: &Path, disk: Disk, bounds: QuarantineBounds) -> Self {
        Self { dir: dir.to_path_buf(), disk, bounds }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its files, oldest first; none where there is no directory.
    pub fn list(&self) -> Result<Vec<QuarantinedFile>, StoreError> {
        let failed = StoreError::io("list", &self.dir);
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(StoreError::io("list", &self.dir))?;
            let path = entry.path();
            // A file that vanished meanwhile is none.
            if let (Some(number), Ok(about)) = (number_of(&path), entry.metadata()) {
                files.push(QuarantinedFile { path, bytes: about.len(), number });
            }
        }
        files.sort_by_key(|file| file.number);
        Ok(files)
    }

    /// Keeps `bytes` in a new file that is named after `name` (letters, digits and `-`) and a number; makes room first by
    /// removing the oldest files. After an error nothing half written lies there.
    pub fn keep(&self, name: &str, bytes: &[u8]) -> Result<Kept, StoreError> {
        self.prepare()?;
        let mut files = self.list()?;
        let number = files.last().map_or(1, |last| last.number + 1);
        let mut dropped = Vec::new();
        let room = self.bounds.bytes.saturating_sub(bytes.len() as u64);
        while files.len() >= self.bounds.files.max(1) || files.iter().map(|file| file.bytes).sum::<u64>() > room {
            if files.is_empty() {
                break; // the file alone is larger than the bound: its writer keeps it small
            }
            let oldest = files.remove(0).path;
            self.disk.remove_file(&oldest).map_err(StoreError::io("remove", &oldest))?;
            dropped.push(oldest);
        }
        let path = self.dir.join(format!("{number:08}-{name}.json"));
        self.write(&path, bytes)?;
        Ok(Kept { path, dropped })
    }

    /// The names of what must not be taken up again; none where there is no list.
    pub fn lost(&self) -> Result<BTreeSet<String>, StoreError> {
        let path = self.dir.join(LOST);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        };
        let damaged = |error: serde_json::Error| StoreError::io("read", &path)(error.into());
        serde_json::from_slice(&bytes).map_err(damaged)
    }

    /// Replaces the list of what must not be taken up again.
    pub fn write_lost(&self, names: &BTreeSet<String>) -> Result<PathBuf, StoreError> {
        self.prepare()?;
        let path = self.dir.join(LOST);
        self.write(&path, &serde_json::to_vec_pretty(names).expect("a list of names"))?;
        Ok(path)
    }

    fn prepare(&self) -> Result<(), StoreError> {
        if self.dir.is_dir() {
            return Ok(());
        }
        self.disk.create_dir(&self.dir).map_err(StoreError::io("create the directory", &self.dir))?;
        match self.dir.parent() {
            Some(parent) => self.disk.sync_dir(parent).map_err(StoreError::io("sync the directory", parent)),
            None => Ok(()),
        }
    }

    /// Beside it, synced, then renamed to it.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let tmp = path.with_extension("tmp");
        let written = self.write_through(&tmp, path, bytes);
        if written.is_err() {
            // Gives back the space of a full disk; what cannot be removed now is removed by the next write.
            let _ = fs::remove_file(&tmp);
        }
        written
    }

    fn write_through(&self, tmp: &Path, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        if tmp.exists() {
            self.disk.remove_file(tmp).map_err(StoreError::io("remove the leftover", tmp))?;
        }
        let mut file = self.disk.create_file(tmp).map_err(StoreError::io("create", tmp))?;
        self.disk.write(&mut file, tmp, bytes).map_err(StoreError::io("write", tmp))?;
        self.disk.sync_data(&file, tmp).map_err(StoreError::io("sync", tmp))?;
        self.disk.rename(tmp, path).map_err(StoreError::io("rename", tmp))?;
        self.disk.sync_dir(&self.dir).map_err(StoreError::io("sync the directory", &self.dir))
    }
}

/// The number in a file's name; `None` for a file that is not of the quarantine.
fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".json")?;
    name.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn names(files: &QuarantineFiles) -> Vec<String> {
        let shown = |file: QuarantinedFile| file.path.file_name().unwrap().to_str().unwrap().to_owned();
        files.list().unwrap().into_iter().map(shown).collect()
    }

    #[test]
    fn the_oldest_files_go_when_there_are_too_many_or_too_large_ones() {
        let dir = tempfile::tempdir().unwrap();
        let bounds = QuarantineBounds { files: 3, bytes: 100 };
        let files = QuarantineFiles::new(&dir.path().join("quarantine"), Disk::real(), bounds);
        assert_eq!(names(&files), Vec::<String>::new());
        for _ in 0..4 {
            files.keep("ppo", &[b'x'; 10]).unwrap();
        }
        assert_eq!(names(&files), ["00000002-ppo.json", "00000003-ppo.json", "00000004-ppo.json"]);
        let kept = files.keep("reward", &[b'x'; 85]).unwrap();
        assert_eq!(kept.dropped.len(), 2, "one for the number, one more for the bytes");
        assert_eq!(names(&files), ["00000004-ppo.json", "00000005-reward.json"]);
        assert_eq!(fs::read(kept.path).unwrap(), [b'x'; 85]);
        files.write_lost(&BTreeSet::from(["learn/3".to_owned()])).unwrap();
        assert_eq!(names(&files).len(), 2, "the list is no file of the quarantine");
    }

    #[test]
    fn an_error_at_any_operation_leaves_the_older_files_and_list_whole_and_nothing_half_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("quarantine");
        let real = QuarantineFiles::new(&path, Disk::real(), QuarantineBounds::default());
        real.keep("policy", b"first").unwrap();
        real.write_lost(&BTreeSet::from(["take/a".to_owned()])).unwrap();
        for list in [false, true] {
            let mut failures = 0;
            for fails_at in 0.. {
                let seen = Arc::new(AtomicUsize::new(0));
                let counted = seen.clone();
                let disk =
                    Disk::with_hook(Arc::new(move |_, _| match counted.fetch_add(1, Ordering::Relaxed) == fails_at {
                        true => Err(io::Error::from(io::ErrorKind::StorageFull)),
                        false => Ok(()),
                    }));
                let full = QuarantineFiles::new(&path, disk, QuarantineBounds::default());
                let two = BTreeSet::from(["take/a".to_owned(), "take/b".to_owned()]);
                let outcome = match list {
                    true => full.write_lost(&two).map(drop),
                    false => full.keep("policy", b"second").map(drop),
                };
                assert!(fs::read_dir(&path).unwrap().all(|entry| entry.unwrap().path().extension().unwrap() == "json"));
                assert!(real.lost().unwrap().contains("take/a"));
                assert_eq!(fs::read(path.join("00000001-policy.json")).unwrap(), b"first");
                if outcome.is_ok() {
                    break;
                }
                failures += 1;
            }
            assert!(failures >= 5, "create, write, sync, rename and the directory's sync: {failures}");
        }
        assert_eq!(real.lost().unwrap().len(), 2);
    }
}
