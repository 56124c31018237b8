//! Appending to the journal. A batch is one append and one sync; after an error nothing more is ever written, because
//! the kernel may have dropped the dirty pages and a second sync would lie.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _};
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
    roll_bytes: u64,
    buffer: Vec<u8>,
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
                let open = File::options().append(true).open(&active.path);
                let file = open.map_err(StoreError::io("open", &active.path))?;
                // What a killed process left in the page cache is about to be applied and confirmed to retries.
                disk.sync_all(&file, &active.path).map_err(StoreError::io("sync", &active.path))?;
                (active, file)
            }
            None => create_segment(dir, &disk, next)?,
        };
        disk.sync_dir(dir).map_err(StoreError::io("sync the directory", dir))?;
        let segments = Arc::new(Segments::new(dir, segments, active.bytes));
        Ok(Self { disk, dir: dir.to_path_buf(), segments, active, file, roll_bytes, buffer: Vec::new() })
    }

    /// Makes encoded records durable; they continue the sequence. After an error the writer must not be used again.
    pub(crate) fn commit(&mut self, records: &[Vec<u8>]) -> Result<(), StoreError> {
        if self.active.bytes >= self.roll_bytes {
            let (fresh, file) = create_segment(&self.dir, &self.disk, self.active.last + 1)?;
            self.segments.close(std::mem::replace(&mut self.active, fresh));
            self.file = file;
        }
        self.buffer.clear();
        encode_frame(self.active.salt, records.iter().map(Vec::as_slice), &mut self.buffer);
        let path = &self.active.path;
        self.disk.write(&mut self.file, path, &self.buffer).map_err(StoreError::io("append to", path))?;
        self.disk.sync_data(&self.file, path).map_err(StoreError::io("sync", path))?;
        self.active.bytes += self.buffer.len() as u64;
        self.active.records += records.len() as u64;
        self.active.last += records.len() as u64;
        self.segments.set_active_bytes(self.active.bytes);
        if self.buffer.capacity() > 4 << 20 {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// The complete segments, and the size of all.
    pub(crate) fn segments(&self) -> Arc<Segments> {
        Arc::clone(&self.segments)
    }
}

fn create_segment(dir: &Path, disk: &Disk, first: u64) -> Result<(Segment, File), StoreError> {
    let path = segment_path(dir, first);
    let salt = RandomState::new().build_hasher().finish();
    let header = Header { first, compacted_last: None, salt }.encode();
    let mut file = disk.create_file(&path).map_err(StoreError::io("create", &path))?;
    disk.write(&mut file, &path, &header).map_err(StoreError::io("write", &path))?;
    disk.sync_all(&file, &path).map_err(StoreError::io("sync", &path))?;
    disk.sync_dir(dir).map_err(StoreError::io("sync the directory", dir))?;
    let bytes = HEADER_LEN as u64;
    Ok((Segment { path, first, last: first - 1, bytes, records: 0, salt }, file))
}
