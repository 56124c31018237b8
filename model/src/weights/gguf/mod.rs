//! GGUF files: weights, configuration, tokenizer and chat template in one.
//!
//! Invariant: a file's own numbers are never trusted: counts, lengths and offsets are checked against the file before
//! anything is allocated.

mod cursor;
mod dequantise;
mod header;
mod names;
mod network;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::path::Path;

use super::defaults::GenerationDefaults;
use super::map::map;
use super::{LoadedModel, Source, Weights};
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::text::TextCodec;
use header::Header;

/// Everything that the file holds.
pub(crate) fn load(path: &Path) -> Result<LoadedModel, ModelError> {
    let mapping = map(path)?;
    parse(&mapping, &path.display().to_string())
}

/// The network only.
pub(crate) fn load_weights(path: &Path) -> Result<(ModelConfig, Weights), ModelError> {
    let (mapping, file) = (map(path)?, path.display().to_string());
    let header = Header::parse(&mapping, &file)?;
    let config = network::config(&header)?;
    let weights = network::weights(&header, &config)?;
    Ok((config, weights))
}

/// Tokenizer and chat template only.
pub(crate) fn load_text(path: &Path) -> Result<TextCodec, ModelError> {
    let (mapping, file) = (map(path)?, path.display().to_string());
    TextCodec::new(vocabulary::text_files(&Header::parse(&mapping, &file)?)?)
}

/// Everything in the bytes of a file, which errors call `file`.
pub(crate) fn parse(bytes: &[u8], file: &str) -> Result<LoadedModel, ModelError> {
    let header = Header::parse(bytes, file)?;
    let config = network::config(&header)?;
    // The tokenizer first: it is small, and most likely to be refused.
    let text = TextCodec::new(vocabulary::text_files(&header)?)?;
    let weights = network::weights(&header, &config)?;
    let defaults = GenerationDefaults { eos_tokens: config.eos_tokens.clone(), ..GenerationDefaults::default() };
    let word = |key: &str| header.text(key).ok().flatten().map(str::to_owned);
    let source = Source { name: word("general.name"), licence: word("general.license") };
    Ok(LoadedModel { config, weights, text, defaults, source })
}
