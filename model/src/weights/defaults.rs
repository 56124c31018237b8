//! How a model's makers meant it to be sampled.
//!
//! Invariant: advice only; an absent value is `None`, and a request always overrides.

use serde_json::{Value, json};

use crate::config::ModelConfig;
use crate::error::ModelError;

/// What generation_config.json or a GGUF file advises.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerationDefaults {
    /// Sampling temperature; 0 where the makers switched sampling off.
    pub temperature: Option<f64>,
    /// Nucleus mass.
    pub top_p: Option<f64>,
    /// Candidates kept.
    pub top_k: Option<usize>,
    /// New tokens at most.
    pub max_tokens: Option<usize>,
    /// Tokens that end an answer.
    pub eos_tokens: Vec<i64>,
}

impl GenerationDefaults {
    pub(crate) fn from_json(json: Option<&Value>, config: &ModelConfig) -> Result<Self, ModelError> {
        let none = Self { eos_tokens: config.eos_tokens.clone(), ..Self::default() };
        let Some(json) = json else { return Ok(none) };
        let wrong = |key: &str| {
            let reason = format!("{key} is {}, which makes no sense", json[key]);
            ModelError::malformed("generation_config.json", reason)
        };
        let number = |key: &str| match &json[key] {
            Value::Null => Ok(None),
            value => value.as_f64().filter(|number| *number >= 0.0).map(Some).ok_or_else(|| wrong(key)),
        };
        let count = |key: &str| match &json[key] {
            Value::Null => Ok(None),
            value => value.as_u64().map(|count| Some(count as usize)).ok_or_else(|| wrong(key)),
        };
        let token = |value: &Value| {
            let token = value.as_i64().filter(|token| (0..config.vocab_size as i64).contains(token));
            token.ok_or_else(|| wrong("eos_token_id"))
        };
        let eos_tokens = match &json["eos_token_id"] {
            Value::Null => none.eos_tokens,
            Value::Array(list) => list.iter().map(token).collect::<Result<_, _>>()?,
            one => vec![token(one)?],
        };
        Ok(Self {
            temperature: number("temperature")?,
            top_p: number("top_p")?,
            top_k: count("top_k")?,
            max_tokens: count("max_new_tokens")?,
            eos_tokens,
        })
    }

    /// generation_config.json for export; what is not known is left out.
    pub(crate) fn to_json(&self, config: &ModelConfig) -> Value {
        let mut json = json!({ "_from_model_config": false });
        let eos = match self.eos_tokens.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            more => json!(more),
        };
        for (key, value) in [
            ("bos_token_id", json!(config.bos_token)),
            ("eos_token_id", eos),
            ("pad_token_id", json!(config.pad_token)),
            ("temperature", json!(self.temperature)),
            ("top_p", json!(self.top_p)),
            ("top_k", json!(self.top_k)),
            ("max_new_tokens", json!(self.max_tokens)),
        ] {
            if !value.is_null() {
                json[key] = value;
            }
        }
        if self.temperature.is_some() || self.top_p.is_some() || self.top_k.is_some() {
            // transformers rejects sampling settings beside greedy decoding when it saves.
            json["do_sample"] = json!(true);
        }
        json
    }
}
