//! The changes of one sled transaction, decided before it runs: sled may run a transaction's closure again, so the
//! closure only writes what stands here.

use std::collections::BTreeMap;

use crate::codec::Fields;
use crate::record::Digest;

/// Bytes of one chunk of a record. Together with its key under 64 KiB, so that no page of sled outgrows its log.
pub(super) const CHUNK_BYTES: usize = 60 << 10;

/// New value or removal, by key.
pub(super) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Writes to the four trees.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) records: Writes,
    pub(super) entries: Writes,
    pub(super) keys: Writes,
    pub(super) meta: Writes,
}

/// Key in the tree of records: sequence number and part, big-endian, so that the oldest comes first.
pub(super) fn chunk_key(seq: u64, part: u16) -> Vec<u8> {
    [&seq.to_be_bytes()[..], &part.to_be_bytes()].concat()
}

/// How many chunks an encoded record of `size` bytes takes.
pub(super) fn chunk_count(size: u32) -> u16 {
    u16::try_from((size as usize).div_ceil(CHUNK_BYTES)).expect("a record of 16 MiB has 274 chunks")
}

/// Key in the tree of entries.
pub(super) fn entry_key(kind: u8, seq: u64) -> Vec<u8> {
    [&[kind][..], &seq.to_be_bytes()].concat()
}

impl Changes {
    pub(super) fn put_record(&mut self, seq: u64, encoded: &[u8]) {
        for (part, chunk) in (0u16..).zip(encoded.chunks(CHUNK_BYTES)) {
            self.records.insert(chunk_key(seq, part), Some(chunk.to_vec()));
        }
    }

    pub(super) fn remove_record(&mut self, seq: u64, size: u32) {
        for part in 0..chunk_count(size) {
            self.records.insert(chunk_key(seq, part), None);
        }
    }
}

/// What the tree of entries says of a record, also after the record itself has left its ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Encoded bytes.
    pub(super) size: u32,
    /// The record's checksum.
    pub(super) crc: u32,
    pub(super) group: u64,
    pub(super) key: Option<String>,
}

impl Entry {
    pub(super) fn encode(&self) -> Vec<u8> {
        let key = self.key.as_deref().unwrap_or_default().as_bytes();
        [&self.size.to_le_bytes()[..], &self.crc.to_le_bytes(), &self.group.to_le_bytes(), key].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let (size, crc, group) = (fields.u32()?, fields.u32()?, fields.u64()?);
        let key = std::str::from_utf8(fields.rest()).ok()?;
        Some(Self { size, crc, group, key: (!key.is_empty()).then(|| key.to_owned()) })
    }
}

/// What an idempotency key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyOwner {
    pub(super) seq: u64,
    pub(super) digest: Digest,
}

impl KeyOwner {
    pub(super) fn encode(&self) -> Vec<u8> {
        [&self.seq.to_le_bytes()[..], &self.digest].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let seq = fields.u64()?;
        Some(Self { seq, digest: fields.rest().try_into().ok()? })
    }
}

/// One ring's totals, written with every change of it and compared with what is there at the next start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RingMeta {
    /// Oldest record that is still in the ring.
    pub(super) first: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Wrapping sum of the records' checksums.
    pub(super) sum: u64,
    /// Entries, of records in the ring and of those that only their keys outlive.
    pub(super) entries: u64,
}

impl RingMeta {
    pub(super) fn encode(&self) -> Vec<u8> {
        let fields = [self.first, self.records, self.bytes, self.sum, self.entries];
        fields.iter().flat_map(|field| field.to_le_bytes()).collect()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let (first, records, bytes) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (sum, entries) = (fields.u64()?, fields.u64()?);
        fields.is_empty().then_some(Self { first, records, bytes, sum, entries })
    }
}
