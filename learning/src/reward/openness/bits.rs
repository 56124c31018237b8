//! Numbers as bits in saved states: decimal text could lose the last one.
//!
//! Invariant: what is read back is bit for bit what was written.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

fn parse<T>(text: &str, digits: usize, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    if !text.is_ascii() || !text.len().is_multiple_of(digits) {
        return Err(format!("{} characters are no list of numbers of {digits} hexadecimal digits", text.len()));
    }
    let pieces = (0..text.len() / digits).map(|i| &text[i * digits..(i + 1) * digits]);
    pieces.map(|piece| read(piece).ok_or_else(|| format!("{piece:?} is not hexadecimal"))).collect()
}

/// One f64.
pub(super) mod number {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.to_bits().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(f64::from_bits(u64::deserialize(deserializer)?))
    }
}

/// A list of f64, 16 hexadecimal digits each.
pub(super) mod numbers {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        values.iter().map(|value| format!("{:016x}", value.to_bits())).collect::<String>().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text, 16, |piece| u64::from_str_radix(piece, 16).ok().map(f64::from_bits)).map_err(D::Error::custom)
    }
}

/// Prompt features: a list of f32, 8 hexadecimal digits each, or nothing.
pub(super) mod features {
    use super::*;
    use crate::reward::openness::gate::Features;

    pub(crate) fn serialize<S: Serializer>(values: &Option<Features>, serializer: S) -> Result<S::Ok, S::Error> {
        let hex = |values: &Features| values.iter().map(|value| format!("{:08x}", value.to_bits())).collect::<String>();
        values.as_ref().map(hex).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Features>, D::Error> {
        let read = |text: String| {
            let values = parse(&text, 8, |piece| u32::from_str_radix(piece, 16).ok().map(f32::from_bits));
            values.map(Features::from).map_err(D::Error::custom)
        };
        Option::<String>::deserialize(deserializer)?.map(read).transpose()
    }
}
