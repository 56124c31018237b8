//! One data directory: the lock, the journal, the replay rings in sled, and two threads. The committer writes the
//! journal and acknowledges; the applier follows with sled. Whatever was acknowledged is in the journal; sled is a
//! bounded view of it that can be thrown away.
//!
//! ```text
//! <dir>/LOCK       held while a store is open
//! <dir>/journal/   segments (see the module journal)
//! <dir>/sled/      replay rings, what is left of older records for their keys' sake, applied watermark
//! <dir>/sled.bad-N what was there when damage was found; never read again
//! ```

mod applier;
mod blocks;
mod changes;
mod committer;
pub(crate) mod fuzzing;
mod handle;
mod index;
mod keys;
mod lag;
mod lock;
mod open;
mod overlay;
mod sampling;
mod shared;
mod trees;
mod verify;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub use handle::{Reply, Stats, StoreHandle};
pub use index::RingStats;
pub use lock::DirLock;
pub use sampling::Sampling;

use crate::journal::TornTail;
use crate::{Disk, RecordKind, StoreError};

/// Takes a payload of an older schema version over to the present one: kind, its version, its bytes.
pub type Migrate = fn(RecordKind, u16, Vec<u8>) -> Result<Vec<u8>, String>;

/// Told once, with the reason, when a disk error has stopped the store.
pub type OnFailure = Arc<dyn Fn(&str) + Send + Sync>;

/// How much one ring holds; when a record makes it hold more, the oldest leave. The newest always stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most records.
    pub records: u64,
    /// Most bytes, as stored.
    pub bytes: u64,
}

/// How a store is opened.
#[derive(Clone)]
pub struct StoreConfig {
    /// Bounds of the rings by kind.
    pub rings: BTreeMap<RecordKind, Bounds>,
    /// Bounds of a kind that `rings` does not name.
    pub other_rings: Bounds,
    /// An idempotency key is remembered until this many times the ring's bounds of the same kind have been written
    /// after its record; at least 1. The journal keeps these records too, so it costs disk.
    pub key_window: u64,
    /// Schema version that new payloads are written with.
    pub schema: u16,
    /// Takes over payloads of older schema versions when they are read.
    pub migrate: Option<Migrate>,
    /// sled's page cache in bytes; a hint to sled, not a bound.
    pub cache_bytes: u64,
    /// A new journal segment begins at this size.
    pub segment_bytes: u64,
    /// Zeros that are written ahead in the journal at a time; a sync of a batch that only overwrites them costs about
    /// half of one that makes the file longer. At most the size of a segment; 0 for none.
    pub ahead_bytes: u64,
    /// How far sled may be behind the journal; beyond that new records wait. It bounds the memory that they take, but
    /// for one batch.
    pub lag: Bounds,
    /// sled is made durable after this many batches of the journal …
    pub flush_batches: u32,
    /// … or this long after the first that is not, whichever comes first.
    pub flush_interval: Duration,
    /// With less free space than this, opening is refused and new records are refused until there is room again.
    pub min_free_bytes: u64,
    /// Records that may wait for the committer, at most 4096.
    pub queue_records: usize,
    /// Bytes that may wait for the committer.
    pub queue_bytes: usize,
    /// Told when the store has stopped.
    pub on_failure: Option<OnFailure>,
    /// The file system.
    pub disk: Disk,
}

impl Default for StoreConfig {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            rings: BTreeMap::from([
                (RecordKind::Answer, Bounds { records: 100_000, bytes: 512 * MIB }),
                (RecordKind::Feedback, Bounds { records: 1_000_000, bytes: 512 * MIB }),
            ]),
            other_rings: Bounds { records: 1024, bytes: MIB },
            key_window: 2,
            schema: 1,
            migrate: None,
            cache_bytes: 64 * MIB,
            segment_bytes: 64 * MIB,
            ahead_bytes: MIB,
            lag: Bounds { records: 65_536, bytes: 64 * MIB },
            flush_batches: 256,
            flush_interval: Duration::from_millis(500),
            min_free_bytes: 64 * MIB,
            queue_records: 4096,
            queue_bytes: 64 << 20,
            on_failure: None,
            disk: Disk::real(),
        }
    }
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreConfig").field("rings", &self.rings).field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// sled was thrown away and written anew from the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// Where the old directory was put; `None` when there was none.
    pub quarantined: Option<PathBuf>,
    /// What was wrong with it.
    pub reason: String,
}

/// What opening found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The directory held no store before.
    pub created: bool,
    /// Journal segments.
    pub segments: usize,
    /// Records in the journal.
    pub journal_records: u64,
    /// An unacknowledged batch that was cut off the journal's end.
    pub torn_tail: Option<TornTail>,
    /// Records that the journal had and sled had not.
    pub replayed: u64,
    /// Set when sled was absent or damaged.
    pub rebuilt: Option<Rebuilt>,
    /// Highest sequence number.
    pub last_seq: u64,
    /// The rings.
    pub rings: BTreeMap<RecordKind, RingStats>,
}

/// The owner of a data directory. Dropping it closes it; [`Store::close`] also says whether that went well.
pub struct Store {
    dir: PathBuf,
    handle: StoreHandle,
    committer: Option<JoinHandle<()>>,
    applier: Option<JoinHandle<()>>,
    _lock: DirLock,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens or creates the store in `dir`, recovers what a crash left and starts the committer thread. No other
    /// process, and no second store in this one, may have the directory.
    pub fn open(dir: &Path, config: StoreConfig) -> Result<(Self, OpenReport), StoreError> {
        open::open(dir, config)
    }

    /// A handle for offering and reading; any number, in any thread.
    pub fn handle(&self) -> StoreHandle {
        self.handle.clone()
    }

    /// Commits what waits, makes sled durable and lets go of the directory. Handles answer `Closed` from now on.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.shut()
    }

    fn shut(&mut self) -> Result<(), StoreError> {
        if let Some(committer) = self.committer.take() {
            self.handle.ask_to_close();
            let ended = committer.join();
            debug_assert!(ended.is_ok(), "the committer catches its panics");
        }
        let Some(applier) = self.applier.take() else { return Ok(()) };
        self.handle.shared.lag.close();
        let ended = applier.join();
        debug_assert!(ended.is_ok(), "the applier catches its panics");
        self.handle.shared.let_go();
        match self.handle.failed() {
            Some(reason) => Err(StoreError::Failed { path: self.dir.clone(), reason }),
            None => Ok(()),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.shut() {
            tracing::error!(%error, "the store did not close cleanly");
        }
    }
}
