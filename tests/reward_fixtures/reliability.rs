//! Reliability of annotators.

use serde_json::{Value, json};
use understudy_learning::reward::reliability::{Label, dawid_skene};

use super::list;

/// What the operation gives; `None` where it is not of this family.
pub(super) fn run(op: &str, input: &Value) -> Option<Value> {
    if op != "dawid_skene" {
        return None;
    }
    let label = |entry: &Value| {
        let numbers: Vec<usize> = list(entry).iter().map(|&number| number as usize).collect();
        Label { item: numbers[0], annotator: numbers[1], class: numbers[2] }
    };
    let labels: Vec<Label> = input["labels"].as_array()?.iter().map(label).collect();
    let (classes, iterations) = (input["n_classes"].as_u64()? as usize, input["iterations"].as_u64()? as usize);
    let agreement = dawid_skene(&labels, classes, input["alpha"].as_f64()?, iterations);
    Some(json!({
        "posterior": agreement.posterior,
        "confusion": agreement.confusion,
        "prior": agreement.prior,
        "loglik": agreement.log_likelihood,
    }))
}
