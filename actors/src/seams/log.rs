//! The log of what people said.
//!
//! Invariant: an event is acknowledged only when it is durable; the same id with the same content is one event, with
//! other content a conflict. Readers go by the journal sequence, and every reader sees the same order.

use serde::{Deserialize, Serialize};
use understudy_checkpoints::{Ack, CommitError, NewRecord, RecordKind, StoreHandle};
use understudy_learning::stages::Feedback;

/// An event that is on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DurableFeedback {
    /// Its place in the journal.
    pub seq: u64,
    /// The event.
    pub feedback: Feedback,
}

/// Why the log does not take or give an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// No room now.
    #[error("the journal's queue is full; try again in a moment")]
    Full,
    /// The disk or the store refused.
    #[error("the feedback journal: {0}")]
    Store(String),
}

/// Called once, when the event is durable or refused; may run on the log's own thread, so it must not block.
pub type LogReply = Box<dyn FnOnce(Result<Ack, CommitError>) + Send>;

/// Appends, reads from a cursor, looks up by id.
pub trait FeedbackLog: Send {
    /// Takes an event, or refuses at once; never blocks.
    fn append(&self, feedback: &Feedback, reply: LogReply) -> Result<(), LogError>;
    /// Events with a sequence above `cursor`, oldest first, at most `limit`.
    fn read_after(&self, cursor: u64, limit: usize) -> Result<Vec<DurableFeedback>, LogError>;
    /// The event with this id.
    fn find(&self, id: &str) -> Result<Option<DurableFeedback>, LogError>;
}

/// The log in this process's own store.
#[derive(Clone)]
pub struct StoreLog(pub StoreHandle);

/// The idempotency key of a feedback id.
pub(crate) fn feedback_key(id: &str) -> String {
    format!("feedback/{id}")
}

/// An event as it is journaled.
pub(crate) fn encode_feedback(feedback: &Feedback) -> Vec<u8> {
    serde_json::to_vec(feedback).expect("feedback is plain data")
}

/// The event that [`encode_feedback`] wrote into record `seq`.
pub(crate) fn decode_feedback(seq: u64, bytes: &[u8]) -> Result<DurableFeedback, LogError> {
    let feedback = serde_json::from_slice(bytes)
        .map_err(|error| LogError::Store(format!("record {seq} is no feedback event ({error}); run `doctor`")))?;
    Ok(DurableFeedback { seq, feedback })
}

impl FeedbackLog for StoreLog {
    fn append(&self, feedback: &Feedback, reply: LogReply) -> Result<(), LogError> {
        let bytes = encode_feedback(feedback);
        let group = feedback.answers().first().copied().unwrap_or(0);
        let record = NewRecord { kind: RecordKind::Feedback, key: Some(feedback_key(&feedback.id)), bytes, group };
        self.0.offer(record, reply).map_err(|_| LogError::Full)
    }

    fn read_after(&self, cursor: u64, limit: usize) -> Result<Vec<DurableFeedback>, LogError> {
        let records = self.0.read_from(RecordKind::Feedback, cursor + 1, limit);
        let records = records.map_err(|error| LogError::Store(error.to_string()))?;
        records.iter().map(|record| decode_feedback(record.seq, &record.bytes)).collect()
    }

    fn find(&self, id: &str) -> Result<Option<DurableFeedback>, LogError> {
        let record = self.0.get_by_key(&feedback_key(id)).map_err(|error| LogError::Store(error.to_string()))?;
        record.map(|record| decode_feedback(record.seq, &record.bytes)).transpose()
    }
}
