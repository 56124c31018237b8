//! What acknowledged records change in sled, collected until the applier gets to it. A record that its ring has let go
//! of again by then is not written at all.

use std::collections::BTreeMap;

use super::blocks::Entry;
use crate::codec::Fields;

/// Kind and sequence number.
pub(super) type Place = (u8, u64);

/// Records and entries that sled does not have yet, and the totals with them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Encoded records.
    pub(super) records: BTreeMap<Place, Vec<u8>>,
    pub(super) entries: BTreeMap<Place, Entry>,
    /// Totals by kind, after these changes.
    pub(super) rings: BTreeMap<u8, RingMeta>,
    /// The highest sequence number among these changes; 0 if there is none.
    pub(super) applied: u64,
    /// Records that came in.
    pub(super) taken: usize,
    /// Their bytes.
    pub(super) bytes: usize,
    /// Journal batches that came in.
    pub(super) batches: u32,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.rings.is_empty()
    }

    pub(super) fn put(&mut self, place: Place, encoded: Vec<u8>, entry: Entry) {
        self.taken += 1;
        self.bytes += encoded.len();
        self.applied = place.1;
        self.records.insert(place, encoded);
        self.entries.insert(place, entry);
    }
}

/// One ring's totals, written with every change of it and compared with what is there at the next start. What is in
/// sled below `first` and `kept` only shares a block with what is above.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RingMeta {
    /// Oldest record that is still in the ring.
    pub(super) first: u64,
    /// Oldest record that is still in the key window.
    pub(super) kept: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Wrapping sum of the records' checksums.
    pub(super) sum: u64,
    /// Entries, of records in the ring and of those that only their keys outlive.
    pub(super) entries: u64,
}

impl RingMeta {
    pub(super) fn encode(&self) -> Vec<u8> {
        let fields = [self.first, self.kept, self.records, self.bytes, self.sum, self.entries];
        fields.iter().flat_map(|field| field.to_le_bytes()).collect()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let (first, kept, records) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (bytes, sum, entries) = (fields.u64()?, fields.u64()?, fields.u64()?);
        fields.is_empty().then_some(Self { first, kept, records, bytes, sum, entries })
    }
}
