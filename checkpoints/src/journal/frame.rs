//! Bytes of a segment: its header and its frames. Decoding compares every length with the bytes at hand before it
//! allocates, and never panics.
//!
//! Header, 40 bytes: `magic 8 | version u16 | flags u16 | first u64 | last u64 | salt u64 | crc32c u32`; `last` is
//! meaningful only with the flag `COMPACTED`, whose frames may skip sequence numbers.
//! Frame: `length u32 | crc32c u32 | (length u32 | record)*`; the checksum covers salt, length and payload.

use crate::codec::Fields;
use crate::record::{MAX_KEY_BYTES, MAX_RECORD_BYTES, RECORD_OVERHEAD};

/// Version of the segment format.
pub const FORMAT_VERSION: u16 = 1;

pub(super) const HEADER_LEN: usize = 40;
pub(super) const FRAME_HEAD_LEN: usize = 8;
/// A batch stops growing at this many payload bytes, so one more record is the most that can be added.
pub(crate) const BATCH_BYTES: usize = 8 << 20;
/// Largest frame payload that is read.
pub(super) const MAX_FRAME_BYTES: usize = BATCH_BYTES + MAX_RECORD_BYTES + MAX_KEY_BYTES + (64 << 10);

/// No journal comes so far; so sums of a few of its numbers do not overflow.
const MAX_SEQ: u64 = u64::MAX / 4;
const MAGIC: [u8; 8] = *b"UNDRSTDJ";
const COMPACTED: u16 = 1;

/// What a segment's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) first: u64,
    /// For a compacted segment: the last sequence number that belongs to it.
    pub(super) compacted_last: Option<u64>,
    pub(super) salt: u64,
}

/// Why a header is not one that can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    Damaged(&'static str),
    Newer(u16),
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let flags = if self.compacted_last.is_some() { COMPACTED } else { 0 };
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[10..12].copy_from_slice(&flags.to_le_bytes());
        out[12..20].copy_from_slice(&self.first.to_le_bytes());
        out[20..28].copy_from_slice(&self.compacted_last.unwrap_or_default().to_le_bytes());
        out[28..36].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32c::crc32c(&out[..36]);
        out[36..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let short = BadHeader::Damaged("the header is cut short");
        let Some(head) = bytes.get(..HEADER_LEN) else { return Err(short) };
        let mut fields = Fields::new(head);
        if fields.bytes(MAGIC.len()) != Some(MAGIC.as_slice()) {
            return Err(BadHeader::Damaged("it does not begin as a journal segment does"));
        }
        let read = (fields.u16(), fields.u16(), fields.u64(), fields.u64(), fields.u64(), fields.u32());
        let (Some(version), Some(flags), Some(first), Some(last), Some(salt), Some(crc)) = read else {
            return Err(short);
        };
        if crc32c::crc32c(&head[..36]) != crc {
            return Err(BadHeader::Damaged("the header's checksum does not match"));
        }
        if version > FORMAT_VERSION || flags > COMPACTED {
            return Err(BadHeader::Newer(version));
        }
        let compacted_last = (flags == COMPACTED).then_some(last);
        if first == 0 || first > MAX_SEQ || compacted_last.is_some_and(|last| last < first || last > MAX_SEQ) {
            return Err(BadHeader::Damaged("the header's numbers are impossible"));
        }
        Ok(Self { first, compacted_last, salt })
    }
}

pub(super) fn frame_crc(salt: u64, len: [u8; 4], payload: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), &len);
    crc32c::crc32c_append(head, payload)
}

/// Appends one frame with these encoded records to `out`.
pub(super) fn encode_frame<'a>(salt: u64, records: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEAD_LEN]);
    for record in records {
        let len = u32::try_from(record.len()).expect("a record is far under 4 GiB");
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(record);
    }
    let payload_start = start + FRAME_HEAD_LEN;
    let len = u32::try_from(out.len() - payload_start).expect("a batch is far under 4 GiB").to_le_bytes();
    let crc = frame_crc(salt, len, &out[payload_start..]);
    out[start..start + 4].copy_from_slice(&len);
    out[start + 4..payload_start].copy_from_slice(&crc.to_le_bytes());
}

/// The encoded records of the frame that `bytes` begins with, and the frame's length; the error says what does not fit.
/// Public for fuzzing.
pub fn decode_frame(salt: u64, bytes: &[u8]) -> Result<(Vec<&[u8]>, usize), &'static str> {
    let mut fields = Fields::new(bytes);
    let len = fields.u32().ok_or("the frame's head is cut short")?;
    let crc = fields.u32().ok_or("the frame's head is cut short")?;
    let payload_len = len as usize;
    if !(4 + RECORD_OVERHEAD..=MAX_FRAME_BYTES).contains(&payload_len) {
        return Err("the frame's length is impossible");
    }
    let payload = fields.bytes(payload_len).ok_or("the frame is cut short")?;
    if frame_crc(salt, len.to_le_bytes(), payload) != crc {
        return Err("the frame's checksum does not match");
    }
    let mut records = Vec::new();
    let mut inner = Fields::new(payload);
    while !inner.is_empty() {
        let record_len = inner.u32().ok_or("a record's length is cut short")? as usize;
        let record = inner.bytes(record_len).ok_or("a record is cut short")?;
        if record_len < RECORD_OVERHEAD {
            return Err("a record's length is impossible");
        }
        records.push(record);
    }
    Ok((records, FRAME_HEAD_LEN + payload_len))
}

/// Sequence number and kind of an encoded record of at least [`RECORD_OVERHEAD`] bytes.
pub(crate) fn peek(record: &[u8]) -> (u64, u8) {
    let mut fields = Fields::new(record.get(4..).unwrap_or_default());
    (fields.u64().unwrap_or_default(), fields.u8().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn records() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), RECORD_OVERHEAD..80), 1..6)
    }

    proptest! {
        #[test]
        fn a_frame_survives_its_bytes_and_any_flipped_bit_is_found(
            salt: u64, records in records(), flip: prop::sample::Index, behind: Vec<u8>,
        ) {
            let mut bytes = Vec::new();
            encode_frame(salt, records.iter().map(Vec::as_slice), &mut bytes);
            let len = bytes.len();
            bytes.extend_from_slice(&behind);
            let (read, read_len) = decode_frame(salt, &bytes).unwrap();
            prop_assert_eq!(read, records.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(read_len, len);
            prop_assert!(decode_frame(salt ^ 1, &bytes).is_err());
            let bit = flip.index(len * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode_frame(salt, &bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(salt: u64, bytes: Vec<u8>) {
            let _ = decode_frame(salt, &bytes);
            let _ = Header::decode(&bytes);
        }
    }

    #[test]
    fn a_header_reads_back_and_a_newer_version_is_named() {
        let header = Header { first: 7, compacted_last: Some(9), salt: 3 };
        let mut bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok(header));
        bytes[8] = 2;
        assert_eq!(Header::decode(&bytes), Err(BadHeader::Damaged("the header's checksum does not match")));
        let crc = crc32c::crc32c(&bytes[..36]).to_le_bytes();
        bytes[36..].copy_from_slice(&crc);
        assert_eq!(Header::decode(&bytes), Err(BadHeader::Newer(2)));
    }
}
