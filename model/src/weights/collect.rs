//! Gathers a file's tensors against the table of the configuration.
//!
//! Invariant: a tensor's name and shape are checked before its data is touched, so a lying header costs no memory.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::{Weights, names};
use crate::config::ModelConfig;
use crate::error::ModelError;

pub(crate) struct Collector<'a> {
    config: &'a ModelConfig,
    expected: BTreeMap<String, Vec<i64>>,
    weights: Weights,
    file: String,
}

impl<'a> Collector<'a> {
    /// `file` names the source in errors.
    pub(crate) fn new(config: &'a ModelConfig, file: impl Into<String>) -> Self {
        Self { config, expected: names::expected(config), weights: Weights::new(), file: file.into() }
    }

    /// Takes the tensor `name` of `shape`, whose data `make` gives in any floating kind.
    pub(crate) fn take(
        &mut self,
        name: &str,
        shape: &[i64],
        make: impl FnOnce() -> Result<Tensor, ModelError>,
    ) -> Result<(), ModelError> {
        let embedding = names::embedding(self.config.family);
        let table_name = if name == names::HEAD && self.config.tie_word_embeddings { embedding } else { name };
        let Some(expected) = self.expected.get(table_name) else {
            let reason = format!("holds the tensor '{name}', which its configuration does not have");
            return Err(ModelError::malformed(&self.file, reason));
        };
        if expected != shape {
            let (found, expected) = (shape.to_vec(), expected.clone());
            return Err(ModelError::WrongShape { name: name.to_owned(), found, expected });
        }
        let tensor = tch::no_grad(|| -> Result<Tensor, ModelError> {
            let stored = make()?;
            if !matches!(stored.f_kind()?, Kind::Float | Kind::Half | Kind::BFloat16 | Kind::Double) {
                let reason = format!("the tensor '{name}' is {:?}; give F32, F16 or BF16", stored.f_kind()?);
                return Err(ModelError::malformed(&self.file, reason));
            }
            let tensor = stored.f_to_kind(Kind::Float)?.f_contiguous()?;
            // The extremes are NaN if any value is, and take no memory, unlike `isfinite`.
            let (least, greatest) = tensor.f_aminmax(None::<i64>, false)?;
            if !(f64::try_from(least)?.is_finite() && f64::try_from(greatest)?.is_finite()) {
                return Err(ModelError::NonFinite { name: name.to_owned() });
            }
            Ok(tensor)
        })?;
        match self.weights.insert(name, tensor) {
            Some(_) => Err(ModelError::malformed(&self.file, format!("holds the tensor '{name}' twice"))),
            None => Ok(()),
        }
    }

    /// The weights, complete. With tied embeddings whichever of embedding and head is there serves as both (if both
    /// are, the embedding); both names lead to the same storage.
    pub(crate) fn finish(mut self) -> Result<Weights, ModelError> {
        if self.config.tie_word_embeddings {
            let embedding = names::embedding(self.config.family);
            let head = self.weights.remove(names::HEAD);
            let shared = self.weights.remove(embedding).or(head);
            let shared = shared.ok_or_else(|| ModelError::MissingTensor { name: embedding.to_owned() })?;
            self.weights.insert(names::HEAD, shared.shallow_clone());
            self.weights.insert(embedding, shared);
        }
        match self.expected.keys().find(|name| self.weights.try_get(name).is_none()) {
            Some(name) => Err(ModelError::MissingTensor { name: name.clone() }),
            None => Ok(self.weights),
        }
    }
}
