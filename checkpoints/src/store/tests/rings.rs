//! Bounds, eviction, keys that outlive their records, sampling.

use super::*;
use crate::journal::Keep as _;
use crate::record::Prints;
use crate::store::changes::Changes;
use crate::{Record, Sampling};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn bounded(records: u64, bytes: u64) -> StoreConfig {
    StoreConfig { rings: BTreeMap::from([(ANSWER, Bounds { records, bytes })]), ..small() }
}

fn live(handle: &StoreHandle) -> Vec<u64> {
    handle.read_from(ANSWER, 0, usize::MAX).unwrap().iter().map(|record| record.seq).collect()
}

#[test]
fn a_ring_drops_its_oldest_by_count_and_other_kinds_are_not_touched() {
    let mut rig = Rig::new(bounded(3, 1 << 20));
    rig.handle().append(plain(FEEDBACK, b"stays".to_vec())).unwrap();
    for n in 0..5u8 {
        rig.handle().append(plain(ANSWER, vec![n])).unwrap();
    }
    for _ in 0..2 {
        assert_eq!(live(&rig.handle()), [4, 5, 6]);
        assert_eq!(rig.handle().get(2).unwrap(), None);
        assert_eq!(rig.handle().get(1).unwrap().unwrap().bytes, b"stays");
        let stats = rig.handle().stats().rings[&ANSWER];
        assert_eq!((stats.records, stats.first_seq, stats.last_seq), (3, 4, 6));
        rig.reopen();
    }
}

#[test]
fn a_ring_drops_its_oldest_by_bytes_but_never_its_newest() {
    let rig = Rig::new(bounded(100, 1000));
    for _ in 0..5 {
        rig.handle().append(plain(ANSWER, vec![0; 300])).unwrap();
    }
    assert_eq!(live(&rig.handle()), [3, 4, 5]);
    rig.handle().append(plain(ANSWER, vec![0; 5000])).unwrap();
    assert_eq!(live(&rig.handle()), [6]);
}

#[test]
fn smaller_bounds_take_effect_at_the_next_start() {
    let mut rig = Rig::new(bounded(10, 1 << 20));
    for n in 0..8u8 {
        rig.handle().append(plain(ANSWER, vec![n])).unwrap();
    }
    rig.config = bounded(2, 1 << 20);
    rig.reopen();
    assert_eq!(live(&rig.handle()), [7, 8]);
    rig.reopen();
    assert_eq!(rig.report.rebuilt, None);
}

#[test]
fn a_key_outlives_its_record_by_the_window_and_is_then_free() {
    let mut rig = Rig::new(StoreConfig { key_window: 3, ..bounded(2, 1 << 20) });
    let append = |rig: &Rig, n: u8| rig.handle().append(keyed(ANSWER, &format!("k{n}"), vec![n])).unwrap();
    for n in 1..=6 {
        append(&rig, n);
    }
    for _ in 0..2 {
        assert_eq!(rig.handle().get_by_key("k1").unwrap(), None);
        assert_eq!(append(&rig, 1), Ack { seq: 1, duplicate: true });
        rig.reopen();
    }
    append(&rig, 7);
    assert_eq!(append(&rig, 2), Ack { seq: 2, duplicate: true });
    assert_eq!(append(&rig, 1), Ack { seq: 8, duplicate: false });
}

#[test]
fn a_key_taken_again_stays_with_its_new_record_when_the_old_one_is_forgotten() {
    let mut rig = Rig::new(StoreConfig { key_window: 1, ..bounded(2, 1 << 20) });
    let append = |rig: &Rig, key: &str| rig.handle().append(keyed(ANSWER, key, b"x".to_vec())).unwrap();
    for key in ["k", "a", "b", "k"] {
        assert!(!append(&rig, key).duplicate);
    }
    rig.close();
    // With a longer window the rebuilt store knows both.
    fs::remove_dir_all(rig.dir().join("sled")).unwrap();
    rig.config.key_window = 10;
    rig.open();
    for n in 0..18 {
        append(&rig, &format!("later {n}"));
        assert_eq!(append(&rig, "k"), Ack { seq: 4, duplicate: true });
    }
    assert_eq!(rig.handle().seq_of_key("a").unwrap(), None);
    rig.reopen();
    assert_eq!(rig.report.rebuilt, None);
}

#[test]
fn a_record_of_many_chunks_comes_back_whole_and_leaves_whole() {
    let mut rig = Rig::new(bounded(2, 1 << 30));
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let seq = rig.handle().append(plain(ANSWER, bytes.clone())).unwrap().seq;
    rig.reopen();
    assert!(rig.handle().get(seq).unwrap().unwrap().bytes == bytes);
    rig.handle().append(plain(ANSWER, Vec::new())).unwrap();
    rig.handle().append(plain(ANSWER, Vec::new())).unwrap();
    rig.handle().flush().unwrap();
    let records = rig.handle().shared.read().trees.as_ref().unwrap().records.clone();
    // The two empty records were written by themselves; of the large one's 50 parts nothing is left.
    assert!(records.len() <= 2, "{} parts", records.len());
    drop(records);
    assert_eq!(fs::read_dir(rig.dir().join("sled/blobs")).unwrap().count(), 0);
}

fn counter() -> impl FnMut(usize) -> usize {
    let mut state = 1u64;
    move |n| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % n as u64) as usize
    }
}

fn seqs(rig: &Rig, sampling: Sampling, count: usize) -> Vec<u64> {
    let records = rig.handle().sample(ANSWER, sampling, count, &mut counter()).unwrap();
    records.iter().map(|record| record.seq).collect()
}

fn hundred() -> Rig {
    let rig = Rig::new(bounded(100, 1 << 20));
    let replies: Vec<_> = (0..130u64)
        // Every tenth record is of group 1, all others of group 2, but for one of group 3.
        .map(|n| {
            if n == 99 {
                3
            } else if n % 10 == 0 {
                1
            } else {
                2
            }
        })
        .map(|group| offer(&rig.handle(), NewRecord { kind: ANSWER, key: None, group, bytes: vec![0; 50] }))
        .collect();
    assert!(replies.iter().all(|reply| reply.recv().unwrap().is_ok()));
    rig
}

#[test]
fn sampling_repeats_with_its_draws_also_after_reopening() {
    let mut rig = hundred();
    for sampling in [Sampling::Uniform, Sampling::Recent { power: 2 }, Sampling::Stratified] {
        let before = seqs(&rig, sampling, 20);
        assert_eq!(before.len(), 20);
        rig.reopen();
        assert_eq!(seqs(&rig, sampling, 20), before, "{sampling:?}");
    }
}

#[test]
fn a_uniform_sample_has_no_repetition_and_covers_the_ring() {
    let rig = hundred();
    let all: BTreeSet<u64> = seqs(&rig, Sampling::Uniform, 1000).into_iter().collect();
    assert_eq!(all, (31..=130).collect());
    let mut draw = counter();
    let mut counts = BTreeMap::new();
    for _ in 0..300 {
        for record in rig.handle().sample(ANSWER, Sampling::Uniform, 10, &mut draw).unwrap() {
            *counts.entry(record.seq).or_insert(0u32) += 1;
        }
    }
    // Each of 100 records is drawn 3000 × 1/100 = 30 times with a deviation of 5.2: five of those either side.
    assert!(counts.len() == 100 && counts.values().all(|count| (4..=56).contains(count)), "{counts:?}");
}

#[test]
fn recent_records_come_more_often_in_proportion_to_their_rank() {
    let rig = hundred();
    let drawn = seqs(&rig, Sampling::Recent { power: 1 }, 4000);
    let newer_half = drawn.iter().filter(|seq| **seq > 80).count() as f64 / 4000.0;
    // The newest of two draws lies in the newer half with probability 3/4; its error is 0.007.
    assert!((newer_half - 0.75).abs() < 0.035, "{newer_half}");
}

#[test]
fn a_stratified_sample_gives_each_group_its_turn() {
    let rig = hundred();
    let drawn = rig.handle().sample(ANSWER, Sampling::Stratified, 9, &mut counter()).unwrap();
    for round in drawn.chunks(3) {
        let groups: BTreeSet<u64> = round.iter().map(|record| record.group).collect();
        assert_eq!(groups, BTreeSet::from([1, 2, 3]));
    }
}

#[test]
fn an_empty_ring_gives_an_empty_sample() {
    let rig = Rig::new(small());
    assert!(seqs(&rig, Sampling::Stratified, 3).is_empty());
}

/// Pushes records, and answers what sled would hold of them when it is written every `batch` records.
fn pushed(config: &StoreConfig, records: &[Record], batch: usize) -> (Index, Changes) {
    let mut index = Index::new(config);
    let mut sled = Changes::default();
    for batch in records.chunks(batch) {
        let mut changes = Changes::default();
        for record in batch {
            let prints = Prints::of(record.kind, record.key.as_deref(), &record.bytes);
            index.push(record, prints, record.encode(), &mut changes);
        }
        sled.records.append(&mut changes.records);
        sled.entries.append(&mut changes.entries);
        sled.rings.append(&mut changes.rings);
    }
    sled.records.retain(|(kind, seq), _| *seq >= sled.rings[kind].first);
    sled.entries.retain(|(kind, seq), _| *seq >= sled.rings[kind].kept);
    (index, sled)
}

proptest! {
    #[test]
    fn a_ring_is_the_longest_newest_run_that_fits_and_does_not_depend_on_what_was_before(
        sizes in prop::collection::vec((0usize..300, 1u8..3), 1..60), records in 1u64..12, bytes in 100u64..1500,
        batch in 1usize..20,
    ) {
        let config = StoreConfig { other_rings: Bounds { records, bytes }, ..bounded(records, bytes) };
        let written: Vec<Record> = (1..).zip(&sizes).map(|(seq, (size, kind))| Record {
            seq,
            kind: RecordKind(*kind),
            schema: 1,
            group: seq % 3,
            key: Some(format!("k{seq}")),
            bytes: vec![0; *size],
        }).collect();
        let (index, sled) = pushed(&config, &written, batch);

        for kind in [1u8, 2] {
            let of_kind: Vec<&Record> = written.iter().filter(|record| record.kind.0 == kind).collect();
            let mut wanted = Vec::new();
            let mut total = 0;
            for record in of_kind.iter().rev() {
                total += record.encode().len() as u64;
                if !wanted.is_empty() && (total > bytes || wanted.len() as u64 >= records) {
                    break;
                }
                wanted.insert(0, record.seq);
            }
            let ring = index.ring(RecordKind(kind));
            let live: Vec<u64> = ring.map(|ring| ring.live().map(|slot| slot.seq).collect()).unwrap_or_default();
            prop_assert_eq!(live, wanted);
        }

        // What the journal still keeps is enough to come to the same place.
        let from = index.kept_from();
        let kept: Vec<Record> = written.iter().filter(|r| r.seq >= from[&r.kind.0]).cloned().collect();
        let (again, sled_again) = pushed(&config, &kept, 7);
        prop_assert_eq!(&again, &index);
        prop_assert_eq!(&sled_again, &sled);
        prop_assert_eq!(sled.entries.len(), kept.len());
        let last = written.len() as u64;
        prop_assert_eq!(index.count_kept(1, last), kept.len() as u64);
    }
}
