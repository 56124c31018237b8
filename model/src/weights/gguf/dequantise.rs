//! The number formats of GGUF, unpacked to f32.
//!
//! Invariant: a block's bytes determine its floats exactly as ggml's reference code does; the layouts are those of
//! ggml's `ggml-common.h`.

use half::{bf16, f16};

/// A format that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q6K,
}

impl Format {
    /// The format of ggml's type number.
    pub(super) fn of(code: u32) -> Result<Self, String> {
        match code {
            0 => Ok(Self::F32),
            1 => Ok(Self::F16),
            2 => Ok(Self::Q4_0),
            3 => Ok(Self::Q4_1),
            8 => Ok(Self::Q8_0),
            14 => Ok(Self::Q6K),
            30 => Ok(Self::Bf16),
            other => Err(format!(
                "has ggml's type {other}, which is not read; give F32, F16, BF16, Q8_0, Q6_K, Q4_0 or Q4_1"
            )),
        }
    }

    /// `(elements, bytes)` of a block.
    pub(super) fn block(self) -> (u64, u64) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q8_0 => (32, 34),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q6K => (256, 210),
        }
    }

    /// The floats of `data`, which is a whole number of blocks.
    pub(super) fn floats(self, data: &[u8]) -> Vec<f32> {
        let (elements, bytes) = self.block();
        let mut floats = Vec::with_capacity(data.len() / bytes as usize * elements as usize);
        for block in data.chunks_exact(bytes as usize) {
            match self {
                Self::F32 => floats.push(f32::from_le_bytes([block[0], block[1], block[2], block[3]])),
                Self::F16 => floats.push(half_at(block, 0)),
                Self::Bf16 => floats.push(bf16::from_le_bytes([block[0], block[1]]).to_f32()),
                Self::Q8_0 => q8_0(block, &mut floats),
                Self::Q4_0 => q4_0(block, &mut floats),
                Self::Q4_1 => q4_1(block, &mut floats),
                Self::Q6K => q6_k(block, &mut floats),
            }
        }
        floats
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// x = d·q: d (f16), 32 signed bytes.
fn q8_0(block: &[u8], floats: &mut Vec<f32>) {
    let scale = half_at(block, 0);
    floats.extend(block[2..].iter().map(|q| scale * f32::from(*q as i8)));
}

/// x = d·(q − 8): d (f16), 16 bytes whose low halves are the first 16 values and whose high halves the others.
fn q4_0(block: &[u8], floats: &mut Vec<f32>) {
    let scale = half_at(block, 0);
    floats.extend(block[2..].iter().map(|q| scale * (f32::from(q & 15) - 8.0)));
    floats.extend(block[2..].iter().map(|q| scale * (f32::from(q >> 4) - 8.0)));
}

/// x = d·q + m: d, m (f16), 16 bytes as in Q4_0.
fn q4_1(block: &[u8], floats: &mut Vec<f32>) {
    let (scale, least) = (half_at(block, 0), half_at(block, 2));
    floats.extend(block[4..].iter().map(|q| scale * f32::from(q & 15) + least));
    floats.extend(block[4..].iter().map(|q| scale * f32::from(q >> 4) + least));
}

/// x = d·s·(q − 32): 128 bytes of low 4 bits, 64 of high 2 bits, 16 signed scales s (one for 16 values), d (f16).
/// Each half of 128 values is four runs of 32: runs 0 and 1 take the low bits of its bytes 0..32 and 32..64, runs 2 and
/// 3 their high bits; run r takes bits 2r of the half's 32 bytes of high bits.
fn q6_k(block: &[u8], floats: &mut Vec<f32>) {
    let scale = half_at(block, 208);
    for half in 0..2 {
        let low = &block[half * 64..][..64];
        let high = &block[128 + half * 32..][..32];
        let scales = &block[192 + half * 8..][..8];
        for run in 0..4 {
            for i in 0..32 {
                let byte = low[(run & 1) * 32 + i];
                let bits = if run < 2 { byte & 15 } else { byte >> 4 };
                let q = bits | (high[i] >> (2 * run) & 3) << 4;
                let step = scale * f32::from(scales[run * 2 + i / 16] as i8);
                floats.push(step * (f32::from(q) - 32.0));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h(value: f32) -> [u8; 2] {
        f16::from_f32(value).to_le_bytes()
    }

    #[test]
    fn plain_floats_are_themselves() {
        assert_eq!(Format::F32.floats(&[1.5f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat()), [1.5, -2.0]);
        assert_eq!(Format::F16.floats(&[h(0.25), h(-3.0)].concat()), [0.25, -3.0]);
        assert_eq!(Format::Bf16.floats(&[0x80, 0x3f, 0x00, 0xc0]), [1.0, -2.0]);
    }

    #[test]
    fn a_q8_0_block_is_scale_times_signed_byte() {
        let mut block = h(0.5).to_vec();
        block.extend((0..32).map(|i| (i - 16) as i8 as u8));
        let expected: Vec<f32> = (0..32).map(|i| 0.5 * (i as f32 - 16.0)).collect();
        assert_eq!(Format::Q8_0.floats(&block), expected);
    }

    #[test]
    fn a_q4_0_block_keeps_low_halves_first_and_centres_on_8() {
        let mut block = h(2.0).to_vec();
        block.extend((0..16).map(|i| i | (15 - i) << 4));
        let low = (0..16).map(|i| 2.0 * (i as f32 - 8.0));
        let high = (0..16).map(|i| 2.0 * (7.0 - i as f32));
        assert_eq!(Format::Q4_0.floats(&block), low.chain(high).collect::<Vec<f32>>());
    }

    #[test]
    fn a_q4_1_block_adds_its_least_value() {
        let mut block = [h(0.25), h(-1.0)].concat();
        block.extend((0..16).map(|i| i | (15 - i) << 4));
        let low = (0..16).map(|i| 0.25 * i as f32 - 1.0);
        let high = (0..16).map(|i| 0.25 * (15 - i) as f32 - 1.0);
        assert_eq!(Format::Q4_1.floats(&block), low.chain(high).collect::<Vec<f32>>());
    }

    #[test]
    fn a_q6_k_block_joins_four_low_and_two_high_bits() {
        // All zero but a few fields, so that each expected value can be followed by hand: q = 0 gives -32·d·s.
        let mut block = vec![0u8; 210];
        block[192..208].copy_from_slice(&[1; 16]);
        block[208..].copy_from_slice(&h(0.5));
        block[0] = 0x21; // value 0: low bits 1; value 64: low bits 2
        block[128] = 0b11_10_01_00; // high bits of values 0, 32, 64, 96: 0, 1, 2, 3
        block[64 + 33] = 0x0f; // second half, run 1, i = 1: value 128 + 33
        block[128 + 32 + 1] = 0b11 << 2; // its high bits: 3, so q = 63
        block[192 + 8 + 2] = (-2i8) as u8; // scale of values 128 + 32 .. 128 + 48
        let floats = Format::Q6K.floats(&block);
        let expect = |at: usize, value: f32| assert_eq!(floats[at], value, "value {at}");
        expect(0, 0.5 * (1.0 - 32.0));
        expect(32, 0.5 * (16.0 - 32.0));
        expect(64, 0.5 * (2.0 + 32.0 - 32.0));
        expect(96, 0.5 * (48.0 - 32.0));
        expect(1, 0.5 * -32.0);
        expect(128 + 33, 0.5 * -2.0 * (63.0 - 32.0));
        expect(128 + 32, 0.5 * -2.0 * -32.0);
        expect(128 + 48, 0.5 * -32.0);
        assert_eq!(floats.len(), 256);
    }
}
