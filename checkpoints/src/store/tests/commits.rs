//! What an acknowledgement means.

use super::*;
use crate::{MAX_KEY_BYTES, StoreError};
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn an_acknowledged_record_is_found_by_number_key_and_order_also_after_reopening() {
    let mut rig = Rig::new(small());
    assert!(rig.report.created && rig.report.rebuilt.is_none());
    let first = rig.handle().append(keyed(ANSWER, "answer/1", b"one".to_vec())).unwrap();
    let second = rig.handle().append(plain(FEEDBACK, b"two".to_vec())).unwrap();
    let third = rig.handle().append(plain(ANSWER, b"three".to_vec())).unwrap();
    assert_eq!([first.seq, second.seq, third.seq], [1, 2, 3]);
    for _ in 0..2 {
        let handle = rig.handle();
        assert_eq!(handle.last_seq(), 3);
        assert_eq!(handle.get(2).unwrap().unwrap().bytes, b"two");
        assert_eq!(handle.get_by_key("answer/1").unwrap().unwrap().seq, 1);
        assert_eq!(handle.get_by_key("answer/2").unwrap(), None);
        let bytes = |records: Vec<crate::Record>| records.into_iter().map(|record| record.bytes).collect::<Vec<_>>();
        assert_eq!(bytes(handle.read_from(ANSWER, 1, 10).unwrap()), [b"one".to_vec(), b"three".to_vec()]);
        assert_eq!(bytes(handle.read_from(ANSWER, 2, 10).unwrap()), [b"three".to_vec()]);
        assert_eq!(bytes(handle.read_from(ANSWER, 1, 1).unwrap()), [b"one".to_vec()]);
        assert_eq!(bytes(handle.read_back(ANSWER, u64::MAX, 10).unwrap()), [b"three".to_vec(), b"one".to_vec()]);
        assert_eq!(bytes(handle.read_back(ANSWER, 3, 10).unwrap()), [b"one".to_vec()]);
        assert_eq!(bytes(handle.read_back(ANSWER, u64::MAX, 1).unwrap()), [b"three".to_vec()]);
        assert_eq!(handle.newest(FEEDBACK).unwrap().unwrap().seq, 2);
        rig.reopen();
        assert!(!rig.report.created && rig.report.replayed == 0 && rig.report.rebuilt.is_none(), "{:?}", rig.report);
    }
}

#[test]
fn a_record_is_readable_when_its_acknowledgement_arrives() {
    let rig = Rig::new(small());
    let (sender, receiver) = sync_channel(1);
    let reader = rig.handle();
    let reply = Box::new(move |_| sender.send(reader.get_by_key("k").unwrap()).unwrap());
    rig.handle().offer(keyed(ANSWER, "k", b"bytes".to_vec()), reply).unwrap();
    assert_eq!(receiver.recv().unwrap().unwrap().bytes, b"bytes");
}

#[test]
fn the_same_key_is_one_record_and_other_contents_are_a_conflict() {
    let mut rig = Rig::new(small());
    let first = rig.handle().append(keyed(FEEDBACK, "k", b"a".to_vec())).unwrap();
    for _ in 0..2 {
        let handle = rig.handle();
        let again = handle.append(keyed(FEEDBACK, "k", b"a".to_vec())).unwrap();
        assert_eq!(again, Ack { seq: first.seq, duplicate: true });
        let conflict = CommitError::Conflict { key: "k".to_owned(), seq: first.seq };
        assert_eq!(handle.append(keyed(FEEDBACK, "k", b"b".to_vec())), Err(conflict.clone()));
        assert_eq!(handle.append(keyed(ANSWER, "k", b"a".to_vec())), Err(conflict));
        assert_eq!(handle.last_seq(), first.seq);
        rig.reopen();
    }
}

#[test]
fn duplicates_and_conflicts_are_seen_within_one_batch() {
    let gate = Arc::new(Gate::default());
    let rig = Rig::new(StoreConfig { disk: gate.disk(), ..small() });
    let handle = rig.handle();
    let before = gate.syncs();
    gate.shut(true);
    let plug = offer(&handle, plain(ANSWER, b"plug".to_vec()));
    gate.wait_for(before + 1);
    let replies = [b"a", b"a", b"b", b"a"].map(|bytes| offer(&handle, keyed(FEEDBACK, "k", bytes.to_vec())));
    gate.shut(false);
    plug.recv().unwrap().unwrap();
    let answers = replies.map(|reply| reply.recv().unwrap());
    let ack = |duplicate| Ok(Ack { seq: 2, duplicate });
    let conflict = Err(CommitError::Conflict { key: "k".to_owned(), seq: 2 });
    assert_eq!(answers, [ack(false), ack(true), conflict, ack(true)]);
    assert_eq!(gate.syncs(), before + 2);
}

#[test]
fn many_records_share_one_sync() {
    let gate = Arc::new(Gate::default());
    let rig = Rig::new(StoreConfig { disk: gate.disk(), ..small() });
    let handle = rig.handle();
    let before = gate.syncs();
    gate.shut(true);
    let plug = offer(&handle, plain(ANSWER, Vec::new()));
    gate.wait_for(before + 1);
    let replies: Vec<_> = (0..1000).map(|n| offer(&handle, keyed(ANSWER, &format!("k{n}"), vec![7; 100]))).collect();
    gate.shut(false);
    plug.recv().unwrap().unwrap();
    for (n, reply) in (2..).zip(replies) {
        assert_eq!(reply.recv().unwrap(), Ok(Ack { seq: n, duplicate: false }));
    }
    // 1000 records in batches of 256 behind the plug's own.
    assert_eq!(gate.syncs() - before, 5);
}

#[test]
fn nothing_is_acknowledged_before_its_sync() {
    let gate = Arc::new(Gate::default());
    let rig = Rig::new(StoreConfig { disk: gate.disk(), ..small() });
    let before = gate.syncs();
    gate.shut(true);
    let reply = offer(&rig.handle(), plain(ANSWER, b"x".to_vec()));
    gate.wait_for(before + 1);
    assert!(reply.try_recv().is_err());
    assert_eq!(rig.handle().last_seq(), 0);
    assert_eq!(rig.handle().get(1).unwrap(), None);
    gate.shut(false);
    assert!(reply.recv().unwrap().is_ok());
}

#[test]
fn a_full_queue_refuses_at_once_by_records_and_by_bytes() {
    for (queue_records, queue_bytes) in [(2, 1 << 20), (100, 250)] {
        let gate = Arc::new(Gate::default());
        let rig = Rig::new(StoreConfig { disk: gate.disk(), queue_records, queue_bytes, ..small() });
        let handle = rig.handle();
        let before = gate.syncs();
        gate.shut(true);
        let plug = offer(&handle, plain(ANSWER, Vec::new()));
        gate.wait_for(before + 1);
        let mut refused = None;
        let mut taken = Vec::new();
        while refused.is_none() {
            let (sender, receiver) = sync_channel(1);
            let record = plain(ANSWER, vec![0; 100]);
            refused = handle.offer(record, Box::new(move |result| sender.send(result).unwrap())).err();
            taken.push(receiver);
        }
        // The plug is in the committer's hand; the refused one's reply is never called.
        assert_eq!(taken.len(), 3, "{refused:?}");
        gate.shut(false);
        assert!(plug.recv().unwrap().is_ok());
        let answered: Vec<_> = taken.iter().map(|reply| reply.recv().is_ok()).collect();
        assert_eq!(answered, [true, true, false]);
        assert_eq!(handle.stats().waiting_bytes, 0);
        assert!(handle.append(plain(ANSWER, Vec::new())).is_ok());
    }
}

#[test]
fn a_closed_store_answers_closed_and_can_be_opened_while_handles_live() {
    let mut rig = Rig::new(small());
    let old = rig.handle();
    old.append(plain(ANSWER, b"x".to_vec())).unwrap();
    rig.reopen();
    assert_eq!(old.append(plain(ANSWER, Vec::new())), Err(CommitError::Closed));
    assert_eq!(offer(&old, plain(ANSWER, Vec::new())).recv().unwrap(), Err(CommitError::Closed));
    assert!(matches!(old.get(1), Err(StoreError::Closed { .. })));
    assert_eq!(rig.handle().last_seq(), 1);
}

#[test]
fn a_second_store_on_the_directory_is_told_who_has_it() {
    let rig = Rig::new(small());
    let text = Store::open(&rig.dir(), small()).unwrap_err().to_string();
    let pid = std::process::id().to_string();
    assert!(text.contains("in use by process") && text.contains(&pid), "{text}");
}

#[test]
fn a_file_in_the_directorys_place_and_a_full_disk_are_refused_by_name() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, b"x").unwrap();
    assert!(matches!(Store::open(&file, small()), Err(StoreError::NotADirectory { path }) if path == file));
    let full = Disk::real().with_free_bytes(Arc::new(|_| 10));
    let config = StoreConfig { disk: full, min_free_bytes: 11, ..small() };
    let refused = Store::open(&temp.path().join("data"), config);
    assert!(matches!(refused, Err(StoreError::NoSpace { free: 10, needed: 11, .. })), "{refused:?}");
}

#[test]
fn below_the_reserve_of_free_space_records_are_refused_until_there_is_room_again() {
    let free = Arc::new(AtomicU64::new(100));
    let asked = Arc::clone(&free);
    let disk = Disk::real().with_free_bytes(Arc::new(move |_| asked.load(Ordering::Relaxed)));
    let flush_interval = Duration::from_millis(1);
    let rig = Rig::new(StoreConfig { disk, min_free_bytes: 50, flush_interval, ..small() });
    let handle = rig.handle();
    handle.append(plain(ANSWER, b"x".to_vec())).unwrap();
    for (now_free, wanted) in [(49, false), (50, true)] {
        free.store(now_free, Ordering::Relaxed);
        handle.flush().unwrap();
        let answer = handle.append(plain(ANSWER, b"y".to_vec()));
        assert_eq!(answer.is_ok(), wanted, "{answer:?}");
        assert_eq!(handle.get(1).unwrap().unwrap().bytes, b"x");
    }
}

#[test]
fn records_and_keys_beyond_their_limits_are_refused_alone() {
    let rig = Rig::new(small());
    let handle = rig.handle();
    let large = handle.append(plain(ANSWER, vec![0; crate::MAX_RECORD_BYTES + 1]));
    assert!(matches!(large, Err(CommitError::TooLarge { .. })));
    for key in [String::new(), "x".repeat(MAX_KEY_BYTES + 1)] {
        assert!(matches!(handle.append(keyed(ANSWER, &key, Vec::new())), Err(CommitError::Key { .. })));
    }
    assert_eq!(handle.append(keyed(ANSWER, &"x".repeat(MAX_KEY_BYTES), Vec::new())).unwrap().seq, 1);
}

#[test]
fn older_payloads_are_migrated_when_read_and_newer_ones_refused() {
    let mut rig = Rig::new(small());
    rig.handle().append(plain(ANSWER, b"old".to_vec())).unwrap();
    rig.config.schema = 2;
    rig.reopen();
    assert!(matches!(rig.handle().get(1), Err(StoreError::Schema { found: 1, wanted: 2, .. })));
    rig.config.migrate = Some(|kind, from, bytes| Ok([bytes, vec![kind.0, from as u8]].concat()));
    rig.reopen();
    let migrated = rig.handle().get(1).unwrap().unwrap();
    assert_eq!((migrated.bytes, migrated.schema), (b"old\x01\x01".to_vec(), 2));
    rig.handle().append(plain(ANSWER, b"new".to_vec())).unwrap();
    rig.config.schema = 1;
    rig.reopen();
    assert!(matches!(rig.handle().get(2), Err(StoreError::Schema { found: 2, wanted: 1, .. })));
}

#[test]
fn a_panicking_reply_harms_nobody_else() {
    let rig = Rig::new(small());
    rig.handle().offer(plain(ANSWER, Vec::new()), Box::new(|_| panic!("on purpose"))).unwrap();
    assert_eq!(rig.handle().append(plain(ANSWER, Vec::new())).unwrap().seq, 2);
}
