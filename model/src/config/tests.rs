//! Configurations as they are found in the wild.

use serde_json::{Value, json};

use super::*;

fn llama(change: Value) -> Value {
    let mut base = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 96, "hidden_size": 48,
        "intermediate_size": 112, "num_hidden_layers": 3, "num_attention_heads": 6,
    });
    for (key, value) in change.as_object().unwrap() {
        base[key] = value.clone();
    }
    base
}

fn read(change: Value) -> Result<ModelConfig, ModelError> {
    ModelConfig::from_json(&llama(change).to_string())
}

fn refusal(change: Value) -> String {
    read(change).unwrap_err().to_string()
}

#[test]
fn fixture_config_of_every_reference_family_is_read_and_survives_its_own_export() {
    let folder = crate::testing::fixtures().join("models/reference");
    let mut families = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path().join("config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let config = ModelConfig::from_json(&text).unwrap();
        let raw: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(raw["model_type"], config.family.model_type());
        assert_eq!(raw["vocab_size"], config.vocab_size);
        let again = ModelConfig::from_value(config.to_json()).unwrap();
        assert_eq!(ModelConfig { raw: Value::Null, ..again }, ModelConfig { raw: Value::Null, ..config.clone() });
        families.push(config.family.model_type());
    }
    families.sort_unstable();
    families.dedup();
    assert!(!families.is_empty(), "no reference folder in {}", folder.display());
}

#[test]
fn both_forms_of_rope_say_the_same() {
    let scaling = json!({ "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32 });
    let old = read(json!({ "rope_theta": 500000.0, "rope_scaling": scaling })).unwrap();
    let mut parameters = scaling.clone();
    parameters["rope_theta"] = json!(500000.0);
    let new = read(json!({ "rope_parameters": parameters })).unwrap();
    assert_eq!(old.rope, new.rope);
    assert_eq!(old.rope.unwrap().theta, 500000.0);
}

#[test]
fn the_older_word_type_and_null_scaling_are_understood() {
    let linear = read(json!({ "rope_scaling": { "type": "linear", "factor": 2.0 } })).unwrap();
    assert_eq!(linear.rope.unwrap().scaling, RopeScaling::Linear { factor: 2.0 });
    let none = read(json!({ "rope_scaling": null, "rope_theta": 10000.0 })).unwrap();
    assert_eq!(none.rope.unwrap(), Rope { theta: 10000.0, scaling: RopeScaling::None });
}

#[test]
fn scaling_that_the_network_lacks_is_refused_by_name() {
    let text = refusal(json!({ "rope_scaling": { "rope_type": "yarn", "factor": 4.0 } }));
    assert!(text.contains("rope_scaling.rope_type") && text.contains("yarn"), "{text}");
}

#[test]
fn end_tokens_may_be_one_a_list_or_none() {
    assert_eq!(read(json!({ "eos_token_id": 2 })).unwrap().eos_tokens, [2]);
    assert_eq!(read(json!({ "eos_token_id": [2, 7] })).unwrap().eos_tokens, [2, 7]);
    assert!(read(json!({ "eos_token_id": null })).unwrap().eos_tokens.is_empty());
    assert!(refusal(json!({ "eos_token_id": 96 })).contains("96"));
}

#[test]
fn unknown_architecture_is_named_with_the_supported_ones() {
    let text = refusal(json!({ "architectures": ["MambaForCausalLM"], "model_type": "mamba" }));
    assert!(text.contains("MambaForCausalLM") && text.contains("Qwen3ForCausalLM"), "{text}");
    let text = refusal(json!({ "architectures": ["LlamaForSequenceClassification"] }));
    assert!(text.contains("LlamaForSequenceClassification"), "{text}");
    let text = refusal(json!({ "architectures": null, "model_type": "mixtral" }));
    assert!(text.contains("mixtral"), "{text}");
}

#[test]
fn absent_impossible_and_mistyped_values_name_their_key() {
    for (change, key) in [
        (json!({ "hidden_size": null }), "hidden_size"),
        (json!({ "hidden_size": 0 }), "hidden_size"),
        (json!({ "hidden_size": "48" }), "hidden_size"),
        (json!({ "vocab_size": 1u64 << 60 }), "vocab_size"),
        (json!({ "num_key_value_heads": 4 }), "num_key_value_heads"),
        (json!({ "head_dim": 7 }), "head_dim"),
        (json!({ "rms_norm_eps": 0.0 }), "norm epsilon"),
        (json!({ "hidden_act": "mish" }), "hidden_act"),
        (json!({ "quantization_config": { "bits": 4 } }), "quantization_config"),
    ] {
        let text = refusal(change);
        assert!(text.contains(key), "{text}");
    }
    assert!(ModelConfig::from_json("[]").is_err());
    assert!(ModelConfig::from_json("{").is_err());
}

#[test]
fn a_window_counts_only_where_every_layer_has_it() {
    let qwen = |change: Value| {
        let mut base = llama(json!({ "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2",
            "num_key_value_heads": 2, "sliding_window": 16 }));
        for (key, value) in change.as_object().unwrap() {
            base[key] = value.clone();
        }
        ModelConfig::from_value(base).map(|config| config.sliding_window)
    };
    assert_eq!(qwen(json!({})).unwrap(), None);
    assert_eq!(qwen(json!({ "use_sliding_window": true })).unwrap(), None); // from layer 28 on, of 3
    assert_eq!(qwen(json!({ "use_sliding_window": true, "max_window_layers": 0 })).unwrap(), Some(16));
    assert!(qwen(json!({ "use_sliding_window": true, "max_window_layers": 1 })).is_err());
}
