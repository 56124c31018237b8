//! `understudy data`: preferences out of corpora and into them, and what they are like.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use understudy_checkpoints::whole::write_file;

use super::{Failure, Global, Outcome, corpora, progress_bar};
use crate::config::Config;
use crate::corpus::{self, Corpus, CorpusError};
use crate::preferences::comparisons::MOST_PAIRS;
use crate::preferences::held_out::{self, HeldOut};
use crate::preferences::jsonl::{self, ExportPlan, Format, ImportError, Origin};
use crate::preferences::summary::{Summary, summary};
use crate::preferences::{Exposure, Rule, Scoring};
use crate::sources::{Shares, Split};

/// What to do with data.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write corpora as JSON lines in the conventions of TRL
    Export(ExportFlags),
    /// Bring JSON lines in as a corpus
    Import(ImportFlags),
    /// Tell what the comparisons are like: pairs, baselines by length and age, duplicates
    Report(ReportFlags),
}

/// Which comparisons.
#[derive(Debug, Clone, Args)]
struct Pairs {
    /// Only these corpora; may be given often
    #[arg(long, value_name = "NAME")]
    corpus: Vec<String>,
    /// Which score decides a pair
    #[arg(long, value_enum, default_value_t)]
    scores: Scoring,
    /// Keep only pairs that the later answer won
    #[arg(long)]
    later_won: bool,
    /// Most pairs of a question, drawn by its id
    #[arg(long, default_value_t = MOST_PAIRS, value_name = "N")]
    pairs: usize,
    /// T of the soft label sigmoid((s_A - s_B)/T)
    #[arg(long, default_value_t = 1.0, value_name = "T")]
    temperature: f64,
}

/// Flags of `data export`.
#[derive(Debug, Args)]
#[command(
    after_help = "Every row carries author, link, licence, source and terms of all its texts under 'metadata': leave them there,
the licence asks for it. Held-out questions that training knows under another name are left out.

Examples:
  understudy data export --format preference --split train --out pairs.jsonl
  understudy data export --format rankings --corpus beer.stackexchange.com | head -1 | jq ."
)]
pub struct ExportFlags {
    /// What a row is
    #[arg(long, value_enum)]
    format: Format,
    #[command(flatten)]
    pairs: Pairs,
    /// Which questions
    #[arg(long, value_enum, default_value_t)]
    split: Part,
    /// Plain strings instead of lists of messages
    #[arg(long)]
    plain: bool,
    /// Write to this file, which appears whole or not at all, instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Flags of `data import`.
#[derive(Debug, Args)]
#[command(after_help = "A row is {prompt}, {prompt, completion[, label]}, {prompt, chosen, rejected}, {messages} or
{prompt, completions, ranking or scores}; texts are strings or lists of messages. Rows of one prompt become one thread; where
rows state no score, wins less losses stand for it. Rows that carry terms, authors and licences of their own keep them.

Example:
  understudy data import pairs.jsonl --source my-pairs --terms own --licence CC0-1.0")]
pub struct ImportFlags {
    /// The file
    file: PathBuf,
    /// Names the source: its folder, its ids
    #[arg(long, value_name = "NAME")]
    source: String,
    /// Under which terms you have the data; kept with every row
    #[arg(long, value_name = "NAME")]
    terms: String,
    /// Licence of texts that do not state one
    #[arg(long, value_name = "NAME")]
    licence: String,
    /// The terms allow training a language model (asked for where posts of Stack Exchange are of July 2024 or later)
    #[arg(long)]
    may_train: bool,
}

/// Flags of `data report`.
#[derive(Debug, Args)]
pub struct ReportFlags {
    #[command(flatten)]
    pairs: Pairs,
}

/// A part of the split by source.held_out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Part {
    /// Questions to learn from
    Train,
    /// Questions that are never learned from
    HeldOut,
    /// Questions that only a judge learns from (source.held_back)
    HeldBack,
    /// Every question
    #[default]
    All,
}

/// Runs `understudy data`.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    let config = global.load()?.config;
    crate::telemetry::start_logs(&config.log);
    match command {
        Command::Export(flags) => export(global, &config, &flags),
        Command::Import(flags) => import(global, &config, &flags),
        Command::Report(flags) => report(global, &config, &flags),
    }
}

fn failed(error: CorpusError) -> Failure {
    Failure::Failed(error.into())
}

impl Pairs {
    fn rule(&self) -> Result<Rule, Failure> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(Failure::Usage(format!("--temperature is {}; give a number above 0", self.temperature)));
        }
        let Self { scores: scoring, later_won, pairs: most_pairs, temperature, .. } = *self;
        Ok(Rule { scoring, later_won, most_pairs, temperature })
    }

    fn exposure(&self, corpora: &[Corpus], shares: Shares) -> Result<Exposure, Failure> {
        Exposure::needed(self.scores, corpora, shares, Split::Train).map_err(failed)
    }
}

fn export(global: &Global, config: &Config, flags: &ExportFlags) -> Outcome {
    let corpora = corpora::chosen(&config.data.dir, &flags.pairs.corpus)?;
    let shares = config.source.shares();
    let exposure = flags.pairs.exposure(&corpora, shares)?;
    let without: BTreeSet<String> = match flags.split {
        Part::Train | Part::HeldBack => BTreeSet::new(),
        Part::HeldOut | Part::All => clean(&corpora, shares)?.twins.into_iter().map(|twin| twin.id).collect(),
    };
    let plan = ExportPlan {
        format: flags.format,
        rule: flags.pairs.rule()?,
        exposure: &exposure,
        shares,
        part: match flags.split {
            Part::Train => Some(Split::Train),
            Part::HeldOut => Some(Split::HeldOut),
            Part::HeldBack => Some(Split::HeldBack),
            Part::All => None,
        },
        without: &without,
        plain: flags.plain,
    };
    let total = corpora.iter().map(|corpus| corpus.manifest().counts.questions).sum();
    // Rows on stdout and a bar on the same screen would mix.
    let progress = progress_bar(total, "questions", global.json || flags.out.is_none());
    let write = |out: &mut dyn Write| jsonl::export(&corpora, &plan, out, || progress.inc(1));
    let done = match &flags.out {
        None => write(&mut BufWriter::new(std::io::stdout().lock()))?,
        Some(path) => whole(path, write)?,
    };
    progress.finish_and_clear();
    let left_out = without.len();
    match (&flags.out, global.json) {
        (Some(path), true) => {
            println!(
                "{}",
                json!({"file": path, "rows": done.rows, "questions": done.questions, "duplicates": left_out})
            );
        }
        (path, _) => {
            let place = path.as_ref().map_or_else(String::new, |path| format!(" in '{}'", path.display()));
            eprintln!(
                "{} rows of {} questions{place}; {left_out} held-out questions that training knows were left out",
                done.rows, done.questions
            );
        }
    }
    Ok(())
}

/// A file that appears whole or not at all.
fn whole<T>(path: &Path, write: impl FnOnce(&mut dyn Write) -> anyhow::Result<T>) -> Result<T, Failure> {
    let done = write_file(path, |file| {
        let mut out = BufWriter::new(file);
        let done = write(&mut out)?;
        out.flush()?;
        anyhow::Ok(done)
    });
    Ok(done.with_context(|| format!("cannot write '{}'", path.display()))?)
}

fn clean(corpora: &[Corpus], shares: Shares) -> Result<HeldOut, Failure> {
    held_out::held_out(corpora, shares, usize::MAX, |_| true).map_err(failed)
}

fn import(global: &Global, config: &Config, flags: &ImportFlags) -> Outcome {
    corpus::check_name(&flags.source).map_err(Failure::Usage)?;
    let ImportFlags { file, source, terms, licence, may_train } = flags;
    let (source, terms, licence) = (source.clone(), terms.clone(), licence.clone());
    let origin = Origin { source, terms, licence, may_train: *may_train };
    let corpora = config.data.dir.join(corpus::FOLDER);
    let done = jsonl::import(file, &corpora, &origin).map_err(|error| match error {
        ImportError::Clause(_) => Failure::Usage(error.to_string()),
        error => Failure::Failed(error.into()),
    })?;
    let Origin { source, .. } = origin;
    let folder = corpora.join(&source);
    if global.json {
        let mut told = json!(done);
        told["folder"] = json!(folder);
        println!("{told}");
        return Ok(());
    }
    let counts = done.manifest.counts;
    println!(
        "{source}: {} rows; {} questions, {} answers, {} pairs of answers with different scores; in '{}'",
        done.rows,
        counts.questions,
        counts.answers,
        counts.pairs,
        folder.display()
    );
    Ok(())
}

fn report(global: &Global, config: &Config, flags: &ReportFlags) -> Outcome {
    let corpora = corpora::chosen(&config.data.dir, &flags.pairs.corpus)?;
    let shares = config.source.shares();
    let (rule, exposure) = (flags.pairs.rule()?, flags.pairs.exposure(&corpora, shares)?);
    let of = |part| summary(&corpora, shares, part, &rule, &exposure).map_err(failed);
    let mut parts: BTreeMap<&str, Summary> =
        [("train", of(Split::Train)?), ("held_out", of(Split::HeldOut)?)].into_iter().collect();
    if shares.held_back > 0.0 {
        parts.insert("held_back", of(Split::HeldBack)?);
    }
    let twins = clean(&corpora, shares)?.twins;
    if global.json {
        println!("{}", json!({"rule": rule, "parts": parts, "duplicates": twins, "exposure": exposure}));
        return Ok(());
    }
    for (name, part) in &parts {
        println!(
            "{name}: {} questions, {} with pairs; {} pairs",
            part.questions, part.questions_with_pairs, part.pairs
        );
        println!(
            "  the longer answer wins {}, the older one {}; mean label {:.3}",
            part.longer, part.older, part.mean_p
        );
        println!(
            "  left out: {} of equal scores, {} that the earlier answer won, {} over the bound of a question",
            part.equal, part.earlier_won, part.over_bound
        );
        println!(
            "  votes: entropy {:.2}, ties {:.2}, the accepted answer's share {:.2}",
            part.entropy, part.tie_rate, part.accepted_dominance
        );
    }
    println!("{} held-out questions that are known under another name are kept out of evaluation", twins.len());
    for twin in twins.iter().take(5) {
        println!("  {} is {} ({:?}, similarity {:.2})", twin.id, twin.of, twin.what, twin.similarity);
    }
    Ok(())
}
