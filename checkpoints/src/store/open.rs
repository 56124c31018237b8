//! Opening a data directory: what a crash, a full disk or a damaged file left is recognised here, repaired from the
//! journal where that is certain, and refused with a clear sentence where it is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock, RwLock};
use std::thread::{self, JoinHandle};

use super::applier::{Applier, Progress};
use super::changes::Changes;
use super::committer::Committer;
use super::index::Index;
use super::lag::Lag;
use super::lock::DirLock;
use super::shared::{Shared, State};
use super::trees::{Trees, Trouble};
use super::verify::{Audit, Loaded, load};
use super::{OpenReport, Rebuilt, Store, StoreConfig, StoreHandle};
use crate::journal::{self, BATCH_BYTES, Segment, Writer};
use crate::record::Prints;
use crate::{Record, StoreError};

/// Most records that may wait for the committer, whatever the configuration says.
const QUEUE_LIMIT: usize = 4096;

pub(super) fn open(dir: &Path, config: StoreConfig) -> Result<(Store, OpenReport), StoreError> {
    let disk = &config.disk;
    prepare_dir(dir, &config)?;
    let lock = DirLock::take(dir)?;
    disk.require_space(dir, config.min_free_bytes)?;
    let journal_dir = dir.join("journal");
    let created = !journal_dir.is_dir();
    disk.create_dir(&journal_dir).map_err(StoreError::io("create the directory", &journal_dir))?;
    disk.sync_dir(dir).map_err(StoreError::io("sync the directory", dir))?;

    let mut report = OpenReport { created, ..OpenReport::default() };
    let recovered = recover(dir, &journal_dir, &config, &mut report)?;
    let journal =
        Writer::resume(&journal_dir, disk.clone(), recovered.segments, report.last_seq + 1, config.segment_bytes)?
            .with_ahead(config.ahead_bytes);
    report.segments = journal.segments().size().0;
    report.rings = recovered.index.stats();

    let (queue, commands) = sync_channel(config.queue_records.clamp(1, QUEUE_LIMIT));
    let state = State { trees: Some(recovered.trees.clone()), index: recovered.index, overlay: Default::default() };
    let shared = Arc::new(Shared {
        dir: dir.to_path_buf(),
        state: RwLock::new(state),
        schema: config.schema,
        migrate: config.migrate,
        on_failure: config.on_failure.clone(),
        min_free_bytes: config.min_free_bytes,
        queue_bytes: config.queue_bytes,
        failed: OnceLock::new(),
        low_space: AtomicBool::new(false),
        free_bytes: AtomicU64::new(0),
        last_seq: AtomicU64::new(report.last_seq),
        waiting_records: AtomicUsize::new(0),
        waiting_bytes: AtomicUsize::new(0),
        batches: AtomicU64::new(0),
        segments: journal.segments(),
        lag: Lag::new(config.lag),
    });
    let applier = Applier {
        shared: Arc::clone(&shared),
        trees: recovered.trees,
        disk: config.disk.clone(),
        flush_batches: config.flush_batches.max(1),
        flush_interval: config.flush_interval,
        progress: Progress::at(report.last_seq),
    };
    let committer = Committer { shared: Arc::clone(&shared), queue: commands, journal };
    let handle = StoreHandle { shared, queue };
    let mut store = Store { dir: dir.to_path_buf(), handle, committer: None, applier: None, _lock: lock };
    store.applier = Some(start_thread(dir, "applier", move || applier.run())?);
    store.committer = Some(start_thread(dir, "committer", move || committer.run())?);
    Ok((store, report))
}

fn start_thread(dir: &Path, name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map_err(StoreError::io("start a thread of the store in", dir))
}

fn prepare_dir(dir: &Path, config: &StoreConfig) -> Result<(), StoreError> {
    if dir.exists() && !dir.is_dir() {
        return Err(StoreError::NotADirectory { path: dir.to_path_buf() });
    }
    let existed = dir.is_dir();
    config.disk.create_dir(dir).map_err(StoreError::io("create the data directory", dir))?;
    let parent = dir.parent().filter(|parent| !existed && parent.is_dir());
    parent.map_or(Ok(()), |parent| config.disk.sync_dir(parent).map_err(StoreError::io("sync the directory", parent)))
}

struct Recovered {
    trees: Trees,
    index: Index,
    segments: Vec<Segment>,
}

fn recover(
    dir: &Path,
    journal_dir: &Path,
    config: &StoreConfig,
    report: &mut OpenReport,
) -> Result<Recovered, StoreError> {
    let sled_dir = dir.join("sled");
    let had_sled = sled_dir.is_dir();
    let attempt = open_sled(&sled_dir, config);
    let (mut sled, mut damage) = match attempt {
        Ok(found) => (Some(found), None),
        Err(Trouble::Damage(reason)) => (None, Some(reason)),
        Err(Trouble::Fatal(error)) => return Err(error),
    };
    let known = sled.as_ref().map_or(0, |(_, loaded)| loaded.applied);
    let mut audit = sled.as_ref().map(|(_, loaded)| Audit::new(loaded));
    let scan = journal::scan(journal_dir, &config.disk, known, &mut |encoded| {
        if let Some(audit) = &mut audit {
            audit.see(encoded);
        }
        Ok(())
    })?;
    let last = scan.segments.last().map_or(0, |segment| segment.last);
    if last < known {
        return Err(StoreError::JournalBehind { path: journal_dir.to_path_buf(), last, applied: known });
    }
    let first = scan.segments.first().map_or(1, |segment| segment.first);
    if damage.is_none() && known + 1 < first {
        damage = Some(format!("it ends at record {known} and the journal begins at {first}"));
    }
    damage = damage.or_else(|| audit.as_ref().and_then(Audit::difference));
    if !had_sled && last > 0 {
        damage.get_or_insert("the directory was absent".to_owned());
    }
    if let Some(reason) = damage {
        drop(sled.take());
        report.rebuilt = Some(quarantine(dir, &sled_dir, had_sled, reason, config)?);
    }
    let (trees, loaded) = match sled {
        Some(found) => found,
        None => open_sled(&sled_dir, config).map_err(|trouble| give_up(&sled_dir, trouble))?,
    };
    let mut index = loaded.index;
    report.replayed = replay(&trees, &mut index, &scan.segments, loaded.applied, config)?;
    report.last_seq = last;
    report.journal_records = scan.records;
    report.torn_tail = scan.torn;
    Ok(Recovered { trees, index, segments: scan.segments })
}

fn open_sled(sled_dir: &Path, config: &StoreConfig) -> Result<(Trees, Loaded), Trouble> {
    let trees = Trees::open(sled_dir, config.cache_bytes, &config.disk)?;
    let loaded = match trees.check_layout()? {
        true => load(&trees, config)?,
        false => Loaded { index: Index::new(config), applied: 0 },
    };
    Ok((trees, loaded))
}

/// A database that was created a moment ago has no excuse.
fn give_up(sled_dir: &Path, trouble: Trouble) -> StoreError {
    match trouble {
        Trouble::Fatal(error) => error,
        Trouble::Damage(message) => StoreError::Sled { path: sled_dir.to_path_buf(), message },
    }
}

/// Puts a damaged database aside under a name that is free.
fn quarantine(
    dir: &Path,
    sled_dir: &Path,
    had_sled: bool,
    reason: String,
    config: &StoreConfig,
) -> Result<Rebuilt, StoreError> {
    let quarantined: Option<PathBuf> = match had_sled {
        true => (1u32..).map(|n| dir.join(format!("sled.bad-{n}"))).find(|path| !path.exists()),
        // What is there was created by this attempt.
        false => None,
    };
    match &quarantined {
        Some(aside) => config.disk.rename(sled_dir, aside).map_err(StoreError::io("put aside", sled_dir))?,
        None if sled_dir.exists() => fs::remove_dir_all(sled_dir).map_err(StoreError::io("remove", sled_dir))?,
        None => {}
    }
    config.disk.sync_dir(dir).map_err(StoreError::io("sync the directory", dir))?;
    tracing::warn!(reason, aside = ?quarantined, "the replay store is rebuilt from the journal");
    Ok(Rebuilt { quarantined, reason })
}

/// Applies what the journal has beyond `applied`; answers how many records that were.
fn replay(
    trees: &Trees,
    index: &mut Index,
    segments: &[Segment],
    applied: u64,
    config: &StoreConfig,
) -> Result<u64, StoreError> {
    let mut changes = Changes::default();
    let (mut batches, mut replayed) = (0, 0);
    let kinds: Vec<u8> = index.rings().map(|(kind, _)| kind).collect();
    for kind in kinds {
        index.trim(kind, &mut changes);
    }
    journal::read_from(segments, applied + 1, &mut |encoded| {
        let damaged = |reason| StoreError::RecordDamaged { seq: journal::peek(encoded).0, reason };
        let record = Record::decode(encoded).map_err(damaged)?;
        let prints = Prints::of(record.kind, record.key.as_deref(), &record.bytes);
        index.push(&record, prints, encoded.to_vec(), &mut changes);
        replayed += 1;
        if changes.bytes >= BATCH_BYTES {
            trees.apply_and_settle(&std::mem::take(&mut changes))?;
            batches += 1;
            if batches % config.flush_batches.max(1) == 0 {
                trees.flush(&config.disk)?;
            }
        }
        Ok(())
    })?;
    trees.apply(&changes)?;
    trees.flush(&config.disk)?;
    Ok(replayed)
}
