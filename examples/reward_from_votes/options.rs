//! What can be set on the command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Trains the default model's reward branch on the votes of Stack Exchange dumps and tells how well it orders the
/// answers of held-out questions.
///
/// Without --dumps it does the same with the built-in sample and a tiny random model, in seconds: nothing can be learned
/// there, only seen to work.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Options {
    /// Folder that holds the sites' folders, each with a Posts.xml.
    #[arg(long)]
    pub(crate) dumps: Option<PathBuf>,
    /// The sites' folders.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "beer-2020-06,matheducators-2014-05,quantumcomputing-2018-09,ai-2017-03"
    )]
    pub(crate) sites: Vec<String>,
    /// The model: a GGUF file or a Hugging Face folder.
    #[arg(long, default_value = ".models/smollm2-135m-instruct.gguf")]
    pub(crate) model: PathBuf,
    /// Layers above the frozen trunk.
    #[arg(long, default_value_t = 6)]
    pub(crate) layers: usize,
    /// Most questions, drawn by their ids.
    #[arg(long, default_value_t = usize::MAX)]
    pub(crate) questions: usize,
    /// Share of the questions that is held out.
    #[arg(long, default_value_t = 0.2)]
    pub(crate) held_out: f64,
    /// Most answers to a question; 5 make 10 pairs.
    #[arg(long, default_value_t = 5)]
    pub(crate) answers: usize,
    /// Answers are cut to this many tokens.
    #[arg(long, default_value_t = 200)]
    pub(crate) tokens: usize,
    /// Questions' bodies are cut to this many tokens.
    #[arg(long, default_value_t = 40)]
    pub(crate) body_tokens: usize,
    /// Keep only pairs that the later answer won.
    #[arg(long)]
    pub(crate) later_won: bool,
    /// Every loss and read-out of the head, with the filter off and on.
    #[arg(long)]
    pub(crate) table: bool,
    /// What is learned from.
    #[arg(long, value_enum, default_value_t = LossChoice::Dial)]
    pub(crate) loss: LossChoice,
    /// Passes over the training questions when layers learn.
    #[arg(long, default_value_t = 1)]
    pub(crate) epochs: usize,
    /// Learning rate of the layers; 0 freezes them and fits the head alone, to the end.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) learning_rate: f64,
    /// File for the frozen layers' states, computed once.
    #[arg(long)]
    pub(crate) cache: Option<PathBuf>,
    /// Only fill the cache.
    #[arg(long)]
    pub(crate) prepare: bool,
    /// Seed of the order of training.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// What is learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LossChoice {
    /// Bradley-Terry alone.
    Pairs,
    /// Bradley-Terry and one utility for all questions: log sigmoid(4 x).
    Common,
    /// Bradley-Terry and the dial, set for each question by how two-sided its votes are.
    Dial,
}
