//! The reference models that `transformers` wrote, with what it computed on them.
//!
//! Invariant: families are found in the folder, never listed.

use serde::Deserialize;
use tch::{Device, Tensor};

use crate::branch::Branch;
use crate::config::ModelConfig;
use crate::transformer::build;
use crate::trunk::Trunk;
use crate::weights::Weights;

/// expected.json.
#[derive(Deserialize)]
pub(crate) struct Expected {
    pub(crate) rows: Vec<Row>,
    pub(crate) greedy: Greedy,
}

/// One sequence: all logits, and the log-probability of each next token.
#[derive(Deserialize)]
pub(crate) struct Row {
    pub(crate) tokens: Vec<i64>,
    pub(crate) logits: Vec<Vec<f32>>,
    pub(crate) next_logprobs: Vec<f64>,
}

/// What greedy decoding gives.
#[derive(Deserialize)]
pub(crate) struct Greedy {
    pub(crate) prompt: Vec<i64>,
    pub(crate) continuation: Vec<i64>,
}

/// A reference model.
pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) config: ModelConfig,
    pub(crate) weights: Weights,
    pub(crate) expected: Expected,
}

impl Reference {
    pub(crate) fn build(&self, trainable_layers: usize) -> (Trunk, Branch) {
        build(&self.config, &self.weights, trainable_layers, Device::Cpu).unwrap()
    }
}

/// Every family under models/reference.
pub(crate) fn references() -> Vec<Reference> {
    let folder = super::fixtures().join("models/reference");
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no family in {}", folder.display());
    paths
        .iter()
        .map(|path| {
            let text = |name: &str| std::fs::read_to_string(path.join(name)).unwrap();
            let mut weights = Weights::new();
            for (name, tensor) in Tensor::read_safetensors(path.join("model.safetensors")).unwrap() {
                weights.insert(name, tensor);
            }
            Reference {
                name: path.file_name().unwrap().to_string_lossy().into_owned(),
                config: ModelConfig::from_json(&text("config.json")).unwrap(),
                weights,
                expected: serde_json::from_str(&text("expected.json")).unwrap(),
            }
        })
        .collect()
}

/// The largest absolute difference.
pub(crate) fn max_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}
