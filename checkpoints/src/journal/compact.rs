//! Giving disk space back. Only records that no ring and no key window holds any more are dropped, only from complete
//! segments, and only after the replay store has been made durable; sequence numbers stay gapless from one segment to
//! the next, so that a lost file is still noticed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::frame::{BATCH_BYTES, HEADER_LEN, Header, encode_frame, peek};
use super::{Segment, read_from, start};
use crate::{Disk, StoreError};

/// A segment is rewritten when fewer than one in this many of its records are still wanted.
const SPARSE: u64 = 4;

/// Says what is still wanted: of each kind a run up to its newest record.
pub(crate) trait Keep {
    /// By kind, the oldest record that is wanted.
    fn kept_from(&self) -> BTreeMap<u8, u64>;
    /// How many records from `first` to `last` are wanted.
    fn count_kept(&self, first: u64, last: u64) -> u64;
}

/// The complete segments, shared by the thread that writes the journal, which adds to them, and the one that compacts
/// it, which alone replaces and removes them.
#[derive(Debug)]
pub(crate) struct Segments {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Oldest first.
    closed: Vec<Segment>,
    active_bytes: u64,
}

/// What can be given back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    kept_from: BTreeMap<u8, u64>,
    /// The oldest segments, none of whose records is wanted.
    remove: Vec<Segment>,
    rewrite: Vec<Segment>,
}

impl Segments {
    pub(super) fn new(dir: &Path, closed: Vec<Segment>, active_bytes: u64) -> Self {
        Self { dir: dir.to_path_buf(), state: Mutex::new(State { closed, active_bytes }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn close(&self, segment: Segment) {
        self.lock().closed.push(segment);
    }

    pub(super) fn set_active_bytes(&self, bytes: u64) {
        self.lock().active_bytes = bytes;
    }

    /// Number and bytes of all segments.
    pub(crate) fn size(&self) -> (usize, u64) {
        let state = self.lock();
        let closed: u64 = state.closed.iter().map(|segment| segment.bytes).sum();
        (state.closed.len() + 1, closed + state.active_bytes)
    }

    /// What can be given back by what `keep` says now; `None` if nothing can. It stays right while `keep` lets go of
    /// more.
    pub(crate) fn plan(&self, keep: &dyn Keep) -> Option<Plan> {
        let state = self.lock();
        let kept = |segment: &Segment| keep.count_kept(segment.first, segment.last);
        let gone = state.closed.iter().take_while(|segment| kept(segment) == 0).count();
        let (remove, rest) = state.closed.split_at(gone);
        let sparse = rest.iter().filter(|segment| kept(segment) * SPARSE < segment.records);
        let rewrite: Vec<Segment> = sparse.cloned().collect();
        let any = !remove.is_empty() || !rewrite.is_empty();
        any.then(|| Plan { kept_from: keep.kept_from(), remove: remove.to_vec(), rewrite })
    }

    /// Deletes the segments that hold nothing wanted, and rewrites the sparse ones without what is unwanted. Answers
    /// how many bytes came free.
    pub(crate) fn compact(&self, disk: &Disk, plan: &Plan) -> Result<u64, StoreError> {
        let mut freed = 0;
        if let Some(newest_gone) = plan.remove.last() {
            start::write(&self.dir, disk, newest_gone.last + 1)?;
        }
        for segment in &plan.remove {
            disk.remove_file(&segment.path).map_err(StoreError::io("remove", &segment.path))?;
            freed += segment.bytes;
            self.lock().closed.retain(|held| held.first != segment.first);
        }
        for segment in &plan.rewrite {
            let rewritten = rewrite(disk, segment, &plan.kept_from)?;
            freed += segment.bytes.saturating_sub(rewritten.bytes);
            let mut state = self.lock();
            state
                .closed
                .iter_mut()
                .filter(|held| held.first == segment.first)
                .for_each(|held| *held = rewritten.clone());
        }
        if freed > 0 {
            disk.sync_dir(&self.dir).map_err(StoreError::io("sync the directory", &self.dir))?;
        }
        Ok(freed)
    }
}

/// Puts a copy with only the wanted records in the segment's place: a crash leaves the old file or the new one.
fn rewrite(disk: &Disk, segment: &Segment, kept_from: &BTreeMap<u8, u64>) -> Result<Segment, StoreError> {
    let mut out =
        Header { first: segment.first, compacted_last: Some(segment.last), salt: segment.salt }.encode().to_vec();
    debug_assert_eq!(out.len(), HEADER_LEN);
    let mut batch: Vec<Vec<u8>> = Vec::new();
    let mut batch_bytes = 0;
    let mut records = 0;
    let mut flush = |batch: &mut Vec<Vec<u8>>| {
        if !batch.is_empty() {
            encode_frame(segment.salt, batch.iter().map(Vec::as_slice), &mut out);
            batch.clear();
        }
    };
    read_from(std::slice::from_ref(segment), segment.first, &mut |record| {
        let (seq, kind) = peek(record);
        if kept_from.get(&kind).is_some_and(|from| seq >= *from) {
            batch.push(record.to_vec());
            batch_bytes += record.len();
            records += 1;
            if batch_bytes >= BATCH_BYTES {
                flush(&mut batch);
                batch_bytes = 0;
            }
        }
        Ok(())
    })?;
    flush(&mut batch);
    replace(disk, &segment.path, &out)?;
    Ok(Segment { bytes: out.len() as u64, records, ..segment.clone() })
}

/// Puts a file with these bytes in the place of `path` by one rename; the directory is not synced.
pub(super) fn replace(disk: &Disk, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let tmp = path.with_extension("tmp");
    if tmp.exists() {
        disk.remove_file(&tmp).map_err(StoreError::io("remove the leftover", &tmp))?;
    }
    let mut file = disk.create_file(&tmp).map_err(StoreError::io("create", &tmp))?;
    disk.write(&mut file, &tmp, bytes).map_err(StoreError::io("write", &tmp))?;
    disk.sync_all(&file, &tmp).map_err(StoreError::io("sync", &tmp))?;
    disk.rename(&tmp, path).map_err(StoreError::io("rename", &tmp))
}
