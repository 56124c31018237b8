//! What fuzzing needs of the journal: putting checksums right, so that a mutation gets behind them, and reading a
//! directory as opening does.

use std::path::Path;

use super::frame::{FRAME_HEAD_LEN, HEADER_LEN, encode_frame, frame_crc};
use super::scan;
use crate::{Disk, StoreError};

/// Puts the checksum of the frame at the beginning right, if its length fits.
pub(crate) fn mend_frame(salt: u64, bytes: &mut [u8]) -> Option<usize> {
    let len: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    let end = FRAME_HEAD_LEN.checked_add(u32::from_le_bytes(len) as usize)?;
    let crc = frame_crc(salt, len, bytes.get(FRAME_HEAD_LEN..end)?);
    bytes[4..FRAME_HEAD_LEN].copy_from_slice(&crc.to_le_bytes());
    Some(end)
}

/// Puts the checksums of a segment's header and frames right, as far as their lengths fit.
pub(crate) fn mend_segment(bytes: &mut [u8]) {
    if bytes.len() < HEADER_LEN {
        return;
    }
    let crc = crc32c::crc32c(&bytes[..HEADER_LEN - 4]).to_le_bytes();
    bytes[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&crc);
    let salt = bytes[28..36].try_into().map_or(0, u64::from_le_bytes);
    let mut rest = &mut bytes[HEADER_LEN..];
    while let Some(end) = mend_frame(salt, rest) {
        rest = &mut rest[end..];
    }
}

/// One frame with these records.
pub(crate) fn encode(salt: u64, records: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(salt, records.iter().copied(), &mut out);
    out
}

/// All encoded records of the journal in `dir`, read as opening a store does.
pub(crate) fn read(dir: &Path, disk: &Disk) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut records = Vec::new();
    scan(dir, disk, 0, &mut |encoded| {
        records.push(encoded.to_vec());
        Ok(())
    })?;
    Ok(records)
}
