//! Which records are in which ring, in memory. The live records of a ring are always the longest run of its newest
//! ones that fits its bounds, so they depend on the order of commits alone: a rebuilt store has the same ones. What is
//! kept for the keys' sake is a run, too, and begins earlier. Nothing here reads sled, so deciding on a new record does
//! not either.

use std::collections::{BTreeMap, VecDeque};

use super::blocks::Entry;
use super::changes::{Changes, RingMeta};
use super::keys::Keys;
use super::{Bounds, StoreConfig};
use crate::journal::Keep;
use crate::record::Prints;
use crate::{Record, RecordKind};

/// What a ring holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RingStats {
    /// Records.
    pub records: u64,
    /// Their bytes, as stored.
    pub bytes: u64,
    /// Sequence number of the oldest, 0 if there is none.
    pub first_seq: u64,
    /// Sequence number of the newest, 0 if there is none.
    pub last_seq: u64,
}

/// One record as the index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) seq: u64,
    pub(super) group: u64,
    pub(super) size: u32,
    pub(super) crc: u32,
    /// Print of its key, 0 for none.
    pub(super) key: u64,
}

/// One kind's records: first those that only their keys outlive, then the live ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ring {
    bounds: Bounds,
    slots: VecDeque<Slot>,
    live_from: usize,
    live_bytes: u64,
    all_bytes: u64,
    sum: u64,
    /// Live records by group, oldest first.
    groups: BTreeMap<u64, VecDeque<u64>>,
}

/// All rings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    rings: BTreeMap<u8, Ring>,
    /// Every kept record that has a key.
    keys: Keys,
    configured: BTreeMap<RecordKind, Bounds>,
    other: Bounds,
    key_window: u64,
}

impl Ring {
    fn new(bounds: Bounds) -> Self {
        let empty = VecDeque::new();
        Self { bounds, slots: empty, live_from: 0, live_bytes: 0, all_bytes: 0, sum: 0, groups: BTreeMap::new() }
    }

    pub(super) fn live_count(&self) -> usize {
        self.slots.len() - self.live_from
    }

    /// The live records, oldest first.
    pub(super) fn live(&self) -> impl DoubleEndedIterator<Item = &Slot> + ExactSizeIterator {
        self.slots.range(self.live_from..)
    }

    pub(super) fn live_at(&self, rank: usize) -> Option<u64> {
        self.slots.get(self.live_from + rank).map(|slot| slot.seq)
    }

    pub(super) fn groups(&self) -> &BTreeMap<u64, VecDeque<u64>> {
        &self.groups
    }

    /// Live sequence numbers from `from` on.
    pub(super) fn live_since(&self, from: u64) -> impl Iterator<Item = u64> + '_ {
        let start = self.slots.partition_point(|slot| slot.seq < from).max(self.live_from);
        self.slots.range(start..).map(|slot| slot.seq)
    }

    /// Live sequence numbers before `before`, newest first.
    pub(super) fn live_before(&self, before: u64) -> impl Iterator<Item = u64> + '_ {
        let end = self.slots.partition_point(|slot| slot.seq < before).max(self.live_from);
        self.slots.range(self.live_from..end).rev().map(|slot| slot.seq)
    }

    /// Sequence numbers of all records that are live or outlived by their keys.
    #[cfg(test)]
    pub(super) fn kept(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots.iter().map(|slot| slot.seq)
    }

    fn stats(&self) -> RingStats {
        let seq_of = |slot: Option<&Slot>| slot.map_or(0, |slot| slot.seq);
        let newest = if self.live_count() == 0 { 0 } else { seq_of(self.slots.back()) };
        let first_seq = seq_of(self.slots.get(self.live_from));
        RingStats { records: self.live_count() as u64, bytes: self.live_bytes, first_seq, last_seq: newest }
    }

    pub(super) fn meta(&self) -> RingMeta {
        let RingStats { records, bytes, first_seq: first, .. } = self.stats();
        let kept = self.slots.front().map_or(0, |slot| slot.seq);
        RingMeta { first, kept, records, bytes, sum: self.sum, entries: self.slots.len() as u64 }
    }

    /// Adds a record at the new end. `live` is false for one that only its key outlives.
    fn append(&mut self, slot: Slot, live: bool) {
        self.slots.push_back(slot);
        self.all_bytes += u64::from(slot.size);
        if live {
            self.live_bytes += u64::from(slot.size);
            self.sum = self.sum.wrapping_add(u64::from(slot.crc));
            self.groups.entry(slot.group).or_default().push_back(slot.seq);
        } else {
            self.live_from += 1;
        }
    }

    fn evict(&mut self) -> Option<Slot> {
        let over = self.live_count() as u64 > self.bounds.records || self.live_bytes > self.bounds.bytes;
        let slot = *self.slots.get(self.live_from).filter(|_| over && self.live_count() > 1)?;
        self.live_from += 1;
        self.live_bytes -= u64::from(slot.size);
        self.sum = self.sum.wrapping_sub(u64::from(slot.crc));
        if let Some(group) = self.groups.get_mut(&slot.group) {
            let oldest = group.pop_front();
            debug_assert_eq!(oldest, Some(slot.seq), "a group's records leave in their order");
            if group.is_empty() {
                self.groups.remove(&slot.group);
            }
        }
        Some(slot)
    }

    fn forget(&mut self, key_window: u64) -> Option<Slot> {
        let over = self.slots.len() as u64 > self.bounds.records.saturating_mul(key_window)
            || self.all_bytes > self.bounds.bytes.saturating_mul(key_window);
        if !over || self.live_from == 0 {
            return None;
        }
        let slot = self.slots.pop_front()?;
        self.live_from -= 1;
        self.all_bytes -= u64::from(slot.size);
        Some(slot)
    }
}

impl Index {
    pub(super) fn new(config: &StoreConfig) -> Self {
        Self {
            rings: BTreeMap::new(),
            keys: Keys::default(),
            configured: config.rings.clone(),
            other: config.other_rings,
            key_window: config.key_window.max(1),
        }
    }

    pub(super) fn ring(&self, kind: RecordKind) -> Option<&Ring> {
        self.rings.get(&kind.0)
    }

    pub(super) fn ring_mut(&mut self, kind: u8) -> &mut Ring {
        let bounds = self.configured.get(&RecordKind(kind)).copied().unwrap_or(self.other);
        self.rings.entry(kind).or_insert_with(|| Ring::new(bounds))
    }

    pub(super) fn rings(&self) -> impl Iterator<Item = (u8, &Ring)> {
        self.rings.iter().map(|(kind, ring)| (*kind, ring))
    }

    pub(super) fn stats(&self) -> BTreeMap<RecordKind, RingStats> {
        self.rings().map(|(kind, ring)| (RecordKind(kind), ring.stats())).collect()
    }

    /// Adds a record at the new end of its kind's ring, without looking at the bounds.
    pub(super) fn append(&mut self, kind: u8, slot: Slot, live: bool) {
        if slot.key != 0 {
            self.keys.insert(slot.key, slot.seq);
        }
        self.ring_mut(kind).append(slot, live);
    }

    /// Adds a committed record, and adds to `changes` what that does to sled.
    pub(super) fn push(&mut self, record: &Record, prints: Prints, encoded: Vec<u8>, changes: &mut Changes) {
        let (kind, seq, group) = (record.kind.0, record.seq, record.group);
        let size = u32::try_from(encoded.len()).expect("records are far under 4 GiB");
        let crc = Record::checksum(&encoded);
        let entry = Entry { size, crc, group, digest: prints.digest, key: record.key.clone() };
        changes.put((kind, seq), encoded, entry);
        self.append(kind, Slot { seq, group, size, crc, key: prints.key }, true);
        self.trim(kind, changes);
    }

    /// Brings one ring under its bounds, as after a push or after the bounds were made smaller.
    pub(super) fn trim(&mut self, kind: u8, changes: &mut Changes) {
        let key_window = self.key_window;
        let ring = self.ring_mut(kind);
        while let Some(slot) = ring.evict() {
            changes.records.remove(&(kind, slot.seq));
        }
        let mut forgotten = Vec::new();
        while let Some(slot) = ring.forget(key_window) {
            changes.entries.remove(&(kind, slot.seq));
            forgotten.push((slot.key, slot.seq));
        }
        changes.rings.insert(kind, ring.meta());
        for (key, seq) in forgotten {
            self.keys.remove(key, seq);
        }
    }

    /// Kept records whose keys have this print, newest first, with their kinds.
    pub(super) fn with_key(&self, print: u64) -> impl Iterator<Item = (u8, u64)> + '_ {
        self.keys.with(print).filter_map(|seq| Some((self.kind_of(seq)?, seq)))
    }

    /// The kind of a kept record.
    fn kind_of(&self, seq: u64) -> Option<u8> {
        let kept = |ring: &Ring| ring.slots.binary_search_by_key(&seq, |slot| slot.seq).is_ok();
        self.rings.iter().find(|(_, ring)| kept(ring)).map(|(kind, _)| *kind)
    }

    /// The kind of a record that is in its ring.
    pub(super) fn live_kind(&self, seq: u64) -> Option<u8> {
        let is_live = |kind: &u8| self.rings.get(kind).is_some_and(|ring| ring.meta().first <= seq);
        self.kind_of(seq).filter(is_live)
    }
}

impl Keep for Index {
    fn kept_from(&self) -> BTreeMap<u8, u64> {
        self.rings.iter().map(|(kind, ring)| (*kind, ring.meta().kept)).collect()
    }

    fn count_kept(&self, first: u64, last: u64) -> u64 {
        let below = |ring: &Ring, seq: u64| ring.slots.partition_point(|slot| slot.seq < seq) as u64;
        self.rings.values().map(|ring| below(ring, last + 1) - below(ring, first)).sum()
    }
}
