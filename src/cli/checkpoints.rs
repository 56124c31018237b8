//! `understudy checkpoints`: what has been committed.
//!
//! Invariant: only `prune` changes anything, and only while no daemon has the data directory; the others are safe beside
//! a running one, since a committed checkpoint never changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use understudy_checkpoints::checkpoint::{self, Best, Listed, Retention, parse_age};
use understudy_checkpoints::{DirLock, StoreError};

use super::{Failure, Global, Outcome};
use crate::assembly::retention;
use crate::config::Config;
use crate::speaker::checkpoints_dir;

/// What to do with the checkpoints.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One line a checkpoint, oldest first
    List,
    /// The manifest of one: its parts and what it knows of itself
    Show {
        /// Its directory, or its step
        which: String,
    },
    /// Read every byte of one (or of all) and compare with the manifest
    Verify {
        /// Its directory or step; all when left out
        which: Option<String>,
    },
    /// Remove what no rule of retention keeps
    Prune(Prune),
    /// Copy one, as it is, to a folder that needs nothing else
    Export(Export),
}

/// Flags of `prune`.
#[derive(Debug, Args)]
#[command(
    after_help = "A checkpoint that any rule keeps stays, and the newest whole one always does. Rules that are left out are those of the \
configuration ([checkpoint]). A daemon prunes by itself after each checkpoint; while one is running this refuses (--dry-run does not).

Examples:
  understudy checkpoints prune --dry-run
  understudy checkpoints prune --keep-last 2 --keep-best last_update.score:3 --keep-for 36h"
)]
pub struct Prune {
    /// Keep the newest so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keep_last: Option<u64>,
    /// Keep those whose step is a multiple of this; 0 for no such rule
    #[arg(long, value_name = "K")]
    keep_every: Option<u64>,
    /// Keep the best by a number in the manifest's extra: METRIC, METRIC:lowest, METRIC:highest:3
    #[arg(long, value_name = "METRIC")]
    keep_best: Option<Best>,
    /// Keep those younger than this: 90s, 30m, 36h, 7d
    #[arg(long, value_name = "DURATION", value_parser = parse_age)]
    keep_for: Option<Duration>,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
}

/// Flags of `export`.
#[derive(Debug, Args)]
#[command(
    after_help = "The folder holds the checkpoint's own files: weights, optimisers' moments, counters and the manifest with its digests, \
which are verified before and after. 'understudy checkpoints verify DIR' and '--checkpoint DIR' of other commands read it, and \
put as step-N into another data directory's checkpoints/ it is gone on from. It is not a model for other programs: 'understudy \
export' writes a policy's weights as a Hugging Face folder.

Example:
  understudy checkpoints export 120 --to backup/step-120"
)]
pub struct Export {
    /// Its directory, or its step
    which: String,
    /// The folder to make; it must be absent or empty
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// Runs `understudy checkpoints …`.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    let config = global.load()?.config;
    let dir = checkpoints_dir(&config);
    let listed = if dir.exists() { checkpoint::list(&dir).map_err(failed)? } else { Vec::new() };
    match command {
        Command::List => list(global, &listed),
        Command::Show { which } => {
            let path = find(&listed, &which)?;
            let checkpoint = checkpoint::load(&path).map_err(failed)?;
            println!("{}", serde_json::to_string_pretty(&checkpoint.manifest).map_err(anyhow::Error::from)?);
            Ok(())
        }
        Command::Verify { which } => {
            let paths = match which {
                Some(which) => vec![find(&listed, &which)?],
                None => listed.iter().map(|listed| listed.path.clone()).collect(),
            };
            verify(global, &paths)
        }
        Command::Prune(flags) => prune(global, &config, &dir, flags),
        Command::Export(flags) => export(global, &find(&listed, &flags.which)?, &flags.to),
    }
}

impl Prune {
    /// The configuration's rules with these in the place of theirs.
    fn over(self, rules: Retention) -> Retention {
        Retention {
            keep_last: self.keep_last.map_or(rules.keep_last, |last| usize::try_from(last).unwrap_or(usize::MAX)),
            keep_every: self.keep_every.or(rules.keep_every).filter(|every| *every > 0),
            keep_best: self.keep_best.or(rules.keep_best),
            keep_for: self.keep_for.or(rules.keep_for),
        }
    }
}

fn prune(global: &Global, config: &Config, dir: &Path, flags: Prune) -> Outcome {
    let dry_run = flags.dry_run;
    let rules = flags.over(retention(&config.checkpoint));
    let _lock = match dry_run || !dir.exists() {
        true => None,
        false => Some(DirLock::take(&config.data.dir).map_err(|error| match error {
            StoreError::Locked { .. } => Failure::NotReady(format!(
                "{error}; a daemon prunes by itself (checkpoint.keep_last and its neighbours), and --dry-run only looks"
            )),
            error => failed(error),
        })?),
    };
    let planned = checkpoint::prunable(dir, &rules).map_err(failed)?;
    let mut rows = Vec::with_capacity(planned.len());
    for path in &planned {
        rows.push(json!({"path": path, "bytes": bytes_in(path)?}));
    }
    let removed = if dry_run { planned } else { checkpoint::prune(dir, &rules).map_err(failed)? };
    rows.retain(|row| removed.iter().any(|path| row["path"] == json!(path)));
    let listed = if dir.exists() { checkpoint::list(dir).map_err(failed)? } else { Vec::new() };
    let kept: Vec<PathBuf> =
        listed.into_iter().map(|listed| listed.path).filter(|path| !removed.contains(path)).collect();
    if global.json {
        println!("{}", json!({"dry_run": dry_run, "removed": rows, "kept": kept}));
        return Ok(());
    }
    let verb = if dry_run { "would go" } else { "removed" };
    for row in &rows {
        println!("{verb}  {}  {:.1} MB", row["path"].as_str().unwrap_or_default(), megabytes(row));
    }
    println!("{verb}: {} ({:.1} MB); kept: {}", rows.len(), rows.iter().map(megabytes).sum::<f64>(), kept.len());
    Ok(())
}

fn megabytes(row: &Value) -> f64 {
    row["bytes"].as_f64().unwrap_or(0.0) / 1e6
}

/// Bytes of the files in a checkpoint's directory, whole or not.
fn bytes_in(path: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

fn export(global: &Global, from: &Path, to: &Path) -> Outcome {
    let source = checkpoint::load(from).map_err(failed)?;
    let copy = checkpoint::export(&source, to).map_err(failed)?;
    let bytes: u64 = copy.manifest.parts.iter().map(|part| part.bytes).sum();
    match global.json {
        true => println!("{}", json!({"step": copy.step, "path": copy.path, "bytes": bytes})),
        false => println!("step {} is in '{}', {:.1} MB, verified", copy.step, copy.path.display(), bytes as f64 / 1e6),
    }
    Ok(())
}

fn failed(error: StoreError) -> Failure {
    Failure::Failed(error.into())
}

fn find(listed: &[Listed], which: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(which);
    let step = which.trim_start_matches("step-").parse::<u64>().ok();
    let by_step = listed.iter().rev().find(|listed| Some(listed.step) == step).map(|listed| listed.path.clone());
    by_step.or_else(|| path.is_dir().then_some(path)).ok_or_else(|| {
        Failure::Usage(format!("there is no checkpoint '{which}'; 'understudy checkpoints list' shows them"))
    })
}

fn list(global: &Global, listed: &[Listed]) -> Outcome {
    let rows: Vec<Value> = listed
        .iter()
        .map(|listed| match &listed.manifest {
            Ok(manifest) => {
                let bytes: u64 = manifest.parts.iter().map(|part| part.bytes).sum();
                json!({"step": listed.step, "path": listed.path, "bytes": bytes, "extra": manifest.extra})
            }
            Err(reason) => json!({"step": listed.step, "path": listed.path, "broken": reason}),
        })
        .collect();
    if global.json {
        println!("{}", Value::Array(rows));
        return Ok(());
    }
    if rows.is_empty() {
        println!("no checkpoints yet");
    }
    for row in rows {
        match row["broken"].as_str() {
            Some(reason) => println!("step {:>8}  broken: {reason}", row["step"]),
            None => println!(
                "step {:>8}  {:>8.1} MB  {}",
                row["step"],
                row["bytes"].as_f64().unwrap_or(0.0) / 1e6,
                row["extra"]
            ),
        }
    }
    Ok(())
}

fn verify(global: &Global, paths: &[PathBuf]) -> Outcome {
    let mut rows = Vec::new();
    let mut broken = 0;
    for path in paths {
        let result = checkpoint::load(path).and_then(|checkpoint| checkpoint.verify());
        broken += usize::from(result.is_err());
        let reason = result.err().map(|error| error.to_string());
        match (&reason, global.json) {
            (None, false) => println!("{}  whole", path.display()),
            (Some(reason), false) => println!("{}  BROKEN: {reason}", path.display()),
            _ => rows.push(json!({"path": path, "whole": reason.is_none(), "reason": reason})),
        }
    }
    if global.json {
        println!("{}", Value::Array(rows));
    }
    match broken {
        0 => Ok(()),
        _ => Err(Failure::Failed(anyhow::anyhow!(
            "{broken} of {} checkpoints are broken; a start passes them over",
            paths.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_with(steps: std::ops::RangeInclusive<u64>) -> (tempfile::TempDir, Global) {
        let temp = tempfile::tempdir().unwrap();
        for step in steps {
            let extra = json!({"last_update": {"score": -(step as f64)}});
            checkpoint::commit(&temp.path().join("checkpoints"), step, &[("weights", &[7; 100])], extra).unwrap();
        }
        let data_dir = Some(temp.path().to_str().unwrap().to_owned());
        (temp, Global { data_dir, json: true, ..Global::default() })
    }

    fn steps(temp: &tempfile::TempDir) -> Vec<u64> {
        checkpoint::list(&temp.path().join("checkpoints")).unwrap().iter().map(|listed| listed.step).collect()
    }

    fn flags(dry_run: bool) -> Command {
        let keep_best = Some("last_update.score".parse().unwrap());
        Command::Prune(Prune { keep_last: Some(1), keep_every: Some(3), keep_best, keep_for: None, dry_run })
    }

    #[test]
    fn prune_follows_the_rules_and_a_dry_run_only_looks() {
        let (temp, global) = data_with(1..=5);
        run(&global, flags(true)).unwrap();
        assert_eq!(steps(&temp), [1, 2, 3, 4, 5]);
        run(&global, flags(false)).unwrap();
        assert_eq!(steps(&temp), [1, 3, 5], "the best, every third, the newest");
    }

    #[test]
    fn what_a_flag_leaves_out_the_configuration_says() {
        let (temp, mut global) = data_with(1..=5);
        global.set = vec!["checkpoint.keep_last=2".to_owned(), "checkpoint.keep_best=last_update.score".to_owned()];
        let none = Prune { keep_last: None, keep_every: None, keep_best: None, keep_for: None, dry_run: false };
        run(&global, Command::Prune(none)).unwrap();
        assert_eq!(steps(&temp), [1, 4, 5]);
        let young = Prune {
            keep_last: Some(1),
            keep_every: None,
            keep_best: None,
            keep_for: Some(Duration::from_secs(3600)),
            dry_run: false,
        };
        run(&global, Command::Prune(young)).unwrap();
        assert_eq!(steps(&temp), [1, 4, 5]);
    }

    #[test]
    fn prune_refuses_while_somebody_has_the_data_directory() {
        let (temp, global) = data_with(1..=5);
        let held = DirLock::take(temp.path()).unwrap();
        let refused = run(&global, flags(false)).unwrap_err();
        assert!(matches!(refused, Failure::NotReady(_)), "{refused:?}");
        let told = refused.to_string();
        assert!(told.contains("in use by process") && told.contains("--dry-run"), "{told}");
        assert_eq!(steps(&temp).len(), 5);
        run(&global, flags(true)).unwrap();
        drop(held);
        run(&global, flags(false)).unwrap();
        assert_eq!(steps(&temp), [1, 3, 5]);
    }

    #[test]
    fn a_copy_verifies_and_is_not_made_over_anything() {
        let (temp, global) = data_with(1..=2);
        let to = temp.path().join("copy");
        let export = || Command::Export(Export { which: "2".to_owned(), to: to.clone() });
        run(&global, export()).unwrap();
        run(&global, Command::Verify { which: Some(to.to_str().unwrap().to_owned()) }).unwrap();
        let refused = run(&global, export()).unwrap_err().to_string();
        assert!(refused.contains("not empty"), "{refused}");
    }
}
