//! Whole stores on real files. `Rig` is a store in a temporary directory; a crash is a copy of its files taken while
//! it runs, because dropping sled would tidy up behind it.

mod commits;
mod crashes;
mod damage;
mod lag;
mod layouts;
mod powercuts;
mod processes;
mod rings;
mod senders;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use super::blocks::Entry;
use super::index::Index;
use super::{Bounds, OpenReport, Store, StoreConfig};
use crate::{Ack, CommitError, Disk, DiskHook, DiskOp, NewRecord, Record, RecordKind, StoreHandle};

const ANSWER: RecordKind = RecordKind::Answer;
const FEEDBACK: RecordKind = RecordKind::Feedback;

/// Everything that a store holds, for comparing two: the index, what sled has for it, and sled's totals.
type Contents = (Index, BTreeMap<(u8, u64), (Option<Record>, Option<Entry>)>, Vec<(Vec<u8>, Vec<u8>)>);

struct Rig {
    // Dropped before the directory goes.
    store: Option<Store>,
    config: StoreConfig,
    report: OpenReport,
    temp: TempDir,
}

fn small() -> StoreConfig {
    StoreConfig {
        rings: BTreeMap::from([(ANSWER, Bounds { records: 1000, bytes: 8 << 20 })]),
        min_free_bytes: 0,
        cache_bytes: 4 << 20,
        ..StoreConfig::default()
    }
}

impl Rig {
    fn new(config: StoreConfig) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let (store, report) = Store::open(&temp.path().join("data"), config.clone()).unwrap();
        Self { temp, config, store: Some(store), report }
    }

    fn dir(&self) -> PathBuf {
        self.temp.path().join("data")
    }

    fn handle(&self) -> StoreHandle {
        self.store.as_ref().unwrap().handle()
    }

    fn close(&mut self) {
        self.store.take().unwrap().close().unwrap();
    }

    fn open(&mut self) {
        let (store, report) = Store::open(&self.dir(), self.config.clone()).unwrap();
        self.store = Some(store);
        self.report = report;
    }

    fn reopen(&mut self) {
        self.close();
        self.open();
    }

    /// Opens what a crash at this instant would leave.
    fn crash(&self) -> Self {
        let temp = tempfile::tempdir().unwrap();
        copy_store(&self.dir(), &temp.path().join("data"));
        let config = StoreConfig { disk: Disk::real(), on_failure: None, ..self.config.clone() };
        let mut image = Self { temp, config, store: None, report: OpenReport::default() };
        image.open();
        image
    }

    fn contents(&self) -> Contents {
        let handle = self.handle();
        handle.flush().unwrap();
        let state = handle.shared.read();
        assert!(state.overlay.is_empty());
        let trees = state.trees.as_ref().unwrap();
        let mut kept = BTreeMap::new();
        for (kind, ring) in state.index.rings() {
            for seq in ring.kept() {
                let live = state.index.live_kind(seq).is_some();
                let record = live.then(|| trees.record(kind, seq).unwrap().unwrap());
                kept.insert((kind, seq), (record, trees.entry(kind, seq).unwrap()));
            }
        }
        let meta = trees.meta.iter().map(|item| item.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
        (state.index.clone(), kept, meta)
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = fs::read_dir(self.dir().join("journal")).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        paths
    }
}

/// sled first: it runs behind the journal and not before it.
fn copy_store(from: &Path, to: &Path) {
    if from.join("sled").exists() {
        copy_dir(&from.join("sled"), &to.join("sled"));
    }
    copy_dir(&from.join("journal"), &to.join("journal"));
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_dir(&path, &target),
            false => assert!(fs::copy(&path, &target).is_ok()),
        }
    }
}

fn keyed(kind: RecordKind, key: &str, bytes: impl Into<Vec<u8>>) -> NewRecord {
    NewRecord { kind, key: Some(key.to_owned()), group: 0, bytes: bytes.into() }
}

fn plain(kind: RecordKind, bytes: impl Into<Vec<u8>>) -> NewRecord {
    NewRecord { kind, key: None, group: 0, bytes: bytes.into() }
}

/// Offers without waiting; the answer comes out of the receiver, or nothing if the store was full.
fn offer(handle: &StoreHandle, record: NewRecord) -> Receiver<Result<Ack, CommitError>> {
    let (sender, receiver) = sync_channel(1);
    let _ = handle.offer(record, Box::new(move |result| sender.send(result).unwrap()));
    receiver
}

/// A disk on which syncs of the journal, or of sled, wait while it is shut, and are counted.
#[derive(Default)]
struct Gate {
    state: Mutex<(bool, u64)>,
    changed: Condvar,
}

fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "seg")
}

fn is_sled(path: &Path) -> bool {
    path.ends_with("sled/db")
}

impl Gate {
    fn disk(self: &Arc<Self>) -> Disk {
        self.disk_at(is_journal)
    }

    fn disk_at(self: &Arc<Self>, here: fn(&Path) -> bool) -> Disk {
        let gate = Arc::clone(self);
        let hook: DiskHook = Arc::new(move |op, path| {
            if op == DiskOp::SyncFile && here(path) {
                let mut state = gate.state.lock().unwrap();
                state.1 += 1;
                gate.changed.notify_all();
                drop(gate.changed.wait_while(state, |state| state.0).unwrap());
            }
            Ok(())
        });
        Disk::with_hook(hook)
    }

    fn shut(&self, shut: bool) {
        self.state.lock().unwrap().0 = shut;
        self.changed.notify_all();
    }

    fn syncs(&self) -> u64 {
        self.state.lock().unwrap().1
    }

    /// Waits until a thread of the store stands at the gate with the `nth` sync.
    fn wait_for(&self, nth: u64) {
        let state = self.state.lock().unwrap();
        let waited = self.changed.wait_timeout_while(state, Duration::from_secs(10), |state| state.1 < nth).unwrap();
        assert!(!waited.1.timed_out(), "nobody came to sync {nth}");
    }
}
