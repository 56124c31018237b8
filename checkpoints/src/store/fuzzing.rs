//! What fuzzing needs of sled's blocks.

use super::blocks::{entries, of_entries, records, split_key};
use super::changes::RingMeta;

/// How many entries a block holds, 0 if it is damaged.
#[cfg(test)]
pub(crate) fn entries_in(block: &[u8]) -> usize {
    entries(block).map_or(0, |entries| entries.len())
}

/// Everything that is read out of sled.
pub(crate) fn block(bytes: &[u8]) {
    let of_block: usize = records(bytes).flatten().map(|record| record.len() + 4).sum();
    assert!(of_block <= bytes.len(), "more than there was");
    let mut mended = bytes.to_vec();
    if let Some((head, rest)) = mended.split_first_chunk_mut() {
        *head = crc32c::crc32c(rest).to_le_bytes();
    }
    for block in [bytes, &mended] {
        let Ok(found) = entries(block) else { continue };
        // A block that was cut elsewhere is not written again as one; its entries are.
        let written = of_entries(1, found.iter().map(|(seq, entry)| (*seq, entry)));
        let again = written.iter().flat_map(|(_, block)| entries(block).expect("what was written is read"));
        assert!(again.eq(found.iter().cloned()), "an entry is not what was read");
    }
    let _ = split_key(bytes);
    if let Some(meta) = RingMeta::decode(bytes) {
        assert_eq!(meta.encode(), bytes, "totals are not what was read");
    }
}
