//! The numbers of a network: reading them from Hugging Face folders and GGUF files, writing them back.
//!
//! Invariant: every tensor in a [`Weights`] that a loader gives is f32, on the CPU, finite, and has the shape that the
//! configuration implies; names are those of Hugging Face whatever the file called them.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::error::ModelError;

/// Named tensors.
#[derive(Debug, Default)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
}

impl Weights {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tensor `name`, or an error that names it.
    pub fn get(&self, name: &str) -> Result<&Tensor, ModelError> {
        self.try_get(name).ok_or_else(|| ModelError::MissingTensor { name: name.to_owned() })
    }

    /// The tensor `name`, if there is one.
    pub fn try_get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Adds a tensor; one of the same name is replaced and given back.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) -> Option<Tensor> {
        self.tensors.insert(name.into(), tensor)
    }

    /// Takes a tensor out.
    pub fn remove(&mut self, name: &str) -> Option<Tensor> {
        self.tensors.remove(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// All tensors with their names, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The same tensors under a second handle; nothing is copied.
    pub fn shallow_clone(&self) -> Self {
        Self { tensors: self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect() }
    }
}

impl FromIterator<(String, Tensor)> for Weights {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(pairs: I) -> Self {
        Self { tensors: pairs.into_iter().collect() }
    }
}
