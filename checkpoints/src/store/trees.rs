//! sled, with the settings under which it was measured to lose nothing. It is only written by whole transactions, in
//! the journal's order, and never trusted: every read is checked, and its own panics become errors.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use sled::Transactional as _;
use sled::transaction::{ConflictableTransactionResult, TransactionError, TransactionalTree};

use super::blocks::{self, Entry, block_key, split_key};
use super::changes::Changes;
use crate::codec::Fields;
use crate::journal::peek;
use crate::{Disk, Record, StoreError};

/// Version of the layout of the trees; an older one is rebuilt from the journal.
pub(super) const LAYOUT_VERSION: u16 = 2;
const LAYOUT: &[u8] = b"layout";
/// Name of the applied watermark in the tree of totals.
const APPLIED: &[u8] = b"applied";
/// With pages up to a quarter of this sled keeps everything in its one file, which is the one that we sync.
const SEGMENT_SIZE: usize = 8 << 20;

/// Accesses for each block that a scan reads; a page has several blocks.
const SETTLING: u32 = 16;

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

/// New value or removal, by key.
type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// An open sled database and its three trees.
#[derive(Clone)]
pub(super) struct Trees {
    pub(super) dir: PathBuf,
    db: sled::Db,
    /// Blocks of encoded records.
    pub(super) records: sled::Tree,
    /// Blocks of entries, kept as long as the records' keys are.
    pub(super) entries: sled::Tree,
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
            let (records, entries, meta) = (tree("records")?, tree("entries")?, tree("meta")?);
            Ok(Self { dir: dir.to_path_buf(), db, records, entries, meta })
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
            return match guarded(|| self.records.is_empty() && self.entries.is_empty()) {
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
            Some(older) => Err(Trouble::Damage(format!("it has the older layout {older}"))),
            None => Err(Trouble::Damage("its layout version cannot be read".to_owned())),
        }
    }

    /// Applies changes: all of them or nothing, also after a crash.
    pub(super) fn apply(&self, changes: &Changes) -> Result<(), StoreError> {
        self.write(changes).map(drop)
    }

    /// [`Trees::apply`] for many changes in a row, after which nothing of them need stay in memory.
    pub(super) fn apply_and_settle(&self, changes: &Changes) -> Result<(), StoreError> {
        let [records, entries, _] = self.write(changes)?;
        let settle = |tree: &sled::Tree, writes: Writes| writes.iter().try_for_each(|(key, _)| self.settle(tree, key));
        let settled = guarded(|| settle(&self.records, records).and_then(|()| settle(&self.entries, entries)));
        settled.map_err(|panic| self.error(panic))?.map_err(|error| self.error(error.to_string()))
    }

    fn write(&self, changes: &Changes) -> Result<[Writes; 3], StoreError> {
        type Outcome = Result<(), TransactionError<()>>;
        let prepared = guarded(|| self.prepare(changes)).map_err(|panic| self.error(panic))?;
        let [in_records, in_entries, in_meta] = prepared.map_err(|error| self.error(error.to_string()))?;
        let run = || -> Outcome {
            (&self.records, &self.entries, &self.meta).transaction(|(records, entries, meta)| {
                write(records, &in_records)?;
                write(entries, &in_entries)?;
                write(meta, &in_meta)
            })
        };
        match guarded(run) {
            Ok(Ok(())) => Ok([in_records, in_entries, in_meta]),
            Ok(Err(TransactionError::Abort(()))) => Err(self.error("a transaction was aborted".to_owned())),
            Ok(Err(TransactionError::Storage(error))) => Err(self.error(error.to_string())),
            Err(panic) => Err(self.error(panic)),
        }
    }

    /// What to write to the three trees; decided before the transaction, because sled may run its closure again.
    fn prepare(&self, changes: &Changes) -> sled::Result<[Writes; 3]> {
        let (mut records, mut entries, mut meta) = (Writes::new(), Writes::new(), Writes::new());
        for (&kind, totals) in &changes.rings {
            let all = (kind, 0)..=(kind, u64::MAX);
            let new = changes.records.range(all.clone()).map(|((_, seq), encoded)| (*seq, encoded.as_slice()));
            replace(&self.records, kind, totals.first, blocks::of_records(kind, new), &mut records)?;
            let new = changes.entries.range(all).map(|((_, seq), entry)| (*seq, entry));
            replace(&self.entries, kind, totals.kept, blocks::of_entries(kind, new), &mut entries)?;
            meta.push((ring_key(kind), Some(totals.encode())));
        }
        if changes.applied > 0 {
            meta.push((APPLIED.to_vec(), Some(changes.applied.to_le_bytes().to_vec())));
        }
        meta.push((LAYOUT.to_vec(), Some(LAYOUT_VERSION.to_le_bytes().to_vec())));
        Ok([records, entries, meta])
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

    /// The record with this kind and number, or `None` when it is not here (any more).
    pub(super) fn record(&self, kind: u8, seq: u64) -> Result<Option<Record>, StoreError> {
        let Some(block) = self.block(&self.records, kind, seq)? else { return Ok(None) };
        let damaged = |reason| StoreError::RecordDamaged { seq, reason };
        for encoded in blocks::records(&block) {
            let encoded = encoded.map_err(|reason| damaged(reason.to_owned()))?;
            if peek(encoded).0 == seq {
                return Record::decode(encoded).map(Some).map_err(damaged);
            }
        }
        Ok(None)
    }

    /// What is known of a record whose key is remembered.
    pub(super) fn entry(&self, kind: u8, seq: u64) -> Result<Option<Entry>, StoreError> {
        let Some(block) = self.block(&self.entries, kind, seq)? else { return Ok(None) };
        let damaged = |reason: &str| StoreError::RecordDamaged { seq, reason: reason.to_owned() };
        let found = blocks::entries(&block).map_err(damaged)?.into_iter().find(|(of, _)| *of == seq);
        Ok(found.map(|(_, entry)| entry))
    }

    /// The last block that does not begin behind `seq`, its parts joined.
    fn block(&self, tree: &sled::Tree, kind: u8, seq: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let read = guarded(|| {
            let range = block_key(kind, 0, 0)..=block_key(kind, seq, u16::MAX);
            let Some((key, last)) = tree.range(range).next_back().transpose()? else { return Ok(None) };
            self.settle(tree, &key)?;
            if matches!(split_key(&key), None | Some((_, _, 0))) {
                return Ok(Some(last.to_vec()));
            }
            let mut block = Vec::new();
            for part in tree.scan_prefix(&key[..9]).values() {
                block.extend_from_slice(&part?);
            }
            Ok::<_, sled::Error>(Some(block))
        });
        read.map_err(|panic| self.error(panic))?.map_err(|error| self.error(error.to_string()))
    }

    /// Lets sled notice that the page with this key is in its cache.
    ///
    /// It keeps its cache under the bound only when one of the cache's 256 parts has seen 64 accesses. A scan of few large
    /// pages does not come to that, and would leave the whole database in memory.
    pub(super) fn settle(&self, tree: &sled::Tree, key: &[u8]) -> sled::Result<()> {
        (0..SETTLING).try_for_each(|_| tree.contains_key(key).map(drop))
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

/// Adds the blocks `new`, which are behind all that are there, and removes those that end before `first`.
fn replace(
    tree: &sled::Tree,
    kind: u8,
    first: u64,
    new: Vec<(Vec<u8>, Vec<u8>)>,
    writes: &mut Writes,
) -> sled::Result<()> {
    let first_of = |key: &[u8]| split_key(key).map_or(0, |(_, first, _)| first);
    let mut old = Vec::new();
    for key in tree.range(block_key(kind, 0, 0)..=block_key(kind, first, u16::MAX)).keys() {
        old.push(key?);
    }
    // The last block that begins at `first` or before holds it; with none of the new ones that is the last old one.
    let holds = new.first().map(|(key, _)| first_of(key)).filter(|begins| *begins <= first);
    let holds = holds.or_else(|| old.last().map(|key| first_of(key))).unwrap_or_default();
    writes.extend(old.iter().filter(|key| first_of(key) < holds).map(|key| (key.to_vec(), None)));
    writes.extend(new.into_iter().map(|(key, value)| (key, Some(value))));
    Ok(())
}

/// Where the totals of a kind's ring stand.
pub(super) fn ring_key(kind: u8) -> Vec<u8> {
    [b"ring/".as_slice(), &[kind]].concat()
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
