//! sled runs behind the journal: nobody notices, it is never far, and what it missed it gets at the next start.

use super::*;
use crate::Sampling;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Lets everybody through at its end, so that a failed test does not hang.
struct Opener(Arc<Gate>);

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.shut(false);
    }
}

/// A store whose applier stands in its first flush, with the records 1 to `count` acknowledged.
fn stuck(count: u64, config: StoreConfig) -> (Rig, Opener) {
    let gate = Opener(Arc::new(Gate::default()));
    let rig = Rig::new(StoreConfig { disk: gate.0.disk_at(is_sled), flush_batches: 1, ..config });
    let before = gate.0.syncs();
    gate.0.shut(true);
    for n in 1..=count {
        let ack = rig.handle().append(record(n)).unwrap();
        assert_eq!(ack, Ack { seq: n, duplicate: false });
        if n == 1 {
            gate.0.wait_for(before + 1);
        }
    }
    (rig, gate)
}

fn record(n: u64) -> NewRecord {
    NewRecord { kind: ANSWER, key: Some(format!("k{n}")), group: n, bytes: n.to_le_bytes().to_vec() }
}

#[test]
fn what_sled_does_not_have_yet_is_found_in_every_way() {
    let (rig, gate) = stuck(50, small());
    let handle = rig.handle();
    assert_eq!(handle.stats().lag_records, 50);
    for n in 1..=50u64 {
        assert_eq!(handle.get(n).unwrap().unwrap().bytes, n.to_le_bytes());
        assert_eq!(handle.get_by_key(&format!("k{n}")).unwrap().unwrap().seq, n);
        assert_eq!(handle.append(record(n)), Ok(Ack { seq: n, duplicate: true }));
        let other = handle.append(keyed(ANSWER, &format!("k{n}"), b"other".to_vec()));
        assert_eq!(other, Err(CommitError::Conflict { key: format!("k{n}"), seq: n }));
    }
    assert_eq!(handle.get(51).unwrap(), None);
    assert_eq!(handle.newest(ANSWER).unwrap().unwrap().seq, 50);
    let seqs = |records: Vec<Record>| records.into_iter().map(|record| record.seq).collect::<Vec<_>>();
    assert_eq!(seqs(handle.read_from(ANSWER, 20, 100).unwrap()), (20..=50).collect::<Vec<_>>());
    let mut sampled = seqs(handle.sample(ANSWER, Sampling::Uniform, 100, &mut |n| n / 2).unwrap());
    sampled.sort_unstable();
    assert_eq!(sampled, (1..=50).collect::<Vec<_>>());
    gate.0.shut(false);
    handle.flush().unwrap();
    assert_eq!(handle.stats().lag_records, 0);
    assert_eq!(handle.get(50).unwrap().unwrap().bytes, 50u64.to_le_bytes());
}

#[test]
fn a_crash_while_sled_is_behind_loses_nothing_and_the_rest_is_applied_at_the_start() {
    let (rig, gate) = stuck(50, small());
    let image = rig.crash();
    assert_eq!((image.report.last_seq, &image.report.rebuilt), (50, &None));
    // Of the first record sled may have been written, though not synced.
    assert!(image.report.replayed >= 49, "{:?}", image.report);
    gate.0.shut(false);
    assert!(image.contents() == rig.contents());
}

#[test]
fn a_record_that_leaves_its_ring_before_sled_has_it_is_gone_all_the_same() {
    let rings = BTreeMap::from([(ANSWER, Bounds { records: 4, bytes: 1 << 20 })]);
    let (rig, gate) = stuck(20, StoreConfig { rings, ..small() });
    for checked in 0..2 {
        let live: Vec<u64> =
            rig.handle().read_from(ANSWER, 0, 100).unwrap().into_iter().map(|record| record.seq).collect();
        assert_eq!(live, [17, 18, 19, 20], "{checked}");
        assert_eq!(rig.handle().get(16).unwrap(), None);
        // Its key is remembered for another four records, and that of the one before is not.
        assert_eq!(rig.handle().seq_of_key("k13").unwrap(), Some(13));
        assert_eq!(rig.handle().seq_of_key("k12").unwrap(), None);
        gate.0.shut(false);
        rig.handle().flush().unwrap();
    }
}

#[test]
fn sled_is_behind_by_no_more_than_the_bound_and_then_new_records_wait() {
    for lag in [Bounds { records: 10, bytes: 1 << 20 }, Bounds { records: 1000, bytes: 9 * 35 + 36 }] {
        let (rig, gate) = stuck(10, StoreConfig { lag, queue_records: 3, ..small() });
        let handle = rig.handle();
        let waiting: Vec<_> = (11..).map_while(|n| taken(&handle, record(n))).take(100).collect();
        // One or more in the committer's hand, three in its queue.
        assert!((3..=8).contains(&waiting.len()), "{} were taken", waiting.len());
        assert_eq!((handle.last_seq(), handle.stats().lag_records), (10, 10));
        assert!(waiting.iter().all(|reply| reply.try_recv().is_err()));
        gate.0.shut(false);
        for (n, reply) in (11..).zip(&waiting) {
            assert_eq!(reply.recv().unwrap(), Ok(Ack { seq: n, duplicate: false }));
        }
    }
}

/// Offers a record; `None` when the queue stays full for 50 ms, in which the committer would have emptied it.
fn taken(handle: &StoreHandle, record: NewRecord) -> Option<Receiver<Result<Ack, CommitError>>> {
    for _ in 0..50 {
        let (sender, receiver) = sync_channel(1);
        if handle.offer(record.clone(), Box::new(move |result| sender.send(result).unwrap())).is_ok() {
            return Some(receiver);
        }
        nap();
    }
    None
}

#[expect(clippy::disallowed_methods, reason = "waits for a thread that cannot be seen from outside")]
fn nap() {
    std::thread::sleep(Duration::from_millis(1));
}

#[test]
fn an_error_of_sled_stops_the_store_and_everything_acknowledged_is_there_after_the_restart() {
    let broken = Arc::new(AtomicBool::new(false));
    let told = Arc::new(AtomicUsize::new(0));
    let (is_broken, tell) = (Arc::clone(&broken), Arc::clone(&told));
    let hook: DiskHook = Arc::new(move |op, path| match op == DiskOp::SyncFile && is_sled(path) {
        true if is_broken.load(Ordering::SeqCst) => Err(io::Error::from_raw_os_error(28)),
        _ => Ok(()),
    });
    let on_failure: crate::OnFailure = Arc::new(move |reason| {
        assert!(reason.contains("os error 28"), "{reason}");
        tell.fetch_add(1, Ordering::SeqCst);
    });
    let config = StoreConfig {
        disk: Disk::with_hook(hook),
        on_failure: Some(on_failure),
        lag: Bounds { records: 8, bytes: 1 << 20 },
        flush_batches: 1,
        ..small()
    };
    let mut rig = Rig::new(config);
    broken.store(true, Ordering::SeqCst);
    // Also those that wait for room are answered, and a flush is.
    let acknowledged = (1..=100).take_while(|n| rig.handle().append(record(*n)).is_ok()).count() as u64;
    assert!(acknowledged < 100 && rig.handle().flush().is_err());
    assert_eq!(told.load(Ordering::SeqCst), 1);
    assert!(rig.store.take().unwrap().close().is_err());
    broken.store(false, Ordering::SeqCst);
    rig.open();
    assert!(rig.handle().last_seq() >= acknowledged);
    for n in 1..=acknowledged {
        assert_eq!(rig.handle().get_by_key(&format!("k{n}")).unwrap().unwrap().seq, n);
    }
}

#[test]
fn readers_find_everything_acknowledged_while_both_threads_run() {
    let rig = Rig::new(StoreConfig { flush_batches: 2, lag: Bounds { records: 64, bytes: 1 << 20 }, ..small() });
    let (newest, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for reader in 0..2usize {
            let (handle, newest, done) = (rig.handle(), &newest, &done);
            scope.spawn(move || {
                for step in 1usize.. {
                    if done.load(Ordering::SeqCst) {
                        break;
                    }
                    let newest = newest.load(Ordering::SeqCst) as u64;
                    let seq = newest.saturating_sub((step * (reader + 7) % 900) as u64);
                    if seq > 0 {
                        assert_eq!(handle.get(seq).unwrap().unwrap().bytes, seq.to_le_bytes());
                        assert_eq!(handle.seq_of_key(&format!("k{seq}")).unwrap(), Some(seq));
                    }
                }
            });
        }
        for n in 1..=2000 {
            rig.handle().append(record(n)).unwrap();
            // The ring holds 1000, and readers look 900 back: what they look for stays meanwhile.
            newest.store(n as usize, Ordering::SeqCst);
        }
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn without_room_on_the_disk_sled_is_left_alone_everything_is_found_and_it_goes_on_when_there_is_room() {
    let free = Arc::new(AtomicUsize::new(100));
    let asked = Arc::clone(&free);
    let gate = Arc::new(Gate::default());
    let disk = gate.disk_at(is_sled).with_free_bytes(Arc::new(move |_| asked.load(Ordering::SeqCst) as u64));
    let config = StoreConfig {
        disk,
        min_free_bytes: 50,
        lag: Bounds { records: 20, bytes: 1 << 20 },
        flush_interval: Duration::from_millis(1),
        flush_batches: 1,
        ..small()
    };
    let mut rig = Rig::new(config);
    for round in 0..3u64 {
        let handle = rig.handle();
        let first = handle.last_seq() + 1;
        handle.append(record(first)).unwrap();
        handle.flush().unwrap();
        // The disk is full all at once; some are acknowledged before that is noticed.
        free.store(10, Ordering::SeqCst);
        let refused = (first + 1..).find_map(|n| handle.append(record(n)).err());
        assert!(matches!(refused, Some(CommitError::NoSpace { free: 10, needed: 50, .. })), "{refused:?}");
        // Nothing is asked of sled's file but what was under way when it was noticed.
        nap();
        let before = gate.syncs();
        for n in first..=handle.last_seq() {
            assert_eq!(handle.get(n).unwrap().unwrap().bytes, n.to_le_bytes());
        }
        assert!(matches!(handle.append(record(first + 1000)), Err(CommitError::NoSpace { .. })));
        std::iter::repeat_with(nap).take(60).for_each(drop);
        assert_eq!((gate.syncs(), handle.failed()), (before, None));
        if round == 1 {
            // Also closing does not wait for room.
            rig.close();
            free.store(100, Ordering::SeqCst);
            rig.open();
            continue;
        }
        free.store(100, Ordering::SeqCst);
        let next = handle.last_seq() + 1;
        let went_on = std::iter::repeat_with(|| handle.append(record(next))).find_map(Result::ok);
        assert_eq!(went_on, Some(Ack { seq: next, duplicate: false }));
        handle.flush().unwrap();
        assert_eq!(handle.stats().lag_records, 0);
    }
}
