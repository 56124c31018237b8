//! Folders: loaded, damaged, exported and loaded again.

mod mutants;

use std::fs;
use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};

use super::*;
use crate::config::ModelConfig;
use crate::testing::{default_model, fixtures, shared_data};

fn reference(family: &str) -> PathBuf {
    fixtures().join("models/reference").join(family)
}

/// A copy of a reference folder whose weights `change` has changed.
fn changed(family: &str, change: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = reference(family);
    fs::copy(source.join("config.json"), folder.path().join("config.json")).unwrap();
    let mut tensors = tensors_from_bytes(&fs::read(source.join("model.safetensors")).unwrap()).unwrap();
    change(&mut tensors);
    store(&folder.path().join("model.safetensors"), &tensors);
    folder
}

fn store(path: &Path, tensors: &BTreeMap<String, Tensor>) {
    let bytes = tensors_to_bytes(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
    fs::write(path, bytes).unwrap();
}

fn refusal(folder: &Path) -> String {
    load_weights(folder).unwrap_err().to_string()
}

fn assert_same(a: &Weights, b: &Weights) {
    assert_eq!(a.names().collect::<Vec<_>>(), b.names().collect::<Vec<_>>());
    for (name, tensor) in a.iter() {
        assert!(tensor.equal(b.get(name).unwrap()), "{name}");
    }
}

#[test]
fn fixture_folder_of_every_family_is_loaded_exported_and_loaded_equal() {
    let mut count = 0;
    for entry in fs::read_dir(fixtures().join("models/reference")).unwrap() {
        let folder = entry.unwrap().path();
        let (config, weights) = load_weights(&folder).unwrap();
        let target = tempfile::tempdir().unwrap();
        let (card, defaults) = (ModelCard::default(), GenerationDefaults::default());
        let parts = ExportParts {
            config: &config,
            weights: &weights,
            text: None,
            defaults: &defaults,
            card: &card,
            attribution: None,
        };
        export(target.path(), parts).unwrap(); // an empty folder may be taken
        let (config_again, weights_again) = load_weights(target.path()).unwrap();
        let stripped = |config: ModelConfig| ModelConfig { raw: serde_json::Value::Null, ..config };
        assert_eq!(stripped(config_again), stripped(config));
        assert_same(&weights_again, &weights);
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn fixture_tied_files_serve_both_names_from_whichever_is_there() {
    let embedding = "model.embed_tokens.weight";
    let (_, usual) = load_weights(&reference("llama_gqa_tied")).unwrap();
    let head_only = changed("llama_gqa_tied", |tensors| {
        let matrix = tensors.remove(embedding).unwrap();
        tensors.insert("lm_head.weight".into(), matrix);
    });
    let (_, turned) = load_weights(head_only.path()).unwrap();
    assert_same(&usual, &turned);
    assert_eq!(turned.get(embedding).unwrap().data_ptr(), turned.get("lm_head.weight").unwrap().data_ptr());
    let neither = changed("llama_gqa_tied", |tensors| drop(tensors.remove(embedding)));
    assert!(refusal(neither.path()).contains(embedding));
}

#[test]
fn fixture_half_precision_shards_and_bare_names_load_to_the_same_shapes() {
    let (_, whole) = load_weights(&reference("gpt2")).unwrap();
    let folder = changed("gpt2", |_| ());
    let all = tensors_from_bytes(&fs::read(folder.path().join("model.safetensors")).unwrap()).unwrap();
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let mut shards = [BTreeMap::new(), BTreeMap::new()];
    let mut map = serde_json::Map::new();
    for (i, (name, tensor)) in all.into_iter().enumerate() {
        let name = name.strip_prefix("transformer.").unwrap().to_owned(); // as openai-community/gpt2 has them
        let kind = if i.is_multiple_of(3) { Kind::BFloat16 } else { Kind::Half };
        map.insert(name.clone(), format!("model-{}.safetensors", i % 2).into());
        shards[i % 2].insert(name, tensor.to_kind(kind));
    }
    for (i, shard) in shards.iter().enumerate() {
        store(&folder.path().join(format!("model-{i}.safetensors")), shard);
    }
    let index = |map: &serde_json::Map<_, _>| serde_json::json!({ "metadata": {}, "weight_map": map }).to_string();
    let path = folder.path().join("model.safetensors.index.json");
    fs::write(&path, index(&map)).unwrap();
    let (_, sharded) = load_weights(folder.path()).unwrap();
    for (name, tensor) in whole.iter() {
        let other = sharded.get(name).unwrap();
        assert_eq!(other.kind(), Kind::Float);
        // bf16 keeps 8 bits: a relative error of at most 2^-8.
        assert!(tensor.allclose(other, 4e-3, 1e-6, false), "{name}");
    }
    map.insert("wte.weight".into(), "../model-0.safetensors".into());
    fs::write(&path, index(&map)).unwrap();
    assert!(refusal(folder.path()).contains("../model-0.safetensors"));
    map.insert("wte.weight".into(), "model-9.safetensors".into());
    fs::write(&path, index(&map)).unwrap();
    assert!(refusal(folder.path()).contains("model-9.safetensors"));
}

#[test]
fn fixture_damage_to_tensors_is_told_by_name() {
    let name = "model.layers.1.mlp.up_proj.weight";
    let missing = changed("llama_gqa_tied", |tensors| drop(tensors.remove(name)));
    let turned = changed("llama_gqa_tied", |tensors| {
        let matrix = tensors[name].transpose(0, 1).contiguous();
        tensors.insert(name.into(), matrix);
    });
    let infinite = changed("llama_gqa_tied", |tensors| {
        let _ = tensors[name].get(0).get(5).fill_(f64::INFINITY);
    });
    let undefined = changed("llama_gqa_tied", |tensors| {
        let _ = tensors[name].get(3).get(1).fill_(f64::NAN);
    });
    let whole = changed("llama_gqa_tied", |tensors| {
        let numbers = tensors[name].to_kind(Kind::Int64);
        tensors.insert(name.into(), numbers);
    });
    for folder in [&missing, &turned, &infinite, &undefined, &whole] {
        let text = refusal(folder.path());
        assert!(text.contains(name), "{text}");
    }
    let stranger = changed("llama_gqa_tied", |tensors| {
        tensors.insert("model.layers.0.mlp.up_proj.bias".into(), Tensor::from_slice(&[1f32; 112]));
    });
    assert!(refusal(stranger.path()).contains("up_proj.bias"));
}

#[test]
fn a_name_that_stands_twice_is_refused_although_the_library_would_take_it() {
    let row = r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let header = format!("{{{row},{row}}}");
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat();
    assert!(tensors_from_bytes(&bytes).unwrap_err().to_string().contains("twice"));
}

#[test]
fn tensors_survive_the_bytes_in_their_own_kinds() {
    let tensors = [
        ("b", Tensor::from_slice(&[1f32, -2.5]).view([2, 1])),
        ("a", Tensor::from_slice(&[1u8, 2, 3])),
        ("c", Tensor::from_slice(&[7i64])),
        ("d", Tensor::from_slice(&[0.1f64]).view([1, 1, 1])),
        ("e", Tensor::from_slice::<f32>(&[])),
    ];
    let bytes = tensors_to_bytes(tensors.iter().map(|(name, tensor)| (*name, tensor))).unwrap();
    let again = tensors_from_bytes(&bytes).unwrap();
    for (name, tensor) in &tensors {
        assert_eq!(again[*name].kind(), tensor.kind());
        assert!(again[*name].equal(tensor), "{name}");
    }
    let double = [("x", &tensors[0].1), ("x", &tensors[1].1)];
    assert!(tensors_to_bytes(double).is_err());
}

#[test]
fn fixture_cut_or_changed_safetensors_never_panic() {
    let bytes = fs::read(reference("qwen2").join("model.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for length in (0..header + 64).chain((header + 64..bytes.len()).step_by(4001)) {
        assert!(tensors_from_bytes(&bytes[..length]).is_err(), "cut at {length}");
    }
    // A changed byte may be a harmless letter of a name; what matters is that each ends as Ok or Err.
    let mut refused = 0;
    for at in 0..header {
        let mut damaged = bytes.clone();
        damaged[at] ^= if at < 8 { 0xff } else { 0x11 };
        refused += usize::from(tensors_from_bytes(&damaged).is_err());
    }
    assert!(refused > header / 3, "{refused} of {header}");
}

#[test]
fn what_is_no_model_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    assert!(refusal(&folder.path().join("absent")).contains("absent"));
    assert!(refusal(folder.path()).contains("config.json"));
    fs::copy(reference("gpt2").join("config.json"), folder.path().join("config.json")).unwrap();
    assert!(refusal(folder.path()).contains("model.safetensors"));
    assert!(load(folder.path()).unwrap_err().to_string().contains("tokenizer.json"));
    let file = folder.path().join("model.bin");
    fs::write(&file, b"PK\x03\x04 not a model").unwrap();
    assert!(load(&file).unwrap_err().to_string().contains("GGUF"));
    fs::write(&file, b"").unwrap();
    assert!(load(&file).is_err());
}

#[test]
fn the_default_model_survives_export_to_a_folder() {
    tch::set_num_threads(1); // libtorch's idle threads spin, which a busy machine pays for
    let model = load(&default_model()).unwrap();
    assert_eq!(model.weights.get("model.embed_tokens.weight").unwrap().size(), [49152, 576]);
    assert_eq!((model.config.num_layers, model.config.eos_tokens.as_slice()), (30, &[2][..]));
    assert_eq!(model.weights.get("model.norm.weight").unwrap().device(), Device::Cpu);
    let parent = tempfile::tempdir().unwrap();
    let target = parent.path().join("new/smollm2");
    let card = ModelCard {
        name: "Tuned".into(),
        description: "By ratings.".into(),
        base_model: Some("HuggingFaceTB/SmolLM2-135M-Instruct".into()),
        licence: model.source.licence.clone(),
        datasets: vec!["own".into()],
    };
    let parts = ExportParts {
        config: &model.config,
        weights: &model.weights,
        text: Some(&model.text),
        defaults: &model.defaults,
        card: &card,
        attribution: Some("Jane Doe, CC BY-SA 4.0\n"),
    };
    export(&target, parts).unwrap();
    let again = load(&target).unwrap();
    assert_same(&again.weights, &model.weights);
    assert_eq!(again.config.rope, model.config.rope);
    assert_eq!(again.defaults, model.defaults);
    assert_eq!(again.text.special(), model.text.special());
    let chat = [crate::text::Message::user("Why 2 and 10?")];
    assert_eq!(again.text.encode_chat(&chat, true).unwrap(), model.text.encode_chat(&chat, true).unwrap());
    assert!(fs::read_to_string(target.join("README.md")).unwrap().contains("license: \"apache-2.0\""));
    assert!(fs::read_to_string(target.join("ATTRIBUTION.md")).unwrap().contains("Jane Doe"));
    assert!(fs::read_dir(target.parent().unwrap()).unwrap().count() == 1, "nothing temporary is left");
    assert!(export(&target, parts).unwrap_err().to_string().contains("not empty"));
}

#[test]
fn a_failed_export_leaves_nothing() {
    let (config, mut weights) = load_weights(&reference("llama_gqa_tied")).unwrap();
    weights.remove("model.norm.weight");
    let parent = tempfile::tempdir().unwrap();
    let (card, defaults) = (ModelCard::default(), GenerationDefaults::default());
    let parts = ExportParts {
        config: &config,
        weights: &weights,
        text: None,
        defaults: &defaults,
        card: &card,
        attribution: None,
    };
    let text = export(&parent.path().join("out"), parts).unwrap_err().to_string();
    assert!(text.contains("model.norm.weight"), "{text}");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn real_trained_folders_load_where_they_are_at_hand() {
    for name in ["tinystories-260k", "tinystories-656k"] {
        let Some(folder) = shared_data(&format!("models/{name}")) else { continue };
        let (config, weights) = load_weights(&folder).unwrap();
        assert!(config.tie_word_embeddings);
        let shape = [config.vocab_size as i64, config.hidden_size as i64];
        assert_eq!(weights.get("lm_head.weight").unwrap().size(), shape);
    }
}
