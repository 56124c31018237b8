//! Every field of a valid safetensors file set to every value that readers stumble over: what is still read is the same
//! network, the rest is refused with a sentence.

use serde_json::{Value, json};

use super::*;
use crate::fuzz::network;
use crate::weights::fuzzing;

/// A file's header and data.
struct Parts {
    header: Value,
    data: Vec<u8>,
}

impl Parts {
    fn of(bytes: &[u8]) -> Self {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        Self { header: serde_json::from_slice(&bytes[8..][..length]).unwrap(), data: bytes[8 + length..].to_vec() }
    }

    fn bytes(&self) -> Vec<u8> {
        with_header(&self.header.to_string(), &self.data)
    }
}

fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn kept() -> Vec<u8> {
    fs::read(crate::testing::root().join("fuzz/corpus/safetensors/0-network")).unwrap()
}

/// Refused with a sentence, or the same network; says which.
fn is_refused(bytes: &[u8], what: &str) -> bool {
    let original = fuzzing::safetensors(&kept(), network()).unwrap();
    match fuzzing::safetensors(bytes, network()) {
        Ok(weights) => assert_same(&weights, &original),
        Err(error) => assert!(error.to_string().len() > 20, "{what}: {error}"),
    }
    fuzzing::safetensors(bytes, network()).is_err()
}

/// Every place in a JSON value, as a pointer.
fn places(value: &Value, here: &str, into: &mut Vec<String>) {
    into.push(here.to_owned());
    match value {
        Value::Array(list) => list.iter().enumerate().for_each(|(i, v)| places(v, &format!("{here}/{i}"), into)),
        Value::Object(map) => map.iter().for_each(|(key, v)| places(v, &format!("{here}/{key}"), into)),
        _ => {}
    }
}

#[test]
fn a_header_with_any_field_changed_is_refused_with_a_sentence_or_is_the_same_network() {
    let whole = Parts::of(&kept());
    let mut all = Vec::new();
    places(&whole.header, "", &mut all);
    let (mut read, mut refused) = (0, 0);
    for place in all {
        let old = whole.header.pointer(&place).unwrap();
        let number = old.as_u64().unwrap_or(4);
        let numbers = [0, 1, number.wrapping_sub(1), number + 1, number * 2, 1 << 32, 1 << 62, 1 << 63, u64::MAX]
            .map(Value::from);
        let others = [json!(null), json!(-1), json!(1e39), json!(0.5), json!("F16"), json!("BF16"), json!("I32")];
        let more =
            [json!("F32"), json!("U8"), json!("BOOL"), json!(""), json!([]), json!({}), json!([4, 4]), json!(true)];
        for new in numbers.into_iter().chain(others).chain(more).filter(|new| new != old) {
            let mut mutant = Parts { header: whole.header.clone(), data: whole.data.clone() };
            *mutant.header.pointer_mut(&place).unwrap() = new.clone();
            match is_refused(&mutant.bytes(), &format!("{place} became {new}")) {
                true => refused += 1,
                false => read += 1,
            }
        }
    }
    assert!(refused > 10 * read, "{refused} refused, {read} read");
}

#[test]
fn the_length_of_the_header_is_held_against_the_file() {
    let bytes = kept();
    let old = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    for new in [0, 1, 2, old - 1, old + 1, old + 8, bytes.len() as u64, 100_000_001, 1 << 40, u64::MAX - 7, u64::MAX] {
        let mut mutant = bytes.clone();
        mutant[..8].copy_from_slice(&new.to_le_bytes());
        assert!(is_refused(&mutant, &format!("the header's length became {new}")), "{new}");
    }
}

#[test]
fn tensors_that_are_missing_renamed_repeated_or_too_many_are_refused_by_name() {
    let whole = Parts::of(&kept());
    let rows = whole.header.as_object().unwrap();
    for name in rows.keys().filter(|name| !name.starts_with("__")) {
        let text = whole.header.to_string();
        let renamed = with_header(&text.replace(name.as_str(), "model.other.weight"), &whole.data);
        assert!(is_refused(&renamed, name), "{name} renamed");
        let doubled = format!("{{{:?}:{},{}", name, rows[name], &text[1..]);
        let error = fuzzing::safetensors(&with_header(&doubled, &whole.data), network()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("twice"), "{error}");
        let mut fewer = Parts { header: whole.header.clone(), data: whole.data.clone() };
        fewer.header.as_object_mut().unwrap().shift_remove(name);
        assert!(is_refused(&fewer.bytes(), name), "{name} missing");
    }
    let end = whole.data.len();
    let mut more = Parts { header: whole.header.clone(), data: [&whole.data[..], &[0; 4]].concat() };
    more.header["model.extra.weight"] = json!({ "dtype": "F32", "shape": [1], "data_offsets": [end, end + 4] });
    let error = fuzzing::safetensors(&more.bytes(), network()).unwrap_err().to_string();
    assert!(error.contains("model.extra.weight"), "{error}");
    let mut longer = kept();
    longer.push(0);
    assert!(is_refused(&longer, "a byte too many"));
}

#[test]
fn any_number_that_is_not_finite_is_refused_under_its_tensors_name() {
    let whole = Parts::of(&kept());
    for (name, row) in whole.header.as_object().unwrap().iter().filter(|(name, _)| !name.starts_with("__")) {
        let at = row["data_offsets"][1].as_u64().unwrap() as usize - 4;
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut mutant = Parts { header: whole.header.clone(), data: whole.data.clone() };
            mutant.data[at..][..4].copy_from_slice(&bad.to_le_bytes());
            let error = fuzzing::safetensors(&mutant.bytes(), network()).unwrap_err().to_string();
            assert!(error.contains(name.as_str()), "{error}");
        }
    }
}
