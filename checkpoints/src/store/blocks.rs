//! Blocks: what one key of sled holds. Neighbours of one kind share a block, because sled's price is by the key and
//! not by the byte. Decoding compares every length with the bytes at hand, allocates nothing by a length it read, and
//! never panics.
//!
//! Key: `kind u8 | first sequence number u64 | part u16`, big-endian, so that a kind's oldest block comes first.
//! Block of records: `(length u32 | encoded record)*`, cut into parts where a single record is larger than a part.
//! Block of entries: `crc32c u32 | (length u32 | entry)*`; the checksum covers what is behind it.

use crate::codec::Fields;
use crate::record::Digest;

/// A block of several items ends before it outgrows this. Reading one record reads a block.
const BLOCK_BYTES: usize = 16 << 10;
/// Bytes of one part. Together with its key under 64 KiB, so that no page of sled outgrows its log.
const PART_BYTES: usize = 60 << 10;

/// What a record leaves behind as long as its key is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Encoded bytes.
    pub(super) size: u32,
    /// The record's checksum.
    pub(super) crc: u32,
    pub(super) group: u64,
    /// Of kind and payload.
    pub(super) digest: Digest,
    /// Idempotency key.
    pub(super) key: Option<String>,
}

impl Entry {
    fn encode(&self, seq: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&seq.to_le_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&self.group.to_le_bytes());
        out.extend_from_slice(&self.digest);
        out.extend_from_slice(self.key.as_deref().unwrap_or_default().as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
        let mut fields = Fields::new(bytes);
        let (seq, size, crc, group) = (fields.u64()?, fields.u32()?, fields.u32()?, fields.u64()?);
        let digest = fields.bytes(size_of::<Digest>())?.try_into().ok()?;
        let key = std::str::from_utf8(fields.rest()).ok()?;
        Some((seq, Self { size, crc, group, digest, key: (!key.is_empty()).then(|| key.to_owned()) }))
    }
}

/// Key of one part of a block.
pub(super) fn block_key(kind: u8, first: u64, part: u16) -> [u8; 11] {
    let mut key = [kind; 11];
    key[1..9].copy_from_slice(&first.to_be_bytes());
    key[9..].copy_from_slice(&part.to_be_bytes());
    key
}

/// Kind, first sequence number and part.
pub(super) fn split_key(key: &[u8]) -> Option<(u8, u64, u16)> {
    let (kind, rest) = key.split_first()?;
    let (first, part) = rest.split_first_chunk()?;
    Some((*kind, u64::from_be_bytes(*first), u16::from_be_bytes(part.try_into().ok()?)))
}

/// Collects items of one kind in their order, and gives out keys and parts.
struct Builder {
    kind: u8,
    /// Bytes that every block begins with.
    head: usize,
    first: u64,
    block: Vec<u8>,
    done: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Builder {
    fn new(kind: u8, head: usize) -> Self {
        Self { kind, head, first: 0, block: Vec::new(), done: Vec::new() }
    }

    fn push(&mut self, seq: u64, item: &[u8]) {
        if !self.block.is_empty() && self.block.len() + item.len() > BLOCK_BYTES {
            self.finish();
        }
        if self.block.is_empty() {
            self.first = seq;
            self.block.resize(self.head, 0);
        }
        let len = u32::try_from(item.len()).expect("records are far under 4 GiB");
        self.block.extend_from_slice(&len.to_le_bytes());
        self.block.extend_from_slice(item);
    }

    fn finish(&mut self) {
        let mut block = std::mem::take(&mut self.block);
        if self.head > 0 && !block.is_empty() {
            let crc = crc32c::crc32c(&block[self.head..]);
            block[..self.head].copy_from_slice(&crc.to_le_bytes());
        }
        for (part, bytes) in (0u16..).zip(block.chunks(PART_BYTES)) {
            self.done.push((block_key(self.kind, self.first, part).to_vec(), bytes.to_vec()));
        }
    }
}

/// Keys and parts of the blocks with these encoded records of one kind.
pub(super) fn of_records<'a>(kind: u8, records: impl Iterator<Item = (u64, &'a [u8])>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut builder = Builder::new(kind, 0);
    records.for_each(|(seq, encoded)| builder.push(seq, encoded));
    builder.finish();
    builder.done
}

/// Keys and values of the blocks with these entries of one kind.
pub(super) fn of_entries<'a>(kind: u8, entries: impl Iterator<Item = (u64, &'a Entry)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut builder = Builder::new(kind, 4);
    let mut item = Vec::new();
    for (seq, entry) in entries {
        item.clear();
        entry.encode(seq, &mut item);
        builder.push(seq, &item);
    }
    builder.finish();
    builder.done
}

/// The items of a block, without what stands before them.
fn items(block: &[u8]) -> impl Iterator<Item = Result<&[u8], &'static str>> {
    let mut fields = Some(Fields::new(block));
    std::iter::from_fn(move || {
        let rest = fields.as_mut().filter(|rest| !rest.is_empty())?;
        let item = rest.u32().and_then(|len| rest.bytes(len as usize));
        if item.is_none() {
            fields = None;
        }
        Some(item.ok_or("a block is cut short"))
    })
}

/// The encoded records of a whole block.
pub(super) fn records(block: &[u8]) -> impl Iterator<Item = Result<&[u8], &'static str>> {
    items(block)
}

/// The entries of a block with their sequence numbers.
pub(super) fn entries(block: &[u8]) -> Result<Vec<(u64, Entry)>, &'static str> {
    let (crc, rest) = block.split_first_chunk().ok_or("a block is cut short")?;
    if crc32c::crc32c(rest) != u32::from_le_bytes(*crc) {
        return Err("a block's checksum does not match");
    }
    items(rest).map(|item| item.and_then(|item| Entry::decode(item).ok_or("an entry is cut short"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{RECORD_OVERHEAD, RecordKind};
    use crate::{MAX_RECORD_BYTES, Record};
    use proptest::prelude::*;

    fn joined(parts: &[(Vec<u8>, Vec<u8>)]) -> Vec<(u64, Vec<u8>)> {
        let mut blocks: Vec<(u64, Vec<u8>)> = Vec::new();
        for (key, bytes) in parts {
            let (_, first, part) = split_key(key).unwrap();
            assert!(bytes.len() <= PART_BYTES);
            match part {
                0 => blocks.push((first, bytes.clone())),
                _ => blocks.last_mut().unwrap().1.extend_from_slice(bytes),
            }
        }
        blocks
    }

    proptest! {
        #[test]
        fn blocks_give_back_their_records_and_begin_with_the_first(
            sizes in prop::collection::vec(prop_oneof![0usize..3000, 0usize..200_000], 0..20), first in 1u64..1000,
        ) {
            let record = |(seq, size): (u64, &usize)| {
                let bytes = vec![seq as u8; *size];
                (seq, Record { seq, kind: RecordKind(3), schema: 1, group: 0, key: None, bytes }.encode())
            };
            let records_in: Vec<(u64, Vec<u8>)> = (first..).zip(&sizes).map(record).collect();
            let parts = of_records(3, records_in.iter().map(|(seq, bytes)| (*seq, bytes.as_slice())));
            let mut read = Vec::new();
            for (first, block) in joined(&parts) {
                let of_block: Vec<Vec<u8>> = records(&block).map(|record| record.unwrap().to_vec()).collect();
                prop_assert_eq!(Record::decode(&of_block[0]).unwrap().seq, first);
                prop_assert!(of_block.len() == 1 || block.len() <= BLOCK_BYTES + 4);
                read.extend(of_block);
            }
            prop_assert_eq!(read, records_in.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>());
        }

        #[test]
        fn blocks_give_back_their_entries_and_any_flipped_bit_is_found(
            keys in prop::collection::vec(prop::option::of("[a-z/]{1,256}"), 1..200), group: u64, digest: Digest,
            flip: prop::sample::Index,
        ) {
            let entry = |key: Option<String>| Entry { size: 9, crc: 7, group, digest, key };
            let all: Vec<(u64, Entry)> = (5..).zip(keys.into_iter().map(entry)).collect();
            let parts = of_entries(1, all.iter().map(|(seq, entry)| (*seq, entry)));
            let mut read = Vec::new();
            for (first, mut block) in joined(&parts) {
                let of_block = entries(&block).unwrap();
                prop_assert_eq!(of_block[0].0, first);
                read.extend(of_block);
                let bit = flip.index(block.len() * 8);
                block[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(entries(&block).is_err());
            }
            prop_assert_eq!(read, all);
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_give_no_more_than_they_hold(bytes: Vec<u8>) {
            let of_block: usize = records(&bytes).flatten().map(<[u8]>::len).sum();
            prop_assert!(of_block <= bytes.len());
            prop_assert!(records(&bytes).count() <= bytes.len() / 4 + 1);
            let _ = entries(&bytes);
            let _ = split_key(&bytes);
        }
    }

    #[test]
    fn the_largest_record_has_few_enough_parts() {
        let parts = (MAX_RECORD_BYTES + RECORD_OVERHEAD + 300).div_ceil(PART_BYTES);
        assert!(u16::try_from(parts).is_ok());
    }
}
