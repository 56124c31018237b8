//! Whole GGUF files: one made here from a known network, and every way to damage it.

mod mutants;

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::text::Message;

/// A GGUF file in the making.
#[derive(Clone, Default)]
struct Maker {
    values: Vec<(String, Vec<u8>)>,
    tensors: Vec<(String, Vec<u64>, u32, Vec<u8>)>,
}

fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes(), value.as_bytes()].concat()
}

fn typed(kind: u32, payload: Vec<u8>) -> Vec<u8> {
    [kind.to_le_bytes().to_vec(), payload].concat()
}

fn list(kind: u32, elements: Vec<Vec<u8>>) -> Vec<u8> {
    let count = (elements.len() as u64).to_le_bytes().to_vec();
    typed(9, [kind.to_le_bytes().to_vec(), count, elements.concat()].concat())
}

impl Maker {
    fn value(&mut self, key: &str, typed: Vec<u8>) -> &mut Self {
        self.values.push((key.to_owned(), typed));
        self
    }

    fn number(&mut self, key: &str, value: u32) -> &mut Self {
        self.value(key, typed(4, value.to_le_bytes().to_vec()))
    }

    fn word(&mut self, key: &str, value: &str) -> &mut Self {
        self.value(key, typed(8, text(value)))
    }

    /// `shape` as torch has it.
    fn tensor(&mut self, name: &str, shape: &[u64], floats: &[f32]) -> &mut Self {
        let dimensions = shape.iter().rev().copied().collect();
        let bytes = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
        self.tensors.push((name.to_owned(), dimensions, 0, bytes));
        self
    }

    fn bytes(&self, version: u32) -> Vec<u8> {
        let mut file = [&b"GGUF"[..], &version.to_le_bytes()].concat();
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.values.len() as u64).to_le_bytes());
        for (key, typed) in &self.values {
            file.extend([text(key), typed.clone()].concat());
        }
        let mut offset = 0u64;
        for (name, dimensions, kind, data) in &self.tensors {
            file.extend(text(name));
            file.extend((dimensions.len() as u32).to_le_bytes());
            file.extend(dimensions.iter().flat_map(|size| size.to_le_bytes()));
            file.extend(kind.to_le_bytes());
            file.extend(offset.to_le_bytes());
            offset = (offset + data.len() as u64).next_multiple_of(32);
        }
        for (_, _, _, data) in &self.tensors {
            file.resize(file.len().next_multiple_of(32), 0);
            file.extend(data);
        }
        file
    }
}

const TOKENS: [&str; 12] = ["<s>", "</s>", "a", "b", "c", "Ġ", "ab", "Ġc", "<user>", "?", ":", "Ċ"];

/// A Llama of one layer, 2 heads of width 4, one key head; and its q and k as Hugging Face has them.
fn tiny() -> (Maker, BTreeMap<&'static str, Vec<f32>>) {
    let mut maker = Maker::default();
    maker.word("general.architecture", "llama").word("general.license", "mit");
    for (key, value) in [
        ("block_count", 1),
        ("context_length", 64),
        ("embedding_length", 8),
        ("feed_forward_length", 6),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("rope.dimension_count", 4),
    ] {
        maker.number(&format!("llama.{key}"), value);
    }
    maker.value("llama.attention.layer_norm_rms_epsilon", typed(6, 1e-5f32.to_le_bytes().to_vec()));
    maker.word("tokenizer.ggml.model", "gpt2").word("tokenizer.ggml.pre", "smollm");
    maker.value("tokenizer.ggml.tokens", list(8, TOKENS.iter().map(|token| text(token)).collect()));
    let kinds = [3i32, 3, 1, 1, 1, 1, 1, 1, 4, 1, 1, 1];
    maker.value("tokenizer.ggml.token_type", list(5, kinds.iter().map(|kind| kind.to_le_bytes().to_vec()).collect()));
    maker.value("tokenizer.ggml.merges", list(8, vec![text("a b"), text("Ġ c")]));
    maker.number("tokenizer.ggml.bos_token_id", 0).number("tokenizer.ggml.eos_token_id", 1);
    maker.word("tokenizer.chat_template", "{% for m in messages %}{{ m.content }}{% endfor %}{{ eos_token }}");
    let mut next = 0.0f32;
    let mut floats = |count: usize| -> Vec<f32> {
        (0..count)
            .map(|_| {
                next += 0.5;
                next
            })
            .collect()
    };
    // Llama's converter: rows [head, half, pair] become [head, pair, half].
    let permuted = |rows: &[f32], heads: usize| -> Vec<f32> {
        let mut result = Vec::new();
        for head in 0..heads {
            for pair in 0..2 {
                for half in 0..2 {
                    let row = head * 4 + half * 2 + pair;
                    result.extend(&rows[row * 8..row * 8 + 8]);
                }
            }
        }
        result
    };
    let (queries, keys) = (floats(64), floats(32));
    maker.tensor("token_embd.weight", &[12, 8], &floats(96));
    maker.tensor("output_norm.weight", &[8], &floats(8));
    maker.tensor("blk.0.attn_norm.weight", &[8], &floats(8));
    maker.tensor("blk.0.attn_q.weight", &[8, 8], &permuted(&queries, 2));
    maker.tensor("blk.0.attn_k.weight", &[4, 8], &permuted(&keys, 1));
    maker.tensor("blk.0.attn_v.weight", &[4, 8], &floats(32));
    maker.tensor("blk.0.attn_output.weight", &[8, 8], &floats(64));
    maker.tensor("blk.0.ffn_norm.weight", &[8], &floats(8));
    maker.tensor("blk.0.ffn_gate.weight", &[6, 8], &floats(48));
    maker.tensor("blk.0.ffn_up.weight", &[6, 8], &floats(48));
    maker.tensor("blk.0.ffn_down.weight", &[8, 6], &floats(48));
    (maker, BTreeMap::from([("q_proj", queries), ("k_proj", keys)]))
}

fn refusal(bytes: &[u8]) -> String {
    parse(bytes, "test.gguf").unwrap_err().to_string()
}

#[test]
fn a_file_becomes_network_tokenizer_and_template() {
    let (maker, original) = tiny();
    for version in [2, 3] {
        let model = parse(&maker.bytes(version), "test.gguf").unwrap();
        assert_eq!((model.config.num_kv_heads, model.config.head_dim, model.config.vocab_size), (1, 4, 12));
        assert_eq!(model.config.norm_eps, 1e-5);
        assert!(model.config.tie_word_embeddings);
        assert_eq!(model.source.licence.as_deref(), Some("mit"));
        for (part, floats) in &original {
            let tensor = model.weights.get(&format!("model.layers.0.self_attn.{part}.weight")).unwrap();
            assert_eq!(&Vec::<f32>::try_from(tensor.reshape(-1)).unwrap(), floats, "{part}");
        }
        assert_eq!(model.text.encode("ab c<user>b", true).unwrap(), [6, 7, 8, 3]);
        assert_eq!(model.text.decode(&[0, 6, 7, 8, 3]), "ab c<user>b");
        assert_eq!(model.text.render_chat(&[Message::user("c")], true).unwrap(), "c</s>");
        assert_eq!(model.defaults.eos_tokens, [1]);
    }
}

#[test]
fn a_beginning_token_is_added_where_the_file_says_so() {
    let (mut maker, _) = tiny();
    maker.value("tokenizer.ggml.add_bos_token", typed(7, vec![1]));
    let model = parse(&maker.bytes(3), "test.gguf").unwrap();
    assert_eq!(model.text.encode("ab", true).unwrap(), [0, 6]);
    assert_eq!(model.text.encode("ab", false).unwrap(), [6]);
}

#[test]
fn a_sentencepiece_vocabulary_merges_by_score() {
    let (mut maker, _) = tiny();
    let tokens = ["<unk>", "<s>", "</s>", "▁", "a", "b", "c", "ab", "bc", "▁a", "<0x0A>", "▁ab"];
    let scores = [0.0f32, 0.0, 0.0, -9.0, -9.0, -9.0, -9.0, -2.0, -1.0, -3.0, 0.0, -4.0];
    let kinds = [2i32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 6, 1];
    maker.values.retain(|(key, _)| !key.starts_with("tokenizer."));
    maker.word("tokenizer.ggml.model", "llama");
    maker.value("tokenizer.ggml.tokens", list(8, tokens.iter().map(|token| text(token)).collect()));
    maker.value("tokenizer.ggml.scores", list(6, scores.iter().map(|score| score.to_le_bytes().to_vec()).collect()));
    maker.value("tokenizer.ggml.token_type", list(5, kinds.iter().map(|kind| kind.to_le_bytes().to_vec()).collect()));
    maker.number("tokenizer.ggml.bos_token_id", 1).number("tokenizer.ggml.eos_token_id", 2);
    let codec = parse(&maker.bytes(3), "test.gguf").unwrap().text;
    // "▁abc": bc (-1) is joined before ab (-2), then ▁a (-3).
    assert_eq!(codec.encode("abc", true).unwrap(), [1, 9, 8]);
    assert_eq!(codec.encode("ab\n", false).unwrap(), [11, 10]);
    assert_eq!(codec.decode(&[1, 9, 8, 3, 4, 10]), "abc a\n");
}

#[test]
fn llama3_frequency_divisors_become_their_rule_or_are_refused() {
    // 16 pairs of a head of 32 at theta 500000, by Llama 3.1's rule with factor 8, computed here from its definition.
    let rule = |i: usize| {
        let wavelength = std::f64::consts::TAU * 500_000f64.powf(i as f64 / 16.0);
        let (long, short) = (8192.0, 2048.0);
        let divisor = match wavelength {
            w if w < short => 1.0,
            w if w > long => 8.0,
            w => {
                let s = (8192.0 / w - 1.0) / 3.0;
                1.0 / ((1.0 - s) / 8.0 + s)
            }
        };
        divisor as f32
    };
    let factors: Vec<f32> = (0..16).map(rule).collect();
    let scaling = network::llama3_scaling(&factors, 500_000.0).unwrap();
    assert_eq!((scaling["factor"].clone(), scaling["rope_type"].clone()), (json!(8.0), json!("llama3")));
    let mut other = factors;
    other[12] *= 1.1;
    assert!(network::llama3_scaling(&other, 500_000.0).unwrap_err().to_string().contains("rope_freqs"));
}

#[test]
fn what_is_wrong_is_named() {
    let with = |change: &dyn Fn(&mut Maker)| {
        let (mut maker, _) = tiny();
        change(&mut maker);
        refusal(&maker.bytes(3))
    };
    let replace = |key: &'static str, value: Vec<u8>| {
        move |maker: &mut Maker| {
            maker.values.retain(|row| row.0 != key);
            maker.value(key, value.clone());
        }
    };
    for (text, part) in [
        (with(&replace("general.architecture", typed(8, text("mamba")))), "mamba"),
        (with(&replace("tokenizer.ggml.pre", typed(8, text("tekken")))), "tekken"),
        (with(&replace("general.alignment", typed(4, 24u32.to_le_bytes().to_vec()))), "alignment"),
        (with(&replace("llama.block_count", typed(4, 2u32.to_le_bytes().to_vec()))), "model.layers.1"),
        (with(&replace("llama.block_count", typed(8, text("one")))), "llama.block_count"),
        (with(&replace("tokenizer.ggml.merges", list(8, vec![text("a x")]))), "a x"),
        (
            with(&|maker| {
                maker.word("general.license", "mit");
            }),
            "general.license",
        ),
        (
            with(&|maker| {
                maker.tensor("blk.0.attn_norm.weight", &[8], &[1.0; 8]);
            }),
            "twice",
        ),
        (
            with(&|maker| {
                maker.tensor("extra.weight", &[1], &[1.0]);
            }),
            "extra.weight",
        ),
        (
            with(&|maker| {
                maker.tensors.remove(1);
            }),
            "model.norm.weight",
        ),
        (with(&|maker| maker.tensors[1].1 = vec![4, 2]), "model.norm.weight"),
        (with(&|maker| maker.tensors[1].3[..4].copy_from_slice(&f32::NAN.to_le_bytes())), "model.norm.weight"),
        (with(&|maker| maker.tensors[1].2 = 12), "type 12"),
        (refusal(b"GGML"), "GGUF"),
        (refusal(&tiny().0.bytes(1)), "version is 1"),
        (refusal(&tiny().0.bytes(3u32.swap_bytes())), "big-endian"),
    ] {
        assert!(text.contains(part), "'{part}' not in: {text}");
    }
}

#[test]
fn overlapping_misaligned_and_overflowing_tensors_are_refused() {
    // The row of output_norm, the second tensor: name, dimensions (u32), size (u64), type (u32), offset (u64).
    let bytes = tiny().0.bytes(3);
    let name = b"output_norm.weight";
    let row = bytes.windows(name.len()).position(|window| window == name).unwrap() + name.len();
    for (at, value, part) in [
        (row + 16, 0u64, "overlap"),
        (row + 16, 388, "aligned"),
        (row + 16, 1 << 40, "cut short"),
        (row + 16, u64::MAX - 31, "cut short"),
        (row + 4, u64::MAX, "impossible size"),
        (row + 4, 0, "impossible size"),
        (row + 4, 1 << 59, "cut short"),
        (8, u64::MAX, "tensors"),
        (16, 1 << 40, "metadata"),
        (24, 1 << 40, "exceeds"),
    ] {
        let mut damaged = bytes.clone();
        damaged[at..at + 8].copy_from_slice(&value.to_le_bytes());
        let text = refusal(&damaged);
        assert!(text.contains(part), "'{part}' not in: {text}");
    }
}

#[test]
fn no_cut_and_no_changed_byte_of_the_header_panics() {
    let (maker, _) = tiny();
    let bytes = maker.bytes(3);
    let data: usize = maker.tensors.iter().map(|tensor| tensor.3.len().next_multiple_of(32)).sum();
    let header = bytes.len() - data;
    for length in 0..bytes.len() - 8 {
        assert!(parse(&bytes[..length], "cut.gguf").is_err(), "cut at {length}");
    }
    let mut refused = 0;
    for at in 0..header {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            refused += usize::from(parse(&damaged, "damaged.gguf").is_err());
        }
    }
    assert!(refused > header, "most damage is noticed: {refused} of {}", 3 * header);
}
