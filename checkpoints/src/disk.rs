//! Every change that this crate itself makes to the file system passes through [`Disk`], so that a test can stand
//! before each write, sync and rename: fail it, count it, slow it, or keep a copy of what a crash there would leave.
//! Only sled's own files are outside.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::{StoreError, free_bytes};

/// One kind of change to the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskOp {
    /// A directory is created.
    CreateDir,
    /// A file is created.
    CreateFile,
    /// Bytes are written to a file.
    Write,
    /// A file is cut to a length.
    Truncate,
    /// A file's data is synced.
    SyncFile,
    /// A directory's entries are synced.
    SyncDir,
    /// A file or directory is renamed.
    Rename,
    /// A file or directory is removed.
    Remove,
}

/// Called before each change with the path that changes; an error takes the place of the change.
pub type DiskHook = Arc<dyn Fn(DiskOp, &Path) -> io::Result<()> + Send + Sync>;

/// Answers the free bytes at a path in place of the file system.
pub type FreeBytes = Arc<dyn Fn(&Path) -> u64 + Send + Sync>;

/// The file system, with an optional hook before every change.
#[derive(Clone, Default)]
pub struct Disk {
    hook: Option<DiskHook>,
    free: Option<FreeBytes>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("hooked", &self.hook.is_some()).finish()
    }
}

impl Disk {
    /// The file system as it is.
    pub fn real() -> Self {
        Self::default()
    }

    /// The file system with `hook` before every change.
    pub fn with_hook(hook: DiskHook) -> Self {
        Self { hook: Some(hook), free: None }
    }

    /// The same with `free` asked for the free space.
    pub fn with_free_bytes(self, free: FreeBytes) -> Self {
        Self { free: Some(free), ..self }
    }

    /// Bytes that may still be written at `path`.
    pub(crate) fn free_bytes(&self, path: &Path) -> Result<u64, StoreError> {
        self.free.as_ref().map_or_else(|| free_bytes(path), |free| Ok(free(path)))
    }

    /// Refuses when `path` has less than `needed` bytes free.
    pub(crate) fn require_space(&self, path: &Path, needed: u64) -> Result<(), StoreError> {
        let free = self.free_bytes(path)?;
        if free < needed {
            return Err(StoreError::NoSpace { path: path.to_path_buf(), free, needed });
        }
        Ok(())
    }

    fn before(&self, op: DiskOp, path: &Path) -> io::Result<()> {
        self.hook.as_ref().map_or(Ok(()), |hook| hook(op, path))
    }

    /// Creates a directory with its parents; one that exists is left alone.
    pub(crate) fn create_dir(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        self.before(DiskOp::CreateDir, path)?;
        fs::create_dir_all(path)
    }

    /// Creates a file that must not exist.
    pub(crate) fn create_file(&self, path: &Path) -> io::Result<File> {
        self.before(DiskOp::CreateFile, path)?;
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    /// Writes behind what was written to this file before.
    pub(crate) fn write(&self, file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.before(DiskOp::Write, path)?;
        file.write_all(bytes)
    }

    /// Writes at a place of a file that was not opened for appending.
    pub(crate) fn write_at(&self, file: &File, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.before(DiskOp::Write, path)?;
        file.write_all_at(bytes, offset)
    }

    /// Cuts a file to `len` bytes.
    pub(crate) fn truncate(&self, file: &File, path: &Path, len: u64) -> io::Result<()> {
        self.before(DiskOp::Truncate, path)?;
        file.set_len(len)
    }

    /// Waits until a file's data, and what is needed to find it again, is on the disk.
    pub(crate) fn sync_data(&self, file: &File, path: &Path) -> io::Result<()> {
        self.before(DiskOp::SyncFile, path)?;
        file.sync_data()
    }

    /// Like [`Disk::sync_data`], with all metadata.
    pub(crate) fn sync_all(&self, file: &File, path: &Path) -> io::Result<()> {
        self.before(DiskOp::SyncFile, path)?;
        file.sync_all()
    }

    /// Waits until a directory's entries are on the disk.
    pub(crate) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.before(DiskOp::SyncDir, path)?;
        File::open(path)?.sync_all()
    }

    /// Renames within a file system.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.before(DiskOp::Rename, from)?;
        fs::rename(from, to)
    }

    /// Removes a file.
    pub(crate) fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.before(DiskOp::Remove, path)?;
        fs::remove_file(path)
    }

    /// Removes a directory with everything in it.
    pub(crate) fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.before(DiskOp::Remove, path)?;
        fs::remove_dir_all(path)
    }
}
