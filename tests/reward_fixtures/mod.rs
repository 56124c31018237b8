//! The reference cases of `numerics/reward.json`, run through the public functions of the reward model.
//!
//! Cases are discovered in the fixture root (`$UNDERSTUDY_FIXTURES`, else `tests/fixtures`); a family of operations is
//! one file, whose `run` returns what the operation gives as a JSON object, or `None` where it does not know it.

mod collapse;
mod losses;
mod openness;
mod reliability;

use std::path::PathBuf;

use serde_json::Value;
use tch::{Kind, Tensor};

fn run(op: &str, input: &Value) -> Option<Value> {
    [losses::run, collapse::run, openness::run, reliability::run].iter().find_map(|family| family(op, input))
}

/// The numbers of a list, or of one number.
fn list(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().map(|item| item.as_f64().expect("a number")).collect(),
        number => vec![number.as_f64().expect("a number")],
    }
}

/// A tensor's numbers: one number, or a flat list.
fn json_of(tensor: &Tensor) -> Value {
    let flat = tensor.detach().to_kind(Kind::Double).contiguous().view([-1]);
    let numbers = Vec::<f64>::try_from(flat).expect("a flat f64 tensor");
    if tensor.dim() == 0 { numbers[0].into() } else { numbers.into() }
}

/// Walks `expected` against `got` and adds to `problems` where they part. Numbers agree within
/// `tolerance`·max(1, |expected|); text, truth values and null are equal; an object needs every expected key (further
/// keys are free); a list of one number is that number.
fn compare(path: &str, expected: &Value, got: &Value, tolerance: f64, problems: &mut Vec<String>) {
    let mut differs = |what: String| problems.push(format!("{path}: {what}"));
    match (expected, got) {
        (Value::Object(wanted), Value::Object(found)) => {
            for (key, value) in wanted {
                match found.get(key) {
                    Some(found) => compare(&format!("{path}.{key}"), value, found, tolerance, problems),
                    None => problems.push(format!("{path}.{key} is missing")),
                }
            }
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                compare(&format!("{path}[{index}]"), wanted, found, tolerance, problems);
            }
        }
        (Value::Number(wanted), Value::Number(found)) => {
            let (wanted, found) = (wanted.as_f64().expect("a number"), found.as_f64().expect("a number"));
            let close = (found - wanted).abs() <= tolerance * wanted.abs().max(1.0);
            if !close {
                differs(format!("{found} is not {wanted} within {tolerance}"));
            }
        }
        (Value::Number(_), Value::Array(found)) if found.len() == 1 => {
            compare(path, expected, &found[0], tolerance, problems);
        }
        (Value::Array(wanted), Value::Number(_)) if wanted.len() == 1 => {
            compare(path, &wanted[0], got, tolerance, problems);
        }
        (wanted, found) if wanted == found => {}
        (wanted, found) => differs(format!("{found} is not {wanted}")),
    }
}

#[test]
fn fixture_cases_of_the_reward_model() {
    let root = std::env::var_os("UNDERSTUDY_FIXTURES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"), PathBuf::from);
    let path = root.join("numerics/reward.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: Value = serde_json::from_str(&text).unwrap();
    let (mut checked, mut problems) = (0, Vec::new());
    for case in file["cases"].as_array().expect("a list of cases") {
        let (id, op) = (case["id"].as_str().unwrap(), case["op"].as_str().unwrap());
        match run(op, &case["input"]) {
            Some(got) => {
                compare(id, &case["expected"], &got, case["tol_abs"].as_f64().unwrap(), &mut problems);
                checked += 1;
            }
            None => problems.push(format!("{id}: operation {op} is unknown")),
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    assert!(checked > 0, "{} holds no case", path.display());
}

#[test]
fn the_comparison_sees_every_kind_of_difference() {
    let expected = serde_json::json!({"a": [[1.0, 2.0], "text"], "b": {"c": 100.0}, "d": true, "e": 1.5});
    let same = serde_json::json!({"a": [[1.0, 2.0], "text"], "b": {"c": 100.05}, "d": true, "e": [1.5], "more": 1});
    let count = |got: &Value| {
        let mut problems = Vec::new();
        compare("case", &expected, got, 1e-3, &mut problems);
        problems.len()
    };
    assert_eq!(count(&same), 0);
    let wrong = [
        serde_json::json!({"a": [[1.0, 2.1], "text"], "b": {"c": 100.0}, "d": true, "e": 1.5}),
        serde_json::json!({"a": [[1.0, 2.0], "test"], "b": {"c": 100.0}, "d": true, "e": 1.5}),
        serde_json::json!({"a": [[1.0], "text"], "b": {"c": 100.0}, "d": true, "e": 1.5}),
        serde_json::json!({"a": [[1.0, 2.0], "text"], "b": {}, "d": true, "e": 1.5}),
        serde_json::json!({"a": [[1.0, 2.0], "text"], "b": {"c": 100.0}, "d": false, "e": 1.5}),
        // What is not a number is null in JSON.
        serde_json::json!({"a": [[1.0, 2.0], "text"], "b": {"c": f64::NAN}, "d": true, "e": 1.5}),
    ];
    assert!(wrong.iter().all(|got| count(got) == 1));
}
