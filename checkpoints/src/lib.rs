//! What survives. Nothing here knows a tensor, an actor or an async runtime: bytes go in, and the same bytes come out
//! after any crash that the disk itself survives.
//!
//! - [`journal`]: append-only segments; a record is acknowledged when its batch has been synced here.
//! - [`store`]: the committer thread, the bounded replay rings and the idempotency keys in sled, a view of the journal.
//! - [`checkpoint`]: directories of large parts, committed atomically.
//! - [`whole`]: single files and folders that are replaced as a whole.

pub mod checkpoint;
mod codec;
mod disk;
mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod journal;
#[cfg(test)]
mod powercut;
mod quarantine;
mod record;
mod space;
pub mod store;
pub mod whole;

pub use disk::{Disk, DiskHook, DiskOp, FreeBytes};
pub use error::{CommitError, Full, StoreError};
pub use quarantine::{Kept, QuarantineBounds, QuarantineFiles, QuarantinedFile};
pub use record::{Ack, MAX_KEY_BYTES, MAX_RECORD_BYTES, NewRecord, Record, RecordKind};
pub use space::free_bytes;
pub use store::{
    Bounds, DirLock, Migrate, OnFailure, OpenReport, Rebuilt, Reply, RingStats, Sampling, Stats, Store, StoreConfig,
    StoreHandle,
};
