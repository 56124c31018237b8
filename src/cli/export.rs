//! `understudy export`: a checkpoint as a Hugging Face folder.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use understudy_model::{ExportParts, ModelCard, export};

use super::{Failure, Global, Outcome, which};
use crate::config::{Config, SourceKind};
use crate::corpus;
use crate::speaker::Speaker;

/// Flags of `export`.
#[derive(Debug, Args)]
#[command(
    after_help = "The folder holds config.json, model.safetensors, the tokenizer, a model card and an attribution; it appears whole
or not at all.

Example:
  understudy export out/my-model && python3 -c \"import transformers as t; t.AutoModelForCausalLM.from_pretrained('out/my-model')\""
)]
pub struct Flags {
    /// The folder to make
    target: PathBuf,
    /// Whose weights: 'newest', 'base', or a checkpoint's directory
    #[arg(long, default_value = "newest", value_name = "WHICH")]
    checkpoint: String,
}

/// Runs `understudy export`.
pub(super) fn run(global: &Global, flags: Flags) -> Outcome {
    let config = global.load()?.config;
    crate::telemetry::start_logs(&config.log);
    let speaker = Speaker::load(&config, &which(&flags.checkpoint))?;
    let name = speaker.name(&config.model.path);
    let Speaker { mut loaded, branch, version, .. } = speaker;
    for (name, tensor) in branch.parameters() {
        loaded.weights.insert(name, tensor.detach().to_device(tch::Device::Cpu));
    }
    let card = ModelCard {
        name: format!("{name}, policy {version} of Understudy"),
        description: description(&config, version),
        base_model: loaded.source.name.clone(),
        licence: loaded.source.licence.clone(),
        datasets: Vec::new(),
    };
    let attribution = attribution(&config);
    let parts = ExportParts {
        config: &loaded.config,
        weights: &loaded.weights,
        text: Some(&loaded.text),
        defaults: &loaded.defaults,
        card: &card,
        attribution: attribution.as_deref(),
    };
    export(&flags.target, parts).map_err(|error| Failure::Failed(error.into()))?;
    match global.json {
        true => {
            println!("{}", json!({"folder": flags.target, "policy_version": version, "tensors": loaded.weights.len()}))
        }
        false => println!("policy {version} is in '{}'", flags.target.display()),
    }
    Ok(())
}

fn description(config: &Config, version: u64) -> String {
    let layers = config.model.trainable_layers;
    match version {
        0 => "The base model as it was read; nothing was learned.".to_owned(),
        _ => format!(
            "Learned from ratings by PPO ({version} published policies; the upper {layers} layers and the final norm were trained)."
        ),
    }
}

fn attribution(config: &Config) -> Option<String> {
    let source = &config.source;
    let from = |site: &str, terms: &str| {
        let site = if site.is_empty() { "Stack Exchange" } else { site };
        let terms = if terms.is_empty() { String::new() } else { format!(" Had under the terms: {terms}.") };
        format!(
            "Questions from {site}, written by its authors, under CC BY-SA (2.5, 3.0 or 4.0 by date; HTML was converted to \
             Markdown).{terms}\n"
        )
    };
    match source.kind {
        SourceKind::StackExchange | SourceKind::Api => Some(from(&source.site, &source.terms)),
        SourceKind::Corpus | SourceKind::Replay => {
            // Those that cannot be read any more cannot be named either.
            let all = corpus::list(&source.data.join(corpus::FOLDER)).unwrap_or_default();
            let wanted = |name: &String| source.corpora.is_empty() || source.corpora.contains(name);
            let told = all.iter().map(|corpus| corpus.manifest()).filter(|manifest| wanted(&manifest.source));
            let told = told.map(|manifest| from(manifest.site.as_deref().unwrap_or(&manifest.source), &manifest.terms));
            Some(told.collect()).filter(|told: &String| !told.is_empty())
        }
        SourceKind::None | SourceKind::Sample | SourceKind::Jsonl => None,
    }
}
