//! `understudy checkpoints`: what has been committed. Reads only; safe beside a running daemon.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};
use understudy_checkpoints::checkpoint::{self, Listed};

use super::{Failure, Global, Outcome};
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
    }
}

fn failed(error: understudy_checkpoints::StoreError) -> Failure {
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
