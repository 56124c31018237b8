//! The tokenizer inside a GGUF file, written as a tokenizer.json.
//!
//! Invariant: a kind of pre-tokenisation that is not known is refused: a near miss would tokenise almost rightly.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::header::Header;
use crate::error::ModelError;
use crate::text::{SpecialTokens, TextFiles};

/// Kinds of token, as `tokenizer.ggml.token_type` numbers them.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// Longest token, in bytes, whose ways to be put together are looked for; published vocabularies stay below 100.
const MAX_PIECE: usize = 256;
/// Most ways to put a token together, on average; published vocabularies have about 2. Each costs memory.
const MAX_MERGES: usize = 16;

/// Llama 3's splitting, with its digits in groups of up to three.
const LLAMA3_SPLIT: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
/// Qwen 2's splitting: the same, with digits one by one.
const QWEN2_SPLIT: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/// What a [`crate::text::TextCodec`] is made from.
pub(super) fn text_files(header: &Header) -> Result<TextFiles, ModelError> {
    let vocabulary = Vocabulary::read(header)?;
    let model = header.text("tokenizer.ggml.model")?.ok_or_else(|| header.absent("tokenizer.ggml.model"))?;
    let mut json = match model {
        "gpt2" => byte_level(header, &vocabulary)?,
        "llama" => sentence_piece(header, &vocabulary)?,
        other => {
            let reason = format!("tokenizer.ggml.model is '{other}'; supported are gpt2 and llama");
            return Err(ModelError::malformed(header.file(), reason));
        }
    };
    let special = vocabulary.special(header)?;
    // sentencepiece models begin every text with the bos token unless told otherwise, byte-level ones do not, except for
    // Llama 3.
    let llama3 = json["model"]["ignore_merges"] == json!(true);
    let begins = header.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(model == "llama" || llama3);
    if let Some(bos) = special.bos.as_deref().filter(|_| begins) {
        json["post_processor"] = begin_with(bos, vocabulary.ids[bos]);
    }
    json["version"] = json!("1.0");
    json["truncation"] = Value::Null;
    json["padding"] = Value::Null;
    json["added_tokens"] = vocabulary.added();
    let chat_template = header.text("tokenizer.chat_template")?.map(str::to_owned);
    Ok(TextFiles { tokenizer: json.to_string(), tokenizer_config: None, chat_template, special })
}

struct Vocabulary<'a> {
    tokens: Vec<&'a str>,
    kinds: Vec<i64>,
    ids: BTreeMap<&'a str, usize>,
}

impl<'a> Vocabulary<'a> {
    fn read(header: &'a Header) -> Result<Self, ModelError> {
        let key = "tokenizer.ggml.tokens";
        let tokens = header.texts(key)?.ok_or_else(|| header.absent(key))?;
        let kinds = match header.numbers("tokenizer.ggml.token_type")? {
            Some(kinds) => kinds.into_iter().map(|kind| kind as i64).collect(),
            None => vec![1; tokens.len()],
        };
        let malformed = |reason: String| ModelError::malformed(header.file(), reason);
        if kinds.len() != tokens.len() {
            return Err(malformed(format!("it has {} tokens but {} token types", tokens.len(), kinds.len())));
        }
        let rows = header.tensor("token_embd.weight").map_or(0, |tensor| tensor.shape[0]);
        if tokens.len() as i64 > rows {
            return Err(malformed(format!("it has {} tokens but only {rows} embeddings", tokens.len())));
        }
        let mut ids = BTreeMap::new();
        for (id, token) in tokens.iter().enumerate() {
            if let Some(first) = ids.insert(*token, id) {
                return Err(malformed(format!("the tokens {first} and {id} are both '{token}'")));
            }
        }
        Ok(Self { tokens, kinds, ids })
    }

    fn named(&self, header: &Header, key: &str) -> Result<Option<String>, ModelError> {
        let Some(id) = header.integer(key)? else { return Ok(None) };
        let token = usize::try_from(id).ok().and_then(|id| self.tokens.get(id));
        let token = token.ok_or_else(|| {
            let reason = format!("{key} is {id}, but there are {} tokens", self.tokens.len());
            ModelError::malformed(header.file(), reason)
        })?;
        Ok(Some((*token).to_owned()))
    }

    fn special(&self, header: &Header) -> Result<SpecialTokens, ModelError> {
        Ok(SpecialTokens {
            bos: self.named(header, "tokenizer.ggml.bos_token_id")?,
            eos: self.named(header, "tokenizer.ggml.eos_token_id")?,
            unk: self.named(header, "tokenizer.ggml.unknown_token_id")?,
            pad: self.named(header, "tokenizer.ggml.padding_token_id")?,
        })
    }

    /// Control and user-defined tokens, which are found in a text before it is split.
    fn added(&self) -> Value {
        let rows = self.tokens.iter().zip(&self.kinds).enumerate();
        let chosen = rows.filter(|(_, (_, kind))| [UNKNOWN, CONTROL, USER_DEFINED].contains(*kind));
        let list = chosen.map(|(id, (token, kind))| {
            json!({ "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": *kind != USER_DEFINED })
        });
        Value::Array(list.collect())
    }

    fn ids_json(&self) -> Map<String, Value> {
        self.tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), json!(id))).collect()
    }
}

/// BPE over bytes written as letters (GPT-2 and its heirs).
fn byte_level(header: &Header, vocabulary: &Vocabulary) -> Result<Value, ModelError> {
    let key = "tokenizer.ggml.merges";
    let merges = header.texts(key)?.ok_or_else(|| header.absent(key))?;
    let mut pairs = Vec::with_capacity(merges.len());
    for merge in merges {
        let pair = merge.split_once(' ').filter(|(left, right)| {
            let known = |token: &str| vocabulary.ids.contains_key(token);
            known(left) && known(right) && known(&[*left, *right].concat())
        });
        let (left, right) = pair.ok_or_else(|| {
            ModelError::malformed(header.file(), format!("the merge '{merge}' is not of two tokens into a third"))
        })?;
        pairs.push(json!([left, right]));
    }
    let bytes = |use_regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex });
    let split = |pattern: &str| {
        let split =
            json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false });
        json!({ "type": "Sequence", "pretokenizers": [split, bytes(false)] })
    };
    let kind = header.text("tokenizer.ggml.pre")?.unwrap_or("default");
    let (pre_tokenizer, normalizer, ignore_merges) = match kind {
        "smollm" => {
            let digits = json!({ "type": "Digits", "individual_digits": true });
            (json!({ "type": "Sequence", "pretokenizers": [digits, bytes(true)] }), Value::Null, false)
        }
        "default" | "gpt-2" | "gpt2" => (bytes(true), Value::Null, false),
        "llama-bpe" | "llama3" | "llama-v3" => (split(LLAMA3_SPLIT), Value::Null, true),
        "qwen2" => (split(QWEN2_SPLIT), json!({ "type": "NFC" }), false),
        other => {
            let reason =
                format!("tokenizer.ggml.pre is '{other}'; supported are smollm, default, gpt-2, llama-bpe, qwen2");
            return Err(ModelError::malformed(header.file(), reason));
        }
    };
    let model = json!({ "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": ignore_merges,
        "vocab": vocabulary.ids_json(), "merges": pairs });
    Ok(json!({ "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": bytes(true),
        "decoder": bytes(true), "model": model }))
}

/// sentencepiece BPE with scores. It joins the pair whose result has the best score: so every way to make a token from two
/// others is a merge, in the order of the scores of the results.
fn sentence_piece(header: &Header, vocabulary: &Vocabulary) -> Result<Value, ModelError> {
    let key = "tokenizer.ggml.scores";
    let scores = header.numbers(key)?.ok_or_else(|| header.absent(key))?;
    if scores.len() != vocabulary.tokens.len() {
        let reason = format!("it has {} tokens but {} scores", vocabulary.tokens.len(), scores.len());
        return Err(ModelError::malformed(header.file(), reason));
    }
    let malformed = |reason: String| ModelError::malformed(header.file(), reason);
    let mut merges = Vec::new();
    for (id, token) in vocabulary.tokens.iter().enumerate().filter(|(id, _)| vocabulary.kinds[*id] == 1) {
        if token.len() > MAX_PIECE {
            return Err(malformed(format!("token {id} has {} bytes; {MAX_PIECE} is the most", token.len())));
        }
        for (cut, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(cut);
            if let (Some(a), Some(b)) = (vocabulary.ids.get(left), vocabulary.ids.get(right)) {
                merges.push((id, *a, *b));
            }
        }
        if merges.len() > MAX_MERGES * vocabulary.tokens.len() {
            let reason = format!("its {} tokens can be put together in too many ways", vocabulary.tokens.len());
            return Err(malformed(reason));
        }
    }
    let score = |id: usize| scores[id];
    merges.sort_by(|x, y| {
        let by = |x: usize, y: usize| score(y).total_cmp(&score(x));
        by(x.0, y.0).then(by(x.1, y.1)).then(by(x.2, y.2))
    });
    let pairs: Vec<Value> =
        merges.iter().map(|(_, left, right)| json!([vocabulary.tokens[*left], vocabulary.tokens[*right]])).collect();
    let unknown = vocabulary.kinds.iter().position(|kind| *kind == UNKNOWN).map(|id| vocabulary.tokens[id]);
    let prefix = header.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
    let normalizer = if prefix {
        json!({ "type": "Sequence", "normalizers": [{ "type": "Prepend", "prepend": "▁" }, replace] })
    } else {
        replace
    };
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if prefix {
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    let model = json!({ "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
        "vocab": vocabulary.ids_json(), "merges": pairs });
    Ok(json!({ "normalizer": normalizer, "pre_tokenizer": null, "post_processor": null,
        "decoder": { "type": "Sequence", "decoders": decoders }, "model": model }))
}

/// A post-processor that puts `token` before every text.
fn begin_with(token: &str, id: usize) -> Value {
    let bos = |kind: u8| json!({ "SpecialToken": { "id": token, "type_id": kind } });
    let text = |name: &str, kind: u8| json!({ "Sequence": { "id": name, "type_id": kind } });
    json!({ "type": "TemplateProcessing", "single": [bos(0), text("A", 0)],
        "pair": [bos(0), text("A", 0), bos(1), text("B", 1)],
        "special_tokens": { token: { "id": token, "ids": [id], "tokens": [token] } } })
}
