//! Export to a Hugging Face folder that transformers 4 and 5 load.
//!
//! Invariant: the target appears whole or not at all: everything is written and synced beside it, then renamed.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tch::{Kind, Tensor};

use super::{GenerationDefaults, Weights, names, safetensors};
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::text::TextCodec;

/// What an exported folder says about itself in its README.md.
#[derive(Debug, Clone, Default)]
pub struct ModelCard {
    /// The title.
    pub name: String,
    /// What was done to the model, in Markdown.
    pub description: String,
    /// The model it comes from.
    pub base_model: Option<String>,
    /// Licence identifier, for instance "apache-2.0".
    pub licence: Option<String>,
    /// Data sets it learned from.
    pub datasets: Vec<String>,
}

/// The parts of an export.
#[derive(Debug, Clone, Copy)]
pub struct ExportParts<'a> {
    /// The network's shape.
    pub config: &'a ModelConfig,
    /// Its numbers, by Hugging Face names; all that the configuration demands.
    pub weights: &'a Weights,
    /// Tokenizer and chat template; left out for networks without text.
    pub text: Option<&'a TextCodec>,
    /// Sampling advice.
    pub defaults: &'a GenerationDefaults,
    /// The model card.
    pub card: &'a ModelCard,
    /// Attribution of the data it learned from, written as ATTRIBUTION.md.
    pub attribution: Option<&'a str>,
}

/// Writes `parts` to the new folder `target`; one that exists must be empty.
pub fn export(target: &Path, parts: ExportParts) -> Result<(), ModelError> {
    check_vacant(target)?;
    let name = target.file_name().ok_or_else(|| {
        ModelError::Invalid(format!("'{}' is no name for a new folder: name one to export to", target.display()))
    })?;
    let parent = match target.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).map_err(ModelError::io("create", &parent))?;
    let temporary = parent.join(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    fs::create_dir(&temporary).map_err(ModelError::io("create", &temporary))?;
    let written = write_all(&temporary, parts).and_then(|()| {
        sync(&temporary)?;
        fs::rename(&temporary, target).map_err(ModelError::io("write", target))?;
        sync(&parent)
    });
    if written.is_err() {
        // Best effort: the first error is the one to tell.
        let _ = fs::remove_dir_all(&temporary);
    }
    written
}

/// Whether nothing stands in the folder `target`, which need not be there.
pub fn check_vacant(target: &Path) -> Result<(), ModelError> {
    let occupied = match fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(ModelError::io("write", target)(error)),
    };
    match occupied {
        true => Err(ModelError::TargetNotEmpty { path: target.to_path_buf() }),
        false => Ok(()),
    }
}

fn write_all(folder: &Path, parts: ExportParts) -> Result<(), ModelError> {
    let ExportParts { config, weights, text, defaults, card, attribution } = parts;
    write_json(folder, "config.json", &config.to_json())?;
    write_json(folder, "generation_config.json", &defaults.to_json(config))?;
    write_weights(&folder.join("model.safetensors"), config, weights)?;
    if let Some(text) = text {
        write_text(folder, "tokenizer.json", &text.files().tokenizer)?;
        write_json(folder, "tokenizer_config.json", &text.config_json(config.max_position))?;
        if let Some(template) = &text.files().chat_template {
            write_text(folder, "chat_template.jinja", template)?;
        }
    }
    write_text(folder, "README.md", &card_text(card))?;
    attribution.map_or(Ok(()), |attribution| write_text(folder, "ATTRIBUTION.md", attribution))
}

fn write_weights(path: &Path, config: &ModelConfig, weights: &Weights) -> Result<(), ModelError> {
    // Exactly the tensors of the table: a tied head is the embedding and is not stored twice.
    let mut rows: Vec<(String, Tensor)> = Vec::new();
    for (name, expected) in names::expected(config) {
        let tensor = weights.get(&name)?;
        if tensor.size() != expected {
            return Err(ModelError::WrongShape { name, found: tensor.size(), expected });
        }
        rows.push((name, tch::no_grad(|| tensor.f_to_kind(Kind::Float))?));
    }
    let file = File::create(path).map_err(ModelError::io("create", path))?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let tensors = rows.iter().map(|(name, tensor)| (name.as_str(), tensor));
    safetensors::write(&mut writer, tensors)?.map_err(ModelError::io("write", path))?;
    let file = writer.into_inner().map_err(|error| ModelError::io("write", path)(error.into_error()))?;
    file.sync_all().map_err(ModelError::io("sync", path))
}

fn write_json(folder: &Path, name: &str, json: &serde_json::Value) -> Result<(), ModelError> {
    write_text(folder, name, &format!("{json:#}\n"))
}

fn write_text(folder: &Path, name: &str, text: &str) -> Result<(), ModelError> {
    let path = folder.join(name);
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(ModelError::io("write", &path))
}

fn sync(folder: &Path) -> Result<(), ModelError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(ModelError::io("sync", folder))
}

/// The model card: the header that the Hugging Face hub reads, then prose.
fn card_text(card: &ModelCard) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string(); // a JSON string is a YAML string
    let mut header = String::from("---\nlibrary_name: transformers\npipeline_tag: text-generation\n");
    if let Some(licence) = &card.licence {
        header.push_str(&format!("license: {}\n", quoted(licence)));
    }
    if let Some(base) = &card.base_model {
        header.push_str(&format!("base_model: {}\n", quoted(base)));
    }
    if !card.datasets.is_empty() {
        header.push_str("datasets:\n");
        header.extend(card.datasets.iter().map(|name| format!("- {}\n", quoted(name))));
    }
    header.push_str("tags:\n- understudy\n- rlhf\n- ppo\n---\n");
    format!("{header}\n# {}\n\n{}\n", card.name, card.description.trim_end())
}
