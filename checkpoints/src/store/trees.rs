//! sled, with the settings under which it was measured to lose nothing. It is only written by whole transactions, in
//! the journal's order, and never trusted: every read is checked, and its own panics become errors.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use sled::Transactional as _;
use sled::transaction::{ConflictableTransactionResult, TransactionError, TransactionalTree};

use super::changes::{Changes, Entry, KeyOwner, Writes, entry_key};
use super::index::{APPLIED, Lookup};
use crate::codec::Fields;
use crate::{Disk, Record, StoreError};

/// Version of the layout of the trees; an older one is rebuilt from the journal.
pub(super) const LAYOUT_VERSION: u16 = 1;
const LAYOUT: &[u8] = b"layout";
/// With pages up to a quarter of this sled keeps everything in its one file, which is the one that we sync.
const SEGMENT_SIZE: usize = 8 << 20;

/// What is wrong with sled.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Rebuilding from the journal repairs it.
    Damage(String),
    /// It would not.
    Fatal(StoreError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Fatal(error)
    }
}

/// An open sled database and its four trees.
#[derive(Clone)]
pub(super) struct Trees {
    pub(super) dir: PathBuf,
    db: sled::Db,
    /// (sequence number, part) → chunk of the encoded record.
    pub(super) records: sled::Tree,
    /// (kind, sequence number) → [`Entry`], kept as long as the record's key is.
    pub(super) entries: sled::Tree,
    /// Idempotency key → [`KeyOwner`].
    pub(super) keys: sled::Tree,
    /// Layout version, applied watermark, totals of the rings.
    pub(super) meta: sled::Tree,
}

/// Runs something of sled's; its panics become errors.
pub(super) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
    })
}

impl Trees {
    /// Opens or creates the database.
    pub(super) fn open(dir: &Path, cache_bytes: u64, disk: &Disk) -> Result<Self, Trouble> {
        let mut config = sled::Config::new()
            .path(dir)
            .mode(sled::Mode::LowSpace)
            .cache_capacity(cache_bytes)
            .flush_every_ms(None)
            .use_compression(false);
        config = config.segment_size(SEGMENT_SIZE);
        let opened = guarded(|| {
            let db = open_when_free(&config)?;
            let tree = |name: &str| db.open_tree(name);
            let (records, entries, keys, meta) = (tree("records")?, tree("entries")?, tree("keys")?, tree("meta")?);
            Ok(Self { dir: dir.to_path_buf(), db, records, entries, keys, meta })
        });
        let trees = opened.map_err(Trouble::Damage)?.map_err(|error| sort_out(dir, error))?;
        sync_files(dir, disk)?;
        trees.refuse_blobs()?;
        Ok(trees)
    }

    /// Whether anything was ever applied here; an error when another program version laid it out.
    pub(super) fn check_layout(&self) -> Result<bool, Trouble> {
        let read = guarded(|| self.meta.get(LAYOUT)).map_err(Trouble::Damage)?;
        let Some(version) = read.map_err(|error| sort_out(&self.dir, error))? else {
            return match guarded(|| self.records.is_empty() && self.entries.is_empty() && self.keys.is_empty()) {
                Ok(true) => Ok(false),
                _ => Err(Trouble::Damage("its layout version is gone".to_owned())),
            };
        };
        match Fields::new(&version).u16() {
            Some(LAYOUT_VERSION) => Ok(true),
            Some(found) if found > LAYOUT_VERSION => Err(Trouble::Fatal(StoreError::NewerFormat {
                path: self.dir.clone(),
                found,
                supported: LAYOUT_VERSION,
            })),
            _ => Err(Trouble::Damage("it has an older layout".to_owned())),
        }
    }

    /// Applies one batch: all of it or nothing, also after a crash.
    pub(super) fn apply(&self, changes: &Changes) -> Result<(), StoreError> {
        type Outcome = Result<(), TransactionError<()>>;
        let run = || -> Outcome {
            (&self.records, &self.entries, &self.keys, &self.meta).transaction(|(records, entries, keys, meta)| {
                write(records, &changes.records)?;
                write(entries, &changes.entries)?;
                write(keys, &changes.keys)?;
                write(meta, &changes.meta)?;
                meta.insert(LAYOUT, LAYOUT_VERSION.to_le_bytes().as_slice())?;
                Ok(())
            })
        };
        match guarded(run) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(TransactionError::Abort(()))) => Err(self.error("a transaction was aborted".to_owned())),
            Ok(Err(TransactionError::Storage(error))) => Err(self.error(error.to_string())),
            Err(panic) => Err(self.error(panic)),
        }
    }

    /// Makes everything applied durable. sled's own flush does not sync its file on Linux, so we do.
    pub(super) fn flush(&self, disk: &Disk) -> Result<(), StoreError> {
        let flushed = guarded(|| self.db.flush());
        flushed.map_err(|panic| self.error(panic))?.map_err(|error| self.error(error.to_string()))?;
        let path = self.dir.join("db");
        let file = File::open(&path).map_err(StoreError::io("open", &path))?;
        disk.sync_data(&file, &path).map_err(StoreError::io("sync", &path))?;
        self.refuse_blobs()
    }

    /// The record with this number, or `None` when it is not here (any more).
    pub(super) fn record(&self, seq: u64) -> Result<Option<Record>, StoreError> {
        let read = guarded(|| {
            let mut encoded = Vec::new();
            for chunk in self.records.scan_prefix(seq.to_be_bytes()).values() {
                encoded.extend_from_slice(&chunk?);
            }
            Ok::<_, sled::Error>(encoded)
        });
        let encoded = read.map_err(|panic| self.error(panic))?.map_err(|error| self.error(error.to_string()))?;
        if encoded.is_empty() {
            return Ok(None);
        }
        let damaged = |reason| StoreError::RecordDamaged { seq, reason };
        let record = Record::decode(&encoded).map_err(damaged)?;
        if record.seq != seq {
            return Err(damaged(format!("it says that it is record {}", record.seq)));
        }
        Ok(Some(record))
    }

    /// Highest sequence number applied.
    pub(super) fn applied(&self) -> Result<u64, StoreError> {
        let value = self.get(&self.meta, APPLIED)?;
        Ok(value.and_then(|value| Fields::new(&value).u64()).unwrap_or(0))
    }

    fn get(&self, tree: &sled::Tree, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        let read = guarded(|| tree.get(key)).map_err(|panic| self.error(panic))?;
        read.map_err(|error| self.error(error.to_string()))
    }

    pub(super) fn error(&self, message: String) -> StoreError {
        StoreError::Sled { path: self.dir.clone(), message }
    }

    fn refuse_blobs(&self) -> Result<(), StoreError> {
        let blobs = self.dir.join("blobs");
        let mut entries = match fs::read_dir(&blobs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StoreError::io("list", &blobs)(error)),
        };
        match entries.next() {
            Some(Ok(entry)) => Err(StoreError::BlobFile { path: entry.path() }),
            Some(Err(error)) => Err(StoreError::io("list", &blobs)(error)),
            None => Ok(()),
        }
    }
}

impl Lookup for Trees {
    fn entry(&self, kind: u8, seq: u64) -> Result<Option<Entry>, StoreError> {
        let Some(value) = self.get(&self.entries, &entry_key(kind, seq))? else { return Ok(None) };
        let damaged = || StoreError::RecordDamaged { seq, reason: "its entry cannot be read".to_owned() };
        Entry::decode(&value).ok_or_else(damaged).map(Some)
    }

    fn owner(&self, key: &str) -> Result<Option<KeyOwner>, StoreError> {
        let Some(value) = self.get(&self.keys, key.as_bytes())? else { return Ok(None) };
        let damaged = || self.error(format!("what the key {key:?} belongs to cannot be read"));
        KeyOwner::decode(&value).ok_or_else(damaged).map(Some)
    }
}

fn write(tree: &TransactionalTree, writes: &Writes) -> ConflictableTransactionResult<(), ()> {
    for (key, value) in writes {
        match value {
            Some(value) => tree.insert(key.as_slice(), value.as_slice())?,
            None => tree.remove(key.as_slice())?,
        };
    }
    Ok(())
}

/// We hold the data directory's own lock; so if sled's is taken, it is by threads of a store that was closed in this
/// process a moment ago and are not through yet.
fn open_when_free(config: &sled::Config) -> sled::Result<sled::Db> {
    for _ in 0..500 {
        match config.open() {
            Err(error) if is_locked(&error) => pause(),
            opened => return opened,
        }
    }
    config.open()
}

fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(_)) && error.to_string().contains("could not acquire lock")
}

#[expect(clippy::disallowed_methods, reason = "opening is synchronous and has no arbiter to block")]
fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(10));
}

/// Tells damage, which the journal repairs, from what a person has to see to.
fn sort_out(dir: &Path, error: sled::Error) -> Trouble {
    let message = error.to_string();
    let fatal = match &error {
        sled::Error::Io(io) => {
            let kinds =
                [io::ErrorKind::StorageFull, io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem];
            kinds.contains(&io.kind()) || is_locked(&error)
        }
        _ => false,
    };
    if fatal {
        return Trouble::Fatal(StoreError::Sled { path: dir.to_path_buf(), message });
    }
    Trouble::Damage(message)
}

/// sled never syncs the files and directories that it creates; without this a power cut soon after leaves nothing.
fn sync_files(dir: &Path, disk: &Disk) -> Result<(), StoreError> {
    for entry in fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let path = entry.map_err(StoreError::io("list", dir))?.path();
        if path.is_dir() {
            disk.sync_dir(&path).map_err(StoreError::io("sync the directory", &path))?;
        } else if path.is_file() {
            let file = File::open(&path).map_err(StoreError::io("open", &path))?;
            disk.sync_all(&file, &path).map_err(StoreError::io("sync", &path))?;
        }
    }
    disk.sync_dir(dir).map_err(StoreError::io("sync the directory", dir))?;
    let parent = dir.parent().unwrap_or(dir);
    disk.sync_dir(parent).map_err(StoreError::io("sync the directory", parent))
}
