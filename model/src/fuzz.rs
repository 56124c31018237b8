//! One plain function for each weight format, which may come from anywhere: arbitrary bytes go in, nothing panics, memory
//! stays within a few times what came in, and what is accepted is finite and of the promised shape.
//!
//! Invariant: pure. The fuzz targets call these, and so does a seeded loop in the tests.

use std::sync::OnceLock;

use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::config::ModelConfig;
use crate::text::Message;
use crate::weights::{Weights, fuzzing, tensors_from_bytes, tensors_to_bytes};

/// The network whose weights the first of the kept safetensors files holds: one layer, width 4, four tokens.
pub(crate) fn network() -> &'static ModelConfig {
    static CONFIG: OnceLock<ModelConfig> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let json = json!({
            "model_type": "llama", "vocab_size": 4, "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": true,
        });
        ModelConfig::from_value(json).expect("the configuration above is a valid Llama")
    })
}

/// A safetensors file: as named tensors, and as the weights of a tiny Llama.
pub fn safetensors(bytes: &[u8]) {
    match tensors_from_bytes(bytes) {
        Ok(tensors) => {
            let write = |tensors: &std::collections::BTreeMap<String, Tensor>| {
                tensors_to_bytes(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)))
            };
            let once = write(&tensors).expect("what was read can be written");
            let again = tensors_from_bytes(&once).expect("what was written can be read");
            assert_eq!(write(&again).expect("it was written before"), once, "tensors are not what was read");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    match fuzzing::safetensors(bytes, network()) {
        Ok(weights) => assert_sound(&weights),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A GGUF file: network, tokenizer and template, which are used once.
pub fn gguf(bytes: &[u8]) {
    let model = match fuzzing::gguf(bytes, "fuzz.gguf") {
        Ok(model) => model,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_sound(&model.weights);
    let embedding = model.weights.get("lm_head.weight").expect("every network has a head");
    assert_eq!(embedding.size()[0], model.config.vocab_size as i64, "the head speaks the vocabulary");
    if let Ok(tokens) = model.text.encode("ab c<user>\u{e9}\n", true) {
        assert!(tokens.iter().all(|token| (0..model.config.vocab_size as i64).contains(token)), "{tokens:?}");
        let _ = model.text.decode(&tokens);
    }
    let _ = model.text.decode(&[0, 1, 7, -1, i64::MAX]);
    let _ = model.text.render_chat(&[Message::user("c")], true);
}

/// The invariant of [`Weights`] that come from a file.
fn assert_sound(weights: &Weights) {
    assert!(!weights.is_empty());
    for (name, tensor) in weights.iter() {
        assert_eq!((tensor.kind(), tensor.device()), (Kind::Float, Device::Cpu), "{name}");
        assert!(tensor.isfinite().all().int64_value(&[]) == 1, "{name} is not finite");
    }
}

#[cfg(test)]
#[path = "../../fuzz/smoke.rs"]
mod smoke;

#[cfg(test)]
mod tests {
    use super::smoke::{corpus, smoke};
    use super::*;
    use crate::rng::{Purpose, Stream};

    #[test]
    fn fuzz_smoke_safetensors() {
        let mut stream = Stream::new(1, Purpose::Shuffle, 0);
        smoke("safetensors", 5_000, |n| stream.below(n), safetensors);
    }

    #[test]
    fn fuzz_smoke_gguf() {
        let mut stream = Stream::new(1, Purpose::Shuffle, 1);
        smoke("gguf", 1_500, |n| stream.below(n), gguf);
    }

    /// The corpus would be worthless if it were refused at the first byte.
    #[test]
    fn the_first_of_every_corpus_is_valid() {
        assert!(fuzzing::safetensors(&corpus("safetensors")[0], network()).is_ok_and(|weights| weights.len() > 10));
        assert!(fuzzing::gguf(&corpus("gguf")[0], "0").is_ok_and(|model| model.weights.len() > 10));
    }
}
