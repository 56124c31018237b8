//! Hashes that are the same everywhere and always: for names, places and draws, never against somebody who picks inputs.
//!
//! Invariant: what was hashed once keeps its number; questions are divided and people are made by these numbers.

/// FNV-1a (Fowler, Noll, Vo), 64 bit, over `units`: bytes as a rule, larger numbers each as one unit.
pub fn fnv1a<T: Into<u64>>(units: impl IntoIterator<Item = T>) -> u64 {
    units.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, unit| (hash ^ unit.into()).wrapping_mul(0x0100_0000_01b3))
}

/// [`fnv1a`] and the finaliser of SplitMix64, since FNV's upper bits mix poorly.
pub fn mixed(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let hash = fnv1a(bytes);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_values_of_fnv_1a() {
        // From the reference's own list: "", "a", "foobar".
        let values = ["", "a", "foobar"].map(|text| fnv1a(text.bytes()));
        assert_eq!(values, [0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c, 0x8594_4171_f739_67e8]);
    }
}
