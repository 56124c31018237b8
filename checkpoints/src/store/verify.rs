//! Proof, at every start, that sled holds what it should: sled takes a damaged log for a shorter one and then opens
//! with records missing. So each record is read and checked against its entry, the totals that were written with it,
//! and the journal.

use std::collections::BTreeMap;

use super::StoreConfig;
use super::blocks::{self, split_key};
use super::changes::RingMeta;
use super::index::{Index, Ring, Slot};
use super::trees::{Trees, Trouble, guarded};
use crate::journal::peek;
use crate::record::print_of_key;
use crate::{Record, RecordKind};

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
    read_entries(trees, &metas, &mut index)?;
    for (kind, meta) in &metas {
        let found = index.ring_mut(*kind).meta();
        if found != *meta {
            return Err(content(format!(
                "ring {kind} holds {} records and should hold {}",
                found.records, meta.records
            )));
        }
    }
    read_records(trees, &metas, &index)?;
    Ok(index)
}

fn read_entries(trees: &Trees, metas: &BTreeMap<u8, RingMeta>, index: &mut Index) -> Result<(), Unreadable> {
    let mut before = (0, 0);
    for item in &trees.entries {
        let (key, block) = item?;
        trees.settle(&trees.entries, &key)?;
        let (kind, first, _) = split_key(&key).ok_or_else(|| content("an entry's key is odd"))?;
        let meta = metas.get(&kind).ok_or_else(|| content("a ring's totals are gone"))?;
        let entries =
            blocks::entries(&block).map_err(|reason| content(format!("entries from {first} on: {reason}")))?;
        if entries.last().is_none_or(|(newest, _)| *newest < meta.kept) {
            return Err(content(format!("the entries from {first} on should be gone")));
        }
        for (seq, entry) in entries {
            if (kind, seq) <= before {
                return Err(content(format!("the entry of record {seq} follows that of record {}", before.1)));
            }
            before = (kind, seq);
            if seq >= meta.kept {
                let key = entry.key.as_deref().map_or(0, print_of_key);
                let slot = Slot { seq, group: entry.group, size: entry.size, crc: entry.crc, key };
                index.append(kind, slot, meta.first != 0 && seq >= meta.first);
            }
        }
    }
    Ok(())
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

/// Every record that should be there is, whole, and no other but those that share a block with the oldest.
fn read_records(trees: &Trees, metas: &BTreeMap<u8, RingMeta>, index: &Index) -> Result<(), Unreadable> {
    let mut blocks = trees.records.iter().peekable();
    for (kind, meta) in metas {
        let mut expected = index.ring(RecordKind(*kind)).into_iter().flat_map(Ring::live);
        while let Some((key, mut block)) = blocks.next_if(|item| is_of(item, *kind, None)).transpose()? {
            let first = split_key(&key).map_or(0, |(_, first, _)| first);
            trees.settle(&trees.records, &key)?;
            while let Some((_, part)) = blocks.next_if(|item| is_of(item, *kind, Some(first))).transpose()? {
                block = [&block[..], &part].concat().into();
            }
            let mut newest = 0;
            for encoded in blocks::records(&block) {
                let encoded = encoded.map_err(|reason| content(format!("records from {first} on: {reason}")))?;
                newest = peek(encoded).0;
                if newest >= meta.first {
                    compare(encoded, *kind, expected.next())?;
                }
            }
            if newest < meta.first {
                return Err(content(format!("the records from {first} on should be gone")));
            }
        }
        if let Some(slot) = expected.next() {
            return Err(content(format!("records are gone, the first is {}", slot.seq)));
        }
    }
    match blocks.next() {
        Some(_) => Err(content("there are records of a kind without totals")),
        None => Ok(()),
    }
}

/// Whether an item is of this kind, and if `first` is given a further part of the block that begins there.
fn is_of(item: &sled::Result<(sled::IVec, sled::IVec)>, kind: u8, first: Option<u64>) -> bool {
    let Ok((key, _)) = item else { return true };
    match split_key(key) {
        Some((of, begins, part)) => of == kind && first.is_none_or(|first| begins == first && part > 0),
        None => false,
    }
}

fn compare(encoded: &[u8], kind: u8, slot: Option<&Slot>) -> Result<(), Unreadable> {
    let seq = peek(encoded).0;
    let record = Record::decode(encoded).map_err(|reason| content(format!("record {seq} is damaged: {reason}")))?;
    let is_it = |slot: &Slot| slot.seq == record.seq && slot.crc == Record::checksum(encoded) && kind == record.kind.0;
    match slot.is_some_and(is_it) {
        true => Ok(()),
        false => Err(content(format!("record {seq} is not the one that was written there"))),
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
