//! The one thread that writes. For each batch, in this order: append to the journal, one sync, make visible, answer
//! everybody, apply to sled. The first error ends the thread: nothing is retried and nobody is answered `Ok` any more.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::time::{Duration, Instant};

use super::changes::{Changes, KeyOwner};
use super::handle::Reply;
use super::shared::Shared;
use super::trees::{Trees, guarded};
use crate::journal::{BATCH_BYTES, Writer};
use crate::record::{Digest, digest};
use crate::{Ack, CommitError, Disk, NewRecord, Record, StoreError};

/// Most records in one batch.
pub(super) const BATCH_RECORDS: usize = 256;

/// What the committer is asked to do.
pub(super) enum Command {
    Commit(Pending),
    Flush(SyncSender<()>),
    Close,
}

/// A record on its way. Whatever happens to it, its sender is answered: dropping it says why it was not committed.
pub(super) struct Pending {
    record: NewRecord,
    digest: Digest,
    bytes: usize,
    left: bool,
    reply: Option<Reply>,
    shared: Arc<Shared>,
}

impl Pending {
    pub(super) fn new(record: NewRecord, reply: Reply, shared: &Arc<Shared>) -> Self {
        let bytes = record.bytes.len();
        shared.waiting_records.fetch_add(1, Ordering::Relaxed);
        shared.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        // Hashing is done in the caller's thread: the committer's time is everybody's.
        let digest = digest(record.kind, &record.bytes);
        Self { record, digest, bytes, left: false, reply: Some(reply), shared: Arc::clone(shared) }
    }

    /// The caller is told that there is no room; the reply is not called.
    pub(super) fn take_back(&mut self) {
        self.reply = None;
    }

    /// Leaves the queue's count; before the answer, so that who is answered finds the room.
    fn leave(&mut self) {
        if !std::mem::replace(&mut self.left, true) {
            self.shared.waiting_records.fetch_sub(1, Ordering::Relaxed);
            self.shared.waiting_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }

    fn answer(&mut self, result: Result<Ack, CommitError>) {
        self.leave();
        let Some(reply) = self.reply.take() else { return };
        if let Err(panic) = guarded(|| reply(result)) {
            tracing::error!(panic, "a reply to a committed record panicked");
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.leave();
        if self.reply.is_some() {
            let refusal = self.shared.refusal().unwrap_or(CommitError::Closed);
            self.answer(Err(refusal));
        }
    }
}

/// Whether the thread ends after a command.
#[derive(PartialEq, Eq)]
enum After {
    GoOn,
    Stop,
}

/// What becomes of one record of a batch.
enum Verdict {
    Committed(u64),
    Duplicate(u64),
    Conflict(u64),
}

/// The committer's own things.
pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Receiver<Command>,
    pub(super) journal: Writer,
    pub(super) trees: Trees,
    pub(super) disk: Disk,
    pub(super) flush_batches: u32,
    pub(super) flush_interval: Duration,
    /// Batches applied that sled may not have on the disk, and when the first of them was.
    pub(super) unflushed: u32,
    pub(super) unflushed_since: Option<Instant>,
}

impl Committer {
    /// The thread's body. The queue is dropped at its end, which answers whatever still waits there.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        match catch_unwind(AssertUnwindSafe(|| self.serve())) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => shared.fail(error.to_string()),
            Err(_) => shared.fail("the committer panicked; its message is on standard error".to_owned()),
        }
        drop(self);
    }

    fn serve(&mut self) -> Result<(), StoreError> {
        loop {
            match self.queue.recv_timeout(self.time_to_flush()) {
                Ok(Command::Commit(first)) => {
                    let (batch, after) = self.gather(first);
                    self.commit(batch)?;
                    if let Some(command) = after
                        && self.control(command)? == After::Stop
                    {
                        return Ok(());
                    }
                }
                Ok(command) => {
                    if self.control(command)? == After::Stop {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.flush()?,
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            }
            if self.unflushed >= self.flush_batches || self.time_to_flush().is_zero() {
                self.flush()?;
            }
        }
    }

    fn control(&mut self, command: Command) -> Result<After, StoreError> {
        if let Command::Commit(pending) = command {
            return self.commit(vec![pending]).map(|()| After::GoOn);
        }
        self.flush()?;
        match command {
            Command::Flush(done) => {
                let _ = done.try_send(());
                Ok(After::GoOn)
            }
            _ => Ok(After::Stop),
        }
    }

    /// Takes what else waits, up to a batch, without waiting for it.
    fn gather(&self, first: Pending) -> (Vec<Pending>, Option<Command>) {
        let mut bytes = first.bytes;
        let mut batch = vec![first];
        while batch.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
            match self.queue.try_recv() {
                Ok(Command::Commit(pending)) => {
                    bytes += pending.bytes;
                    batch.push(pending);
                }
                Ok(command) => return (batch, Some(command)),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        (batch, None)
    }

    fn commit(&mut self, mut batch: Vec<Pending>) -> Result<(), StoreError> {
        // An error anywhere below drops the batch, and dropping answers; so the reason has to stand before that.
        let outcome = self.commit_batch(&mut batch);
        if let Err(error) = &outcome {
            self.shared.fail(error.to_string());
        }
        outcome
    }

    fn commit_batch(&mut self, batch: &mut [Pending]) -> Result<(), StoreError> {
        if self.shared.refusal().is_some() {
            return Ok(());
        }
        let (verdicts, fresh) = self.judge(batch)?;
        let encoded: Vec<Vec<u8>> = fresh.iter().map(|(record, _)| record.encode()).collect();
        let mut changes = Changes::default();
        if !encoded.is_empty() {
            self.journal.commit(&encoded)?;
            self.shared.batches.fetch_add(1, Ordering::Relaxed);
            self.publish(&fresh, &encoded, &mut changes)?;
        }
        for (pending, verdict) in batch.iter_mut().zip(verdicts) {
            let key = || pending.record.key.clone().unwrap_or_default();
            let result = match verdict {
                Verdict::Committed(seq) => Ok(Ack { seq, duplicate: false }),
                Verdict::Duplicate(seq) => Ok(Ack { seq, duplicate: true }),
                Verdict::Conflict(seq) => Err(CommitError::Conflict { key: key(), seq }),
            };
            pending.answer(result);
        }
        if !encoded.is_empty() {
            self.trees.apply(&changes)?;
            let mut state = self.shared.write();
            state.pending.clear();
            state.pending_keys.clear();
            drop(state);
            self.unflushed += 1;
            self.unflushed_since.get_or_insert_with(now);
        }
        Ok(())
    }

    /// Decides on each record, also against those before it in the same batch, and numbers the new ones.
    #[expect(clippy::type_complexity, reason = "used once, just above")]
    fn judge(&self, batch: &mut [Pending]) -> Result<(Vec<Verdict>, Vec<(Arc<Record>, Digest)>), StoreError> {
        let mut next = self.shared.last_seq.load(Ordering::Acquire) + 1;
        let mut in_batch: HashMap<String, KeyOwner> = HashMap::new();
        let mut verdicts = Vec::with_capacity(batch.len());
        let mut fresh = Vec::new();
        for pending in batch {
            let record = &mut pending.record;
            let known = match &record.key {
                Some(key) => match in_batch.get(key) {
                    Some(owner) => Some(*owner),
                    None => self.shared.owner(key)?,
                },
                None => None,
            };
            verdicts.push(match known {
                Some(owner) if owner.digest == pending.digest => Verdict::Duplicate(owner.seq),
                Some(owner) => Verdict::Conflict(owner.seq),
                None => {
                    let (kind, group, key) = (record.kind, record.group, record.key.clone());
                    let bytes = std::mem::take(&mut record.bytes);
                    if let Some(key) = &key {
                        in_batch.insert(key.clone(), KeyOwner { seq: next, digest: pending.digest });
                    }
                    let record = Record { seq: next, kind, schema: self.shared.schema, group, key, bytes };
                    fresh.push((Arc::new(record), pending.digest));
                    next += 1;
                    Verdict::Committed(next - 1)
                }
            });
        }
        Ok((verdicts, fresh))
    }

    /// Shows durable records to the readers, and notes what they change in sled.
    fn publish(
        &self,
        fresh: &[(Arc<Record>, Digest)],
        encoded: &[Vec<u8>],
        changes: &mut Changes,
    ) -> Result<(), StoreError> {
        let mut state = self.shared.write();
        for ((record, digest), encoded) in fresh.iter().zip(encoded) {
            state.index.push(record, encoded, changes, &self.trees)?;
            state.pending.insert(record.seq, Arc::clone(record));
            if let Some(key) = &record.key {
                state.pending_keys.insert(key.clone(), KeyOwner { seq: record.seq, digest: *digest });
            }
        }
        drop(state);
        if let Some((newest, _)) = fresh.last() {
            self.shared.last_seq.store(newest.seq, Ordering::Release);
        }
        Ok(())
    }

    /// Makes sled durable, then lets the journal give back what nothing needs any more, then looks at the free space.
    fn flush(&mut self) -> Result<(), StoreError> {
        if self.unflushed > 0 {
            self.trees.flush(&self.disk)?;
            self.compact();
        }
        self.unflushed = 0;
        self.unflushed_since = None;
        self.look_at_space();
        Ok(())
    }

    fn compact(&mut self) {
        let state = self.shared.read();
        let freed = self
            .journal
            .compact(&|first, last| state.index.count_kept(first, last), &|seq, kind| state.index.keeps(seq, kind));
        drop(state);
        match freed {
            Ok(0) => {}
            Ok(bytes) => tracing::debug!(bytes, "the journal gave back space"),
            // Nothing acknowledged is at stake: every file is the old one or the new one.
            Err(error) => tracing::warn!(%error, "the journal could not be compacted"),
        }
        let (segments, bytes) = self.journal.size();
        self.shared.journal_segments.store(segments, Ordering::Relaxed);
        self.shared.journal_bytes.store(bytes, Ordering::Relaxed);
    }

    fn look_at_space(&self) {
        let Ok(free) = self.disk.free_bytes(&self.shared.dir) else { return };
        self.shared.free_bytes.store(free, Ordering::Relaxed);
        let low = free < self.shared.min_free_bytes;
        if self.shared.low_space.swap(low, Ordering::Relaxed) != low {
            tracing::warn!(free, low, reserve = self.shared.min_free_bytes, "free space crossed the reserve");
        }
    }

    fn time_to_flush(&self) -> Duration {
        match self.unflushed_since {
            Some(since) => self.flush_interval.saturating_sub(now().duration_since(since)),
            None => self.flush_interval.max(Duration::from_millis(1)),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a plain thread; the time only paces flushes and reaches no result")]
fn now() -> Instant {
    Instant::now()
}
