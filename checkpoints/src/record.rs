//! One record and its bytes. The same bytes stand in the journal and in the replay store, and carry their own sequence
//! number and checksum, so that neither place is believed without proof.
//!
//! `crc32c u32 | seq u64 | kind u8 | schema u16 | group u64 | key length u16 | key | payload`, little-endian; the
//! checksum covers everything after it; key length 0 means no key.

use std::hash::{BuildHasherDefault, Hasher};

use sha2::{Digest as _, Sha256};

use crate::codec::Fields;

/// Largest payload of a record.
pub const MAX_RECORD_BYTES: usize = 16 << 20;
/// Longest idempotency key.
pub const MAX_KEY_BYTES: usize = 256;
/// Bytes of an encoded record besides its key and payload.
pub(crate) const RECORD_OVERHEAD: usize = 4 + 8 + 1 + 2 + 8 + 2;

/// What a record is; each kind has its own replay ring. Values not named here are free for later kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKind(pub u8);

#[expect(non_upper_case_globals, reason = "they read as the variants of an enum that stays open")]
impl RecordKind {
    /// A finished answer, so that it can be rated later.
    pub const Answer: Self = Self(1);
    /// An event of feedback.
    pub const Feedback: Self = Self(2);
    /// A policy version that was published: no number is used twice.
    pub const Published: Self = Self(3);
    /// How far a consumer has come.
    pub const Cursor: Self = Self(4);
}

/// A record to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Which ring it belongs to.
    pub kind: RecordKind,
    /// Idempotency key, such as `feedback/<id>`: the same key with the same kind and bytes is one record.
    pub key: Option<String>,
    /// What stratified sampling groups by, for instance a hash of the question; 0 where it does not matter.
    pub group: u64,
    /// The payload.
    pub bytes: Vec<u8>,
}

/// A committed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the one order of everything committed; the first is 1.
    pub seq: u64,
    /// Which ring it belongs to.
    pub kind: RecordKind,
    /// Schema version of the payload; readers see it migrated to the present one.
    pub schema: u16,
    /// What stratified sampling groups by.
    pub group: u64,
    /// Idempotency key.
    pub key: Option<String>,
    /// The payload.
    pub bytes: Vec<u8>,
}

/// The answer to a committed record; it is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The record's sequence number; of the first one, for a duplicate.
    pub seq: u64,
    /// Whether the same record had been committed before.
    pub duplicate: bool,
}

/// First half of the SHA-256 of kind and payload: tells the same record from another one under one key.
pub(crate) type Digest = [u8; 16];

/// What a record is told by without comparing all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prints {
    /// Of kind and payload.
    pub(crate) digest: Digest,
    /// Of the key: 8 bytes of its SHA-256, never 0; and 0 for no key. Two keys may share it.
    pub(crate) key: u64,
}

/// A print is the hash of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct PrintHasher(u64);

pub(crate) type PrintHash = BuildHasherDefault<PrintHasher>;

impl Hasher for PrintHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, print: u64) {
        self.0 = print;
    }

    /// Only prints are hashed; anything else would still be told apart, if slowly.
    fn write(&mut self, bytes: &[u8]) {
        self.0 = u64::from(crc32c::crc32c_append(self.0 as u32, bytes));
    }
}

impl Prints {
    pub(crate) fn of(kind: RecordKind, key: Option<&str>, bytes: &[u8]) -> Self {
        let full = Sha256::new().chain_update([kind.0]).chain_update(bytes).finalize();
        let mut digest = Digest::default();
        digest.copy_from_slice(&full[..16]);
        Self { digest, key: key.map_or(0, print_of_key) }
    }
}

pub(crate) fn print_of_key(key: &str) -> u64 {
    let full = Sha256::digest(key.as_bytes());
    let mut print = [0; 8];
    print.copy_from_slice(&full[..8]);
    u64::from_le_bytes(print).max(1)
}

/// A record's bytes before it has a number: see [`Record::number`].
pub(crate) fn encode(kind: RecordKind, schema: u16, group: u64, key: Option<&str>, bytes: &[u8]) -> Vec<u8> {
    let key = key.unwrap_or_default().as_bytes();
    let mut out = Vec::with_capacity(RECORD_OVERHEAD + key.len() + bytes.len());
    out.extend_from_slice(&[0; 12]);
    out.push(kind.0);
    out.extend_from_slice(&schema.to_le_bytes());
    out.extend_from_slice(&group.to_le_bytes());
    let key_len = u16::try_from(key.len()).expect("keys are checked against MAX_KEY_BYTES when they are offered");
    out.extend_from_slice(&key_len.to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(bytes);
    out
}

impl Record {
    /// The record's bytes, see the module's head.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = encode(self.kind, self.schema, self.group, self.key.as_deref(), &self.bytes);
        Self::number(&mut out, self.seq);
        out
    }

    /// Gives an encoded record its number, and the checksum that goes with it.
    pub(crate) fn number(encoded: &mut [u8], seq: u64) {
        encoded[4..12].copy_from_slice(&seq.to_le_bytes());
        let crc = crc32c::crc32c(&encoded[4..]);
        encoded[..4].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads what [`Record::encode`] wrote; the error says what does not fit.
    pub(crate) fn decode(encoded: &[u8]) -> Result<Self, String> {
        let cut = || format!("{} bytes are too few for a record", encoded.len());
        let mut fields = Fields::new(encoded);
        let crc = fields.u32().ok_or_else(cut)?;
        if crc32c::crc32c(&encoded[4..]) != crc {
            return Err("its checksum does not match".to_owned());
        }
        let seq = fields.u64().ok_or_else(cut)?;
        let kind = RecordKind(fields.u8().ok_or_else(cut)?);
        let schema = fields.u16().ok_or_else(cut)?;
        let group = fields.u64().ok_or_else(cut)?;
        let key_len = usize::from(fields.u16().ok_or_else(cut)?);
        let key = fields.bytes(key_len).ok_or_else(cut)?;
        let key = std::str::from_utf8(key).map_err(|_| "its key is not UTF-8".to_owned())?;
        let key = (!key.is_empty()).then(|| key.to_owned());
        let bytes = fields.rest();
        if bytes.len() > MAX_RECORD_BYTES || key_len > MAX_KEY_BYTES {
            return Err(format!("its size of {} bytes is over the limit", encoded.len()));
        }
        Ok(Self { seq, kind, schema, group, key, bytes: bytes.to_vec() })
    }

    /// The checksum that an encoded record carries.
    pub(crate) fn checksum(encoded: &[u8]) -> u32 {
        Fields::new(encoded).u32().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_survives_its_bytes_and_any_flipped_bit_is_found(
            seq in 1u64.., kind: u8, schema: u16, group: u64, key in proptest::option::of("[a-z/]{1,40}"),
            bytes: Vec<u8>, flip: prop::sample::Index,
        ) {
            let record = Record { seq, kind: RecordKind(kind), schema, group, key, bytes };
            let mut encoded = record.encode();
            prop_assert_eq!(Record::decode(&encoded), Ok(record));
            let bit = flip.index(encoded.len() * 8);
            encoded[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Record::decode(&encoded).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Record::decode(&bytes);
        }
    }
}
