//! The network's shape, as Hugging Face's `config.json` states it.
//!
//! Invariant: a [`ModelConfig`] that exists is consistent (sizes above zero and below caps, heads divide evenly, RoPE
//! understood); what the network cannot do faithfully is refused here, never approximated later.

mod fields;
mod rope;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use crate::error::ModelError;
use fields::Fields;
pub use rope::{Rope, RopeScaling};

/// No published network comes near; a lying file must not make us list the tensors of millions of layers.
const MAX_LAYERS: usize = 2048;

/// The families of networks that this crate runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Llama, SmolLM2, TinyLlama and their like.
    Llama,
    /// Mistral: Llama with an optional sliding window.
    Mistral,
    /// Qwen2 and Qwen2.5: Llama with biases on q, k and v.
    Qwen2,
    /// Qwen3: Llama with normalised queries and keys.
    Qwen3,
    /// GPT-2: learned positions, LayerNorm, fused qkv.
    Gpt2,
}

impl Family {
    /// `(model_type, class name of transformers)` of every family.
    const ALL: [(Family, &'static str, &'static str); 5] = [
        (Family::Llama, "llama", "LlamaForCausalLM"),
        (Family::Mistral, "mistral", "MistralForCausalLM"),
        (Family::Qwen2, "qwen2", "Qwen2ForCausalLM"),
        (Family::Qwen3, "qwen3", "Qwen3ForCausalLM"),
        (Family::Gpt2, "gpt2", "GPT2LMHeadModel"),
    ];

    /// The family's `model_type` in config.json.
    pub fn model_type(self) -> &'static str {
        self.row().1
    }

    /// The class of `transformers` that loads the family for generation.
    pub fn architecture(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (Family, &'static str, &'static str) {
        Self::ALL[Self::ALL.iter().position(|row| row.0 == self).expect("every family has its row")]
    }

    fn find(fields: &Fields) -> Result<Self, ModelError> {
        let model_type = fields.text("model_type")?;
        let class = fields.first_text("architectures");
        if let Some(class) = class.filter(|class| !Self::ALL.iter().any(|row| row.2 == *class)) {
            // "LlamaForSequenceClassification", "LlamaModel", "MixtralForCausalLM" have other tensors than we read.
            return Err(Self::unsupported(class));
        }
        let named = model_type.or(class).ok_or_else(|| {
            ModelError::config("model_type", "is absent, and so is architectures: the family cannot be told")
        })?;
        let row = Self::ALL.iter().find(|row| row.1 == named || row.2 == named);
        row.map(|row| row.0).ok_or_else(|| Self::unsupported(named))
    }

    pub(crate) fn unsupported(found: &str) -> ModelError {
        let supported: Vec<String> = Self::ALL.iter().map(|row| format!("{} ({})", row.2, row.1)).collect();
        ModelError::UnsupportedArchitecture { found: found.to_owned(), supported: supported.join(", ") }
    }
}

/// The non-linearity of the feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x · sigmoid(x).
    Silu,
    /// x · Φ(x), by the error function.
    Gelu,
    /// GELU by its tanh approximation (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
}

/// Everything about a network but its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Which family's code runs it.
    pub family: Family,
    /// Rows of the embedding; the tokenizer may know fewer.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward part.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_layers: usize,
    /// Query heads.
    pub num_heads: usize,
    /// Key/value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Width of one head; `num_heads * head_dim` may differ from `hidden_size` (Qwen3).
    pub head_dim: usize,
    /// Epsilon of RMSNorm (LayerNorm for GPT-2).
    pub norm_eps: f64,
    /// Longest sequence that the network was made for; GPT-2 cannot exceed it.
    pub max_position: usize,
    /// Rotary positions; `None` for GPT-2, which has learned ones.
    pub rope: Option<Rope>,
    /// A token sees itself and the `n - 1` before it, in every layer.
    pub sliding_window: Option<usize>,
    /// The head matrix is the embedding.
    pub tie_word_embeddings: bool,
    /// Biases on q, k, v (and on o, except in Qwen2).
    pub attention_bias: bool,
    /// Biases in the feed-forward part.
    pub mlp_bias: bool,
    /// RMSNorm over each query and key head (Qwen3).
    pub qk_norm: bool,
    /// Non-linearity of the feed-forward part.
    pub activation: Activation,
    /// Token that begins a text.
    pub bos_token: Option<i64>,
    /// Tokens that end a text; may be empty.
    pub eos_tokens: Vec<i64>,
    /// Token for padding.
    pub pad_token: Option<i64>,
    /// config.json as read, for export.
    pub raw: Value,
}

impl ModelConfig {
    /// Reads a config.json of transformers 4 or 5.
    pub fn from_json(text: &str) -> Result<Self, ModelError> {
        let raw: Value = serde_json::from_str(text).map_err(|error| ModelError::malformed("config.json", error))?;
        Self::from_value(raw)
    }

    /// As [`ModelConfig::from_json`], from JSON that is parsed already.
    pub fn from_value(raw: Value) -> Result<Self, ModelError> {
        let fields = Fields::of(&raw)?;
        let family = Family::find(&fields)?;
        if fields.object("quantization_config")?.is_some() {
            return Err(ModelError::config(
                "quantization_config",
                "quantised Hugging Face folders are not read; give the unquantised folder or a GGUF file",
            ));
        }
        let config = match family {
            Family::Gpt2 => Self::gpt2(&fields)?,
            _ => Self::llama_like(family, &fields)?,
        };
        config.check()?;
        Ok(Self { raw, ..config })
    }

    fn llama_like(family: Family, fields: &Fields) -> Result<Self, ModelError> {
        let hidden_size = fields.size("hidden_size")?;
        let num_layers = fields.size("num_hidden_layers")?;
        let num_heads = fields.size("num_attention_heads")?;
        // A key that is absent means the default of the family's class in transformers.
        let (kv_default, max_position) = match family {
            Family::Mistral => (8, 131_072),
            Family::Qwen2 | Family::Qwen3 => (32, 32_768),
            _ => (num_heads, 2048),
        };
        let num_kv_heads = if fields.is_null("num_key_value_heads") {
            num_heads
        } else {
            fields.size_or("num_key_value_heads", kv_default)?
        };
        let head_default = if family == Family::Qwen3 { 128 } else { hidden_size / num_heads };
        Ok(Self {
            family,
            vocab_size: fields.size("vocab_size")?,
            hidden_size,
            intermediate_size: fields.size("intermediate_size")?,
            num_layers,
            num_heads,
            num_kv_heads,
            head_dim: fields.size_or("head_dim", head_default)?,
            norm_eps: fields.number_or("rms_norm_eps", 1e-6)?,
            max_position: fields.size_or("max_position_embeddings", max_position)?,
            rope: Some(Rope::read(fields)?),
            sliding_window: Self::window(family, num_layers, fields)?,
            tie_word_embeddings: fields.flag_or("tie_word_embeddings", false)?,
            attention_bias: match family {
                Family::Qwen2 => true,
                Family::Mistral => false,
                _ => fields.flag_or("attention_bias", false)?,
            },
            mlp_bias: family == Family::Llama && fields.flag_or("mlp_bias", false)?,
            qk_norm: family == Family::Qwen3,
            activation: fields.activation("hidden_act", Activation::Silu)?,
            bos_token: fields.token("bos_token_id")?,
            eos_tokens: fields.tokens("eos_token_id")?,
            pad_token: fields.token("pad_token_id")?,
            raw: Value::Null,
        })
    }

    fn gpt2(fields: &Fields) -> Result<Self, ModelError> {
        for (key, only) in
            [("scale_attn_weights", true), ("scale_attn_by_inverse_layer_idx", false), ("add_cross_attention", false)]
        {
            if fields.flag_or(key, only)? != only {
                return Err(ModelError::config(key, format!("only {only} is supported")));
            }
        }
        let hidden_size = fields.size("n_embd")?;
        let num_heads = fields.size("n_head")?;
        let n_inner = fields.size_or("n_inner", hidden_size.saturating_mul(4))?;
        Ok(Self {
            family: Family::Gpt2,
            vocab_size: fields.size("vocab_size")?,
            hidden_size,
            intermediate_size: n_inner,
            num_layers: fields.size("n_layer")?,
            num_heads,
            num_kv_heads: num_heads,
            head_dim: hidden_size / num_heads,
            norm_eps: fields.number_or("layer_norm_epsilon", 1e-5)?,
            max_position: fields.size_or("n_positions", 1024)?,
            rope: None,
            sliding_window: None,
            tie_word_embeddings: fields.flag_or("tie_word_embeddings", true)?,
            attention_bias: true,
            mlp_bias: true,
            qk_norm: false,
            activation: fields.activation("activation_function", Activation::GeluTanh)?,
            bos_token: fields.token("bos_token_id")?,
            eos_tokens: fields.tokens("eos_token_id")?,
            pad_token: fields.token("pad_token_id")?,
            raw: Value::Null,
        })
    }

    /// One window for all layers or none: a mixture is refused. Only families that have the key look at it.
    fn window(family: Family, num_layers: usize, fields: &Fields) -> Result<Option<usize>, ModelError> {
        let window = match family {
            Family::Mistral => {
                // Absent means the class default of Mistral 0.1; null means none.
                (!fields.is_null("sliding_window")).then(|| fields.size_or("sliding_window", 4096)).transpose()?
            }
            Family::Qwen2 | Family::Qwen3 if fields.flag_or("use_sliding_window", false)? => {
                (!fields.is_null("sliding_window")).then(|| fields.size_or("sliding_window", 4096)).transpose()?
            }
            _ => None,
        };
        let Some(window) = window else { return Ok(None) };
        let sliding = match fields.texts("layer_types")? {
            Some(types) => types.iter().filter(|kind| **kind == "sliding_attention").count(),
            None if family == Family::Mistral => num_layers,
            None => num_layers.saturating_sub(fields.size_or_zero("max_window_layers", 28)?),
        };
        match sliding {
            0 => Ok(None),
            all if all == num_layers => Ok(Some(window)),
            some => Err(ModelError::config(
                "layer_types",
                format!("{some} of {num_layers} layers have a sliding window; only all or none is supported"),
            )),
        }
    }

    fn check(&self) -> Result<(), ModelError> {
        if self.num_layers > MAX_LAYERS {
            let reason = format!("is {}; {MAX_LAYERS} is the most", self.num_layers);
            return Err(ModelError::config("number of layers", reason));
        }
        if !self.num_heads.is_multiple_of(self.num_kv_heads) {
            let reason = format!("{} does not divide the {} attention heads", self.num_kv_heads, self.num_heads);
            return Err(ModelError::config("num_key_value_heads", reason));
        }
        if self.family == Family::Gpt2 && !self.hidden_size.is_multiple_of(self.num_heads) {
            let reason = format!("{} heads do not divide the width {}", self.num_heads, self.hidden_size);
            return Err(ModelError::config("n_head", reason));
        }
        if self.head_dim == 0 || (self.rope.is_some() && !self.head_dim.is_multiple_of(2)) {
            let reason = format!("is {}; rotary positions need an even number above 0", self.head_dim);
            return Err(ModelError::config("head_dim", reason));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps > 0.0) {
            return Err(ModelError::config("norm epsilon", format!("is {}; it must be above 0", self.norm_eps)));
        }
        let known = self.eos_tokens.iter().chain(&self.bos_token).chain(&self.pad_token);
        if let Some(token) = known.filter(|token| **token >= self.vocab_size as i64).max() {
            let reason = format!("names token {token}, but the vocabulary has {} rows", self.vocab_size);
            return Err(ModelError::config("eos_token_id, bos_token_id or pad_token_id", reason));
        }
        Ok(())
    }

    /// config.json for export: the one that was read, with the keys of transformers 4 and of 5, weights in f32.
    pub fn to_json(&self) -> Value {
        let mut object = self.raw.as_object().cloned().unwrap_or_default();
        for stale in ["_name_or_path", "auto_map", "transformers_version"] {
            object.remove(stale);
        }
        let eos = match self.eos_tokens.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            more => json!(more),
        };
        let mut put = |key: &str, value: Value| {
            object.insert(key.to_owned(), value);
        };
        put("architectures", json!([self.family.architecture()]));
        put("model_type", json!(self.family.model_type()));
        put("dtype", json!("float32"));
        put("torch_dtype", json!("float32"));
        put("tie_word_embeddings", json!(self.tie_word_embeddings));
        put("bos_token_id", json!(self.bos_token));
        put("eos_token_id", eos);
        put("pad_token_id", json!(self.pad_token));
        if let Some(rope) = &self.rope {
            put("rope_theta", json!(rope.theta));
            put("rope_scaling", rope.scaling_json());
            put("rope_parameters", rope.parameters_json());
            put("head_dim", json!(self.head_dim));
        }
        Value::Object(object)
    }
}
