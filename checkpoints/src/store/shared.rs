//! What the committer and the handles share. A record is visible to readers before its acknowledgement is sent: between
//! the journal's sync and sled's transaction it is found in `State::pending`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::changes::KeyOwner;
use super::index::{Index, Lookup as _};
use super::trees::{Trees, guarded};
use super::{Migrate, OnFailure};
use crate::{CommitError, Record, StoreError};

/// What readers see.
pub(super) struct State {
    /// `None` once the store is closed.
    pub(super) trees: Option<Trees>,
    pub(super) index: Index,
    /// Durable in the journal, not yet in sled; never more than one batch.
    pub(super) pending: BTreeMap<u64, Arc<Record>>,
    pub(super) pending_keys: BTreeMap<String, KeyOwner>,
}

/// Shared by the store, its committer and all handles.
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) state: RwLock<State>,
    pub(super) schema: u16,
    pub(super) migrate: Option<Migrate>,
    pub(super) on_failure: Option<OnFailure>,
    pub(super) min_free_bytes: u64,
    pub(super) queue_bytes: usize,
    pub(super) failed: OnceLock<String>,
    pub(super) low_space: AtomicBool,
    pub(super) free_bytes: AtomicU64,
    pub(super) last_seq: AtomicU64,
    pub(super) waiting_records: AtomicUsize,
    pub(super) waiting_bytes: AtomicUsize,
    pub(super) batches: AtomicU64,
    pub(super) journal_segments: AtomicUsize,
    pub(super) journal_bytes: AtomicU64,
}

impl Shared {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the store for good: only the first reason counts.
    pub(super) fn fail(&self, reason: String) {
        if self.failed.set(reason.clone()).is_ok() {
            tracing::error!(dir = %self.dir.display(), reason, "the store has stopped");
            let Some(tell) = &self.on_failure else { return };
            if let Err(panic) = guarded(|| tell(&reason)) {
                tracing::error!(panic, "whoever was told of the stopped store panicked");
            }
        }
    }

    /// Why nothing is taken up at present, if so.
    pub(super) fn refusal(&self) -> Option<CommitError> {
        if let Some(reason) = self.failed.get() {
            return Some(CommitError::Failed { reason: reason.clone() });
        }
        self.low_space.load(Ordering::Relaxed).then(|| CommitError::NoSpace {
            path: self.dir.clone(),
            free: self.free_bytes.load(Ordering::Relaxed),
            needed: self.min_free_bytes,
        })
    }

    /// Drops sled, so that the directory can be opened again while handles are still about.
    pub(super) fn let_go(&self) {
        self.write().trees = None;
    }

    /// One record, or `None` if there is no such record (any more).
    pub(super) fn record(&self, seq: u64) -> Result<Option<Record>, StoreError> {
        let state = self.read();
        let found = match state.pending.get(&seq) {
            Some(record) => Some(Record::clone(record)),
            None => state.trees(self)?.record(seq)?,
        };
        drop(state);
        found.map(|record| self.migrated(record)).transpose()
    }

    /// Which record has this key, also when the record itself has left its ring.
    pub(super) fn owner(&self, key: &str) -> Result<Option<KeyOwner>, StoreError> {
        let state = self.read();
        match state.pending_keys.get(key) {
            Some(owner) => Ok(Some(*owner)),
            None => state.trees(self)?.owner(key),
        }
    }

    fn migrated(&self, mut record: Record) -> Result<Record, StoreError> {
        let (found, wanted, seq) = (record.schema, self.schema, record.seq);
        if found == wanted {
            return Ok(record);
        }
        let refuse = |reason: String| StoreError::Schema { seq, found, wanted, reason };
        let Some(migrate) = self.migrate.filter(|_| found < wanted) else {
            return Err(refuse("there is no migration".to_owned()));
        };
        record.bytes = migrate(record.kind, found, record.bytes).map_err(refuse)?;
        record.schema = wanted;
        Ok(record)
    }
}

impl State {
    pub(super) fn trees(&self, shared: &Shared) -> Result<&Trees, StoreError> {
        self.trees.as_ref().ok_or_else(|| StoreError::Closed { path: shared.dir.clone() })
    }
}
