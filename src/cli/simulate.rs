//! `understudy simulate`: the loop without HTTP, as fast as it goes, with its curve as JSON lines.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use futures_util::StreamExt;
use serde_json::{Value as Json, json};
use tokio::time::Instant;
use toml::Value;
use understudy_actors::daemon::DaemonHandle;
use understudy_actors::lockstep::Lockstep;
use understudy_actors::messages::LoopEvent;

use super::compare::{self, ArmFlag};
use super::live::{self, Plan, Running};
use super::{Failure, Global, Outcome, progress_bar};
use crate::evaluation::Estimate;
use crate::telemetry;

/// Noon of a Monday: the simulated people begin rested.
pub(super) const MONDAY_NOON_MS: i64 = 1_767_614_400_000;

/// Flags of `simulate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Writes one JSON line a policy update: time, versions, reward, KL, entropy, gold reward of the answers since the last
one, the reward model's agreement. Started again on the same data directory, it goes on.

With --compare-utilities it asks whether a prompt-aware reward makes a better policy. The whole loop is run for each seed and
each arm: \"common\" (one utility for all questions), \"prompt_aware\" (the utility turns with how open-ended a question is, as
estimated from ratings and the gate) and \"declared\" (the same, told by the questions' true types). Of the questions,
annotators.closed_share have right and wrong answers and nothing between; people rate them so. At the end: quality of the
policy's answers to held-out questions by type, and how well the reward model chooses among them. The people's scale
(annotators.gold_mean, gold_spread) is measured on the base model's answers unless it is set.

Examples:
  understudy simulate --updates 50 --out curve.jsonl
  understudy simulate --lockstep --updates 50 --data-dir data/exact
  understudy simulate --compare-utilities --seeds 5 --updates 40 --out compare.json --svg compare.svg
  understudy simulate --minutes 30 --out curve.jsonl --set source.kind=stack_exchange --set source.path=Posts.xml --set source.terms=cc-by-sa-4.0"
)]
pub struct Flags {
    /// End (each run) after so many policy updates
    #[arg(long, default_value_t = 0)]
    updates: u64,
    /// End (each run) after so many minutes
    #[arg(long, default_value_t = 0.0)]
    minutes: f64,
    /// One step after the other, so that the run is the same bit for bit however often it is killed and started again;
    /// --updates then counts from the beginning. A failed actor ends it, and the same command goes on
    #[arg(long, conflicts_with_all = ["compare_utilities", "minutes"])]
    lockstep: bool,
    /// Where the curve goes; standard output when left out. With --compare-utilities: where the report goes, as JSON;
    /// it is written after each run, and started again with the same settings the comparison goes on from it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Compare what policies come of a common and of a prompt-aware utility
    #[arg(long)]
    compare_utilities: bool,
    /// Seeds of the comparison, from 0 on
    #[arg(long, default_value_t = 5, requires = "compare_utilities")]
    seeds: u64,
    /// Only these arms of the comparison
    #[arg(long, value_enum, value_delimiter = ',', requires = "compare_utilities")]
    arms: Vec<ArmFlag>,
    /// Answers to each held-out question of the comparison
    #[arg(long, default_value_t = 8, requires = "compare_utilities")]
    answers: usize,
    /// Where the comparison's picture goes
    #[arg(long, value_name = "FILE", requires = "compare_utilities")]
    svg: Option<PathBuf>,
}

pub(super) fn presets() -> [(&'static str, Value); 7] {
    [
        ("data.dir", Value::from("data/simulate")),
        ("source.kind", Value::from("sample")),
        // A small model keeps to the point with a short question and a plain wish.
        ("source.bodies", Value::from(false)),
        ("generation.system", Value::from("Answer in one sentence.")),
        ("annotators.attention", Value::from(3.0)),
        ("annotators.speed", Value::from(100.0)),
        ("log.filter", Value::from("warn")),
    ]
}

/// Runs `understudy simulate`.
pub(super) fn run(global: &Global, flags: Flags) -> Outcome {
    let minutes = flags.minutes;
    if flags.updates == 0 && !(minutes.is_finite() && minutes > 0.0) {
        return Err(Failure::Usage("say how long: --updates N or --minutes M".to_owned()));
    }
    let limit = (minutes > 0.0).then(|| Duration::from_secs_f64(minutes * 60.0));
    if flags.compare_utilities {
        let Flags { seeds, updates, arms, answers, out, svg, .. } = flags;
        return compare::run(global, &compare::Settings { seeds, updates, limit, arms, answers, out, svg });
    }
    let config = global.load_with("simulate", &presets())?.config;
    telemetry::start_logs(&config.log);
    let metrics = Some(telemetry::start_metrics()?);
    let out = output(flags.out.as_deref())?;
    let updates = flags.updates;
    let lockstep = flags.lockstep.then_some(Lockstep { until_version: Some(updates) });
    live::run(Plan {
        config,
        http: false,
        people_now_ms: MONDAY_NOON_MS,
        lockstep,
        reload: None,
        metrics,
        watch: move |running: Running| async move {
            // In lockstep the updates of earlier starts count, and the last of them may have been of one.
            let before = lockstep.map(|_| running.handle.policy_version());
            let written = write_curve(running.handle, out, updates, before, limit).await;
            written.map_or_else(|error| format!("the curve could not be written: {error}"), |()| "done".to_owned())
        },
    })
}

fn output(path: Option<&Path>) -> anyhow::Result<Box<dyn Write>> {
    let Some(path) = path else { return Ok(Box::new(std::io::stdout())) };
    let file = File::options().create(true).append(true).open(path);
    let file = file.with_context(|| format!("cannot write the curve to '{}'; name another --out", path.display()))?;
    Ok(Box::new(BufWriter::new(file)))
}

async fn write_curve(
    handle: DaemonHandle,
    mut out: Box<dyn Write>,
    updates: u64,
    before: Option<u64>,
    limit: Option<Duration>,
) -> std::io::Result<()> {
    let mut events = handle.events();
    let begun = Instant::now();
    let end = limit.map(|limit| begun + limit);
    let progress = progress_bar(if updates > 0 { updates } else { u64::MAX }, "updates", updates == 0);
    let mut done = before.unwrap_or(0);
    progress.inc(done);
    let (mut gold, mut ratings, mut answers) = (Vec::new(), 0u64, 0u64);
    while updates == 0 || done < updates {
        let event = match end {
            Some(end) => match tokio::time::timeout_at(end, events.next()).await {
                Ok(event) => event,
                Err(_) => break,
            },
            None => events.next().await,
        };
        match event {
            None => break,
            Some(LoopEvent::Gold { gold: value, .. }) => gold.push(value),
            Some(LoopEvent::Rated { .. }) => ratings += 1,
            Some(LoopEvent::Answered { .. }) => answers += 1,
            Some(LoopEvent::PolicyUpdate { version, report, seconds, .. }) => {
                // A version is more than an update where a policy was put back.
                done = if before.is_some() { version } else { done + 1 };
                let status = handle.status();
                let line = json!({
                    "t_s": begun.elapsed().as_secs_f64(),
                    "update": done,
                    "policy_version": version,
                    "reward_version": status.reward.version,
                    "reward_accuracy": status.reward.accuracy,
                    "reward_log_loss": status.reward.log_loss,
                    "gold": (!gold.is_empty()).then(|| Estimate::of(&gold)),
                    "gold_answers": gold.len(),
                    "answers": answers,
                    "ratings": ratings,
                    "update_s": seconds,
                    "ppo": serde_json::to_value(&report).unwrap_or(Json::Null),
                });
                writeln!(out, "{line}")?;
                out.flush()?;
                gold.clear();
                progress.set_message(format!("policy {version}"));
                progress.set_position(done);
            }
            Some(_) => {}
        }
    }
    progress.finish_and_clear();
    out.flush()
}
