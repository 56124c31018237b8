//! Proof, at every start, that sled holds what it should: sled takes a damaged log for a shorter one and then opens
//! with records missing. So each record is read and checked against its entry, the totals that were written with it,
//! and the journal.

use std::collections::BTreeMap;

use super::StoreConfig;
use super::changes::{Entry, KeyOwner, RingMeta};
use super::index::{Index, Slot};
use super::trees::{Trees, Trouble, guarded};
use crate::Record;
use crate::codec::Fields;
use crate::journal::peek;

/// What sled holds, verified against itself.
pub(super) struct Loaded {
    pub(super) index: Index,
    pub(super) applied: u64,
}

/// Reads all of sled.
pub(super) fn load(trees: &Trees, config: &StoreConfig) -> Result<Loaded, Trouble> {
    let read = guarded(|| read_all(trees, config)).map_err(Trouble::Damage)?;
    let index = read.map_err(|error| match error {
        Unreadable::Sled(error) => Trouble::Damage(error.to_string()),
        Unreadable::Content(reason) => Trouble::Damage(reason),
    })?;
    let applied = trees.applied()?;
    Ok(Loaded { index, applied })
}

enum Unreadable {
    Sled(sled::Error),
    Content(String),
}

impl From<sled::Error> for Unreadable {
    fn from(error: sled::Error) -> Self {
        Self::Sled(error)
    }
}

fn content(reason: impl Into<String>) -> Unreadable {
    Unreadable::Content(reason.into())
}

fn read_all(trees: &Trees, config: &StoreConfig) -> Result<Index, Unreadable> {
    let metas = read_metas(trees)?;
    let mut index = Index::new(config);
    // kind, size and checksum of every record that should be there
    let mut expected = BTreeMap::new();
    for item in &trees.entries {
        let (key, value) = item?;
        let mut fields = Fields::new(&key);
        let kind = fields.u8().ok_or_else(|| content("an entry's key is cut short"))?;
        let seq = fields.rest().try_into().map(u64::from_be_bytes).map_err(|_| content("an entry's key is odd"))?;
        let entry = Entry::decode(&value).ok_or_else(|| content(format!("the entry of record {seq} is damaged")))?;
        let first = metas.get(&kind).map(|meta| meta.first).ok_or_else(|| content("a ring's totals are gone"))?;
        let live = first != 0 && seq >= first;
        if let Some(key) = &entry.key {
            let owner = trees.keys.get(key)?.and_then(|value| KeyOwner::decode(&value));
            if owner.is_none_or(|owner| owner.seq < seq) {
                return Err(content(format!("the key of record {seq} is gone")));
            }
        }
        if live {
            expected.insert(seq, (kind, entry.crc));
        }
        index.ring_mut(kind).append(Slot { seq, group: entry.group, size: entry.size, crc: entry.crc }, live);
    }
    for (kind, meta) in &metas {
        let found = index.ring_mut(*kind).meta();
        if found != *meta {
            return Err(content(format!(
                "ring {kind} holds {} records and should hold {}",
                found.records, meta.records
            )));
        }
    }
    read_records(trees, expected)?;
    Ok(index)
}

fn read_metas(trees: &Trees) -> Result<BTreeMap<u8, RingMeta>, Unreadable> {
    let mut metas = BTreeMap::new();
    for item in trees.meta.scan_prefix("ring/") {
        let (key, value) = item?;
        let kind = *key.last().ok_or_else(|| content("a ring has no kind"))?;
        metas.insert(kind, RingMeta::decode(&value).ok_or_else(|| content("a ring's totals cannot be read"))?);
    }
    Ok(metas)
}

/// Every expected record is there, whole, and no other.
fn read_records(trees: &Trees, mut expected: BTreeMap<u64, (u8, u32)>) -> Result<(), Unreadable> {
    let mut current: Option<u64> = None;
    let mut encoded = Vec::new();
    let mut finish = |seq: Option<u64>, encoded: &mut Vec<u8>| -> Result<(), Unreadable> {
        let Some(seq) = seq else { return Ok(()) };
        let record = Record::decode(encoded).map_err(|reason| content(format!("record {seq} is damaged: {reason}")))?;
        let found = (record.kind.0, Record::checksum(encoded));
        if record.seq != seq || expected.remove(&seq) != Some(found) {
            return Err(content(format!("record {seq} is not the one that was written")));
        }
        encoded.clear();
        Ok(())
    };
    for item in &trees.records {
        let (key, chunk) = item?;
        let seq = key.get(..8).and_then(|seq| seq.try_into().ok()).map(u64::from_be_bytes);
        let seq = seq.ok_or_else(|| content("a record's key is cut short"))?;
        if current != Some(seq) {
            finish(current, &mut encoded)?;
            current = Some(seq);
        }
        encoded.extend_from_slice(&chunk);
    }
    finish(current, &mut encoded)?;
    match expected.first_key_value() {
        Some((seq, _)) => Err(content(format!("{} records are gone, the first is {seq}", expected.len()))),
        None => Ok(()),
    }
}

/// Counts, while the journal is read, what sled's rings should hold, to compare it with what they do.
pub(super) struct Audit {
    rings: BTreeMap<u8, RingMeta>,
    applied: u64,
    found: BTreeMap<u8, (u64, u64)>,
}

impl Audit {
    pub(super) fn new(loaded: &Loaded) -> Self {
        let rings = loaded.index.rings().map(|(kind, ring)| (kind, ring.meta())).collect();
        Self { rings, applied: loaded.applied, found: BTreeMap::new() }
    }

    /// One record of the journal.
    pub(super) fn see(&mut self, encoded: &[u8]) {
        let (seq, kind) = peek(encoded);
        let first = self.rings.get(&kind).map_or(1, |ring| ring.first.max(1));
        if seq >= first && seq <= self.applied {
            let (count, sum) = self.found.entry(kind).or_default();
            *count += 1;
            *sum = sum.wrapping_add(u64::from(Record::checksum(encoded)));
        }
    }

    /// What differs between the journal and sled, if anything.
    pub(super) fn difference(&self) -> Option<String> {
        let kinds = self.rings.keys().chain(self.found.keys());
        kinds.into_iter().find_map(|kind| {
            let (count, sum) = self.found.get(kind).copied().unwrap_or_default();
            let ring = self.rings.get(kind).copied().unwrap_or_default();
            let differs = count != ring.records || sum != ring.sum;
            differs.then(|| format!("ring {kind} holds {} records, and {count} by the journal", ring.records))
        })
    }
}
