//! `understudy export`: a checkpoint as a Hugging Face folder.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use understudy_model::check_vacant;

use super::{Failure, Global, Outcome, corpora, which};
use crate::config::{self, Config, SourceKind};
use crate::phases::credit::Credits;
use crate::phases::folder::{About, Source, write_model};
use crate::sources::{self, SourceError, Split, split};
use crate::speaker::Speaker;

/// Flags of `export`.
#[derive(Debug, Args)]
#[command(
    after_help = "The folder holds config.json, model.safetensors, the tokenizer, a model card and the authors, links and licences of what
was learned from (the model's own, the reward model's, and the questions of the configured source); it appears whole or not at all.

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
    let target = flags.target;
    check_vacant(&target).map_err(|error| Failure::Failed(error.into()))?;
    let mut speaker = Speaker::load(&config, &which(&flags.checkpoint))?;
    let (about, credits) = papers(&config, &speaker)?;
    let (policy, version) = (speaker.branch.parameters(), speaker.version);
    write_model(&target, &mut speaker, &policy, &about, &credits)?;
    match global.json {
        true => println!(
            "{}",
            json!({"folder": target, "policy_version": version, "tensors": speaker.loaded.weights.len(), "credits": credits.len()})
        ),
        false => println!("policy {version} is in '{}', with the credits of {} posts", target.display(), credits.len()),
    }
    Ok(())
}

/// What the model that speaks comes from, and whom it owes to: all that the model it began as names, and, where it has learned
/// since, what the reward model began with and every training question that the source may have asked.
fn papers(config: &Config, speaker: &Speaker) -> Result<(About, Credits), Failure> {
    let mut credits = Credits::of_model(&config.model.path)?;
    let about = About::as_read(speaker, &config.model.path);
    if speaker.version == 0 {
        return Ok((about, credits));
    }
    let (source, start) = (&config.source, &config.reward.start);
    let mut began_with = Vec::new();
    if !start.as_os_str().is_empty() {
        credits.extend(Credits::of_model(start)?);
        began_with = About::read(start).unwrap_or_default().corpora;
    }
    // Built-in questions are the program's own.
    let failed = |error: SourceError| Failure::Failed(error.into());
    let asked = if source.kind == SourceKind::Sample { None } else { sources::open(source).map_err(failed)? };
    for question in asked.into_iter().flatten() {
        let question = question.map_err(failed)?;
        if split::of(&question.id, source.shares()) == Split::Train {
            credits.ask(&question);
        }
    }
    let learned_from = began_with.into_iter().chain(named(source)?);
    let version = speaker.version;
    Ok((About { steps: version, best_step: version, ..about.then("live", learned_from) }, credits))
}

/// The configured source, as a card names it.
fn named(source: &config::Source) -> Result<Vec<Source>, Failure> {
    let one = |name: String| vec![Source { name, terms: source.terms.clone(), sha256: String::new() }];
    Ok(match source.kind {
        SourceKind::None | SourceKind::Sample => Vec::new(),
        SourceKind::Api => one(source.site.clone()),
        SourceKind::Jsonl | SourceKind::StackExchange => one(source.path.display().to_string()),
        SourceKind::Corpus | SourceKind::Replay => {
            corpora::chosen(&source.data, &source.corpora)?.iter().map(Source::of).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use understudy_model::testing::tiny_model;
    use understudy_model::{GenerationDefaults, LoadedModel};

    use super::*;
    use crate::config::Layers;
    use crate::phases::credit::LINES;
    use crate::phases::folder::ABOUT;

    #[test]
    fn a_policy_owes_to_its_model_its_reward_model_and_the_questions_that_it_was_asked() {
        let folder = tempfile::tempdir().unwrap();
        let made = |name: &str, post: u64| {
            let model = folder.path().join(name);
            std::fs::create_dir(&model).unwrap();
            let line =
                json!({"source": "s", "post": post, "what": "answer", "title": "t", "licence": "L", "terms": "own"});
            std::fs::write(model.join(LINES), format!("{line}\n")).unwrap();
            let corpora = vec![Source { name: name.to_owned(), terms: "own".to_owned(), sha256: String::new() }];
            let phases = vec![name.to_owned()];
            let (base_model, licence) = (Some("small".to_owned()), Some("apache-2.0".to_owned()));
            let about = About { base_model, licence, phases, corpora, ..About::default() };
            std::fs::write(model.join(ABOUT), serde_json::to_vec(&about).unwrap()).unwrap();
            model
        };
        let mut config = Layers::built_in().finish().unwrap().config;
        (config.model.path, config.model.trainable_layers) = (made("sft", 1), 1);
        (config.reward.start, config.source.kind) = (made("reward", 2), SourceKind::Jsonl);
        config.source.path = folder.path().join("q.jsonl");
        let line = |id: u64| {
            let author = json!({"name": "Ana", "url": "https://s/users/1"});
            json!({"id": id.to_string(), "title": "Why?", "author": author, "licence": "CC0-1.0", "terms": "mine"})
        };
        std::fs::write(&config.source.path, (10..40).map(|id| format!("{}\n", line(id))).collect::<String>()).unwrap();
        let tiny = tiny_model(3);
        let (defaults, source) = (GenerationDefaults::default(), Default::default());
        let loaded = LoadedModel { config: tiny.config, weights: tiny.weights, text: tiny.text, defaults, source };
        let mut speaker = Speaker::of(loaded, &config, &crate::speaker::Which::Base).unwrap();
        let (about, credits) = papers(&config, &speaker).unwrap();
        assert_eq!((about.phases.join(" "), credits.len()), ("sft".to_owned(), 1), "nothing was learned");
        speaker.version = 5;
        let (about, credits) = papers(&config, &speaker).unwrap();
        assert_eq!((about.base_model.as_deref(), about.licence.as_deref()), (Some("small"), Some("apache-2.0")));
        assert_eq!((about.phases.join(" "), about.steps), ("sft live".to_owned(), 5));
        let names: Vec<&str> = about.corpora.iter().map(|source| source.name.as_str()).collect();
        assert!(names[..2] == ["sft", "reward"] && names[2].ends_with("q.jsonl"), "{names:?}");
        let lines = credits.lines();
        // 0.15 of thirty questions are held out: they are nobody's to thank for.
        assert!((2 + 20..2 + 30).contains(&credits.len()), "{lines}");
        assert!(lines.contains("\"post\":1,") && lines.contains("\"post\":2,") && lines.contains("https://s/users/1"));
        assert!(lines.contains("CC0-1.0") && lines.contains("mine"));
    }
}
