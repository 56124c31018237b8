//! GGUF's names of tensors, in Hugging Face's terms.
//!
//! Invariant: pure renaming; `None` means that the family has no such tensor.

use crate::config::Family;

/// How a tensor of the file becomes one of the network.
pub(super) struct Target {
    pub(super) name: String,
    pub(super) change: Change,
}

/// What the conversion to GGUF did to a tensor and has to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// GPT-2 stores its matrices `[in, out]`, GGUF all of them `[out, in]`.
    Transposed,
    /// Llama's rotary pairs stand side by side instead of half a head apart.
    QueryPairs,
    /// The same in the keys.
    KeyPairs,
}

/// The target of the file's tensor `name`.
pub(super) fn target(family: Family, name: &str) -> Option<Target> {
    let gpt2 = family == Family::Gpt2;
    let (stem, suffix) = name.rsplit_once('.')?;
    if let Some(rest) = stem.strip_prefix("blk.") {
        let (layer, part) = rest.split_once('.')?;
        let layer: usize = layer.parse().ok()?;
        let (part, change) = if gpt2 { gpt2_part(part)? } else { llama_part(family, part)? };
        let change = if suffix == "bias" && change == Change::Transposed { Change::None } else { change };
        let block = if gpt2 { "transformer.h" } else { "model.layers" };
        return Some(Target { name: format!("{block}.{layer}.{part}.{suffix}"), change });
    }
    let stem = match (stem, gpt2) {
        ("token_embd", false) => "model.embed_tokens",
        ("output_norm", false) => "model.norm",
        ("token_embd", true) => "transformer.wte",
        ("position_embd", true) => "transformer.wpe",
        ("output_norm", true) => "transformer.ln_f",
        ("output", _) => "lm_head",
        _ => return None,
    };
    Some(Target { name: format!("{stem}.{suffix}"), change: Change::None })
}

fn llama_part(family: Family, part: &str) -> Option<(&'static str, Change)> {
    // Only the converter of Llama (which also serves Mistral) permutes.
    let permuted = matches!(family, Family::Llama | Family::Mistral);
    let when = |change| if permuted { change } else { Change::None };
    Some(match part {
        "attn_norm" => ("input_layernorm", Change::None),
        "attn_q" => ("self_attn.q_proj", when(Change::QueryPairs)),
        "attn_k" => ("self_attn.k_proj", when(Change::KeyPairs)),
        "attn_v" => ("self_attn.v_proj", Change::None),
        "attn_output" => ("self_attn.o_proj", Change::None),
        "attn_q_norm" => ("self_attn.q_norm", Change::None),
        "attn_k_norm" => ("self_attn.k_norm", Change::None),
        "ffn_norm" => ("post_attention_layernorm", Change::None),
        "ffn_gate" => ("mlp.gate_proj", Change::None),
        "ffn_up" => ("mlp.up_proj", Change::None),
        "ffn_down" => ("mlp.down_proj", Change::None),
        _ => return None,
    })
}

fn gpt2_part(part: &str) -> Option<(&'static str, Change)> {
    Some(match part {
        "attn_norm" => ("ln_1", Change::None),
        "attn_qkv" => ("attn.c_attn", Change::Transposed),
        "attn_output" => ("attn.c_proj", Change::Transposed),
        "ffn_norm" => ("ln_2", Change::None),
        "ffn_up" => ("mlp.c_fc", Change::Transposed),
        "ffn_down" => ("mlp.c_proj", Change::Transposed),
        _ => return None,
    })
}
