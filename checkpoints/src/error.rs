//! Every way in which keeping data can fail, one sentence each: the thing, the value and the remedy. No error is
//! swallowed here, and none is retried.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Opening, reading or checkpointing failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused an operation on a file.
    #[error("cannot {action} {}: {source}; check the permissions and the disk", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The data directory's path is something else.
    #[error("{} is not a directory; give the path of a directory (it is created when absent)", path.display())]
    NotADirectory {
        /// The path given.
        path: PathBuf,
    },
    /// A folder that is to be made holds something already.
    #[error("{} exists and is not empty; name a folder that is absent or empty, or remove this one", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A copy of a checkpoint would have the name of another one.
    #[error("{} is the name of another checkpoint than step {step}, of which it would be a copy; name another folder",
        path.display())]
    OtherStep {
        /// The folder.
        path: PathBuf,
        /// The step of the checkpoint to be copied.
        step: u64,
    },
    /// Another process, or another store in this one, has the directory.
    #[error("the data directory {} is in use by process {holder}; stop it, or give this one another directory",
        path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// Process id as the holder wrote it, or `unknown`.
        holder: String,
    },
    /// Too little room to write safely.
    #[error("{} has {free} bytes free and {needed} are needed; free some space or give a directory on another disk",
        path.display())]
    NoSpace {
        /// Where the space is wanted.
        path: PathBuf,
        /// Bytes free.
        free: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// Acknowledged bytes of the journal do not read back.
    #[error("the journal file {} is damaged at byte {offset}: {reason}; restore this file from a backup, or move the \
        data directory away to begin anew", path.display())]
    JournalDamaged {
        /// The segment.
        path: PathBuf,
        /// Byte offset of the damage.
        offset: u64,
        /// What does not fit.
        reason: String,
    },
    /// A journal segment is absent.
    #[error("the journal {} lacks the records from {expected} to before {found}; restore the missing segment file from \
        a backup, or move the data directory away to begin anew", path.display())]
    JournalGap {
        /// The journal directory.
        path: PathBuf,
        /// The sequence number that should come next.
        expected: u64,
        /// The one that comes.
        found: u64,
    },
    /// The store has applied more than the journal holds: acknowledged records are gone from the journal.
    #[error("the journal {} ends at record {last} but the store had applied {applied}; restore the journal's files \
        from a backup, or move the data directory away to begin anew", path.display())]
    JournalBehind {
        /// The journal directory.
        path: PathBuf,
        /// Last record of the journal.
        last: u64,
        /// Last record that the store applied.
        applied: u64,
    },
    /// Written by a newer program.
    #[error("{} has format version {found} and this program reads up to {supported}; use the newer program that \
        wrote it", path.display())]
    NewerFormat {
        /// The file or directory.
        path: PathBuf,
        /// Its version.
        found: u16,
        /// The newest that is understood.
        supported: u16,
    },
    /// A record's payload is of another schema and no migration takes it over.
    #[error(
        "record {seq} has schema version {found} and this program wants {wanted}: {reason}; use the program version \
        that wrote it, or one that migrates it"
    )]
    Schema {
        /// The record.
        seq: u64,
        /// Its schema version.
        found: u16,
        /// The wanted one.
        wanted: u16,
        /// Why it cannot be taken over.
        reason: String,
    },
    /// sled answered an error that is not damage.
    #[error("the replay store {} answered an error: {message}; check the disk and start again", path.display())]
    Sled {
        /// sled's directory.
        path: PathBuf,
        /// sled's words.
        message: String,
    },
    /// sled keeps a page outside its log, which it never syncs.
    #[error("{} exists, and files there do not survive a power cut; stop, move the directory sled away and start \
        again: it is rebuilt from the journal", path.display())]
    BlobFile {
        /// The file.
        path: PathBuf,
    },
    /// A record in the replay store does not read back.
    #[error(
        "record {seq} in the replay store is damaged: {reason}; restart, which rebuilds the store from the journal"
    )]
    RecordDamaged {
        /// The record.
        seq: u64,
        /// What does not fit.
        reason: String,
    },
    /// The store was closed.
    #[error("the store {} is closed; open it again", path.display())]
    Closed {
        /// The data directory.
        path: PathBuf,
    },
    /// The store stopped after a disk error.
    #[error("the store {} has stopped: {reason}; restart the program, all acknowledged records are kept",
        path.display())]
    Failed {
        /// The data directory.
        path: PathBuf,
        /// The first error.
        reason: String,
    },
    /// A checkpoint part has a name that cannot be a file.
    #[error(
        "{name:?} cannot name a checkpoint part; use 1 to 64 of A-Z a-z 0-9 . _ - not beginning with a dot, each \
        name once, and not manifest.json or manifest.sha256"
    )]
    PartName {
        /// The name given.
        name: String,
    },
    /// A checkpoint does not hold the part asked for.
    #[error("the checkpoint {} has no part {name:?}; it has {}", path.display(), known.join(", "))]
    NoSuchPart {
        /// The checkpoint.
        path: PathBuf,
        /// The name asked for.
        name: String,
        /// The parts it has.
        known: Vec<String>,
    },
    /// A checkpoint does not verify.
    #[error("the checkpoint {} is damaged: {reason}; use an older checkpoint", path.display())]
    CheckpointDamaged {
        /// The checkpoint.
        path: PathBuf,
        /// Which part and what does not fit.
        reason: String,
    },
}

impl StoreError {
    /// Wraps a system error with what was tried on which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

/// A record was not committed; nothing of it will be found later, except after [`CommitError::Failed`], where it may.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The idempotency key was used for other bytes.
    #[error("the key {key:?} already belongs to record {seq} with other contents; use a new id for a new record")]
    Conflict {
        /// The key.
        key: String,
        /// The record that has it.
        seq: u64,
    },
    /// The record is larger than a record may be.
    #[error("a record of {bytes} bytes is over the limit of {max}; make it smaller")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The key is empty or too long.
    #[error("an idempotency key has {bytes} bytes; use 1 to {max}")]
    Key {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The disk is nearly full; reading goes on, and writing does again once there is room.
    #[error("{} has {free} bytes free and {needed} are kept as a reserve; free some space", path.display())]
    NoSpace {
        /// The data directory.
        path: PathBuf,
        /// Bytes free.
        free: u64,
        /// The reserve.
        needed: u64,
    },
    /// A disk error stopped the store. The record may or may not be found after a restart: offer it again with its key.
    #[error("the store has stopped: {reason}; restart the program and send the record again")]
    Failed {
        /// The first error.
        reason: String,
    },
    /// The store was closed before the record was taken up.
    #[error("the store is closed; send the record again after the restart")]
    Closed,
}

/// The committer's queue has no room: refuse at the edge and let the sender come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the commit queue is full with {records} records ({bytes} bytes) waiting; try again in a moment")]
pub struct Full {
    /// Records waiting.
    pub records: usize,
    /// Their bytes.
    pub bytes: usize,
}
