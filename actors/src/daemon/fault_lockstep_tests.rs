//! Every actor, before and after its unit of work, at its first message and at a later one, by a panic and by an error, in a
//! run in lockstep: the fault ends the run, and the same run gone on with leaves bit for bit what an undisturbed one
//! leaves: every record of the journal, every weight, moment and buffer.
//!
//! A live run is compared by what must hold of it (`fault_matrix_tests`) and not by bits: what is done meanwhile depends
//! on who was faster.

use tempfile::TempDir;

use super::DaemonConfig;
use super::in_step_tests::{self, Left, left, run};
use crate::failpoint::{Action, Failpoints, SIDES, UNITS, When};

/// A run ends with this version: a round that teaches the reward model only, and three updates.
const ENOUGH: u64 = 3;

/// A checkpoint after each round, so that a later fault is gone on from one and the first fault from nothing.
fn config() -> DaemonConfig {
    DaemonConfig { checkpoint_every: 1, ..in_step_tests::config(7, ENOUGH) }
}

/// What a run leaves that nothing disturbs, with the hits of its fail points.
fn undisturbed() -> (Left, Failpoints) {
    let (dir, failpoints) = (TempDir::new().unwrap(), Failpoints::armed());
    assert_eq!(run(dir.path(), config(), ENOUGH, failpoints.clone(), true), None);
    (left(dir.path()), failpoints)
}

fn check(unit: &str) {
    let (whole, counted) = undisturbed();
    for (side, action) in SIDES.iter().flat_map(|side| [(side, Action::Panic), (side, Action::Error)]) {
        let point = format!("{unit}.{side}");
        let hits = counted.hits(&point);
        assert!(hits >= 2, "{point} is reached {hits} times: there is no later message");
        let later = hits / 2 + 1;
        for hit in [1, later] {
            let (dir, failpoints) = (TempDir::new().unwrap(), Failpoints::armed());
            failpoints.set(&point, When::Nth(hit), action.clone());
            let failure = run(dir.path(), config(), ENOUGH, failpoints, true);
            assert!(failure.is_some(), "{point}, {action:?} at hit {hit}: it went on");
            assert_eq!(run(dir.path(), config(), ENOUGH, Failpoints::off(), true), None);
            let resumed = left(dir.path());
            assert!(resumed == whole, "{point}, {action:?} at hit {hit}: other bits, after {failure:?}");
        }
    }
}

#[test]
fn faults_of_the_policy_leave_no_trace() {
    check("policy");
}

#[test]
fn faults_of_the_feedback_actor_leave_no_trace() {
    check("feedback");
}

#[test]
fn faults_while_events_are_heard_leave_no_trace() {
    check("reward");
}

#[test]
fn faults_while_minibatches_are_learned_leave_no_trace() {
    check("learn");
}

#[test]
fn faults_while_answers_are_scored_leave_no_trace() {
    check("score");
}

#[test]
fn faults_of_the_policys_learner_leave_no_trace() {
    check("ppo");
}

#[test]
fn faults_of_the_checkpoint_actor_leave_no_trace() {
    check("checkpoint");
}

#[test]
fn faults_of_the_source_leave_no_trace() {
    check("source");
}

#[test]
fn faults_of_the_simulated_people_leave_no_trace() {
    check("annotator");
}

#[test]
fn every_unit_of_work_has_its_test_in_this_file() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/daemon/fault_lockstep_tests.rs");
    let tests = std::fs::read_to_string(path).unwrap();
    for unit in UNITS {
        assert!(tests.contains(&format!("    check(\"{unit}\");\n")), "'{unit}' has no test");
    }
}
