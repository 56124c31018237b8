//! A tokenizer that needs no file: one token for each byte.
//!
//! Invariant: token id = byte; begin, end and padding follow as 256, 257 and 258.

use serde_json::{Map, Value, json};

use super::codec::{SpecialTokens, TextCodec, TextFiles};

/// The special tokens in the order of their ids.
const SPECIAL: [&str; 3] = ["<|begin|>", "<|end|>", "<|pad|>"];

impl TextCodec {
    /// A codec with 256 bytes and three special tokens, without a chat template: for tiny models in tests and examples.
    pub fn bytes() -> Self {
        let vocabulary: Map<String, Value> =
            (0..=255u8).map(|byte| (printable(byte).to_string(), json!(byte))).collect();
        let added: Vec<Value> = SPECIAL
            .iter()
            .enumerate()
            .map(|(i, content)| {
                json!({ "id": 256 + i, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                        "normalized": false, "special": true })
            })
            .collect();
        let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                                 "use_regex": false });
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
            "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
            "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                       "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                       "vocab": vocabulary, "merges": [] },
        });
        let special = |i: usize| Some(SPECIAL[i].to_owned());
        Self::new(TextFiles {
            tokenizer: tokenizer.to_string(),
            special: SpecialTokens { bos: special(0), eos: special(1), unk: None, pad: special(2) },
            ..TextFiles::default()
        })
        .expect("the tokenizer above is complete")
    }
}

/// GPT-2's letter for a byte: itself where it is printable, else a letter from U+0100 on, counted up in byte order.
fn printable(byte: u8) -> char {
    let plain = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if plain(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&b| !plain(b)).count() as u32;
    char::from_u32(0x100 + before).expect("68 letters from U+0100 on exist")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_byte_and_text_comes_back() {
        let codec = TextCodec::bytes();
        let text = "a z\n\u{e4}\u{1f600}";
        let tokens = codec.encode(text, true).unwrap();
        assert_eq!(tokens, text.bytes().map(i64::from).collect::<Vec<_>>());
        assert_eq!(codec.decode(&tokens), text);
        assert_eq!(codec.vocab_size(), 259);
        assert_eq!(codec.token_id("<|end|>"), Some(257));
        assert_eq!(codec.decode(&[97, 257]), "a");
    }
}
