//! TensorBoard's files of a real run.

use std::path::{Path, PathBuf};

use crate::program::{Daemon, tiny};

/// The records of all event files of a run, in the order of their names; each checksum is looked at.
fn records(run: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(run).expect("a folder").map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    let masked = |data: &[u8]| crc32c::crc32c(data).rotate_right(15).wrapping_add(0xA282_EAD8).to_le_bytes();
    let mut found = Vec::new();
    for file in files {
        let bytes = std::fs::read(file).expect("readable");
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (length, tail) = rest.split_at(8);
            let (sum, tail) = tail.split_at(4);
            assert_eq!(sum, masked(length));
            let (data, tail) = tail.split_at(u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize);
            let (sum, tail) = tail.split_at(4);
            assert_eq!(sum, masked(data));
            found.push(data.to_vec());
            rest = tail;
        }
    }
    found
}

fn holds(record: &[u8], text: &str) -> bool {
    record.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_run_leaves_event_files_of_policy_and_reward_model_also_when_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny(folder.path());
    let runs = folder.path().join("runs");
    let setting = format!("telemetry.tensorboard_dir={}", runs.display());
    let mut daemon = Daemon::start_with(folder.path(), &model, &[&setting]);
    daemon.wait_for("understudy_ppo_updates_total 3");
    // The three latencies of the loop are told.
    daemon.wait_for("understudy_reward_heard_to_learned_seconds_count");
    daemon.wait_for("understudy_publish_to_first_token_seconds_count");
    daemon.wait_for("understudy_rating_to_answer_seconds_count");
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    for (run, tags) in [
        ("policy", ["train/reward", "train/kl", "train/entropy", "understudy/publish_to_first_token_s"]),
        ("reward", ["train/loss", "train/grad_norm", "train/step_time", "understudy/replay"]),
    ] {
        let records = records(&runs.join(run));
        assert!(holds(&records[0], "brain.Event:2"), "{run}");
        for tag in tags {
            assert!(records.iter().any(|record| holds(record, tag)), "{run} has no {tag}");
        }
    }
    let again = Daemon::start_with(folder.path(), &model, &[&setting]);
    again.wait_for("understudy_rating_to_answer_seconds_count");
    let starts = records(&runs.join("policy")).iter().filter(|record| holds(record, "brain.Event:2")).count();
    assert_eq!(starts, 2, "a start has a file of its own");
}
