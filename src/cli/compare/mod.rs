//! `understudy simulate --compare-utilities`: does a prompt-aware reward make a better policy?
//!
//! Invariant: all runs of a seed have the same model, people and questions; only what the reward model's utility is, and
//! what it is told of a question's type, differs. A run leaves nothing behind but its line in the report.

mod arms;
mod figures;
mod measure;
mod people;
mod picture;
mod record;
mod summary;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::json;
use toml::Value;

use super::evaluate::held_out;
use super::{Failure, Global, Outcome, progress_bar, simulate};
use crate::config::Config;
use crate::telemetry;
use arms::Arm;
use measure::Bench;
use people::Usual;
use record::Report;

/// How the comparison is made.
pub(super) struct Settings {
    /// Seeds, from 0 on.
    pub(super) seeds: u64,
    /// Policy updates of a run; 0 leaves it to `limit`.
    pub(super) updates: u64,
    /// Longest time of a run.
    pub(super) limit: Option<Duration>,
    /// Only these arms; all when empty.
    pub(super) arms: Vec<Arm>,
    /// Answers to each held-out question.
    pub(super) answers: usize,
    /// Where the report goes, after each run.
    pub(super) out: Option<PathBuf>,
    /// Where the picture goes.
    pub(super) svg: Option<PathBuf>,
}

pub(super) use arms::Arm as ArmFlag;

/// What the comparison sets unless told otherwise, on top of what `simulate` sets.
fn presets() -> Vec<(&'static str, Value)> {
    let mut presets = simulate::presets().to_vec();
    presets.extend([
        ("data.dir", Value::from("data/compare")),
        ("annotators.closed_share", Value::from(0.5)),
        ("annotators.attention", Value::from(4.0)),
        // Few questions are built in, and the figures' errors are over held-out ones.
        ("source.held_out", Value::from(0.35)),
        // The utilities' optima lie the further apart the more answers are linked.
        ("generation.samples_per_prompt", Value::from(8)),
        // Only the last one is read.
        ("checkpoint.every_updates", Value::from(1_000_000)),
        ("checkpoint.keep_last", Value::from(1)),
    ]);
    presets
}

/// Runs every arm with every seed, one after the other.
pub(super) fn run(global: &Global, settings: &Settings) -> Outcome {
    let loaded = global.load_with("simulate --compare-utilities", &presets())?;
    let mut config = loaded.config.clone();
    telemetry::start_logs(&config.log);
    check(&config, settings)?;
    let questions = held_out(&config, usize::MAX)?;
    let mut bench = Bench::open(&config, questions, settings.answers)?;
    let arms = if settings.arms.is_empty() { Arm::ALL.to_vec() } else { settings.arms.clone() };
    let plan = json!({
        "arms": arms,
        "seeds": settings.seeds,
        "updates": settings.updates,
        "seconds": settings.limit.map(|limit| limit.as_secs_f64()),
        "answers": settings.answers,
        "model": bench.model_name(&config),
        "held_out": bench.questions(),
        "config": record::without_places(&config)?,
    });
    let mut report = Report::begin(plan, settings.out.as_deref())?;
    let runs = settings.seeds * arms.len() as u64;
    let progress = progress_bar(runs, "runs", global.json);
    progress.set_position(report.runs.len() as u64);
    progress.set_message("usual answers");
    let usual = match people::is_scaled(&loaded) {
        true => Usual::configured(&config),
        false => Usual::of(&bench.answers_of_base(&config, 0)?, &config),
    };
    usual.put_into(&mut config);
    report.usual = Some(usual);
    let folder = Fresh(config.data.dir.join(format!("compare-{}", std::process::id())));
    for seed in 0..settings.seeds {
        let mut config = Config { seed, ..config.clone() };
        report.meet(people::fingerprint(&config)?)?;
        for arm in &arms {
            if report.has(seed, *arm) {
                continue;
            }
            config.data.dir = folder.0.join(format!("seed-{seed}-{}", arm.name()));
            progress.set_message(format!("seed {seed}, {}", arm.name()));
            let run = bench.run(&config, *arm, settings, &progress)?;
            remove(&config.data.dir);
            let line = run.line();
            report.add(run);
            report.write(settings.out.as_deref())?;
            progress.inc(1);
            say(&progress, &format!("{} of {runs}: {line}", report.runs.len()));
        }
    }
    progress.finish_and_clear();
    if let Some(path) = &settings.svg {
        picture::draw(&report, path)?;
    }
    match global.json {
        true => println!("{}", report.to_json()?),
        false => print!("{}", summary::text(&report)),
    }
    Ok(())
}

/// One line on stderr, above the bar where there is one.
fn say(progress: &ProgressBar, line: &str) {
    match progress.is_hidden() {
        true => eprintln!("{line}"),
        false => progress.println(line),
    }
}

fn check(config: &Config, settings: &Settings) -> Outcome {
    let types = config.annotators.population.types();
    let usage = |sentence: String| Err(Failure::Usage(sentence));
    if settings.seeds == 0 {
        return usage("--seeds is 0; give at least 1, and 5 for error bars that mean something".to_owned());
    }
    let most = config.generation.max_sequences;
    if !(2..=most).contains(&settings.answers) {
        let answers = settings.answers;
        return usage(format!("--answers is {answers}; give 2 to {most} (generation.max_sequences)"));
    }
    if !types.are_on() {
        return usage("annotators.closed_share is 0, so all questions are alike; give a share above 0".to_owned());
    }
    if config.annotators.attention <= 0.0 {
        return usage("annotators.attention is 0, so nobody rates; give at least 1".to_owned());
    }
    Ok(())
}

/// A directory that is removed at the end, however that comes.
struct Fresh(PathBuf);

impl Drop for Fresh {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(dir: &std::path::Path) {
    if let Err(error) = std::fs::remove_dir_all(dir).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }) {
        tracing::warn!(%error, dir = %dir.display(), "a run's data could not be removed");
    }
}
