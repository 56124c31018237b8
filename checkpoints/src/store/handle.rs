//! The store's face to the rest of the program. Offering never blocks and never touches a disk; reading may.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use super::committer::{Command, Pending};
use super::index::RingStats;
use super::sampling::{Sampling, choose};
use super::shared::Shared;
use crate::record::print_of_key;
use crate::{Ack, CommitError, Full, MAX_KEY_BYTES, MAX_RECORD_BYTES, NewRecord, Record, RecordKind, StoreError};

/// Called once, on the committer's thread, when a record is durable or refused; it must be quick and must not block.
pub type Reply = Box<dyn FnOnce(Result<Ack, CommitError>) + Send>;

/// How the store is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Highest sequence number that is durable.
    pub last_seq: u64,
    /// Records that wait for the committer.
    pub waiting_records: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
    /// Batches written, each with one sync, since the store was opened.
    pub batches: u64,
    /// Journal segments.
    pub journal_segments: usize,
    /// Bytes of the journal.
    pub journal_bytes: u64,
    /// Records that are acknowledged and not yet in sled.
    pub lag_records: u64,
    /// Their bytes.
    pub lag_bytes: u64,
    /// New records are refused because the disk is nearly full.
    pub low_space: bool,
    /// The rings.
    pub rings: BTreeMap<RecordKind, RingStats>,
}

/// Offers records to a store and reads from it. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct StoreHandle {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: SyncSender<Command>,
}

impl fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreHandle").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

impl StoreHandle {
    /// Hands a record to the committer. `reply` is called after the record is on the disk, or with the reason why it
    /// is not; it is not called when this answers `Full`. A record whose key is known is not written again: with the
    /// same kind and bytes it is acknowledged as a duplicate of the first, otherwise it is a conflict.
    pub fn offer(&self, record: NewRecord, reply: Reply) -> Result<(), Full> {
        if let Some(refusal) = check(&record).or_else(|| self.shared.refusal()) {
            reply(Err(refusal));
            return Ok(());
        }
        let mut pending = Pending::new(record, reply, &self.shared);
        let (records, bytes) = self.waiting();
        if bytes > self.shared.queue_bytes {
            pending.take_back();
            return Err(Full { records, bytes });
        }
        match self.queue.try_send(Command::Commit(pending)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(Command::Commit(mut pending))) => {
                pending.take_back();
                Err(Full { records, bytes })
            }
            // Dropping the pending record answers it: the committer has ended.
            Err(_) => Ok(()),
        }
    }

    /// Like [`StoreHandle::offer`], waiting for room and for the answer. Not for a thread that must not block.
    pub fn append(&self, record: NewRecord) -> Result<Ack, CommitError> {
        if let Some(refusal) = check(&record).or_else(|| self.shared.refusal()) {
            return Err(refusal);
        }
        let (sender, answer) = sync_channel(1);
        let reply: Reply = Box::new(move |result| {
            let _ = sender.try_send(result);
        });
        let _ = self.queue.send(Command::Commit(Pending::new(record, reply, &self.shared)));
        answer.recv().unwrap_or(Err(CommitError::Closed))
    }

    /// Waits until everything offered before is applied and sled is durable; an error when the disk has no room for that.
    pub fn flush(&self) -> Result<(), CommitError> {
        let (sender, done) = sync_channel(1);
        let _ = self.queue.send(Command::Flush(sender));
        done.recv().map_err(|_| self.shared.refusal().unwrap_or(CommitError::Closed))
    }

    /// The record with this key; `None` if there is none or it has left its ring.
    pub fn get_by_key(&self, key: &str) -> Result<Option<Record>, StoreError> {
        self.seq_of_key(key)?.map_or(Ok(None), |seq| self.shared.record(seq))
    }

    /// Sequence number of the record with this key, also after the record has left its ring.
    pub fn seq_of_key(&self, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.shared.owner(key, print_of_key(key))?.map(|owner| owner.seq))
    }

    /// The record with this number; `None` if there is none or it has left its ring.
    pub fn get(&self, seq: u64) -> Result<Option<Record>, StoreError> {
        self.shared.record(seq)
    }

    /// Up to `limit` records of a kind in their order, from `from_seq` on.
    pub fn read_from(&self, kind: RecordKind, from_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let chosen: Vec<u64> = match self.shared.read().index.ring(kind) {
            Some(ring) => ring.live_since(from_seq).take(limit).collect(),
            None => Vec::new(),
        };
        self.fetch(&chosen)
    }

    /// Up to `limit` records of a kind from the newest back, of those before `before_seq`.
    pub fn read_back(&self, kind: RecordKind, before_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let chosen: Vec<u64> = match self.shared.read().index.ring(kind) {
            Some(ring) => ring.live_before(before_seq).take(limit).collect(),
            None => Vec::new(),
        };
        self.fetch(&chosen)
    }

    /// The newest record of a kind.
    pub fn newest(&self, kind: RecordKind) -> Result<Option<Record>, StoreError> {
        let newest = self.shared.read().index.ring(kind).and_then(|ring| ring.live().next_back().map(|slot| slot.seq));
        newest.map_or(Ok(None), |seq| self.shared.record(seq))
    }

    /// About `count` records of a kind's ring, chosen by `sampling` with the caller's draws: `draw(n)` answers an
    /// index below n. The same ring and the same draws give the same records; one evicted meanwhile is left out.
    pub fn sample(
        &self,
        kind: RecordKind,
        sampling: Sampling,
        count: usize,
        draw: &mut dyn FnMut(usize) -> usize,
    ) -> Result<Vec<Record>, StoreError> {
        let chosen = match self.shared.read().index.ring(kind) {
            Some(ring) => choose(ring, sampling, count, draw),
            None => Vec::new(),
        };
        self.fetch(&chosen)
    }

    /// Highest sequence number that is durable; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.shared.last_seq.load(Ordering::Acquire)
    }

    /// Why the store has stopped, if it has: the program should save what it can and exit with an error.
    pub fn failed(&self) -> Option<String> {
        self.shared.failed.get().cloned()
    }

    /// How the store is doing.
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        let (waiting_records, waiting_bytes) = self.waiting();
        let (journal_segments, journal_bytes) = shared.segments.size();
        let (lag_records, lag_bytes) = shared.lag.size();
        Stats {
            last_seq: self.last_seq(),
            waiting_records,
            waiting_bytes,
            batches: shared.batches.load(Ordering::Relaxed),
            journal_segments,
            journal_bytes,
            lag_records,
            lag_bytes,
            low_space: shared.low_space.load(Ordering::Relaxed),
            rings: shared.read().index.stats(),
        }
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    pub(super) fn ask_to_close(&self) {
        let _ = self.queue.send(Command::Close);
    }

    fn waiting(&self) -> (usize, usize) {
        let shared = &self.shared;
        (shared.waiting_records.load(Ordering::Relaxed), shared.waiting_bytes.load(Ordering::Relaxed))
    }

    fn fetch(&self, chosen: &[u64]) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::with_capacity(chosen.len());
        for seq in chosen {
            records.extend(self.shared.record(*seq)?);
        }
        Ok(records)
    }
}

/// What is wrong with a record, whatever the store holds.
fn check(record: &NewRecord) -> Option<CommitError> {
    let bytes = record.bytes.len();
    if bytes > MAX_RECORD_BYTES {
        return Some(CommitError::TooLarge { bytes, max: MAX_RECORD_BYTES });
    }
    let key_bytes = record.key.as_ref().map_or(1, String::len);
    let fits = (1..=MAX_KEY_BYTES).contains(&key_bytes);
    (!fits).then_some(CommitError::Key { bytes: key_bytes, max: MAX_KEY_BYTES })
}
