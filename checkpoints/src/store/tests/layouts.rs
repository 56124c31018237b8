//! Stores that earlier versions of this program wrote, kept as files in `fixtures/`: each opens, and nothing is missing.

use super::*;
use crate::StoreError;
use crate::store::trees::{LAYOUT_VERSION, Trees};

/// The settings that the fixtures were written with.
fn of_fixture() -> StoreConfig {
    StoreConfig {
        rings: BTreeMap::from([(ANSWER, Bounds { records: 40, bytes: 1 << 20 })]),
        segment_bytes: 4000,
        flush_batches: 4,
        ..small()
    }
}

/// 120 records, of which the fourth is a rare one and every fifth is feedback.
fn of_fixture_record(n: u32) -> NewRecord {
    let kind = match n {
        3 => RecordKind::Published,
        n if n % 5 == 1 => FEEDBACK,
        _ => ANSWER,
    };
    let key = n.is_multiple_of(3).then(|| format!("k{n}"));
    NewRecord { kind, key, group: u64::from(n % 7), bytes: n.to_le_bytes().repeat(10) }
}

fn copy_of(fixture: &str) -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(fixture);
    copy_dir(&from, &temp.path().join("data"));
    fs::create_dir_all(temp.path().join("data/sled/blobs")).unwrap();
    temp
}

fn opened(temp: TempDir) -> Rig {
    let (store, report) = Store::open(&temp.path().join("data"), of_fixture()).unwrap();
    Rig { store: Some(store), config: of_fixture(), report, temp }
}

#[test]
fn a_store_of_every_earlier_layout_opens_with_the_same_contents() {
    let fresh = Rig::new(of_fixture());
    for n in 0..120 {
        fresh.handle().append(of_fixture_record(n)).unwrap();
    }
    let wanted = fresh.contents();
    for version in 1..=LAYOUT_VERSION {
        let mut rig = opened(copy_of(&format!("store-layout-{version}")));
        let reason = rig.report.rebuilt.clone().map(|rebuilt| rebuilt.reason);
        let older = (version < LAYOUT_VERSION).then(|| format!("it has the older layout {version}"));
        assert_eq!(reason, older);
        assert!(rig.contents() == wanted, "layout {version}: {:?}", rig.report);
        for seq in [4, 70, 120] {
            let bytes = rig.handle().get(seq).unwrap().map(|record| record.bytes);
            assert_eq!(bytes, (seq != 70).then(|| (seq as u32 - 1).to_le_bytes().repeat(10)));
        }
        assert!(rig.handle().append(of_fixture_record(117)).unwrap().duplicate);
        assert_eq!(rig.handle().append(of_fixture_record(120)).unwrap().seq, 121);
        rig.reopen();
        assert_eq!(rig.report.rebuilt, None);
    }
}

#[test]
fn a_layout_of_a_newer_program_is_refused_by_its_number() {
    let temp = copy_of(&format!("store-layout-{LAYOUT_VERSION}"));
    let data = temp.path().join("data");
    let trees = Trees::open(&data.join("sled"), 1 << 20, &Disk::real()).unwrap();
    trees.meta.insert(b"layout", &(LAYOUT_VERSION + 1).to_le_bytes()).unwrap();
    trees.flush(&Disk::real()).unwrap();
    drop(trees);
    let refused = Store::open(&data, of_fixture());
    let newer = LAYOUT_VERSION + 1;
    assert!(matches!(refused, Err(StoreError::NewerFormat { found, .. }) if found == newer), "{refused:?}");
    assert!(data.join("sled/db").exists());
}
