//! The network inside a GGUF file: its configuration in Hugging Face's terms, its weights dequantised.
//!
//! Invariant: what comes out equals what a Hugging Face folder of the same model would have given, up to quantisation.

use serde_json::{Value, json};
use tch::Tensor;

use super::header::{Header, TensorInfo};
use super::names::{Change, target};
use crate::config::{Family, ModelConfig};
use crate::error::ModelError;
use crate::weights::{Weights, collect::Collector};

/// The frequencies' divisors that Llama 3.1 and later files carry instead of their four numbers.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// The configuration, by way of the config.json that the model would have had.
pub(super) fn config(header: &Header) -> Result<ModelConfig, ModelError> {
    let architecture = header.text("general.architecture")?.ok_or_else(|| header.absent("general.architecture"))?;
    let keys = Keys { header, architecture };
    let windowed = keys.integer("attention.sliding_window")?.filter(|window| *window > 0);
    let family = match (architecture, windowed) {
        ("llama", Some(_)) => Family::Mistral,
        ("llama", None) => Family::Llama,
        ("qwen2", _) => Family::Qwen2,
        ("qwen3", _) => Family::Qwen3,
        ("gpt2", _) => Family::Gpt2,
        (other, _) => return Err(Family::unsupported(other)),
    };
    let embedding = header.tensor("token_embd.weight").filter(|tensor| tensor.shape.len() == 2);
    let embedding = embedding.ok_or_else(|| ModelError::MissingTensor { name: "token_embd.weight".into() })?;
    let mut json = json!({
        "architectures": [family.architecture()],
        "model_type": family.model_type(),
        "vocab_size": embedding.shape[0],
        "tie_word_embeddings": header.tensor("output.weight").is_none(),
    });
    for (key, source) in
        [("bos_token_id", "tokenizer.ggml.bos_token_id"), ("pad_token_id", "tokenizer.ggml.padding_token_id")]
    {
        json[key] = json!(header.integer(source)?);
    }
    let mut ends = Vec::new();
    for key in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"] {
        ends.extend(header.integer(key)?.filter(|end| !ends.contains(end)));
    }
    json["eos_token_id"] = json!(ends);
    if family == Family::Gpt2 {
        json["n_embd"] = keys.needed("embedding_length")?;
        json["n_head"] = keys.needed("attention.head_count")?;
        json["n_layer"] = keys.needed("block_count")?;
        json["n_positions"] = keys.needed("context_length")?;
        json["n_inner"] = keys.needed("feed_forward_length")?;
        json["layer_norm_epsilon"] = json!(keys.number("attention.layer_norm_epsilon")?);
        json["activation_function"] = json!("gelu_new");
    } else {
        llama_like(&keys, &mut json)?;
        json["sliding_window"] = json!(windowed.filter(|_| family == Family::Mistral));
    }
    ModelConfig::from_value(json)
}

fn llama_like(keys: &Keys, json: &mut Value) -> Result<(), ModelError> {
    json["hidden_size"] = keys.needed("embedding_length")?;
    json["num_hidden_layers"] = keys.needed("block_count")?;
    json["num_attention_heads"] = keys.needed("attention.head_count")?;
    json["max_position_embeddings"] = keys.needed("context_length")?;
    json["intermediate_size"] = keys.needed("feed_forward_length")?;
    // Absent means as many as query heads, which null says in config.json.
    json["num_key_value_heads"] = json!(keys.integer("attention.head_count_kv")?);
    json["rms_norm_eps"] = json!(keys.number("attention.layer_norm_rms_epsilon")?);
    json["hidden_act"] = json!("silu");
    json["attention_bias"] = json!(keys.header.tensor("blk.0.attn_q.bias").is_some());
    json["mlp_bias"] = json!(keys.header.tensor("blk.0.ffn_up.bias").is_some());
    let (width, heads) = (keys.integer("embedding_length")?, keys.integer("attention.head_count")?);
    let even = width.zip(heads.filter(|heads| *heads > 0)).map(|(width, heads)| width / heads);
    let head = keys.integer("attention.key_length")?.or(even);
    json["head_dim"] = json!(head);
    if let Some(turned) =
        keys.integer("rope.dimension_count")?.filter(|turned| head.is_some_and(|head| head != *turned))
    {
        let reason = format!("is {turned} of a head's {head:?}; partial rotary positions are not supported");
        return Err(ModelError::config(keys.name("rope.dimension_count"), reason));
    }
    let theta = keys.number("rope.freq_base")?.unwrap_or(10_000.0);
    json["rope_theta"] = json!(theta);
    json["rope_scaling"] = match keys.header.tensor(ROPE_FACTORS) {
        Some(factors) => llama3_scaling(&factors.format.floats(factors.data), theta)?,
        None => match keys.header.text(&keys.name("rope.scaling.type"))? {
            None | Some("none") => Value::Null,
            Some(kind) => json!({ "rope_type": kind, "factor": keys.number("rope.scaling.factor")? }),
        },
    };
    Ok(())
}

/// The four numbers behind a file's frequency divisors. All published models use (f, 1, 4, 8192) with different f, and
/// f is the greatest divisor; anything else is refused rather than guessed.
pub(super) fn llama3_scaling(factors: &[f32], theta: f64) -> Result<Value, ModelError> {
    let factor = f64::from(factors.iter().copied().fold(1.0, f32::max));
    let (low, high, original) = (1.0, 4.0, 8192.0);
    let dimensions = 2.0 * factors.len() as f64;
    for (i, found) in factors.iter().enumerate() {
        // Llama 3.1's rule (transformers, `_compute_llama3_parameters`), as a divisor of the frequency.
        let wavelength = std::f64::consts::TAU * theta.powf(2.0 * i as f64 / dimensions);
        let smooth = ((original / wavelength - low) / (high - low)).clamp(0.0, 1.0);
        let expected = 1.0 / ((1.0 - smooth) / factor + smooth);
        // The files hold f32 numbers: 1e-3 relative is far above their rounding, far below another rule's difference.
        let away = (f64::from(*found) - expected).abs();
        if !away.is_finite() || away > 1e-3 * expected {
            let reason = format!("divisor {i} is {found}, where Llama 3.1's rule gives {expected:.4}");
            return Err(ModelError::config(ROPE_FACTORS, reason));
        }
    }
    Ok(json!({ "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
        "original_max_position_embeddings": original as u64 }))
}

/// Metadata under the architecture's prefix.
struct Keys<'a> {
    header: &'a Header<'a>,
    architecture: &'a str,
}

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn integer(&self, key: &str) -> Result<Option<i64>, ModelError> {
        self.header.integer(&self.name(key))
    }

    fn number(&self, key: &str) -> Result<Option<f64>, ModelError> {
        self.header.number(&self.name(key))
    }

    fn needed(&self, key: &str) -> Result<Value, ModelError> {
        let value = self.integer(key)?.ok_or_else(|| self.header.absent(&self.name(key)))?;
        Ok(json!(value))
    }
}

/// The weights of `config`, f32.
pub(super) fn weights(header: &Header, config: &ModelConfig) -> Result<Weights, ModelError> {
    let mut collector = Collector::new(config, header.file());
    for tensor in header.tensors() {
        if tensor.name == ROPE_FACTORS {
            continue;
        }
        let Some(target) = target(config.family, tensor.name) else {
            let reason = format!("the tensor '{}' has no place in a {:?} network", tensor.name, config.family);
            return Err(ModelError::malformed(header.file(), reason));
        };
        let mut shape = tensor.shape.clone();
        if target.change == Change::Transposed {
            shape.reverse();
        }
        collector.take(&target.name, &shape, || undone(tensor, target.change, config))?;
    }
    collector.finish()
}

/// The tensor's floats as Hugging Face has them.
fn undone(tensor: &TensorInfo, change: Change, config: &ModelConfig) -> Result<Tensor, ModelError> {
    let floats = Tensor::f_from_slice(&tensor.format.floats(tensor.data))?.f_view(tensor.shape.as_slice())?;
    let heads = match change {
        Change::None => return Ok(floats),
        Change::Transposed => return Ok(floats.f_transpose(0, 1)?),
        Change::QueryPairs => config.num_heads,
        Change::KeyPairs => config.num_kv_heads,
    };
    // The file has rows [head, pair, which of the two]; the network [head, which of the two, pair].
    let grouped = floats.f_reshape([heads as i64, config.head_dim as i64 / 2, 2, -1])?;
    Ok(grouped.f_transpose(1, 2)?.f_reshape(tensor.shape.as_slice())?)
}
