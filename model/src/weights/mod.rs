//! The numbers of a network: reading them from Hugging Face folders and GGUF files, writing them back.
//!
//! Invariant: every tensor in a [`Weights`] that a loader gives is f32, on the CPU, finite, and has the shape that the
//! configuration implies; names are those of Hugging Face whatever the file called them.

mod collect;
mod defaults;
mod export;
mod folder;
pub(crate) mod fuzzing;
mod gguf;
mod map;
mod names;
mod safetensors;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use tch::Tensor;

use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::text::TextCodec;
pub use defaults::GenerationDefaults;
pub use export::{ExportParts, ModelCard, check_vacant, export};
pub use safetensors::{tensors_from_bytes, tensors_to_bytes};

/// A model as it stands on disk, ready to be built.
#[derive(Debug)]
pub struct LoadedModel {
    /// The network's shape.
    pub config: ModelConfig,
    /// Its numbers, f32 on the CPU.
    pub weights: Weights,
    /// Tokenizer and chat template.
    pub text: TextCodec,
    /// Sampling advice of its makers.
    pub defaults: GenerationDefaults,
    /// What the file says about where it comes from.
    pub source: Source,
}

/// A model's own word about its origin; goes into the card of an export.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: Option<String>,
    /// Its licence.
    pub licence: Option<String>,
}

/// Loads a Hugging Face folder or a GGUF file.
pub fn load(path: &Path) -> Result<LoadedModel, ModelError> {
    if !is_folder(path)? {
        return gguf::load(path);
    }
    let config = folder::read_config(path)?;
    let text = folder::read_text_codec(path)?;
    if text.vocab_size() > config.vocab_size {
        let reason =
            format!("its tokenizer has {} tokens but only {} embeddings", text.vocab_size(), config.vocab_size);
        return Err(ModelError::malformed(path.display().to_string(), reason));
    }
    let defaults = folder::read_defaults(path, &config)?;
    let weights = folder::read_weights(path, &config)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(LoadedModel { config, weights, text, defaults, source: Source { name, licence: None } })
}

/// Loads the network only; a folder needs no tokenizer for that.
pub fn load_weights(path: &Path) -> Result<(ModelConfig, Weights), ModelError> {
    if !is_folder(path)? {
        return gguf::load_weights(path);
    }
    let config = folder::read_config(path)?;
    let weights = folder::read_weights(path, &config)?;
    Ok((config, weights))
}

/// Loads tokenizer and chat template only.
pub fn load_text(path: &Path) -> Result<TextCodec, ModelError> {
    if is_folder(path)? { folder::read_text_codec(path) } else { gguf::load_text(path) }
}

fn is_folder(path: &Path) -> Result<bool, ModelError> {
    match path.metadata() {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(error) => Err(ModelError::reading(path)(error)),
    }
}

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
