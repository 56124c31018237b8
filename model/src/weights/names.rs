//! Which tensors a configuration implies, with their shapes.
//!
//! Invariant: the table is the whole truth: a tensor outside it is never loaded, one inside it is never optional.

use std::collections::BTreeMap;

use crate::config::{Family, ModelConfig};

/// The head matrix.
pub(crate) const HEAD: &str = "lm_head.weight";

/// The embedding matrix of a family.
pub(crate) fn embedding(family: Family) -> &'static str {
    match family {
        Family::Gpt2 => "transformer.wte.weight",
        _ => "model.embed_tokens.weight",
    }
}

/// Name and shape of every tensor of `config`. A tied head is not among them: it is the embedding.
pub(crate) fn expected(config: &ModelConfig) -> BTreeMap<String, Vec<i64>> {
    let mut table = Table::default();
    let (vocab, hidden) = (config.vocab_size as i64, config.hidden_size as i64);
    table.add(embedding(config.family), &[vocab, hidden]);
    if !config.tie_word_embeddings {
        table.add(HEAD, &[vocab, hidden]);
    }
    match config.family {
        Family::Gpt2 => gpt2(config, &mut table),
        _ => llama_like(config, &mut table),
    }
    table.0
}

#[derive(Default)]
struct Table(BTreeMap<String, Vec<i64>>);

impl Table {
    fn add(&mut self, name: impl Into<String>, shape: &[i64]) {
        self.0.insert(name.into(), shape.to_vec());
    }

    /// A matrix `[out, in]` as torch's Linear stores it, with its bias.
    fn linear(&mut self, name: String, out: i64, input: i64, bias: bool) {
        if bias {
            self.add(format!("{name}.bias"), &[out]);
        }
        self.add(format!("{name}.weight"), &[out, input]);
    }

    /// A matrix `[in, out]` as GPT-2's Conv1D stores it, with its bias.
    fn conv1d(&mut self, name: String, input: i64, out: i64) {
        self.add(format!("{name}.bias"), &[out]);
        self.add(format!("{name}.weight"), &[input, out]);
    }

    fn layer_norm(&mut self, name: String, width: i64) {
        self.add(format!("{name}.weight"), &[width]);
        self.add(format!("{name}.bias"), &[width]);
    }
}

fn llama_like(config: &ModelConfig, table: &mut Table) {
    let (hidden, inner, head) = (config.hidden_size as i64, config.intermediate_size as i64, config.head_dim as i64);
    let (queries, keys) = (config.num_heads as i64 * head, config.num_kv_heads as i64 * head);
    let output_bias = config.attention_bias && config.family != Family::Qwen2;
    table.add("model.norm.weight", &[hidden]);
    for layer in 0..config.num_layers {
        let block = format!("model.layers.{layer}");
        table.add(format!("{block}.input_layernorm.weight"), &[hidden]);
        table.add(format!("{block}.post_attention_layernorm.weight"), &[hidden]);
        table.linear(format!("{block}.self_attn.q_proj"), queries, hidden, config.attention_bias);
        table.linear(format!("{block}.self_attn.k_proj"), keys, hidden, config.attention_bias);
        table.linear(format!("{block}.self_attn.v_proj"), keys, hidden, config.attention_bias);
        table.linear(format!("{block}.self_attn.o_proj"), hidden, queries, output_bias);
        if config.qk_norm {
            table.add(format!("{block}.self_attn.q_norm.weight"), &[head]);
            table.add(format!("{block}.self_attn.k_norm.weight"), &[head]);
        }
        table.linear(format!("{block}.mlp.gate_proj"), inner, hidden, config.mlp_bias);
        table.linear(format!("{block}.mlp.up_proj"), inner, hidden, config.mlp_bias);
        table.linear(format!("{block}.mlp.down_proj"), hidden, inner, config.mlp_bias);
    }
}

fn gpt2(config: &ModelConfig, table: &mut Table) {
    let (hidden, inner) = (config.hidden_size as i64, config.intermediate_size as i64);
    table.add("transformer.wpe.weight", &[config.max_position as i64, hidden]);
    table.layer_norm("transformer.ln_f".into(), hidden);
    for layer in 0..config.num_layers {
        let block = format!("transformer.h.{layer}");
        table.layer_norm(format!("{block}.ln_1"), hidden);
        table.layer_norm(format!("{block}.ln_2"), hidden);
        table.conv1d(format!("{block}.attn.c_attn"), hidden, 3 * hidden);
        table.conv1d(format!("{block}.attn.c_proj"), hidden, hidden);
        table.conv1d(format!("{block}.mlp.c_fc"), hidden, inner);
        table.conv1d(format!("{block}.mlp.c_proj"), inner, hidden);
    }
}

/// The name of a file's tensor in the table's terms: files of the bare network lack the leading "model." or
/// "transformer.". `None` for buffers that old versions stored and nobody needs.
pub(crate) fn canonical(family: Family, name: &str) -> Option<String> {
    let buffer = name.ends_with(".rotary_emb.inv_freq")
        || (family == Family::Gpt2 && (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias")));
    let prefix = if family == Family::Gpt2 { "transformer." } else { "model." };
    if buffer {
        None
    } else if name.starts_with(prefix) || name == HEAD {
        Some(name.to_owned())
    } else {
        Some(format!("{prefix}{name}"))
    }
}
