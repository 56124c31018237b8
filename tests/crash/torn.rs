//! The journal's end as a power cut leaves it: a batch that was being written and is there in part.
//!
//! Invariant: nothing that anybody was told of is touched. What is torn is a batch of the rig's own behind the last whole
//! one, or the last one itself when no reply, no checkpoint and no replay store knows of it. The format is read here with
//! code of the rig's own.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use understudy_checkpoints::{Store, StoreConfig};

use super::damage::manifests;
use super::oracle::Oracle;
use super::schedule::Dice;

const HEADER: usize = 40;
const SALT: Range<usize> = 28..36;
const FRAME_HEAD: usize = 8;
const SECTOR: usize = 512;

/// The journal's last segment.
struct Segment {
    path: PathBuf,
    bytes: Vec<u8>,
    /// The whole batches.
    batches: Vec<Range<usize>>,
}

/// A record in a batch.
struct Record<'a> {
    seq: u64,
    kind: u8,
    key: &'a str,
    bytes: &'a [u8],
}

fn four(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize)
}

fn eight(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

impl Segment {
    fn last(data: &Path) -> Option<Self> {
        let entries = fs::read_dir(data.join("journal")).ok()?.flatten().map(|entry| entry.path());
        let path = entries.filter(|path| path.extension().is_some_and(|end| end == "seg")).max()?;
        let bytes = fs::read(&path).expect("it is there");
        let salt = bytes.get(SALT)?.to_vec();
        let (mut batches, mut at) = (Vec::new(), HEADER);
        while let Some(batch) = whole(&bytes, at, &salt) {
            at = batch.end;
            batches.push(batch);
        }
        (bytes.len() >= HEADER).then_some(Self { path, bytes, batches })
    }

    /// Where the whole batches end.
    fn end(&self) -> usize {
        self.batches.last().map_or(HEADER, |batch| batch.end)
    }

    fn records(&self, batch: &Range<usize>) -> Vec<Record<'_>> {
        let (mut records, mut at) = (Vec::new(), batch.start + FRAME_HEAD);
        while at < batch.end {
            let length = four(&self.bytes, at).expect("a whole batch");
            records.push(record(&self.bytes[at + 4..at + 4 + length]).expect("a whole record"));
            at += 4 + length;
        }
        records
    }

    /// A batch that could have come next: an older one under new numbers. Its checksum is not that of what it holds.
    fn next(&self, dice: &mut Dice) -> Vec<u8> {
        let Some(batch) = dice.of(&self.batches) else { return noise(dice, 100) };
        let mut bytes = self.bytes[batch.clone()].to_vec();
        let newest = self.batches.last().and_then(|batch| self.records(batch).last().map(|record| record.seq));
        let (mut seq, mut at) = (newest.unwrap_or(0), FRAME_HEAD);
        while let Some(length) = four(&bytes, at) {
            seq += 1;
            bytes[at + 8..at + 16].copy_from_slice(&seq.to_le_bytes());
            at += 4 + length;
        }
        bytes
    }
}

fn whole(bytes: &[u8], at: usize, salt: &[u8]) -> Option<Range<usize>> {
    let (length, sum) = (four(bytes, at)?, four(bytes, at + 4)?);
    let end = at + FRAME_HEAD + length;
    let payload = bytes.get(at + FRAME_HEAD..end).filter(|payload| !payload.is_empty())?;
    let head = crc32c::crc32c_append(crc32c::crc32c(salt), &bytes[at..at + 4]);
    (crc32c::crc32c_append(head, payload) as usize == sum).then_some(at..end)
}

fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let length = usize::from(u16::from_le_bytes(bytes.get(23..25)?.try_into().ok()?));
    let key = std::str::from_utf8(bytes.get(25..25 + length)?).ok()?;
    Some(Record { seq: eight(bytes, 4)?, kind: *bytes.get(12)?, key, bytes: &bytes[25 + length..] })
}

fn noise(dice: &mut Dice, most: usize) -> Vec<u8> {
    (0..=dice.below(most)).map(|_| dice.next() as u8).collect()
}

/// What was done to a segment.
#[derive(Debug)]
pub(super) struct Torn {
    /// The segment.
    pub(super) path: PathBuf,
    /// In what way.
    pub(super) how: &'static str,
    /// Where the next start has to cut it; where only zeros are left behind the last whole batch, that is room.
    pub(super) offset: Option<u64>,
}

/// Leaves a part of a batch behind the last whole one.
pub(super) fn tear(data: &Path, dice: &mut Dice) -> Option<Torn> {
    let segment = Segment::last(data)?;
    let mut torn = segment.next(dice);
    let sector = dice.below(torn.len().div_ceil(SECTOR)) * SECTOR;
    let how = match dice.below(5) {
        0 => {
            torn.truncate(1 + dice.below(torn.len() - 1));
            "the beginning of a batch"
        }
        1 => {
            torn[sector..].fill(0);
            "a batch without its last sectors"
        }
        2 => {
            let end = torn.len().min(sector + SECTOR);
            torn[sector..end].fill(0);
            "a batch without one of its sectors"
        }
        3 => {
            torn.truncate(dice.below(torn.len()));
            torn.extend(noise(dice, 4096));
            "the beginning of a batch and noise"
        }
        _ => {
            torn = vec![0; 1 + dice.below(4096)];
            "zeros"
        }
    };
    let (end, mut bytes) = (segment.end(), segment.bytes);
    // Room may have been written ahead; the batch goes over it.
    bytes.resize(bytes.len().max(end + torn.len()), 0);
    bytes[end..end + torn.len()].copy_from_slice(&torn);
    Some(left(segment.path, how, end, &bytes))
}

fn left(path: PathBuf, how: &'static str, end: usize, bytes: &[u8]) -> Torn {
    fs::write(&path, bytes).expect("it can be written");
    let offset = bytes[end..].iter().any(|byte| *byte != 0).then_some(end as u64);
    Torn { path, how, offset }
}

/// Cuts the last batch short when nobody was told of anything in it.
pub(super) fn cut(data: &Path, oracle: &Oracle, dice: &mut Dice) -> Option<Torn> {
    let segment = Segment::last(data)?;
    let batch = segment.batches.last()?.clone();
    let records = segment.records(&batch);
    let (first, count) = (records.first()?.seq, records.len() as u64);
    let checkpoints = manifests(data);
    let up_to = checkpoints.iter().filter_map(|(_, manifest)| manifest.extra["feedback_up_to"].as_u64()).max();
    let shown = checkpoints.iter().map(|(_, manifest)| manifest.step).max().max(Some(oracle.highest_version));
    let told = records.iter().any(|record| match (record.kind, record.key.split_once('/')) {
        (1, Some(("answer", id))) => id.parse().is_ok_and(|id: u64| id <= oracle.highest_answer),
        (2, Some(("feedback", id))) => {
            oracle.events.get(id).is_some_and(|event| event.acknowledged.is_some() || !event.refused.is_empty())
        }
        (3, _) => eight(record.bytes, 0) <= shown,
        (4, None) => false,
        _ => true,
    });
    if told || up_to >= Some(first) || is_applied(data, count) {
        return None;
    }
    let length = batch.start + dice.below(batch.len());
    let variant = dice.below(2);
    let mut bytes = segment.bytes;
    if bytes[length..batch.end].iter().all(|byte| *byte == 0) {
        return None; // zeros in the place of zeros: the batch would be whole
    }
    match variant {
        0 => bytes.truncate(length),
        _ => bytes[length..].fill(0),
    }
    Some(left(segment.path, "the last batch cut short", batch.start, &bytes))
}

/// Whether the replay store may know one of the journal's last `count` records; a copy is asked.
fn is_applied(data: &Path, count: u64) -> bool {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for part in ["journal", "sled"] {
        copy_all(&data.join(part), &copy.path().join(part));
    }
    let (store, report) =
        Store::open(copy.path(), StoreConfig { schema: understudy_actors::answers::SCHEMA, ..StoreConfig::default() })
            .expect("the store opens");
    store.close().expect("it closes");
    report.replayed < count
}

fn copy_all(from: &Path, to: &Path) {
    let Ok(entries) = fs::read_dir(from) else { return };
    fs::create_dir(to).expect("a temporary folder");
    for path in entries.flatten().map(|entry| entry.path()) {
        let target = to.join(path.file_name().expect("an entry has a name"));
        match path.is_dir() {
            true => copy_all(&path, &target),
            false => drop(fs::copy(&path, &target).expect("it can be copied")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use understudy_checkpoints::{NewRecord, RecordKind};

    #[test]
    fn crash_rig_tears_only_what_the_store_cuts_off_and_names() {
        for seed in 0..40 {
            let data = tempfile::tempdir().unwrap();
            let (store, _) = Store::open(
                data.path(),
                StoreConfig { schema: understudy_actors::answers::SCHEMA, ..StoreConfig::default() },
            )
            .unwrap();
            for id in 0..5u64 {
                let key = Some(format!("answer/{id}"));
                let bytes = vec![id as u8; 700];
                store.handle().append(NewRecord { kind: RecordKind::Answer, key, group: id, bytes }).unwrap();
            }
            store.close().unwrap();
            let mut dice = Dice(seed);
            // Everything is in the replay store: the last batch is nobody's to cut.
            assert!(cut(data.path(), &Oracle::default(), &mut dice).is_none());
            let torn = tear(data.path(), &mut dice).unwrap();
            let (store, report) = Store::open(
                data.path(),
                StoreConfig { schema: understudy_actors::answers::SCHEMA, ..StoreConfig::default() },
            )
            .unwrap();
            assert_eq!(report.torn_tail.map(|tail| tail.offset), torn.offset, "{torn:?}");
            assert_eq!((report.last_seq, report.rebuilt), (5, None), "{torn:?}");
            store.close().unwrap();
        }
    }
}
