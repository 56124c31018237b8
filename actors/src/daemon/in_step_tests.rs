//! Runs in lockstep: killed or not, they come out bit for bit the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::time::Instant;
use understudy_checkpoints::RecordKind;
use understudy_checkpoints::checkpoint::recover;

use super::*;
use crate::failpoint::Failpoints;
use crate::lockstep::Lockstep;
use crate::testkit::{Scripted, bright_tokens, running, tiny_config, tiny_parts};

/// A run that ends with this version.
pub(super) const ENOUGH: u64 = 5;

/// A run with the figures that a whole loop of updates needs: scores are held back for a round, the monitor reports, the
/// replay overflows.
pub(super) fn config(seed: u64, until: u64) -> DaemonConfig {
    let mut config = tiny_config(seed);
    config.lockstep = Some(Lockstep { until_version: Some(until) });
    config.hearing.ratings_before_scores = 2;
    config.hearing.replay = 6;
    config.hearing.monitor_every = 2;
    config.checkpoint_every = 2;
    config
}

/// Everything that a run leaves: the journal's records and the newest checkpoint's parts.
#[derive(Debug, PartialEq)]
pub(super) struct Left {
    journal: Vec<(u64, RecordKind, u64, Vec<u8>)>,
    parts: BTreeMap<String, Vec<u8>>,
    rounds: Option<crate::lockstep::RoundState>,
}

pub(super) fn left(dir: &Path) -> Left {
    let store = understudy_checkpoints::Store::open(dir, Default::default()).unwrap().0;
    let mut journal = Vec::new();
    for kind in [RecordKind::Answer, RecordKind::Feedback, RecordKind::Published, RecordKind::Cursor] {
        let records = store.handle().read_from(kind, 0, 9999).unwrap();
        journal.extend(records.into_iter().map(|record| (record.seq, kind, record.group, record.bytes)));
    }
    journal.sort();
    let checkpoint = recover(&dir.join("checkpoints")).unwrap().checkpoint.unwrap();
    let names = checkpoint.manifest.parts.iter().map(|part| part.name.clone());
    let parts = names.map(|name| (name.clone(), checkpoint.read(&name).unwrap())).collect();
    let state = crate::checkpoint::SavedState::of(&checkpoint).unwrap();
    Left { journal, parts, rounds: state.lockstep }
}

/// Runs until `until` is published or an actor fails; then drains, or drops everything as it stands. Whether an actor
/// failed, and its words.
pub(super) fn run(dir: &Path, config: DaemonConfig, until: u64, failpoints: Failpoints, drain: bool) -> Option<String> {
    running(async {
        let seed = config.seed;
        let parts = tiny_parts(dir, seed, Scripted::honest(bright_tokens(seed)), failpoints);
        let daemon = Daemon::start(config, parts).await.expect("the tiny daemon starts");
        let handle = daemon.handle();
        let mut events = handle.events();
        let failed = async {
            loop {
                if let Some(actor) = daemon.actors().iter().find_map(|actor| {
                    let verdict = actor.verdict_now().filter(|verdict| verdict.is_failure())?;
                    Some(format!("{}: {verdict}", actor.name()))
                }) {
                    return actor;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let done = async {
            while handle.policy_version() < until {
                let _ = tokio::time::timeout(Duration::from_millis(20), events.next()).await;
            }
        };
        let failure = tokio::select! {
            failure = failed => Some(failure),
            () = done => None,
            () = tokio::time::sleep(Duration::from_secs(120)) => panic!("the run stands still: {:#?}", handle.status()),
        };
        if drain && failure.is_none() {
            let by = Instant::now() + Duration::from_secs(60);
            daemon.drain(by).run(by, std::future::pending()).await.expect("a clean end");
        }
        failure
    })
}

/// A run that nothing disturbs.
fn undisturbed() -> Left {
    let dir = TempDir::new().unwrap();
    assert_eq!(run(dir.path(), config(7, ENOUGH), ENOUGH, Failpoints::off(), true), None);
    left(dir.path())
}

#[test]
fn killed_in_the_middle_and_run_on_it_leaves_bit_for_bit_what_an_undisturbed_run_leaves() {
    let whole = undisturbed();
    assert!(whole.rounds.unwrap().rounds > ENOUGH, "a round of it taught the reward model only: {:?}", whole.rounds);
    for killed_at in [1, 2, 4] {
        let dir = TempDir::new().unwrap();
        assert_eq!(run(dir.path(), config(7, ENOUGH), killed_at, Failpoints::off(), false), None);
        assert_eq!(run(dir.path(), config(7, ENOUGH), ENOUGH, Failpoints::off(), true), None);
        let resumed = left(dir.path());
        assert_eq!(resumed.journal, whole.journal, "killed at {killed_at}");
        for (name, bytes) in &whole.parts {
            assert_eq!(&resumed.parts[name], bytes, "killed at {killed_at}: {name}");
        }
        assert_eq!(resumed, whole, "killed at {killed_at}");
    }
    let mut other = config(7, ENOUGH);
    other.ppo.learning_rate *= 1.5;
    let dir = TempDir::new().unwrap();
    assert_eq!(run(dir.path(), other, ENOUGH, Failpoints::off(), true), None);
    assert_ne!(
        left(dir.path()).parts,
        whole.parts,
        "another learning rate is another run: what is compared can differ"
    );
}

#[test]
fn what_does_not_repeat_itself_ends_the_run_by_name() {
    let dir = TempDir::new().unwrap();
    let never = |mut config: DaemonConfig| {
        config.checkpoint_every = 0;
        config
    };
    assert_eq!(run(dir.path(), never(config(7, 3)), 2, Failpoints::off(), false), None);
    let mut other = never(config(7, 3));
    other.ppo.learning_rate *= 1.5;
    let failure = run(dir.path(), other, 3, Failpoints::off(), false).expect("its second policy is another one");
    assert!(failure.contains("ppo") && failure.contains("version 1: it comes out otherwise"), "{failure}");
    let mut other = never(config(7, 3));
    other.asking.sampling.temperature = 0.9;
    other.ppo.temperature = 0.9;
    let failure = run(dir.path(), other, 3, Failpoints::off(), false).expect("its first answer is another one");
    assert!(failure.contains("policy") && failure.contains("it comes out otherwise"), "{failure}");
    assert_eq!(run(dir.path(), never(config(7, 3)), 3, Failpoints::off(), true), None, "as it was it goes on");
}

#[test]
fn what_was_not_written_in_lockstep_is_not_gone_on_from_in_lockstep() {
    let dir = TempDir::new().unwrap();
    assert_eq!(run(dir.path(), tiny_config(7), 1, Failpoints::off(), true), None);
    running(async {
        let parts = tiny_parts(dir.path(), 7, Scripted::honest(bright_tokens(7)), Failpoints::off());
        let refused = Daemon::start(config(7, 3), parts).await.map(drop).unwrap_err();
        assert!(refused.to_string().contains("not written in lockstep"), "{refused}");
    });
}
