//! What was answered and said, read back from the store for whoever looks at it later.
//!
//! Invariant: reads only. A record that cannot be understood is left out and logged; reading may touch the disk, so not
//! on a thread that must not wait.

use understudy_checkpoints::{Record, RecordKind, StoreError, StoreHandle};
use understudy_learning::stages::{AnswerId, PolicyVersion, Rollout};

use crate::answers::{answer_key, decode_answer};
use crate::seams::{DurableFeedback, decode_feedback, feedback_key};

/// Answers that are looked at to find the highest or lowest id: as many as are generated at a time, and more.
const DISORDER: usize = 64;

/// The way to what is kept. Clones read the same store.
#[derive(Debug, Clone)]
pub struct Past(StoreHandle);

impl Past {
    /// Reads from `store`.
    pub fn new(store: StoreHandle) -> Self {
        Self(store)
    }

    /// Up to `limit` records of answers from the newest back, of those before journal sequence `before`, each with its
    /// sequence. Fewer than `limit` are no sign of the end where a record could not be read: an empty list is.
    pub fn answers(&self, before: u64, limit: usize) -> Result<Vec<(u64, Rollout)>, StoreError> {
        let records = self.0.read_back(RecordKind::Answer, before, limit)?;
        Ok(records.iter().filter_map(|record| Some((record.seq, answer(record)?))).collect())
    }

    /// The answer of this id and its journal sequence; `None` if there never was one or it was evicted.
    pub fn answer(&self, id: AnswerId) -> Result<Option<(u64, Rollout)>, StoreError> {
        let record = self.0.get_by_key(&answer_key(id))?.filter(|record| record.kind == RecordKind::Answer);
        Ok(record.and_then(|record| Some((record.seq, answer(&record)?))))
    }

    /// The lowest and the highest id of the answers that are kept; `None` without answers. Answers become durable out
    /// of order, but only by as many as are generated at a time.
    pub fn answer_ids(&self) -> Result<Option<(AnswerId, AnswerId)>, StoreError> {
        let ids = |records: Vec<Record>| records.iter().filter_map(answer).map(|one| one.id).collect::<Vec<_>>();
        let oldest = ids(self.0.read_from(RecordKind::Answer, 0, DISORDER)?).into_iter().min();
        let newest = ids(self.0.read_back(RecordKind::Answer, u64::MAX, DISORDER)?).into_iter().max();
        Ok(oldest.zip(newest))
    }

    /// Up to `limit` events of feedback from the newest back, of those before journal sequence `before`.
    pub fn feedback(&self, before: u64, limit: usize) -> Result<Vec<DurableFeedback>, StoreError> {
        let records = self.0.read_back(RecordKind::Feedback, before, limit)?;
        Ok(records.iter().filter_map(said).collect())
    }

    /// Up to `limit` events of feedback with a journal sequence above `after`, oldest first.
    pub fn feedback_after(&self, after: u64, limit: usize) -> Result<Vec<DurableFeedback>, StoreError> {
        let records = self.0.read_from(RecordKind::Feedback, after.saturating_add(1), limit)?;
        Ok(records.iter().filter_map(said).collect())
    }

    /// The event of feedback of this id; `None` if there never was one or it was evicted.
    pub fn feedback_named(&self, id: &str) -> Result<Option<DurableFeedback>, StoreError> {
        let record = self.0.get_by_key(&feedback_key(id))?.filter(|record| record.kind == RecordKind::Feedback);
        Ok(record.as_ref().and_then(said))
    }

    /// Up to `limit` policy versions with the journal sequences of their publication, of those above `after`, oldest
    /// first.
    pub fn published_after(&self, after: u64, limit: usize) -> Result<Vec<(u64, PolicyVersion)>, StoreError> {
        let records = self.0.read_from(RecordKind::Published, after.saturating_add(1), limit)?;
        let version = |record: &Record| record.bytes.first_chunk().map(|bytes| PolicyVersion::from_le_bytes(*bytes));
        Ok(records.iter().filter_map(|record| Some((record.seq, version(record)?))).collect())
    }

    /// The event of feedback in journal record `seq`; `None` if that is none or it was evicted.
    pub fn feedback_at(&self, seq: u64) -> Result<Option<DurableFeedback>, StoreError> {
        let record = self.0.get(seq)?.filter(|record| record.kind == RecordKind::Feedback);
        Ok(record.as_ref().and_then(said))
    }
}

fn answer(record: &Record) -> Option<Rollout> {
    let seq = record.seq;
    decode_answer(&record.bytes)
        .inspect_err(|reason| tracing::warn!(seq, reason, "a record is no answer; run `understudy doctor`"))
        .ok()
}

fn said(record: &Record) -> Option<DurableFeedback> {
    decode_feedback(record.seq, &record.bytes)
        .inspect_err(|error| tracing::warn!(seq = record.seq, %error, "a record is no feedback"))
        .ok()
}
