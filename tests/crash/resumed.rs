//! Whether a start went on from what is on the disk: its own words, and the digest of what its learners hold.
//!
//! Invariant: the rig computes nothing of a learner. It compares what the daemon says that it holds with the parts that
//! the manifest lists, and the updates that are counted from there on with the published versions.

use std::path::PathBuf;

use serde_json::Value;
use understudy_checkpoints::checkpoint::{Checkpoint, Manifest};

use super::child::Daemon;
use super::oracle::Oracle;

/// What a run went on from.
#[derive(Debug, Clone, Default)]
pub(super) struct From {
    /// Updates in the checkpoint.
    updates: u64,
    /// Its version.
    version: u64,
    /// The highest version that was ever published when it began.
    published: u64,
    /// Checkpoints that were there.
    pub(super) before: Vec<PathBuf>,
}

/// The daemon's own sentence.
struct Sentence(String);

impl Sentence {
    fn figure(&self, name: &str) -> u64 {
        let rest = self.0.split(&format!(" {name}: ")).nth(1).unwrap_or_default();
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
    }
}

/// The log lines in which a start says what it went on from, against what was on the disk and what is known.
pub(super) fn check(daemon: &Daemon, newest: Option<&Checkpoint>, oracle: &mut Oracle) -> From {
    let version = newest.map_or(0, |newest| newest.step);
    let lines = daemon.said("the loop is running");
    let said = Sentence(lines.first().and_then(|line| line["resumed"].as_str()).unwrap_or_default().to_owned());
    if let Some(newest) = newest {
        let marks = ["updates", "reward_version", "feedback_up_to", "feedback_clean_up_to", "next_answer"];
        for mark in marks.into_iter().chain(["policy_version"]) {
            if Some(said.figure(mark)) != newest.manifest.extra[mark].as_u64() {
                let path = newest.path.display();
                oracle.fault(format!("{mark} of {path} is not what the start went on from: {}", said.0));
            }
        }
        held(daemon, newest, oracle);
    } else if said.figure("policy_version") != 0 {
        oracle.fault(format!("there is no whole checkpoint, and the start went on from {}", said.0));
    }
    if said.figure("highest_published") < oracle.highest_version
        || said.figure("highest_answer") < oracle.highest_answer
    {
        let (version, answer) = (oracle.highest_version, oracle.highest_answer);
        oracle
            .fault(format!("version {version} and answer {answer} were seen, and the start knows of less: {}", said.0));
    }
    let count = oracle.acknowledged().count();
    if (said.figure("feedback") as usize) < count {
        oracle.fault(format!("{count} events were acknowledged, and the start knows of less: {}", said.0));
    }
    let updates = newest.map_or(0, |newest| newest.manifest.extra["updates"].as_u64().unwrap_or(u64::MAX));
    From { updates, version, published: said.figure("highest_published").max(version), before: Vec::new() }
}

/// Each learner holds the tensors of the part that the manifest lists, byte for byte.
fn held(daemon: &Daemon, newest: &Checkpoint, oracle: &mut Oracle) {
    let said = daemon.said("a learner goes on from a checkpoint");
    for part in ["ppo.safetensors", "reward.safetensors"] {
        let wanted = newest.manifest.parts.iter().find(|listed| listed.name == part).map(|part| part.sha256.as_str());
        let line = said.iter().find(|line| line["part"] == part);
        let held = line.and_then(|line| line["held"].as_str());
        let path = line.and_then(|line| line["checkpoint"].as_str());
        if wanted.is_none() || held != wanted || path != newest.path.to_str() {
            oracle.fault(format!("{part} of {} is {wanted:?}, and the start says {line:?}", newest.path.display()));
        }
    }
}

/// The checkpoints that a run wrote count their updates on from the one that it began with.
pub(super) fn count_on(from: &From, written: &[(PathBuf, Manifest)], oracle: &mut Oracle) {
    for (path, manifest) in written.iter().filter(|(path, _)| !from.before.contains(path)) {
        let figure = |name: &str| manifest.extra.get(name).and_then(Value::as_u64).unwrap_or(u64::MAX);
        let (updates, version) = (figure("updates"), figure("policy_version"));
        let new = match version == from.version {
            true => 0,
            false => version.saturating_sub(from.published),
        };
        if updates != from.updates + new {
            oracle.fault(format!("{} has {updates} updates, and the run went on from {from:?}", path.display()));
        }
    }
}
