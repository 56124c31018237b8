//! Typed reading of config.json's keys, each with an error that names the key.
//!
//! Invariant: a value of the wrong type is an error, never a default; `null` counts as absent unless asked for.

use serde_json::{Map, Value};

use super::Activation;
use crate::error::ModelError;

/// No size in any published configuration comes near: beyond it, products of sizes could overflow.
const MAX_SIZE: u64 = 1 << 24;

pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, ModelError> {
        let object = value.as_object();
        object.map(Self).ok_or_else(|| ModelError::malformed("config.json", "the top level is not an object"))
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn wrong(key: &str, value: &Value, wanted: &str) -> ModelError {
        let shown: String = value.to_string().chars().take(60).collect();
        ModelError::config(key, format!("is {shown}, but must be {wanted}"))
    }

    /// True if the key is there and says null.
    pub(super) fn is_null(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(Value::is_null)
    }

    pub(super) fn size(&self, key: &str) -> Result<usize, ModelError> {
        let value = self.get(key).ok_or_else(|| ModelError::config(key, "is absent, but this family needs it"))?;
        match value.as_u64() {
            Some(size) if (1..=MAX_SIZE).contains(&size) => Ok(size as usize),
            _ => Err(Self::wrong(key, value, &format!("a whole number from 1 to {MAX_SIZE}"))),
        }
    }

    pub(super) fn size_or(&self, key: &str, default: usize) -> Result<usize, ModelError> {
        if self.get(key).is_some() { self.size(key) } else { Ok(default) }
    }

    pub(super) fn size_or_zero(&self, key: &str, default: usize) -> Result<usize, ModelError> {
        if self.get(key).and_then(Value::as_u64) == Some(0) { Ok(0) } else { self.size_or(key, default) }
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_f64().filter(|number| number.is_finite());
        number.map(Some).ok_or_else(|| Self::wrong(key, value, "a finite number"))
    }

    pub(super) fn number_or(&self, key: &str, default: f64) -> Result<f64, ModelError> {
        Ok(self.number(key)?.unwrap_or(default))
    }

    pub(super) fn flag_or(&self, key: &str, default: bool) -> Result<bool, ModelError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| Self::wrong(key, value, "true or false"))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| Self::wrong(key, value, "a text"))
    }

    pub(super) fn first_text(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.as_array()?.first()?.as_str()
    }

    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let texts = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
        texts.map(Some).ok_or_else(|| Self::wrong(key, value, "a list of texts"))
    }

    pub(super) fn object(&self, key: &str) -> Result<Option<Fields<'a>>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let object = value.as_object();
        object.map(|object| Some(Fields(object))).ok_or_else(|| Self::wrong(key, value, "an object"))
    }

    pub(super) fn token(&self, key: &str) -> Result<Option<i64>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        // Some published configurations say -1 for "none".
        match value.as_i64() {
            Some(-1) => Ok(None),
            Some(token) if (0..=MAX_SIZE as i64).contains(&token) => Ok(Some(token)),
            _ => Err(Self::wrong(key, value, "a token number")),
        }
    }

    pub(super) fn tokens(&self, key: &str) -> Result<Vec<i64>, ModelError> {
        let Some(Value::Array(list)) = self.get(key) else { return Ok(self.token(key)?.into_iter().collect()) };
        let tokens: Option<Vec<i64>> = list.iter().map(|token| token.as_i64().filter(|token| *token >= 0)).collect();
        tokens.ok_or_else(|| Self::wrong(key, &Value::Array(list.clone()), "a token number or a list of them"))
    }

    pub(super) fn activation(&self, key: &str, default: Activation) -> Result<Activation, ModelError> {
        match self.text(key)? {
            None => Ok(default),
            Some("silu" | "swish") => Ok(Activation::Silu),
            Some("gelu") => Ok(Activation::Gelu),
            Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => Ok(Activation::GeluTanh),
            Some(other) => {
                Err(ModelError::config(key, format!("'{other}' is not supported; use silu, gelu or gelu_pytorch_tanh")))
            }
        }
    }
}
