//! The readers of whole weight files, from bytes: what the fuzz targets drive.
//!
//! Invariant: nothing here reads differently from [`super::load`]; only where the bytes come from differs.

use super::collect::Collector;
use super::{LoadedModel, Weights, folder, gguf};
use crate::config::ModelConfig;
use crate::error::ModelError;

/// A GGUF file; `file` names it in errors.
pub(crate) fn gguf(bytes: &[u8], file: &str) -> Result<LoadedModel, ModelError> {
    gguf::parse(bytes, file)
}

/// The only safetensors file of a folder, as the weights of `config`.
pub(crate) fn safetensors(bytes: &[u8], config: &ModelConfig) -> Result<Weights, ModelError> {
    let mut collector = Collector::new(config, "the folder");
    folder::take_file(&mut collector, config, bytes, "model.safetensors")?;
    collector.finish()
}
