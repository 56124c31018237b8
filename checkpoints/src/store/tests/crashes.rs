//! Crashes and disk errors at every point of the write path.

use super::*;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

fn tiny_segments() -> StoreConfig {
    // A new segment every few batches, rings that evict, keys that expire: everything happens in a short run.
    StoreConfig {
        rings: BTreeMap::from([(FEEDBACK, Bounds { records: 6, bytes: 1 << 20 })]),
        segment_bytes: 400,
        flush_batches: 3,
        ..small()
    }
}

/// sled is never behind by more than one batch and nothing goes by time, so a run has the same operations in the same order each time.
fn in_step() -> StoreConfig {
    let flush_interval = Duration::from_secs(3600);
    StoreConfig { lag: Bounds { records: 1, bytes: 1 }, flush_interval, ..tiny_segments() }
}

/// Reads back what must be there: record n has the key `f/n` and its number as bytes.
fn assert_holds(rig: &Rig, acknowledged: u64) {
    let handle = rig.handle();
    assert!(handle.last_seq() >= acknowledged, "{} < {acknowledged}: {:?}", handle.last_seq(), rig.report);
    let last = handle.last_seq();
    let live: Vec<u64> = handle.read_from(FEEDBACK, 0, 100).unwrap().iter().map(|record| record.seq).collect();
    assert_eq!(live, (last.saturating_sub(5).max(1)..=last).collect::<Vec<_>>(), "{:?}", rig.report);
    for seq in live {
        let record = handle.get_by_key(&format!("f/{seq}")).unwrap().unwrap();
        assert_eq!((record.seq, record.bytes), (seq, seq.to_le_bytes().to_vec()));
    }
    let next = handle.append(keyed(FEEDBACK, "next", b"n".to_vec())).unwrap();
    assert_eq!(next, Ack { seq: last + 1, duplicate: false });
}

#[test]
fn a_crash_before_any_disk_operation_loses_nothing_acknowledged() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let images = temp.path().join("images");
    let acknowledged = Arc::new(AtomicU64::new(0));
    let taken: Arc<Mutex<Vec<(PathBuf, u64, DiskOp)>>> = Arc::default();
    let (data_seen, images_of, acks, log) = (data.clone(), images, Arc::clone(&acknowledged), Arc::clone(&taken));
    let hook: DiskHook = Arc::new(move |op, _| {
        let mut log = log.lock().unwrap();
        let image = images_of.join(log.len().to_string()).join("data");
        if data_seen.exists() {
            let acknowledged = acks.load(Ordering::SeqCst);
            copy_dir(&data_seen, &image);
            log.push((image, acknowledged, op));
        }
        Ok(())
    });
    let config = StoreConfig { disk: Disk::with_hook(hook), ..in_step() };
    let (store, _) = Store::open(&data, config).unwrap();
    for seq in 1..=20u64 {
        let ack = store.handle().append(keyed(FEEDBACK, &format!("f/{seq}"), seq.to_le_bytes())).unwrap();
        acknowledged.store(ack.seq, Ordering::SeqCst);
    }
    store.close().unwrap();
    let taken = taken.lock().unwrap();
    assert!(taken.iter().any(|(_, acks, op)| *op == DiskOp::Remove && *acks > 0), "nothing was compacted");
    assert!(taken.len() > 60, "{} crash points", taken.len());
    for (image, acks, _) in taken.iter() {
        let (store, report) = Store::open(image, tiny_segments()).unwrap();
        let temp = tempfile::tempdir().unwrap();
        let rig = Rig { temp, config: tiny_segments(), store: Some(store), report };
        assert!(rig.report.rebuilt.is_none() || *acks == 0, "{:?}", rig.report);
        assert_holds(&rig, *acks);
    }
}

#[test]
fn an_error_at_any_sync_or_append_stops_the_store_and_keeps_what_was_acknowledged() {
    for op in [DiskOp::SyncFile, DiskOp::Write] {
        for nth in 0..12 {
            let countdown = Arc::new(AtomicUsize::new(usize::MAX));
            let left = Arc::clone(&countdown);
            let hook: DiskHook = Arc::new(move |at, path| {
                let counts = at == op && path.extension().is_some_and(|extension| extension == "seg");
                if counts && left.load(Ordering::SeqCst) < usize::MAX && left.fetch_sub(1, Ordering::SeqCst) == 0 {
                    return Err(io::Error::from_raw_os_error(5));
                }
                Ok(())
            });
            let told = Arc::new(AtomicUsize::new(0));
            let tell = Arc::clone(&told);
            let on_failure: crate::OnFailure = Arc::new(move |reason| {
                assert!(reason.contains("os error 5"), "{reason}");
                tell.fetch_add(1, Ordering::SeqCst);
            });
            let disk = Disk::with_hook(hook);
            let mut rig = Rig::new(StoreConfig { disk, on_failure: Some(on_failure), ..tiny_segments() });
            countdown.store(nth, Ordering::SeqCst);
            let append = |seq: u64| rig.handle().append(keyed(FEEDBACK, &format!("f/{seq}"), seq.to_le_bytes()));
            let acknowledged = (1..).take_while(|seq| append(*seq).is_ok()).count() as u64;
            assert!(acknowledged <= nth as u64);
            for _ in 0..3 {
                assert!(matches!(append(99), Err(CommitError::Failed { .. })));
                assert!(matches!(
                    offer(&rig.handle(), plain(ANSWER, Vec::new())).recv().unwrap(),
                    Err(CommitError::Failed { .. })
                ));
            }
            assert!(rig.handle().failed().is_some());
            assert_eq!(told.load(Ordering::SeqCst), 1);
            assert_holds(&rig.crash(), acknowledged);
            assert!(rig.store.take().unwrap().close().is_err());
            countdown.store(usize::MAX, Ordering::SeqCst);
            rig.open();
            assert_holds(&rig, acknowledged);
        }
    }
}

#[test]
fn everybody_in_a_batch_that_fails_is_told_so() {
    let gate = Arc::new(Gate::default());
    let inner = gate.disk();
    let broken = Arc::new(AtomicUsize::new(0));
    let is_broken = Arc::clone(&broken);
    let waiting = Arc::clone(&gate);
    drop(inner);
    let hook: DiskHook = Arc::new(move |op, path| {
        if op == DiskOp::SyncFile && path.extension().is_some_and(|extension| extension == "seg") {
            let mut state = waiting.state.lock().unwrap();
            state.1 += 1;
            waiting.changed.notify_all();
            drop(waiting.changed.wait_while(state, |state| state.0).unwrap());
            if is_broken.load(Ordering::SeqCst) == 1 {
                return Err(io::Error::from_raw_os_error(5));
            }
        }
        Ok(())
    });
    let rig = Rig::new(StoreConfig { disk: Disk::with_hook(hook), ..small() });
    let before = gate.syncs();
    gate.shut(true);
    let replies: Vec<_> = (0..50).map(|n| offer(&rig.handle(), plain(ANSWER, vec![n]))).collect();
    gate.wait_for(before + 1);
    broken.store(1, Ordering::SeqCst);
    gate.shut(false);
    for reply in replies {
        assert!(matches!(reply.recv().unwrap(), Err(CommitError::Failed { .. })));
    }
}

#[test]
fn a_torn_tail_is_cut_and_reported_and_the_number_used_again() {
    let rig = Rig::new(small());
    for seq in 1..=3u64 {
        rig.handle().append(plain(ANSWER, [seq as u8; 8])).unwrap();
    }
    let image = tempfile::tempdir().unwrap();
    copy_dir(&rig.dir().join("journal"), &image.path().join("journal"));
    let segment = image.path().join("journal").join(rig.segments()[0].file_name().unwrap());
    let mut whole = fs::read(&segment).unwrap();
    // No byte of these records ends in 0: what does was written ahead.
    whole.truncate(whole.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    let frame = (whole.len() - 40) / 3;
    for cut in [1, frame / 2, frame - 1] {
        for garbage in [0, 5, 5000] {
            drop(fs::remove_dir_all(image.path().join("sled")));
            let left = &whole[40 + 2 * frame..whole.len() - cut];
            let written = left.iter().rposition(|byte| *byte != 0).unwrap() + 1;
            fs::write(&segment, [&whole[..whole.len() - cut], &vec![0; garbage]].concat()).unwrap();
            let (store, report) = Store::open(image.path(), small()).unwrap();
            let torn = report.torn_tail.clone().unwrap();
            assert_eq!((torn.offset, torn.bytes), ((40 + 2 * frame) as u64, written as u64));
            assert_eq!(store.handle().append(plain(ANSWER, b"third".to_vec())).unwrap().seq, 3);
            drop(store);
            let (store, report) = Store::open(image.path(), small()).unwrap();
            assert_eq!((report.torn_tail, report.last_seq), (None, 3));
            assert_eq!(store.handle().get(3).unwrap().unwrap().bytes, b"third");
        }
    }
}

#[test]
fn an_io_error_of_any_sync_ends_acknowledging_and_the_restart_has_all_that_was() {
    let mut most = 0;
    for kth in 1..=50 {
        let seen = Arc::new(AtomicUsize::new(0));
        let (count, acknowledged) = (Arc::clone(&seen), Arc::new(AtomicU64::new(0)));
        // Only this one fails: those after it would succeed, and must not be believed.
        let hook: DiskHook = Arc::new(move |op, path| {
            let counts = op == DiskOp::SyncFile && (is_journal(path) || is_sled(path));
            match counts && count.fetch_add(1, Ordering::SeqCst) + 1 == kth {
                true => Err(io::Error::from_raw_os_error(5)),
                false => Ok(()),
            }
        });
        let temp = tempfile::tempdir().unwrap();
        let data = temp.path().join("data");
        let config = StoreConfig { disk: Disk::with_hook(hook), ..in_step() };
        if let Ok((store, _)) = Store::open(&data, config) {
            let mut refused = 0;
            for n in 1..=60u64 {
                match store.handle().append(keyed(FEEDBACK, &format!("f/{n}"), n.to_le_bytes())) {
                    Ok(ack) => {
                        assert_eq!(acknowledged.swap(ack.seq, Ordering::SeqCst) + 1, ack.seq);
                        assert_eq!(refused, 0, "sync {kth} failed and it went on acknowledging");
                    }
                    Err(error) => {
                        refused += 1;
                        assert!(matches!(error, CommitError::Failed { .. }), "{error}");
                    }
                }
            }
            // An error of sled's own sync comes from the other thread: at most the batch in hand is told before.
            assert!(refused > 0 && seen.load(Ordering::SeqCst) <= kth + 2, "sync {kth} failed, {refused} refused");
            assert!(
                store.handle().failed().is_some() && store.close().is_err(),
                "sync {kth} failed and nobody was told"
            );
        }
        let acknowledged = acknowledged.load(Ordering::SeqCst);
        most = most.max(acknowledged);
        let (store, report) = Store::open(&data, tiny_segments()).unwrap();
        let rig = Rig { temp, config: tiny_segments(), store: Some(store), report };
        assert_holds(&rig, acknowledged);
    }
    assert!(most > 20, "the errors came no later than after {most} acknowledgements");
}

#[test]
fn room_made_ahead_is_no_torn_tail_after_a_crash_and_is_given_back_at_the_end() {
    let mut rig = Rig::new(small());
    for n in 1..=3u64 {
        rig.handle().append(plain(ANSWER, n.to_le_bytes())).unwrap();
    }
    let length = |rig: &Rig| fs::metadata(&rig.segments()[0]).unwrap().len();
    assert!(length(&rig) > 1 << 20, "nothing was written ahead");
    let mut image = rig.crash();
    assert_eq!((&image.report.torn_tail, image.report.last_seq), (&None, 3));
    for n in 4..=5u64 {
        assert_eq!(image.handle().append(plain(ANSWER, n.to_le_bytes())).unwrap().seq, n);
    }
    image.reopen();
    assert_eq!((&image.report.torn_tail, image.report.last_seq), (&None, 5));
    rig.close();
    assert_eq!(length(&rig), 40 + 3 * (8 + 4 + 25 + 8), "only header and frames are left");
}

#[test]
fn a_full_disk_under_an_append_refuses_and_when_there_is_room_again_it_goes_on_without_a_restart() {
    for full_at in [DiskOp::Write, DiskOp::CreateFile] {
        let full = Arc::new(AtomicUsize::new(0));
        let is_full = Arc::clone(&full);
        let hook: DiskHook = Arc::new(move |op, path| {
            if is_full.load(Ordering::SeqCst) == 0 || op != full_at || !is_journal(path) {
                return Ok(());
            }
            // Part of it is written before there is no more room.
            let mut file = fs::File::options().append(true).create(true).open(path)?;
            io::Write::write_all(&mut file, b"part of a frame")?;
            Err(io::Error::from_raw_os_error(28))
        });
        let disk = Disk::with_hook(hook);
        let mut rig = Rig::new(StoreConfig { disk, flush_interval: Duration::from_millis(1), ..tiny_segments() });
        let append = |rig: &Rig, n: u64| rig.handle().append(keyed(FEEDBACK, &format!("f/{n}"), n.to_le_bytes()));
        let mut next = 1;
        for _ in 0..4 {
            full.store(1, Ordering::SeqCst);
            // A new file is only needed every few batches.
            let refused =
                std::iter::repeat_with(|| append(&rig, next).map(|ack| next = ack.seq + 1)).find_map(Result::err);
            assert!(matches!(refused, Some(CommitError::NoSpace { .. })), "{refused:?}");
            assert_eq!(rig.handle().failed(), None);
            assert_eq!(rig.handle().last_seq(), next - 1);
            assert_eq!(rig.handle().read_from(FEEDBACK, 0, 100).unwrap().len() as u64, (next - 1).min(6));
            let image = rig.crash();
            assert_eq!(image.report.torn_tail, None, "part of a refused append is still there");
            assert_holds(&image, next - 1);
            full.store(0, Ordering::SeqCst);
            let went_on = std::iter::repeat_with(|| append(&rig, next)).find_map(Result::ok);
            assert_eq!(went_on, Some(Ack { seq: next, duplicate: false }));
            next += 1;
        }
        rig.reopen();
        assert_eq!(rig.report.torn_tail, None);
        assert_holds(&rig, next - 1);
    }
}
