//! Appending to the journal. A batch is one write and one sync; after an error nothing more is ever written, because
//! the kernel may have dropped the dirty pages and a second sync would lie.
//!
//! The active file is longer than what it holds: zeros are written ahead, so that most batches overwrite blocks that
//! the file has already, and their sync need not wait for the file system's own journal. A reader takes zeros up to the
//! end of a file for what they are.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{HEADER_LEN, Header, encode_frame};
use super::{Segment, Segments, segment_path};
use crate::{Disk, StoreError};

/// Appends batches to the newest segment and begins a new one when it is long enough.
pub(crate) struct Writer {
    disk: Disk,
    dir: PathBuf,
    /// The complete ones, which another thread compacts.
    segments: Arc<Segments>,
    active: Segment,
    file: File,
    /// Length of the active file: what it holds, and the zeros behind that.
    on_disk: u64,
    roll_bytes: u64,
    ahead_bytes: u64,
    buffer: Vec<u8>,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appended {
    /// It is on the disk.
    Durable,
    /// The disk is full and nothing of it is there.
    NoRoom,
}

impl Writer {
    /// Goes on behind the segments that a scan found; without any, begins one at record `next`.
    pub(crate) fn resume(
        dir: &Path,
        disk: Disk,
        mut segments: Vec<Segment>,
        next: u64,
        roll_bytes: u64,
    ) -> Result<Self, StoreError> {
        let (active, file) = match segments.pop() {
            Some(active) => {
                let open = File::options().write(true).open(&active.path);
                let file = open.map_err(StoreError::io("open", &active.path))?;
                // What a killed process left in the page cache is about to be applied and confirmed to retries.
                disk.sync_all(&file, &active.path).map_err(StoreError::io("sync", &active.path))?;
                (active, file)
            }
            None => create_segment(dir, &disk, next)?,
        };
        disk.sync_dir(dir).map_err(StoreError::io("sync the directory", dir))?;
        let on_disk = file.metadata().map_err(StoreError::io("look at", &active.path))?.len();
        let segments = Arc::new(Segments::new(dir, segments, active.bytes));
        Ok(Self {
            disk,
            dir: dir.to_path_buf(),
            segments,
            active,
            file,
            on_disk,
            roll_bytes,
            ahead_bytes: 0,
            buffer: Vec::new(),
        })
    }

    /// Writes this many zeros ahead at a time, no more than a segment's size.
    pub(crate) fn with_ahead(self, bytes: u64) -> Self {
        Self { ahead_bytes: bytes.min(self.roll_bytes), ..self }
    }

    /// Makes encoded records durable; they continue the sequence. [`Appended::NoRoom`] leaves everything as it was
    /// before; after an error the writer must not be used again.
    pub(crate) fn commit(&mut self, records: &[Vec<u8>]) -> Result<Appended, StoreError> {
        if self.active.bytes >= self.roll_bytes {
            self.trim();
            let first = self.active.last + 1;
            let (fresh, file) = match create_segment(&self.dir, &self.disk, first) {
                Ok(created) => created,
                Err(error) if is_full(&error) => {
                    let path = segment_path(&self.dir, first);
                    if path.exists() {
                        self.disk.remove_file(&path).map_err(StoreError::io("remove", &path))?;
                    }
                    return Ok(Appended::NoRoom);
                }
                Err(error) => return Err(error),
            };
            self.segments.close(std::mem::replace(&mut self.active, fresh));
            self.on_disk = self.active.bytes;
            self.file = file;
        }
        self.buffer.clear();
        encode_frame(self.active.salt, records.iter().map(Vec::as_slice), &mut self.buffer);
        let end = self.active.bytes + self.buffer.len() as u64;
        if end > self.on_disk {
            let ahead = usize::try_from(self.ahead_bytes).unwrap_or_default();
            self.buffer.resize(self.buffer.len() + ahead, 0);
            self.on_disk = end + ahead as u64;
        }
        let path = &self.active.path;
        let written = self.disk.write_at(&self.file, path, self.active.bytes, &self.buffer);
        if written.as_ref().is_err_and(|error| error.kind() == ErrorKind::StorageFull) {
            // Nothing of it was synced or told to anybody, and no sync has failed: what there is of it can be taken back.
            let taken_back = self.disk.truncate(&self.file, path, self.active.bytes);
            taken_back.map_err(StoreError::io("take an append back from", path))?;
            self.on_disk = self.active.bytes;
            return Ok(Appended::NoRoom);
        }
        written.map_err(StoreError::io("append to", path))?;
        self.disk.sync_data(&self.file, path).map_err(StoreError::io("sync", path))?;
        self.active.bytes = end;
        self.active.records += records.len() as u64;
        self.active.last += records.len() as u64;
        self.segments.set_active_bytes(self.active.bytes);
        if self.buffer.capacity() > 4 << 20 {
            self.buffer = Vec::new();
        }
        Ok(Appended::Durable)
    }

    /// Gives back the zeros behind the last batch. They do no harm where that fails, or where a crash brings them back.
    pub(crate) fn trim(&mut self) {
        if self.on_disk > self.active.bytes {
            let trimmed = self.disk.truncate(&self.file, &self.active.path, self.active.bytes);
            match trimmed {
                Ok(()) => self.on_disk = self.active.bytes,
                Err(error) => tracing::warn!(%error, "the zeros behind the journal's end stay"),
            }
        }
    }

    /// The complete segments, and the size of all.
    pub(crate) fn segments(&self) -> Arc<Segments> {
        Arc::clone(&self.segments)
    }
}

fn is_full(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { action: "create" | "write", source, .. } if source.kind() == ErrorKind::StorageFull)
}

fn create_segment(dir: &Path, disk: &Disk, first: u64) -> Result<(Segment, File), StoreError> {
    let path = segment_path(dir, first);
    let salt = RandomState::new().build_hasher().finish();
    let header = Header { first, compacted_last: None, salt }.encode();
    let file = disk.create_file(&path).map_err(StoreError::io("create", &path))?;
    disk.write_at(&file, &path, 0, &header).map_err(StoreError::io("write", &path))?;
    disk.sync_all(&file, &path).map_err(StoreError::io("sync", &path))?;
    disk.sync_dir(dir).map_err(StoreError::io("sync the directory", dir))?;
    let bytes = HEADER_LEN as u64;
    Ok((Segment { path, first, last: first - 1, bytes, records: 0, salt }, file))
}
