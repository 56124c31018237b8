//! One plain function for each format that is read from a disk which may have lied: arbitrary bytes go in, nothing
//! panics, nothing is allocated beyond a few times what came in (and 32 MiB for a file), and what was accepted comes
//! out again as it went in. The fuzz targets call these, and so does a seeded loop in the tests.
//!
//! A checksum stops almost every mutation at the door. So each function tries the bytes as they are, and again with the
//! checksum put right.

use std::fs;
use std::path::Path;

use crate::Disk;
use crate::Record;
use crate::checkpoint::Manifest;
use crate::journal::{decode_frame, fuzzing};
use crate::record::RECORD_OVERHEAD;
use crate::store::fuzzing as in_sled;

/// A frame behind 8 bytes of salt.
pub fn frame(bytes: &[u8]) {
    let Some((salt, frame)) = bytes.split_first_chunk() else { return };
    let salt = u64::from_le_bytes(*salt);
    let mut mended = frame.to_vec();
    fuzzing::mend_frame(salt, &mut mended);
    for frame in [frame, &mended] {
        let Ok((records, len)) = decode_frame(salt, frame) else { continue };
        assert!(records.len() * RECORD_OVERHEAD <= len && len <= frame.len(), "more than there was");
        assert_eq!(fuzzing::encode(salt, &records), frame[..len], "a frame is not what was read");
    }
}

/// An encoded record.
pub fn record(bytes: &[u8]) {
    let mut mended = bytes.to_vec();
    if let Some((head, rest)) = mended.split_first_chunk_mut() {
        *head = crc32c::crc32c(rest).to_le_bytes();
    }
    for encoded in [bytes, &mended] {
        if let Ok(record) = Record::decode(encoded) {
            assert_eq!(record.encode(), encoded, "a record is not what was read");
        }
    }
}

/// A block of entries, a block of records, and a key as they stand in sled.
pub fn block(bytes: &[u8]) {
    in_sled::block(bytes);
}

/// A checkpoint's manifest.
pub fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::from_json(bytes) else { return };
    let again = Manifest::from_json(&manifest.to_json()).expect("what was written is read");
    let facts = |manifest: &Manifest| (manifest.version, manifest.step, manifest.parts.clone());
    assert_eq!(facts(&again), facts(&manifest), "a manifest is not what was read");
    let _ = manifest.metric("a.b");
}

/// A whole journal of one segment, in the directory `scratch`, which is emptied. Opening repairs a torn end; what was
/// repaired opens as the same records.
pub fn segment(scratch: &Path, bytes: &[u8]) {
    let mut mended = bytes.to_vec();
    fuzzing::mend_segment(&mut mended);
    for bytes in [bytes, &mended] {
        let path = scratch.join("00000000000000000001.seg");
        fs::write(&path, bytes).expect("the scratch directory can be written");
        let Ok(first) = fuzzing::read(scratch, &Disk::real()) else { continue };
        let again = fuzzing::read(scratch, &Disk::real()).expect("a repaired journal is whole");
        assert_eq!(first, again, "a repair changed what was there");
    }
}

#[cfg(test)]
#[path = "../../fuzz/smoke.rs"]
mod smoke;

#[cfg(test)]
mod tests {
    use super::smoke::corpus;
    use super::*;
    use crate::RecordKind;
    use crate::checkpoint::Part;
    use crate::journal::Writer;
    use crate::powercut::Dice;
    use proptest::prelude::*;

    fn smoke(target: &str, rounds: usize, run: impl Fn(&[u8])) {
        let mut dice = Dice::from_environment(1);
        super::smoke::smoke(target, rounds, |n| dice.below(n), run);
    }

    #[test]
    fn fuzz_smoke_frame() {
        smoke("frame", 20_000, frame);
    }

    #[test]
    fn fuzz_smoke_record() {
        smoke("record", 20_000, record);
    }

    #[test]
    fn fuzz_smoke_block() {
        smoke("block", 20_000, block);
    }

    #[test]
    fn fuzz_smoke_manifest() {
        smoke("manifest", 10_000, manifest);
    }

    #[test]
    fn fuzz_smoke_segment() {
        let scratch = tempfile::tempdir().unwrap();
        smoke("segment", 1_000, |bytes| segment(scratch.path(), bytes));
    }

    #[test]
    fn a_segment_with_numbers_at_the_end_of_their_range_is_refused_or_read() {
        let whole = corpus("segment").swap_remove(0);
        let scratch = tempfile::tempdir().unwrap();
        for first in [0, 1, u64::MAX - 4, u64::MAX - 1, u64::MAX] {
            for last in [0, 1, u64::MAX] {
                for compacted in [0, 1] {
                    for cut in [0, 10] {
                        let mut bytes = whole[..whole.len() - cut].to_vec();
                        bytes[10] = compacted;
                        bytes[12..20].copy_from_slice(&first.to_le_bytes());
                        bytes[20..28].copy_from_slice(&last.to_le_bytes());
                        // The first record's number as well: behind header, frame head, length and checksum.
                        bytes[56..64].copy_from_slice(&first.to_le_bytes());
                        segment(scratch.path(), &bytes);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_manifest_comes_back_as_it_was(
            step: u64, names in prop::collection::btree_set("[a-z0-9_-]{1,64}", 0..20), bytes: u64, value: i64,
        ) {
            let sha256 = "0".repeat(64);
            let part = |name: String| Part { name, bytes, sha256: sha256.clone() };
            let parts = names.into_iter().map(part).collect();
            let manifest = Manifest { version: 1, step, parts, extra: serde_json::json!({ "a": { "b": value } }) };
            prop_assert_eq!(Manifest::from_json(&manifest.to_json()), Ok(manifest.clone()));
            prop_assert_eq!(manifest.metric("a.b"), Some(value as f64));
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_read_by_all(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            frame(&bytes);
            record(&bytes);
            block(&bytes);
            manifest(&bytes);
        }

        #[test]
        fn a_journal_of_any_batches_reads_back_and_any_cut_leaves_a_prefix_of_whole_batches(
            batches in prop::collection::vec(prop::collection::vec(0usize..300, 1..5), 1..8), cut: prop::sample::Index,
        ) {
            let scratch = tempfile::tempdir().unwrap();
            let mut journal = Writer::resume(scratch.path(), Disk::real(), Vec::new(), 1, 1 << 20).unwrap();
            let mut seq = 0;
            let mut written = Vec::new();
            let mut ends = vec![0];
            for batch in &batches {
                let encoded: Vec<Vec<u8>> = batch.iter().map(|size| {
                    seq += 1;
                    let bytes = vec![seq as u8; *size];
                    Record { seq, kind: RecordKind(2), schema: 1, group: 0, key: None, bytes }.encode()
                }).collect();
                journal.commit(&encoded).unwrap();
                written.extend(encoded);
                ends.push(written.len());
            }
            drop(journal);
            prop_assert_eq!(&fuzzing::read(scratch.path(), &Disk::real()).unwrap(), &written);
            let path = scratch.path().join("00000000000000000001.seg");
            let whole = fs::read(&path).unwrap();
            // The header is synced before the first batch is written.
            let cut = 40 + cut.index(whole.len() - 40);
            fs::write(&path, &whole[..cut]).unwrap();
            let left = fuzzing::read(scratch.path(), &Disk::real()).unwrap();
            prop_assert!(ends.contains(&left.len()) && left[..] == written[..left.len()]);
        }
    }

    /// The corpus would be worthless if it were refused at the first byte.
    #[test]
    fn the_first_of_every_corpus_is_valid() {
        let first = |target: &str| corpus(target).swap_remove(0);
        let bytes = first("frame");
        let (salt, rest) = bytes.split_first_chunk().unwrap();
        assert!(decode_frame(u64::from_le_bytes(*salt), rest).is_ok_and(|(records, _)| records.len() > 1));
        assert!(Record::decode(&first("record")).is_ok_and(|record| record.key.is_some()));
        assert!(in_sled::entries_in(&first("block")) > 1);
        assert!(Manifest::from_json(&first("manifest")).is_ok_and(|manifest| manifest.parts.len() > 1));
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("00000000000000000001.seg"), first("segment")).unwrap();
        assert!(fuzzing::read(scratch.path(), &Disk::real()).unwrap().len() > 1);
    }
}
