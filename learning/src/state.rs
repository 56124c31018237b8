//! Everything a learner must save so that a run goes on bit for bit.
//!
//! Invariant: a round trip through [`LearnerState`] loses no bit: numbers with a fraction are kept as their 64 bits,
//! because decimal text would round them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tch::Tensor;

use crate::error::LearningError;

/// The complete state of a learner: named tensors and a JSON object of scalars.
#[derive(Debug)]
pub struct LearnerState {
    /// Weights and moments, each name once. Copies: later updates do not reach them.
    pub tensors: Vec<(String, Tensor)>,
    /// Counters, and fractions as bits (see [`put_f64`]).
    pub scalars: Value,
}

/// The tensors of `tensors` whose names begin with `prefix`, by the rest of their names.
pub fn with_prefix(tensors: &[(String, Tensor)], prefix: &str) -> BTreeMap<String, Tensor> {
    tensors
        .iter()
        .filter_map(|(name, tensor)| name.strip_prefix(prefix).map(|rest| (rest.to_owned(), tensor.shallow_clone())))
        .collect()
}

/// Adds copies of `parameters`, on the CPU, to `tensors` under `prefix`.
pub fn put_tensors(tensors: &mut Vec<(String, Tensor)>, prefix: &str, parameters: &[(String, Tensor)]) {
    let copy = |tensor: &Tensor| tensor.detach().copy().to_device(tch::Device::Cpu);
    let copies = parameters.iter().map(|(name, tensor)| (format!("{prefix}{name}"), copy(tensor)));
    tensors.extend(copies);
}

/// Whether `saved` holds exactly the names and shapes of `parameters`, all finite.
pub fn check_tensors(parameters: &[(String, Tensor)], saved: &BTreeMap<String, Tensor>) -> Result<(), LearningError> {
    for (name, parameter) in parameters {
        let tensor = saved.get(name).ok_or_else(|| LearningError::state(name, "is missing"))?;
        if tensor.size() != parameter.size() || tensor.kind() != parameter.kind() {
            let (have, want) = (tensor.size(), parameter.size());
            let problem = format!("is {have:?} {:?} where {want:?} {:?} is wanted", tensor.kind(), parameter.kind());
            return Err(LearningError::state(name, problem));
        }
        if !tensor.norm().double_value(&[]).is_finite() {
            return Err(LearningError::state(name, "holds numbers that are not finite"));
        }
    }
    match saved.keys().find(|name| !parameters.iter().any(|(known, _)| known == *name)) {
        Some(name) => Err(LearningError::state(name, "is unknown to this learner")),
        None => Ok(()),
    }
}

/// Copies `saved` into `parameters` in place, after [`check_tensors`].
pub fn load_tensors(parameters: &[(String, Tensor)], saved: &BTreeMap<String, Tensor>) -> Result<(), LearningError> {
    check_tensors(parameters, saved)?;
    let _guard = tch::no_grad_guard();
    for (name, parameter) in parameters {
        parameter.shallow_clone().copy_(&saved[name]);
    }
    Ok(())
}

/// Stores a number as its bits; decimal text could lose the last one.
pub fn put_f64(object: &mut Map<String, Value>, name: &str, value: f64) {
    object.insert(name.to_owned(), Value::from(value.to_bits()));
}

/// Reads what [`put_f64`] wrote.
pub fn get_f64(object: &Value, name: &str) -> Result<f64, LearningError> {
    get_u64(object, name).map(f64::from_bits)
}

/// Reads a counter.
pub fn get_u64(object: &Value, name: &str) -> Result<u64, LearningError> {
    object.get(name).and_then(Value::as_u64).ok_or_else(|| LearningError::state(name, "is missing or no whole number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn fractions_survive_text_bit_for_bit() {
        let mut object = Map::new();
        for (name, value) in [("a", 0.1 + 0.2), ("b", f64::MIN_POSITIVE / 3.0), ("c", -0.0)] {
            put_f64(&mut object, name, value);
            let text = serde_json::to_string(&Value::Object(object.clone())).unwrap();
            let back: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(get_f64(&back, name).unwrap().to_bits(), value.to_bits());
        }
    }

    #[test]
    fn a_saved_state_is_refused_by_name_when_anything_differs() {
        let parameters = vec![("w".to_owned(), Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)))];
        let saved = |name: &str, tensor: Tensor| BTreeMap::from([(name.to_owned(), tensor)]);
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        assert!(load_tensors(&parameters, &saved("w", zeros(&[2, 3]) + 1.0)).is_ok());
        assert_eq!(parameters[0].1.sum(Kind::Float).double_value(&[]), 6.0);
        for wrong in [saved("v", zeros(&[2, 3])), saved("w", zeros(&[3, 2])), saved("w", zeros(&[2, 3]) + f64::NAN)] {
            assert!(load_tensors(&parameters, &wrong).is_err());
        }
        let mut extra = saved("w", zeros(&[2, 3]));
        extra.insert("more".into(), zeros(&[1]));
        assert!(load_tensors(&parameters, &extra).unwrap_err().to_string().contains("more"));
        assert_eq!(parameters[0].1.sum(Kind::Float).double_value(&[]), 6.0, "a refused state changes nothing");
    }
}
