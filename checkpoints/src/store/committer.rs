//! The one thread that writes to the journal. For each batch, in this order: append, one sync, make visible, answer
//! everybody. sled follows behind, by the applier; when that is too far behind, this thread waits for it. The first error
//! ends the thread: nothing is retried and nobody is answered `Ok` any more.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};

use super::handle::Reply;
use super::shared::{KeyOwner, Shared, State};
use super::trees::guarded;
use crate::journal::{Appended, BATCH_BYTES, Writer};
use crate::record::{PrintHash, Prints, encode};
use crate::{Ack, CommitError, NewRecord, Record, RecordKind, StoreError};

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
    kind: RecordKind,
    group: u64,
    key: Option<String>,
    prints: Prints,
    /// All of it but its number; empty once it has one.
    encoded: Vec<u8>,
    /// Of the payload.
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
        // Hashing and encoding are done in the caller's thread: the committer's time is everybody's.
        let NewRecord { kind, key, group, bytes: payload } = record;
        let prints = Prints::of(kind, key.as_deref(), &payload);
        let encoded = encode(kind, shared.schema, group, key.as_deref(), &payload);
        let (reply, shared) = (Some(reply), Arc::clone(shared));
        Self { kind, group, key, prints, encoded, bytes, left: false, reply, shared }
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

/// What becomes of one record of a batch.
enum Verdict {
    Committed(u64),
    Duplicate(u64),
    Conflict(u64),
}

/// A batch, judged.
#[derive(Default)]
struct Judged {
    verdicts: Vec<Verdict>,
    /// The new records; their payloads are only in `encoded`.
    fresh: Vec<(Record, Prints)>,
    encoded: Vec<Vec<u8>>,
}

/// The committer's own things.
pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Receiver<Command>,
    pub(super) journal: Writer,
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
        let mut next = None;
        while let Some(command) = next.take().or_else(|| self.queue.recv().ok()) {
            match command {
                Command::Commit(first) => {
                    let (batch, after) = self.gather(first);
                    next = after;
                    self.commit(batch)?;
                }
                Command::Flush(done) => {
                    self.shared.lag.ask_for_flush(self.shared.last_seq.load(Ordering::Acquire), done);
                }
                Command::Close => break,
            }
        }
        self.journal.trim();
        Ok(())
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
        self.shared.lag.wait_for_room();
        if self.shared.refusal().is_some() {
            return Ok(());
        }
        let Judged { verdicts, fresh, encoded } = self.judge(batch)?;
        if !fresh.is_empty() {
            if self.journal.commit(&encoded)? == Appended::NoRoom {
                return self.refuse_for_room(batch);
            }
            self.shared.batches.fetch_add(1, Ordering::Relaxed);
            self.publish(fresh, encoded);
        }
        for (pending, verdict) in batch.iter_mut().zip(verdicts) {
            let key = || pending.key.clone().unwrap_or_default();
            let result = match verdict {
                Verdict::Committed(seq) => Ok(Ack { seq, duplicate: false }),
                Verdict::Duplicate(seq) => Ok(Ack { seq, duplicate: true }),
                Verdict::Conflict(seq) => Err(CommitError::Conflict { key: key(), seq }),
            };
            pending.answer(result);
        }
        Ok(())
    }

    /// The disk was full before the reserve was seen to be gone: nothing more is taken up until the applier finds room.
    fn refuse_for_room(&self, batch: &mut [Pending]) -> Result<(), StoreError> {
        let refusal = self.shared.run_out_of_space();
        tracing::warn!(%refusal, records = batch.len(), "the journal found no room for a batch");
        batch.iter_mut().for_each(|pending| pending.answer(Err(refusal.clone())));
        Ok(())
    }

    /// Decides on each record, also against those before it in the same batch, and numbers the new ones.
    fn judge(&self, batch: &mut [Pending]) -> Result<Judged, StoreError> {
        let mut next = self.shared.last_seq.load(Ordering::Acquire) + 1;
        let mut in_batch: HashSet<u64, PrintHash> = HashSet::default();
        let mut judged = Judged::default();
        for pending in batch {
            let known = match &pending.key {
                Some(key) => match owner_in(&judged.fresh, key, &in_batch, pending.prints.key) {
                    Some(owner) => Some(owner),
                    None => self.shared.owner(key, pending.prints.key)?,
                },
                None => None,
            };
            judged.verdicts.push(match known {
                Some(owner) if owner.digest == pending.prints.digest => Verdict::Duplicate(owner.seq),
                Some(owner) => Verdict::Conflict(owner.seq),
                None => {
                    let Pending { kind, group, prints, .. } = *pending;
                    let (key, mut encoded) = (pending.key.take(), std::mem::take(&mut pending.encoded));
                    Record::number(&mut encoded, next);
                    in_batch.insert(prints.key);
                    let schema = self.shared.schema;
                    judged.fresh.push((Record { seq: next, kind, schema, group, key, bytes: Vec::new() }, prints));
                    judged.encoded.push(encoded);
                    next += 1;
                    Verdict::Committed(next - 1)
                }
            });
        }
        Ok(judged)
    }

    /// Shows durable records to the readers, and leaves them to the applier.
    fn publish(&self, fresh: Vec<(Record, Prints)>, encoded: Vec<Vec<u8>>) {
        let (records, bytes) = (fresh.len(), encoded.iter().map(Vec::len).sum());
        let mut state = self.shared.write();
        let State { index, overlay, .. } = &mut *state;
        let changes = overlay.growing();
        for ((record, prints), encoded) in fresh.iter().zip(encoded) {
            index.push(record, *prints, encoded, changes);
            self.shared.last_seq.store(record.seq, Ordering::Release);
        }
        changes.batches += 1;
        overlay.grown();
        drop(state);
        self.shared.lag.add(records, bytes);
    }
}

/// The record before it in the same batch that has this key; `prints` has those of all of them.
fn owner_in(fresh: &[(Record, Prints)], key: &str, prints: &HashSet<u64, PrintHash>, print: u64) -> Option<KeyOwner> {
    if !prints.contains(&print) {
        return None;
    }
    let found = fresh.iter().find(|(record, _)| record.key.as_deref() == Some(key));
    found.map(|(record, prints)| KeyOwner { seq: record.seq, digest: prints.digest })
}
