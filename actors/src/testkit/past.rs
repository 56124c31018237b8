//! A past to read: a store with answers, feedback and published versions that no daemon wrote.

use std::path::Path;

use understudy_checkpoints::{NewRecord, RecordKind, Store, StoreConfig, StoreHandle};
use understudy_learning::stages::{Feedback, PolicyVersion, Rollout};

use crate::answers::{answer_key, encode_answer};
use crate::past::Past;
use crate::seams::{encode_feedback, feedback_key};

/// A store of its own, and what reads it.
pub struct Written {
    // Keeps the store open.
    _store: Store,
    handle: StoreHandle,
}

impl Written {
    /// An empty past in `dir`, which is the test's own.
    pub fn new(dir: &Path) -> Self {
        let config = StoreConfig { min_free_bytes: 0, ..StoreConfig::default() };
        let (store, _) = Store::open(dir, config).expect("a test's directory is its own");
        Self { handle: store.handle(), _store: store }
    }

    /// Reads it.
    pub fn past(&self) -> Past {
        Past::new(self.handle.clone())
    }

    /// Writes an answer as the policy actor does; its journal sequence.
    pub fn answer(&self, rollout: &Rollout) -> u64 {
        self.write(RecordKind::Answer, answer_key(rollout.id), encode_answer(rollout))
    }

    /// Writes what somebody said as the feedback actor does; its journal sequence and whether it was there before. `None`
    /// when the id stands for something else.
    pub fn feedback(&self, feedback: &Feedback) -> Option<(u64, bool)> {
        let record = record(RecordKind::Feedback, feedback_key(&feedback.id), encode_feedback(feedback));
        let ack = self.handle.append(record).ok()?;
        self.handle.flush().expect("a test's disk has room");
        Some((ack.seq, ack.duplicate))
    }

    /// Writes that a version was published, as the publisher does; its journal sequence.
    pub fn published(&self, version: PolicyVersion) -> u64 {
        self.write(RecordKind::Published, format!("published/{version}"), version.to_le_bytes().to_vec())
    }

    fn write(&self, kind: RecordKind, key: String, bytes: Vec<u8>) -> u64 {
        let ack = self.handle.append(record(kind, key, bytes)).expect("a new key");
        self.handle.flush().expect("a test's disk has room");
        ack.seq
    }
}

fn record(kind: RecordKind, key: String, bytes: Vec<u8>) -> NewRecord {
    NewRecord { kind, key: Some(key), bytes, group: 0 }
}
