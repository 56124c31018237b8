//! What the committer, the applier and the handles share. A record is visible to readers before its acknowledgement is
//! sent: from the journal's sync until sled has it, it is found in the overlay.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::blocks::Entry;
use super::index::Index;
use super::lag::Lag;
use super::overlay::Overlay;
use super::trees::{Trees, guarded};
use super::{Migrate, OnFailure};
use crate::journal::Segments;
use crate::record::Digest;
use crate::{CommitError, Record, StoreError};

/// What readers see.
pub(super) struct State {
    /// `None` once the store is closed.
    pub(super) trees: Option<Trees>,
    pub(super) index: Index,
    /// Durable in the journal, not yet in sled.
    pub(super) overlay: Overlay,
}

/// What an idempotency key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyOwner {
    pub(super) seq: u64,
    pub(super) digest: Digest,
}

/// Shared by the store, its threads and all handles.
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
    pub(super) segments: Arc<Segments>,
    pub(super) lag: Lag,
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
            self.lag.close();
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
        self.low_space.load(Ordering::Relaxed).then(|| self.no_space())
    }

    /// Takes nothing up until the applier has looked at the free space again; answers what is said meanwhile.
    pub(super) fn run_out_of_space(&self) -> CommitError {
        self.free_bytes.store(0, Ordering::Relaxed);
        self.low_space.store(true, Ordering::Relaxed);
        self.no_space()
    }

    fn no_space(&self) -> CommitError {
        CommitError::NoSpace {
            path: self.dir.clone(),
            free: self.free_bytes.load(Ordering::Relaxed),
            needed: self.min_free_bytes,
        }
    }

    /// Drops sled, so that the directory can be opened again while handles are still about.
    pub(super) fn let_go(&self) {
        self.write().trees = None;
    }

    /// One record, or `None` if there is no such record (any more).
    pub(super) fn record(&self, seq: u64) -> Result<Option<Record>, StoreError> {
        let state = self.read();
        let trees = state.trees(self)?;
        let Some(kind) = state.index.live_kind(seq) else { return Ok(None) };
        let damaged = |reason| StoreError::RecordDamaged { seq, reason };
        let found = match state.overlay.record((kind, seq)) {
            Some(encoded) => Record::decode(encoded).map_err(damaged)?,
            None => trees.record(kind, seq)?.ok_or_else(|| damaged("it is gone".to_owned()))?,
        };
        drop(state);
        self.migrated(found).map(Some)
    }

    /// Which record has this key, also when the record itself has left its ring. A key that nobody has costs no look
    /// into sled.
    pub(super) fn owner(&self, key: &str, print: u64) -> Result<Option<KeyOwner>, StoreError> {
        let state = self.read();
        let trees = state.trees(self)?;
        for (kind, seq) in state.index.with_key(print) {
            let entry = match state.overlay.entry((kind, seq)) {
                Some(entry) => Some(Entry::clone(entry)),
                None => trees.entry(kind, seq)?,
            };
            let reason = || "its entry is gone".to_owned();
            let entry = entry.ok_or_else(|| StoreError::RecordDamaged { seq, reason: reason() })?;
            if entry.key.as_deref() == Some(key) {
                return Ok(Some(KeyOwner { seq, digest: entry.digest }));
            }
        }
        Ok(None)
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
