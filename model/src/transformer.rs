//! From configuration and named weights to a trunk and a branch.
//!
//! Invariant: every tensor is looked up by its Hugging Face name and its shape is checked against the configuration
//! here, so that no pass later can fail on a shape.

use tch::{Device, Kind, Tensor};

use crate::branch::Branch;
use crate::config::{Family, ModelConfig};
use crate::error::ModelError;
use crate::layers::attention::{Attention, Heads};
use crate::layers::block::Block;
use crate::layers::linear::{Fused, Layout, Linear};
use crate::layers::mlp::Mlp;
use crate::layers::norm::Norm;
use crate::layers::rope::Frequencies;
use crate::layers::stack::{Shape, Stack};
use crate::trunk::Trunk;
use crate::weights::Weights;

/// Splits the model so that the last `trainable_layers` blocks form the branch.
///
/// `trainable_layers` may be 0 (only the final norm is left to train) up to all layers (the trunk is the embedding).
/// The branch has its own storage; neither it nor the trunk requires gradients yet.
pub fn build(
    config: &ModelConfig,
    weights: &Weights,
    trainable_layers: usize,
    device: Device,
) -> Result<(Trunk, Branch), ModelError> {
    if trainable_layers > config.num_layers {
        return Err(ModelError::Invalid(format!(
            "trainable_layers is {trainable_layers}, but the model has {} layers: give at most that many",
            config.num_layers
        )));
    }
    let _guard = tch::no_grad_guard();
    let source = Source { config, weights, device };
    let split = config.num_layers - trainable_layers;
    let embedding = source.embedding()?;
    let head = source.head(&embedding)?;
    let names = Names::of(config.family);
    let positions = match config.family {
        Family::Gpt2 => Some(source.get("transformer.wpe.weight", &[config.max_position, config.hidden_size])?),
        _ => None,
    };
    let trunk = Trunk {
        embedding,
        embedding_name: names.embedding,
        positions,
        stack: source.stack(0..split)?,
        max_position: config.max_position,
    };
    let norm = source.norm(names.final_norm)?;
    let branch =
        Branch { stack: source.stack(split..config.num_layers)?, norm, head, tied: config.tie_word_embeddings };
    Ok((trunk, branch.deep_copy()))
}

/// Names outside the blocks.
struct Names {
    embedding: &'static str,
    final_norm: &'static str,
    block: &'static str,
}

impl Names {
    fn of(family: Family) -> Self {
        match family {
            Family::Gpt2 => {
                Self { embedding: "transformer.wte.weight", final_norm: "transformer.ln_f", block: "transformer.h" }
            }
            Family::Llama | Family::Mistral | Family::Qwen2 | Family::Qwen3 => {
                Self { embedding: "model.embed_tokens.weight", final_norm: "model.norm", block: "model.layers" }
            }
        }
    }
}

struct Source<'a> {
    config: &'a ModelConfig,
    weights: &'a Weights,
    device: Device,
}

impl Source<'_> {
    /// The tensor `name` as f32 on the device, its shape checked.
    fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        let tensor = self.weights.get(name)?;
        let expected: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        if tensor.size() != expected {
            return Err(ModelError::WrongShape { name: name.to_owned(), found: tensor.size(), expected });
        }
        Ok(tensor.to_device(self.device).to_kind(Kind::Float).detach())
    }

    fn embedding(&self) -> Result<Tensor, ModelError> {
        let name = Names::of(self.config.family).embedding;
        let shape = [self.config.vocab_size, self.config.hidden_size];
        if self.config.tie_word_embeddings && self.weights.try_get(name).is_none() {
            return self.get("lm_head.weight", &shape);
        }
        self.get(name, &shape)
    }

    fn head(&self, embedding: &Tensor) -> Result<Tensor, ModelError> {
        if self.config.tie_word_embeddings {
            return Ok(embedding.shallow_clone());
        }
        self.get("lm_head.weight", &[self.config.vocab_size, self.config.hidden_size])
    }

    fn heads(&self) -> Heads {
        Heads {
            query: self.config.num_heads as i64,
            kv: self.config.num_kv_heads as i64,
            dim: self.config.head_dim as i64,
        }
    }

    fn stack(&self, layers: std::ops::Range<usize>) -> Result<Stack, ModelError> {
        let config = self.config;
        let shape = Shape {
            heads: self.heads(),
            width: config.hidden_size as i64,
            layers: config.num_layers,
            window: config.sliding_window.map(|w| w as i64),
            frequencies: config.rope.as_ref().map(|rope| Frequencies::new(rope, config.head_dim, self.device)),
            device: self.device,
        };
        let blocks = layers.map(|layer| self.block(layer)).collect::<Result<_, _>>()?;
        Ok(Stack { shape, blocks })
    }

    fn block(&self, layer: usize) -> Result<Block, ModelError> {
        let prefix = format!("{}.{layer}", Names::of(self.config.family).block);
        match self.config.family {
            Family::Gpt2 => self.gpt2_block(layer, &prefix),
            Family::Llama | Family::Mistral | Family::Qwen2 | Family::Qwen3 => self.llama_block(layer, &prefix),
        }
    }

    fn llama_block(&self, layer: usize, prefix: &str) -> Result<Block, ModelError> {
        let config = self.config;
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let (query, kv) = (config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim);
        let qkv_bias = config.attention_bias;
        // Qwen2 has biases on q, k and v only.
        let out_bias = config.attention_bias && config.family != Family::Qwen2;
        let mlp_bias = config.mlp_bias;
        let linear = |name: &str, out: usize, input: usize, bias: bool| {
            self.linear(&format!("{prefix}.{name}"), out, input, bias, Layout::OutIn)
        };
        let qkv = [
            linear("self_attn.q_proj", query, width, qkv_bias)?,
            linear("self_attn.k_proj", kv, width, qkv_bias)?,
            linear("self_attn.v_proj", kv, width, qkv_bias)?,
        ];
        let gate_up =
            [linear("mlp.gate_proj", inner, width, mlp_bias)?, linear("mlp.up_proj", inner, width, mlp_bias)?];
        let qk_norm = if config.qk_norm {
            let norm = |name: &str| self.rms(&format!("{prefix}.self_attn.{name}"), config.head_dim);
            Some((norm("q_norm")?, norm("k_norm")?))
        } else {
            None
        };
        Ok(Block {
            layer,
            attention_norm: self.norm(&format!("{prefix}.input_layernorm"))?,
            attention: Attention {
                qkv: Fused::new(&qkv, [query, kv, kv].map(|n| n as i64).to_vec()),
                out: linear("self_attn.o_proj", width, query, out_bias)?,
                qk_norm,
                heads: self.heads(),
            },
            mlp_norm: self.norm(&format!("{prefix}.post_attention_layernorm"))?,
            mlp: Mlp::Gated {
                gate_up: Fused::new(&gate_up, vec![inner as i64; 2]),
                down: linear("mlp.down_proj", width, inner, mlp_bias)?,
                activation: config.activation,
            },
        })
    }

    fn gpt2_block(&self, layer: usize, prefix: &str) -> Result<Block, ModelError> {
        let (width, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let linear = |name: &str, out: usize, input: usize| {
            self.linear(&format!("{prefix}.{name}"), out, input, true, Layout::InOut)
        };
        Ok(Block {
            layer,
            attention_norm: self.norm(&format!("{prefix}.ln_1"))?,
            attention: Attention {
                qkv: Fused::new(&[linear("attn.c_attn", 3 * width, width)?], vec![width as i64; 3]),
                out: linear("attn.c_proj", width, width)?,
                qk_norm: None,
                heads: self.heads(),
            },
            mlp_norm: self.norm(&format!("{prefix}.ln_2"))?,
            mlp: Mlp::Plain {
                up: linear("mlp.c_fc", inner, width)?,
                down: linear("mlp.c_proj", width, inner)?,
                activation: self.config.activation,
            },
        })
    }

    fn linear(&self, name: &str, out: usize, input: usize, bias: bool, layout: Layout) -> Result<Linear, ModelError> {
        let shape = match layout {
            Layout::OutIn => [out, input],
            Layout::InOut => [input, out],
        };
        let weight = self.get(&format!("{name}.weight"), &shape)?;
        let bias = if bias { Some(self.get(&format!("{name}.bias"), &[out])?) } else { None };
        Ok(Linear::new(name, weight, bias, layout))
    }

    /// A norm over the residual stream, of the family's kind.
    fn norm(&self, name: &str) -> Result<Norm, ModelError> {
        let width = self.config.hidden_size;
        if self.config.family != Family::Gpt2 {
            return self.rms(name, width);
        }
        let weight = self.get(&format!("{name}.weight"), &[width])?;
        let bias = self.get(&format!("{name}.bias"), &[width])?;
        Ok(Norm::layer(name, weight, bias, self.config.norm_eps))
    }

    fn rms(&self, name: &str, width: usize) -> Result<Norm, ModelError> {
        Ok(Norm::rms(name, self.get(&format!("{name}.weight"), &[width])?, self.config.norm_eps))
    }
}

#[cfg(test)]
mod tests;
