//! Recent answers in memory, all kept ones in the store.
//!
//! Invariant: an answer is found here from the moment its id is told to anybody until the store evicts it. What is in
//! memory equals what is on disk, except for trunk states, which only memory has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use understudy_checkpoints::{RecordKind, StoreError, StoreHandle};
use understudy_learning::stages::{AnswerId, Author, Rollout};

use crate::locked::locked;

/// The journal key of an answer.
pub(crate) fn answer_key(id: AnswerId) -> String {
    format!("answer/{id}")
}

/// An answer as it is journaled.
pub(crate) fn encode_answer(rollout: &Rollout) -> Vec<u8> {
    postcard::to_stdvec(rollout).expect("a rollout is plain data")
}

/// Version of what is journaled: since 2 a question has terms.
pub const SCHEMA: u16 = 2;

/// A question as version 1 had it; its last field was followed by the prompt's tokens.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only its length is of interest")]
struct QuestionOfVersion1 {
    id: String,
    source: String,
    title: String,
    body: String,
    tags: Vec<String>,
    author: Option<Author>,
    url: Option<String>,
    licence: Option<String>,
    asked_at: i64,
    closedness: Option<f64>,
}

/// Takes a journaled payload of an older version over to [`SCHEMA`]; for [`understudy_checkpoints::StoreConfig`].
pub fn migrate(kind: RecordKind, version: u16, mut bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    if kind != RecordKind::Answer || version >= SCHEMA {
        return Ok(bytes);
    }
    // What is before the question's end is as it was; there `None` is put in, which is one byte of zero.
    let read = postcard::take_from_bytes::<(AnswerId, AnswerId, QuestionOfVersion1)>(&bytes);
    let rest = read.map_err(|error| error.to_string())?.1.len();
    bytes.insert(bytes.len() - rest, 0);
    Ok(bytes)
}

/// Why an answer could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum AnswersError {
    /// The store could not read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record is no answer.
    #[error("journal record {seq} is no answer ({reason}); run `understudy doctor`")]
    Decode {
        /// Which record.
        seq: u64,
        /// What does not fit.
        reason: String,
    },
}

/// The answer that [`encode_answer`] wrote, or what is wrong with it. One whose parts do not fit each other is refused
/// here, so that nobody who learns from it has to look.
pub(crate) fn decode_answer(bytes: &[u8]) -> Result<Rollout, String> {
    let rollout: Rollout = postcard::from_bytes(bytes).map_err(|error| error.to_string())?;
    let (tokens, logprobs, masses) = (rollout.tokens.len(), rollout.old_logprobs.len(), rollout.kept_mass.len());
    if (logprobs, masses) != (tokens, tokens) {
        return Err(format!("it has {tokens} tokens with {logprobs} log-probabilities and {masses} masses"));
    }
    if !rollout.old_logprobs.iter().chain(&rollout.kept_mass).all(|number| number.is_finite()) {
        return Err("a log-probability or a mass is not finite".to_owned());
    }
    // The next answer's id is one more.
    if rollout.id == AnswerId::MAX {
        return Err(format!("its id is {}", rollout.id));
    }
    Ok(rollout)
}

/// Looks answers up. Clones share the memory.
#[derive(Clone)]
pub struct Answers {
    store: StoreHandle,
    recent: Arc<Mutex<Recent>>,
}

struct Recent {
    capacity: usize,
    by_id: BTreeMap<AnswerId, Arc<Rollout>>,
}

impl Answers {
    /// Keeps the newest `capacity` answers in memory, with their trunk states.
    pub fn new(store: StoreHandle, capacity: usize) -> Self {
        let recent = Recent { capacity: capacity.max(1), by_id: BTreeMap::new() };
        Self { store, recent: Arc::new(Mutex::new(recent)) }
    }

    /// Remembers an answer that became durable.
    pub fn remember(&self, rollout: Arc<Rollout>) {
        let forgotten = {
            let mut recent = locked(&self.recent);
            recent.by_id.insert(rollout.id, rollout);
            if recent.by_id.len() > recent.capacity { recent.by_id.pop_first() } else { None }
        };
        drop(forgotten); // its trunk states are freed outside the lock
    }

    /// The answer of this id; `None` if there never was one or it was evicted.
    pub fn find(&self, id: AnswerId) -> Result<Option<Arc<Rollout>>, AnswersError> {
        if let Some(rollout) = locked(&self.recent).by_id.get(&id) {
            return Ok(Some(rollout.clone()));
        }
        let record = self.store.get_by_key(&answer_key(id))?.filter(|record| record.kind == RecordKind::Answer);
        let Some(record) = record else { return Ok(None) };
        let rollout = decode_answer(&record.bytes);
        let rollout = rollout.map_err(|reason| AnswersError::Decode { seq: record.seq, reason })?;
        Ok(Some(Arc::new(rollout)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::rollout;

    #[test]
    fn an_answer_of_the_version_before_terms_is_read_as_it_was() {
        let answer = rollout(7, 7);
        let bytes = encode_answer(&answer);
        let (_, rest) =
            postcard::take_from_bytes::<(AnswerId, AnswerId, understudy_learning::stages::Question)>(&bytes)
                .expect("it was just written");
        let mut older = bytes.clone();
        older.remove(bytes.len() - rest.len() - 1);
        assert!(decode_answer(&older).map_or(true, |read| read != answer), "it needs the migration");
        assert_eq!(migrate(RecordKind::Answer, 1, older), Ok(bytes.clone()));
        assert_eq!(migrate(RecordKind::Answer, 2, bytes.clone()), Ok(bytes));
        assert_eq!(migrate(RecordKind::Feedback, 1, vec![1, 2]), Ok(vec![1, 2]));
        assert!(migrate(RecordKind::Answer, 1, vec![1, 2, 200]).is_err());
    }
}
