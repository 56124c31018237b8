//! A tiny Llama with random weights and a byte-level tokenizer: a real model in every respect but its size.
//!
//! Invariant: a function of the seed and the sizes; always compiled, because the other crates' tests build on it.

use serde_json::json;
use tch::{Device, Tensor};

use crate::branch::Branch;
use crate::config::ModelConfig;
use crate::rng::{Purpose, Stream};
use crate::text::TextCodec;
use crate::transformer::build;
use crate::trunk::Trunk;
use crate::weights::Weights;

/// Everything that an engine or a learner needs, at a size that runs in microseconds.
#[derive(Debug)]
pub struct TinyModel {
    /// The shape.
    pub config: ModelConfig,
    /// The random weights.
    pub weights: Weights,
    /// The frozen part.
    pub trunk: Trunk,
    /// The trainable part: half of the layers.
    pub branch: Branch,
    /// Bytes as tokens.
    pub text: TextCodec,
}

/// A tiny model whose vocabulary is that of [`TextCodec::bytes`]: width 32, two layers, one of them trainable.
pub fn tiny_model(seed: u64) -> TinyModel {
    let text = TextCodec::bytes();
    let (config, weights) = tiny_llama(seed, text.vocab_size(), 32, 2);
    let (trunk, branch) = build(&config, &weights, 1, Device::Cpu).expect("the weights were made for this shape");
    TinyModel { config, weights, trunk, branch, text }
}

/// A Llama with heads of width 8, two query heads for each key head, tied embedding, and weights drawn from `seed`.
///
/// `hidden` is a multiple of 16. The last three ids of the vocabulary are begin, end and padding.
pub fn tiny_llama(seed: u64, vocab: usize, hidden: usize, layers: usize) -> (ModelConfig, Weights) {
    let heads = hidden / 8;
    let raw = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocab, "hidden_size": hidden,
        "intermediate_size": 3 * hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": heads / 2, "head_dim": 8, "rms_norm_eps": 1e-5, "max_position_embeddings": 512,
        "rope_theta": 10000.0, "tie_word_embeddings": true, "attention_bias": false, "mlp_bias": false,
        "hidden_act": "silu", "bos_token_id": vocab - 3, "eos_token_id": vocab - 2, "pad_token_id": vocab - 1,
        "dtype": "float32",
    });
    let config = ModelConfig::from_value(raw).expect("the configuration above is a valid Llama");
    let mut maker = Maker { stream: Stream::new(seed, Purpose::Init, 0), weights: Weights::new() };
    maker.normal("model.embed_tokens.weight", &[vocab, hidden], 0.5);
    let (kv, inner) = (hidden / 2, 3 * hidden);
    for layer in 0..layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        maker.ones(&name("input_layernorm"), hidden);
        maker.normal(&name("self_attn.q_proj"), &[hidden, hidden], 1.0);
        maker.normal(&name("self_attn.k_proj"), &[kv, hidden], 1.0);
        maker.normal(&name("self_attn.v_proj"), &[kv, hidden], 1.0);
        maker.normal(&name("self_attn.o_proj"), &[hidden, hidden], 0.5);
        maker.ones(&name("post_attention_layernorm"), hidden);
        maker.normal(&name("mlp.gate_proj"), &[inner, hidden], 1.0);
        maker.normal(&name("mlp.up_proj"), &[inner, hidden], 1.0);
        maker.normal(&name("mlp.down_proj"), &[hidden, inner], 0.5);
    }
    maker.ones("model.norm.weight", hidden);
    (config, maker.weights)
}

struct Maker {
    stream: Stream,
    weights: Weights,
}

impl Maker {
    /// `[out, in]`, normal with standard deviation `gain / sqrt(in)`.
    fn normal(&mut self, name: &str, shape: &[usize; 2], gain: f64) {
        let deviation = gain / (shape[1] as f64).sqrt();
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|_| (deviation * self.stream.normal()) as f32).collect();
        let tensor = Tensor::from_slice(&values).reshape([shape[0] as i64, shape[1] as i64]);
        self.weights.insert(name, tensor);
    }

    fn ones(&mut self, name: &str, width: usize) {
        self.weights.insert(name, Tensor::from_slice(&vec![1f32; width]));
    }
}
