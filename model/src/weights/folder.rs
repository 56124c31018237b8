//! Hugging Face folders: config.json, safetensors (one file or shards), tokenizer, chat template, defaults.
//!
//! Invariant: no file outside the folder is opened, whatever its index says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::collect::Collector;
use super::defaults::GenerationDefaults;
use super::map::{map, read_text, read_text_if_there};
use super::{Weights, names, safetensors};
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::text::{SpecialTokens, TextCodec, TextFiles};

pub(crate) fn read_config(folder: &Path) -> Result<ModelConfig, ModelError> {
    ModelConfig::from_json(&read_text(&folder.join("config.json"))?)
}

/// The weights of `config`, from the folder's shards.
pub(crate) fn read_weights(folder: &Path, config: &ModelConfig) -> Result<Weights, ModelError> {
    let mut collector = Collector::new(config, folder.display().to_string());
    for path in weight_files(folder)? {
        let mapping = map(&path)?;
        take_file(&mut collector, config, &mapping, &path.display().to_string())?;
    }
    collector.finish()
}

/// Hands the tensors in the bytes of one safetensors file to `collector`.
pub(crate) fn take_file(
    collector: &mut Collector,
    config: &ModelConfig,
    bytes: &[u8],
    file: &str,
) -> Result<(), ModelError> {
    for entry in safetensors::entries(bytes, file)? {
        if let Some(name) = names::canonical(config.family, &entry.name) {
            collector.take(&name, &entry.shape, || entry.tensor())?;
        }
    }
    Ok(())
}

/// The folder's weight files: those that the index names, else the single one.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let index = folder.join("model.safetensors.index.json");
    let Some(text) = read_text_if_there(&index)? else {
        let single = folder.join("model.safetensors");
        if !single.exists() {
            let reason = "it holds neither model.safetensors nor model.safetensors.index.json; \
                          convert other formats with transformers' save_pretrained";
            return Err(ModelError::malformed(folder.display().to_string(), reason));
        }
        return Ok(vec![single]);
    };
    let malformed = |reason: String| ModelError::malformed(index.display().to_string(), reason);
    let parsed: Value = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    let rows = parsed["weight_map"].as_object().ok_or_else(|| malformed("it has no weight_map".into()))?;
    let mut files = BTreeSet::new();
    for (name, file) in rows {
        let file = file.as_str().ok_or_else(|| malformed(format!("the file of '{name}' is not a text")))?;
        let plain = file.ends_with(".safetensors") && !file.contains(['/', '\\', '\0']);
        if !plain {
            return Err(malformed(format!("'{file}' is not the name of a safetensors file in this folder")));
        }
        files.insert(folder.join(file));
    }
    Ok(files.into_iter().collect())
}

/// The folder's tokenizer and chat template.
pub(crate) fn read_text_codec(folder: &Path) -> Result<TextCodec, ModelError> {
    let path = folder.join("tokenizer.json");
    if !path.exists() {
        let reason = "it holds no tokenizer.json; save the tokenizer with transformers' fast tokenizers";
        return Err(ModelError::malformed(folder.display().to_string(), reason));
    }
    let tokenizer_config = read_json_if_there(&folder.join("tokenizer_config.json"))?;
    let map = read_json_if_there(&folder.join("special_tokens_map.json"))?;
    let special = |name: &str| {
        let places = [tokenizer_config.as_ref(), map.as_ref()];
        places.into_iter().flatten().find_map(|json| token_text(&json[name]))
    };
    let special = SpecialTokens {
        bos: special("bos_token"),
        eos: special("eos_token"),
        unk: special("unk_token"),
        pad: special("pad_token"),
    };
    let chat_template = match read_text_if_there(&folder.join("chat_template.jinja"))? {
        Some(template) => Some(template),
        None => tokenizer_config.as_ref().and_then(|json| template_text(&json["chat_template"])),
    };
    TextCodec::new(TextFiles { tokenizer: read_text(&path)?, tokenizer_config, chat_template, special })
}

/// What generation_config.json says, else what config.json does.
pub(crate) fn read_defaults(folder: &Path, config: &ModelConfig) -> Result<GenerationDefaults, ModelError> {
    let json = read_json_if_there(&folder.join("generation_config.json"))?;
    GenerationDefaults::from_json(json.as_ref(), config)
}

fn read_json_if_there(path: &Path) -> Result<Option<Value>, ModelError> {
    let Some(text) = read_text_if_there(path)? else { return Ok(None) };
    let json = serde_json::from_str(&text);
    json.map(Some).map_err(|error| ModelError::malformed(path.display().to_string(), error))
}

/// A special token, written as a text or as an object with its settings.
fn token_text(json: &Value) -> Option<String> {
    json.as_str().or_else(|| json["content"].as_str()).map(str::to_owned)
}

/// A chat template, written as a text or as a list of named ones, of which "default" counts.
fn template_text(json: &Value) -> Option<String> {
    if let Some(text) = json.as_str() {
        return Some(text.to_owned());
    }
    let list = json.as_array()?;
    let chosen = list.iter().find(|row| row["name"] == "default").or_else(|| list.first())?;
    chosen["template"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_and_tokens_come_in_two_forms() {
        assert_eq!(template_text(&json!("x")).as_deref(), Some("x"));
        let list = json!([{ "name": "tool_use", "template": "t" }, { "name": "default", "template": "d" }]);
        assert_eq!(template_text(&list).as_deref(), Some("d"));
        assert_eq!(template_text(&json!(null)), None);
        assert_eq!(token_text(&json!("<s>")).as_deref(), Some("<s>"));
        assert_eq!(token_text(&json!({ "content": "<s>", "lstrip": false })).as_deref(), Some("<s>"));
    }
}
