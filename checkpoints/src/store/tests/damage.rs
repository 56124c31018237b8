//! Damaged, missing and foreign files: found at the start, repaired from the journal or refused by name.

use super::*;
use crate::StoreError;
use crate::powercut::Dice;

fn evicting() -> StoreConfig {
    StoreConfig {
        rings: BTreeMap::from([(ANSWER, Bounds { records: 40, bytes: 1 << 20 })]),
        segment_bytes: 4000,
        flush_batches: 4,
        ..small()
    }
}

/// 200 records of several kinds, one of them rare and old.
fn filled(config: StoreConfig) -> Rig {
    let rig = Rig::new(config);
    for n in 0..200u32 {
        let kind = if n == 3 { RecordKind::Published } else { ANSWER };
        let bytes = n.to_le_bytes().repeat(20);
        let key = (n % 3 == 0).then(|| format!("k{n}"));
        rig.handle().append(NewRecord { kind, key, group: u64::from(n % 7), bytes }).unwrap();
    }
    rig.handle().flush().unwrap();
    rig
}

#[test]
fn a_deleted_sled_directory_is_rebuilt_equal_from_the_compacted_journal() {
    let mut rig = filled(evicting());
    let before = rig.contents();
    // The newest 80 answers and the rare record are kept: about 12 KB of 26, in segments of 4.
    let journal: u64 = rig.segments().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(journal < 18_000, "the journal has {journal} bytes");
    rig.close();
    fs::remove_dir_all(rig.dir().join("sled")).unwrap();
    rig.open();
    let rebuilt = rig.report.rebuilt.clone().unwrap();
    assert_eq!((rebuilt.quarantined, rebuilt.reason.as_str()), (None, "the directory was absent"));
    assert!(rig.contents() == before);
    assert_eq!(rig.handle().newest(RecordKind::Published).unwrap().unwrap().seq, 4);
    assert_eq!(rig.handle().last_seq(), 200);
}

/// What may happen to a file on a bad disk or under a bad hand.
fn damage(whole: &[u8], dice: &mut Dice) -> (&'static str, Option<Vec<u8>>) {
    let mut bytes = whole.to_vec();
    let at = dice.below(whole.len());
    match dice.below(6) {
        0 => bytes[at] ^= 1 << dice.below(8),
        1 => bytes[at / 4096 * 4096..].iter_mut().take(4096).for_each(|byte| *byte = 0),
        2 => bytes.truncate(at),
        3 => bytes[at..].iter_mut().take(200).for_each(|byte| *byte = dice.next() as u8),
        4 => bytes.extend((0..1000).map(|_| dice.next() as u8)),
        _ => return ("deleted", None),
    }
    ("changed", Some(bytes))
}

#[test]
fn whatever_happens_to_any_file_of_sled_the_store_opens_with_everything_and_tells_of_a_rebuild() {
    let mut dice = Dice::from_environment(7);
    let mut rig = filled(evicting());
    let before = rig.contents();
    rig.close();
    let whole = tempfile::tempdir().unwrap();
    copy_dir(&rig.dir().join("sled"), whole.path());
    let mut files: Vec<PathBuf> = fs::read_dir(whole.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    assert!(files.len() >= 2, "{files:?}");
    let mut rebuilt = 0;
    for trial in 0..30 {
        fs::remove_dir_all(rig.dir().join("sled")).unwrap();
        copy_dir(whole.path(), &rig.dir().join("sled"));
        // The large file more often than the others.
        let file = if trial % 3 == 0 { &files[trial / 3 % files.len()] } else { &whole.path().join("db") };
        let name = file.file_name().unwrap();
        let (what, damaged) = damage(&fs::read(file).unwrap(), &mut dice);
        let path = rig.dir().join("sled").join(name);
        match damaged {
            Some(bytes) => fs::write(path, bytes).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        rig.open();
        assert!(rig.contents() == before, "trial {trial}, {name:?} {what}: {:?}", rig.report);
        if let Some(told) = &rig.report.rebuilt {
            rebuilt += 1;
            assert!(!told.reason.is_empty() && told.quarantined.as_ref().is_some_and(|aside| aside.exists()));
        }
        rig.close();
    }
    assert!(rebuilt >= 10, "{rebuilt} of 30");
    let asides = fs::read_dir(rig.dir())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("sled.bad-"));
    assert_eq!(asides.count(), rebuilt);
}

#[test]
fn a_sled_directory_from_earlier_catches_up_or_is_rebuilt() {
    let mut rig = Rig::new(evicting());
    let earlier = tempfile::tempdir().unwrap();
    for n in 0..300u32 {
        rig.handle().append(keyed(ANSWER, &format!("k{n}"), n.to_le_bytes().repeat(20))).unwrap();
        if n == 20 || n == 290 {
            rig.handle().flush().unwrap();
            copy_dir(&rig.dir().join("sled"), &earlier.path().join(n.to_string()));
        }
    }
    let now = rig.contents();
    for (n, rebuilt) in [(290, false), (20, true)] {
        rig.close();
        fs::remove_dir_all(rig.dir().join("sled")).unwrap();
        copy_dir(&earlier.path().join(n.to_string()), &rig.dir().join("sled"));
        rig.open();
        assert_eq!(rig.report.rebuilt.is_some(), rebuilt, "{:?}", rig.report);
        assert!(rig.report.replayed > 0);
        assert!(rig.contents() == now);
    }
}

#[test]
fn damage_in_the_middle_of_the_journal_is_refused_with_file_and_offset() {
    let mut rig = Rig::new(small());
    for n in 0..10u8 {
        rig.handle().append(plain(ANSWER, vec![n; 50])).unwrap();
    }
    rig.close();
    let segment = rig.segments()[0].clone();
    let whole = fs::read(&segment).unwrap();
    let frame = (whole.len() - 40) / 10;
    for (at, frame_of) in [(40 + frame * 4 + 1, 4), (40 + frame * 4 + 30, 4), (40 + frame * 9 + 20, 9)] {
        for with_sled in [true, false] {
            let image = tempfile::tempdir().unwrap();
            copy_dir(&rig.dir(), image.path());
            if !with_sled {
                fs::remove_dir_all(image.path().join("sled")).unwrap();
            }
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            let path = image.path().join("journal").join(segment.file_name().unwrap());
            fs::write(&path, damaged).unwrap();
            match Store::open(image.path(), small()) {
                Err(StoreError::JournalDamaged { path: named, offset, .. }) => {
                    assert_eq!((named, offset), (path, (40 + frame * frame_of) as u64));
                }
                // The last batch alone cannot be told from a torn one, unless sled has it.
                Ok((_, report)) => {
                    assert!(frame_of == 9 && !with_sled && report.torn_tail.is_some(), "{report:?}");
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    // With the file as it was, everything is there.
    rig.open();
    assert_eq!(rig.handle().last_seq(), 10);
}

#[test]
fn a_missing_segment_is_refused_by_its_records() {
    let config = StoreConfig { segment_bytes: 300, ..small() };
    let mut rig = Rig::new(config.clone());
    for n in 0..20u8 {
        rig.handle().append(plain(ANSWER, vec![n; 50])).unwrap();
    }
    rig.close();
    let segments = rig.segments();
    assert!(segments.len() > 4);
    for (place, path) in segments.iter().enumerate() {
        let bytes = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        let opened = Store::open(&rig.dir(), config.clone());
        let last = place + 1 == segments.len();
        match opened {
            Err(StoreError::JournalGap { .. }) => assert!(!last),
            Err(StoreError::JournalBehind { applied: 20, .. }) => assert!(last),
            other => panic!("segment {place}: {other:?}"),
        }
        fs::write(path, bytes).unwrap();
    }
    rig.open();
    assert_eq!(rig.report.rebuilt, None);
}

#[test]
fn a_journal_of_a_newer_program_is_refused() {
    let mut rig = Rig::new(small());
    rig.close();
    let segment = rig.segments()[0].clone();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[8] = 9;
    let crc = crc32c::crc32c(&bytes[..36]).to_le_bytes();
    bytes[36..40].copy_from_slice(&crc);
    fs::write(&segment, &bytes).unwrap();
    let refused = Store::open(&rig.dir(), small());
    // A header of the very last, empty segment is as long as an interrupted creation leaves, but it is whole.
    assert!(matches!(refused, Err(StoreError::NewerFormat { found: 9, supported: 1, .. })), "{refused:?}");
}

#[test]
fn a_blob_file_is_refused_by_name() {
    let mut rig = filled(evicting());
    rig.close();
    let blob = rig.dir().join("sled/blobs/17");
    fs::write(&blob, b"x").unwrap();
    assert!(matches!(Store::open(&rig.dir(), evicting()), Err(StoreError::BlobFile { path }) if path == blob));
}

#[test]
fn an_interrupted_first_segment_is_begun_again() {
    for left in [0, 17, 40] {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("journal")).unwrap();
        fs::write(temp.path().join("journal/00000000000000000001.seg"), vec![0; left]).unwrap();
        let (store, _) = Store::open(temp.path(), small()).unwrap();
        assert_eq!(store.handle().append(plain(ANSWER, Vec::new())).unwrap().seq, 1);
    }
}

#[test]
fn every_kind_of_inconsistency_in_sled_is_found_and_rebuilt_away() {
    use crate::store::trees::Trees;
    type Tamper = fn(&Trees) -> sled::Result<Option<sled::IVec>>;
    fn nth(tree: &sled::Tree, from_end: usize) -> (sled::IVec, sled::IVec) {
        tree.iter().rev().nth(from_end).unwrap().unwrap()
    }
    let tampers: [(&str, Tamper); 11] = [
        ("a block is gone", |trees| trees.records.remove(nth(&trees.records, 3).0)),
        ("the newest block is gone", |trees| trees.records.remove(nth(&trees.records, 1).0)),
        ("a block is another one", |trees| trees.records.insert(nth(&trees.records, 3).0, nth(&trees.records, 4).1)),
        ("a bit of a record is flipped", |trees| {
            let (key, mut block) = nth(&trees.records, 3);
            block[40] ^= 1;
            trees.records.insert(key, block)
        }),
        ("a block is cut short", |trees| {
            let (key, block) = nth(&trees.records, 3);
            trees.records.insert(key, &block[..block.len() - 1])
        }),
        ("there is a block too many", |trees| {
            trees.records.insert(crate::store::blocks::block_key(ANSWER.0, 7, 0), nth(&trees.records, 3).1)
        }),
        ("entries are gone", |trees| trees.entries.remove(nth(&trees.entries, 2).0)),
        ("entries that only their keys outlived are gone", |trees| {
            let oldest = trees.entries.first()?.unwrap();
            trees.entries.remove(oldest.0)
        }),
        ("a bit of an entry is flipped", |trees| {
            let (key, mut block) = nth(&trees.entries, 2);
            block[20] ^= 1;
            trees.entries.insert(key, block)
        }),
        ("a ring's totals are gone", |trees| trees.meta.remove(b"ring/\x01")),
        ("the layout version is gone", |trees| trees.meta.remove(b"layout")),
    ];
    // In step, so that every record has a block of its own.
    let mut rig = filled(StoreConfig { lag: Bounds { records: 1, bytes: 1 }, ..evicting() });
    let before = rig.contents();
    rig.close();
    let whole = tempfile::tempdir().unwrap();
    copy_dir(&rig.dir().join("sled"), whole.path());
    for (name, tamper) in tampers {
        fs::remove_dir_all(rig.dir().join("sled")).unwrap();
        copy_dir(whole.path(), &rig.dir().join("sled"));
        let trees = Trees::open(&rig.dir().join("sled"), 1 << 20, &Disk::real()).unwrap();
        tamper(&trees).unwrap();
        trees.flush(&Disk::real()).unwrap();
        drop(trees);
        rig.open();
        assert!(rig.report.rebuilt.is_some(), "{name} was not noticed");
        assert!(rig.contents() == before, "{name}: {:?}", rig.report);
        rig.close();
    }
}

#[test]
fn a_zeroed_page_of_the_journal_is_refused_or_told_and_never_served_as_fewer_records() {
    const PAGE: usize = 4096;
    let mut dice = Dice::from_environment(28);
    let config = StoreConfig { segment_bytes: 3 * PAGE as u64 + 1000, ..small() };
    let mut rig = Rig::new(config.clone());
    for n in 0..500u32 {
        let bytes = n.to_le_bytes().repeat(1 + dice.below(60));
        rig.handle().append(keyed(ANSWER, &format!("k{n}"), bytes)).unwrap();
    }
    rig.handle().flush().unwrap();
    let killed = tempfile::tempdir().unwrap();
    copy_store(&rig.dir(), killed.path());
    rig.close();
    let (mut refused, mut told) = (0, 0);
    for trial in 0..60 {
        let image = tempfile::tempdir().unwrap();
        // After a clean end, after a kill, and with nothing but the journal left.
        let from = if trial % 3 == 1 { killed.path().to_path_buf() } else { rig.dir() };
        copy_store(&from, image.path());
        if trial % 3 == 2 {
            fs::remove_dir_all(image.path().join("sled")).unwrap();
        }
        let names: Vec<PathBuf> = rig.segments();
        let segment = image.path().join("journal").join(names[dice.below(names.len())].file_name().unwrap());
        let mut bytes = fs::read(&segment).unwrap();
        let whole = bytes.clone();
        let page = dice.below(bytes.len().min(4 * PAGE).div_ceil(PAGE)) * PAGE;
        bytes[page..].iter_mut().take(PAGE).for_each(|byte| *byte = 0);
        fs::write(&segment, &bytes).unwrap();
        match Store::open(image.path(), config.clone()) {
            Err(
                StoreError::JournalDamaged { .. } | StoreError::JournalGap { .. } | StoreError::JournalBehind { .. },
            ) => refused += 1,
            Ok((store, report)) if report.torn_tail.is_some() => {
                // Without sled a damaged end cannot be told from a batch that was never acknowledged.
                assert!(trial % 3 == 2 && report.last_seq < 500, "trial {trial}: {report:?}");
                assert!(bytes.len() < page + PAGE + 300, "trial {trial}: there are whole batches behind {page}");
                drop(store);
                told += 1;
            }
            Ok((store, report)) => {
                assert!(bytes == whole, "trial {trial}, {segment:?} from {page} on: {report:?}");
                assert_eq!(store.handle().stats().rings[&ANSWER].records, 500);
            }
            Err(other) => panic!("trial {trial}: {other}"),
        }
    }
    assert!(refused > 30 && refused + told > 50, "{refused} refused, {told} told");
}
