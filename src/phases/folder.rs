//! What a phase gives: a folder with a model, its card and whom it owes to.
//!
//! Invariant: the folder appears whole, or takes the place of an older one in one step; a model's licence, base and
//! attribution are carried on from the folder that learning began with.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tch::Tensor;
use understudy_actors::checkpoint::{decode, encode};
use understudy_checkpoints::whole::{remove, replace_folder};
use understudy_learning::LearnerState;
use understudy_learning::reward::{RewardConfig, RewardLearner};
use understudy_model::{Branch, ExportParts, ModelCard, Trunk, digest, export};

use super::credit::{Credits, LINES};
use super::run::Learned;
use crate::corpus::Corpus;
use crate::speaker::Speaker;

/// What the folder says of itself, for this program.
pub const ABOUT: &str = "understudy.json";
const REWARD: &str = "reward.safetensors";
const REWARD_SCALARS: &str = "reward.json";

/// Where a model comes from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// "sft", "reward", "ppo" or "live"; empty where nothing was learned.
    pub phase: String,
    /// The model that learning began with, at the very beginning.
    pub base_model: Option<String>,
    /// That model's licence.
    pub licence: Option<String>,
    /// Phases that it went through, this one last.
    pub phases: Vec<String>,
    /// What it learned from, with the terms; that of earlier phases first.
    pub corpora: Vec<Source>,
    /// Digest of the frozen layers.
    pub trunk: String,
    /// Steps learned; what is in the folder is as it was after `best_step`.
    pub steps: u64,
    /// The step of the best look.
    pub best_step: u64,
    /// Held-out figures before learning.
    pub before: Map<String, Value>,
    /// Held-out figures of what is in the folder.
    pub after: Map<String, Value>,
}

/// A source that was learned from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// The terms under which the operator has it.
    pub terms: String,
    /// SHA-256 of its threads; empty where it is no corpus.
    pub sha256: String,
}

impl Source {
    /// A corpus.
    pub fn of(corpus: &Corpus) -> Self {
        let manifest = corpus.manifest();
        Self { name: manifest.source.clone(), terms: manifest.terms.clone(), sha256: manifest.sha256.clone() }
    }
}

impl About {
    /// Of what `phase` learned, beginning with the speaker's model, which was read from `model`.
    pub fn of(phase: &str, speaker: &Speaker, model: &Path, corpora: &[Corpus], learned: &Learned) -> Self {
        Self {
            steps: learned.steps,
            best_step: learned.best_step,
            before: learned.before.clone(),
            after: learned.after.clone(),
            ..Self::as_read(speaker, model).then(phase, corpora.iter().map(Source::of))
        }
    }

    /// Of the speaker's model as it was read from `model`; figures are left out.
    pub fn as_read(speaker: &Speaker, model: &Path) -> Self {
        let earlier = Self::read(model).unwrap_or_default();
        Self {
            base_model: earlier.base_model.or_else(|| Some(speaker.name(model))),
            licence: earlier.licence.or_else(|| speaker.loaded.source.licence.clone()),
            trunk: digest(&speaker.trunk.tensors()),
            before: Map::new(),
            after: Map::new(),
            ..earlier
        }
    }

    /// After another phase, which learned from `sources`.
    pub fn then(mut self, phase: &str, sources: impl IntoIterator<Item = Source>) -> Self {
        phase.clone_into(&mut self.phase);
        self.phases.push(phase.to_owned());
        for source in sources {
            if !self.corpora.contains(&source) {
                self.corpora.push(source);
            }
        }
        self
    }

    /// Of a folder; `None` where it says nothing.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(folder.join(ABOUT)).ok()?).ok()
    }

    fn card(&self, what: &str) -> ModelCard {
        let base = self.base_model.as_deref().unwrap_or("a model");
        let figures = |figures: &Map<String, Value>| {
            let told = figures.iter().filter_map(|(name, value)| Some((name, value.as_f64()?)));
            told.map(|(name, value)| format!("{} {value:.4}", name.replace('_', " "))).collect::<Vec<_>>().join(", ")
        };
        let corpora = self.corpora.iter().map(|source| format!("- {} (terms: {})\n", source.name, source.terms));
        let mut description = format!("{what}\n\n");
        if !self.phases.is_empty() {
            let (phases, steps, best) = (self.phases.join(", "), self.steps, self.best_step);
            description.push_str(&format!(
                "Phases of Understudy so far: {phases}. {steps} steps; these weights are those after step {best}.\n\n"
            ));
        }
        if !self.after.is_empty() {
            let (before, after) = (figures(&self.before), figures(&self.after));
            description.push_str(&format!("Held-out questions before: {before}.\n\nAfter: {after}.\n\n"));
        }
        if !self.corpora.is_empty() {
            description.push_str(&format!(
                "## Data\n\n{}\nWho wrote what it learned from: [ATTRIBUTION.md](ATTRIBUTION.md), post by post in \
                 [{LINES}]({LINES}). Posts under CC BY-SA ask whoever shares what is derived from them to name their authors \
                 and to share it alike.\n",
                corpora.collect::<String>(),
            ));
        }
        let name = match self.phase.as_str() {
            "" => base.to_owned(),
            phase => format!("{base}, {phase} by Understudy"),
        };
        ModelCard {
            name,
            description,
            base_model: self.base_model.clone(),
            licence: self.licence.clone(),
            datasets: self.corpora.iter().map(|source| source.name.clone()).collect(),
        }
    }
}

/// Writes the speaker's model with the learned `policy` in place of its own layers.
pub fn write_model(
    target: &Path,
    speaker: &mut Speaker,
    policy: &[(String, Tensor)],
    about: &About,
    credits: &Credits,
) -> Result<()> {
    for (name, tensor) in policy {
        speaker.loaded.weights.insert(name.clone(), tensor.detach().to_device(tch::Device::Cpu));
    }
    let work = work_folder(target)?;
    let loaded = &speaker.loaded;
    export(
        &work,
        ExportParts {
            config: &loaded.config,
            weights: &loaded.weights,
            text: Some(&loaded.text),
            defaults: &loaded.defaults,
            card: &about.card("A language model that answers questions."),
            attribution: (!credits.is_empty()).then(|| credits.markdown()).as_deref(),
        },
    )?;
    if !credits.is_empty() {
        write(&work.join(LINES), credits.lines().as_bytes())?;
    }
    write(&work.join(ABOUT), &serde_json::to_vec_pretty(about)?)?;
    put_in_place(&work, target)
}

/// Writes a reward model: a learner's state, the settings it fits, and the same papers.
pub fn write_reward(
    target: &Path,
    state: &LearnerState,
    config: &RewardConfig,
    about: &About,
    credits: &Credits,
) -> Result<()> {
    let work = work_folder(target)?;
    fs::create_dir_all(&work).with_context(|| format!("cannot make '{}'", work.display()))?;
    write(&work.join(REWARD), &encode(&state.tensors)?)?;
    let scalars = serde_json::json!({ "config": config, "scalars": state.scalars });
    write(&work.join(REWARD_SCALARS), &serde_json::to_vec_pretty(&scalars)?)?;
    let card = about
        .card("A reward model: it scores answers. `understudy ppo` and `reward.start` of `understudy serve` take it.");
    write(&work.join("README.md"), format!("# {}\n\n{}", card.name, card.description).as_bytes())?;
    write(&work.join("ATTRIBUTION.md"), credits.markdown().as_bytes())?;
    write(&work.join(LINES), credits.lines().as_bytes())?;
    write(&work.join(ABOUT), &serde_json::to_vec_pretty(about)?)?;
    put_in_place(&work, target)
}

/// A reward model's folder, read.
#[derive(Debug)]
pub struct RewardFolder {
    /// What it says of itself.
    pub about: About,
    /// The settings that the state fits.
    pub config: RewardConfig,
    /// Of a reward learner.
    pub state: LearnerState,
}

impl RewardFolder {
    /// Reads the folder, and checks that its frozen layers are those of the model in use.
    pub fn read(folder: &Path, trunk: &[(String, Tensor)]) -> Result<Self> {
        let shown = folder.display();
        let remedy = "name a folder that 'understudy reward' made";
        let about = About::read(folder).with_context(|| format!("'{shown}' has no readable {ABOUT}; {remedy}"))?;
        anyhow::ensure!(
            about.trunk == digest(trunk),
            "the reward model '{shown}' stands on other frozen layers than this model's; take the model and the \
             model.trainable_layers that it was made with, or run 'understudy reward' with these"
        );
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).with_context(|| format!("cannot read '{}'; {remedy}", path.display()))
        };
        let mut scalars: Value =
            serde_json::from_slice(&read(REWARD_SCALARS)?).with_context(|| format!("'{shown}/{REWARD_SCALARS}'"))?;
        let config =
            serde_json::from_value(scalars["config"].take()).with_context(|| format!("'{shown}': its settings"))?;
        let tensors = decode(&read(REWARD)?).with_context(|| format!("'{shown}/{REWARD}'"))?;
        Ok(Self { about, config, state: LearnerState { tensors, scalars: scalars["scalars"].take() } })
    }

    /// The reward model, above `trunk`.
    pub fn learner(self, trunk: Trunk, branch: &Branch, seed: u64) -> Result<RewardLearner> {
        let mut learner = RewardLearner::new(trunk, branch, self.config, seed)?;
        learner.restore(&self.state).context("the reward model does not fit this model")?;
        Ok(learner)
    }
}

/// A fresh name beside `target`; what an interrupted run left there is removed.
fn work_folder(target: &Path) -> Result<PathBuf> {
    let name = target.file_name().context("a model folder needs a name")?.to_string_lossy().into_owned();
    let work = target.with_file_name(format!(".{name}.new"));
    remove(&work).with_context(|| format!("cannot remove '{}'", work.display()))?;
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make '{}'", parent.display()))?;
    }
    Ok(work)
}

fn put_in_place(work: &Path, target: &Path) -> Result<()> {
    let failed = || format!("cannot put '{}' in place", target.display());
    replace_folder(work, target).with_context(failed)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.with_context(|| format!("cannot write '{}'", path.display()))
}
