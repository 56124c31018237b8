//! A store and its checkpoints on one disk: power cuts, full disks.

use super::*;
use crate::checkpoint::{Retention, commit_on, prune_on, recover};
use crate::powercut::{self, Dice};
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const ACKS: u64 = 16;

fn tiny() -> StoreConfig {
    StoreConfig {
        rings: BTreeMap::from([(FEEDBACK, Bounds { records: 5, bytes: 1 << 20 })]),
        segment_bytes: 300,
        flush_batches: 3,
        // In step, so that each run has the same operations in the same order.
        lag: Bounds { records: 1, bytes: 1 },
        flush_interval: Duration::from_secs(3600),
        ..small()
    }
}

/// Record n; the larger ones make more than a sector of everything.
fn record(n: u64) -> NewRecord {
    keyed(FEEDBACK, &format!("f/{n}"), n.to_le_bytes().repeat(1 + n as usize % 12))
}

fn save(disk: &Disk, dir: &Path, step: u64) -> Result<PathBuf, crate::StoreError> {
    let weights = step.to_le_bytes().repeat(40);
    let parts: [(&str, &[u8]); 2] = [("weights", &weights), ("state", b"{}")];
    commit_on(disk, dir, step, &parts, serde_json::json!({ "journal": step }))
}

fn assert_saved(dir: &Path, step: u64) {
    let recovery = recover(dir).unwrap();
    assert_eq!(recovery.skipped, []);
    let newest = recovery.checkpoint.unwrap();
    assert_eq!((newest.step, newest.read("weights").unwrap()), (step, step.to_le_bytes().repeat(40)));
}

/// What was promised when an image was taken.
struct Cut {
    image: TempDir,
    acknowledged: u64,
    saved: u64,
}

/// One run with ratings, checkpoints and prunings, and what a cut at each operation of it would leave.
fn run(dice: Option<Dice>) -> Vec<Cut> {
    let temp = tempfile::tempdir().unwrap();
    let (acknowledged, saved): (Arc<AtomicU64>, Arc<AtomicU64>) = Default::default();
    let cuts: Arc<Mutex<Vec<Cut>>> = Arc::default();
    let (acks, saves, log) = (Arc::clone(&acknowledged), Arc::clone(&saved), Arc::clone(&cuts));
    let now = move || (acks.load(Ordering::SeqCst), saves.load(Ordering::SeqCst));
    let see = move |image: &Path, _: DiskOp, (acknowledged, saved): (u64, u64)| {
        let kept = tempfile::tempdir().unwrap();
        copy_dir(image, kept.path());
        log.lock().unwrap().push(Cut { image: kept, acknowledged, saved });
    };
    let disk = powercut::watched(temp.path(), dice, now, see);
    let data = temp.path().join("data");
    let checkpoints = data.join("checkpoints");
    let (store, _) = Store::open(&data, StoreConfig { disk: disk.clone(), ..tiny() }).unwrap();
    for n in 1..=ACKS {
        let ack = store.handle().append(record(n)).unwrap();
        acknowledged.store(ack.seq, Ordering::SeqCst);
        if n % 5 == 0 {
            store.handle().flush().unwrap();
            save(&disk, &checkpoints, n).unwrap();
            saved.store(n, Ordering::SeqCst);
            prune_on(&disk, &checkpoints, &Retention { keep_last: 2, ..Retention::default() }).unwrap();
        }
    }
    store.close().unwrap();
    std::mem::take(&mut *cuts.lock().unwrap())
}

fn check(cuts: Vec<Cut>, name: &str) {
    assert!(cuts.len() > 120 && cuts.iter().any(|cut| cut.acknowledged == ACKS), "{} cuts", cuts.len());
    for (place, Cut { image, acknowledged, saved }) in cuts.into_iter().enumerate() {
        let data = image.path().join("data");
        let recovery = recover(&data.join("checkpoints")).unwrap();
        assert_eq!(recovery.skipped, [], "{name} cut {place}");
        match recovery.checkpoint {
            Some(newest) => {
                // The one that was committed last, or the one that is being committed.
                assert!(newest.step == saved || newest.step == saved + 5, "{name} cut {place}: {newest:?}");
                assert_eq!(newest.read("weights").unwrap(), newest.step.to_le_bytes().repeat(40));
            }
            None => assert_eq!(saved, 0, "{name} cut {place}"),
        }
        let (store, report) = Store::open(&data, tiny()).unwrap_or_else(|error| panic!("{name} cut {place}: {error}"));
        let handle = store.handle();
        let last = handle.last_seq();
        assert!((acknowledged..=acknowledged + 1).contains(&last), "{name} cut {place}: {last} of {acknowledged}");
        let live = handle.read_from(FEEDBACK, 0, 100).unwrap();
        let seqs: Vec<u64> = live.iter().map(|record| record.seq).collect();
        assert_eq!(seqs, (last.saturating_sub(4).max(1)..=last).collect::<Vec<_>>(), "{name} cut {place}: {report:?}");
        for found in live {
            assert_eq!(NewRecord { bytes: found.bytes, ..record(found.seq) }, record(found.seq));
            assert!(handle.append(record(found.seq)).unwrap().duplicate);
        }
        assert_eq!(handle.append(record(last + 1)), Ok(Ack { seq: last + 1, duplicate: false }));
    }
}

#[test]
fn a_cut_at_every_operation_that_leaves_only_what_was_synced_loses_nothing_promised() {
    check(run(None), "strict");
}

#[test]
fn a_cut_at_every_operation_that_tears_and_reorders_what_was_not_synced_loses_nothing_promised() {
    let dice = Dice::from_environment(20_261_122);
    check(run(Some(dice)), "torn");
}

#[test]
fn a_full_disk_at_any_operation_of_a_save_harms_neither_the_store_nor_the_last_checkpoint() {
    let countdown = Arc::new(AtomicUsize::new(usize::MAX));
    let left = Arc::clone(&countdown);
    let hook: DiskHook = Arc::new(move |_, path| {
        let counts = path.components().any(|part| part.as_os_str() == "checkpoints");
        // Full from the nth operation on, as a disk is.
        match counts && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| Some(n.saturating_sub(1))) == Ok(0) {
            true => Err(io::Error::from_raw_os_error(28)),
            false => Ok(()),
        }
    });
    let disk = Disk::with_hook(hook);
    let rig = Rig::new(StoreConfig { disk: disk.clone(), ..tiny() });
    let dir = rig.dir().join("checkpoints");
    save(&disk, &dir, 1).unwrap();
    let mut step = 1;
    let mut operations = 0;
    for nth in 0.. {
        countdown.store(nth, Ordering::SeqCst);
        let saved = save(&disk, &dir, step + 1);
        countdown.store(usize::MAX, Ordering::SeqCst);
        assert!(rig.handle().append(record(nth as u64 + 1)).is_ok());
        assert_eq!(rig.handle().failed(), None);
        match saved {
            Ok(_) => break,
            Err(error) => {
                let renamed = recover(&dir).unwrap().checkpoint.unwrap().step > step;
                step += u64::from(renamed);
                assert!(error.to_string().contains("os error 28"), "{error}");
            }
        }
        operations += 1;
        assert_saved(&dir, step);
        let names = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
        assert!(names.into_iter().all(|path| path.extension().is_none()), "something was left behind");
        // With room again the next one succeeds.
        step += 1;
        save(&disk, &dir, step).unwrap();
        assert_saved(&dir, step);
        prune_on(&disk, &dir, &Retention { keep_last: 1, ..Retention::default() }).unwrap();
    }
    // The directory, four files of create, write and sync, its sync, the rename, the parent's sync.
    assert_eq!(operations, 16);
}
