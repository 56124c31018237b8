//! Learners that go bad inside the running loop.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::time::Instant;
use understudy_checkpoints::RecordKind;
use understudy_learning::ppo::{GuardConfig, PpoConfig};
use understudy_learning::state::get_f64;

use super::*;
use crate::checkpoint::Saved;
use crate::failpoint::{Action, Failpoints, When};
use crate::link::Subscription;
use crate::messages::LoopEvent;
use crate::source::ListSource;
use crate::testkit::{Scripted, bright_tokens, question, running, tiny_base, tiny_config, tiny_parts};

/// A loop whose policy counts as bad after every two updates, since no entropy reaches 100 nats. It asks `questions`
/// questions (four make the two updates), for ever with `repeat`, and takes a checkpoint only because of a rollback.
async fn start(dir: &Path, questions: usize, repeat: bool) -> Daemon {
    let mut config = tiny_config(7);
    let guard = GuardConfig { min_entropy: 100.0, patience: 2, ..GuardConfig::default() };
    config.ppo = PpoConfig { guard, ..config.ppo };
    config.checkpoint_every = 1000;
    let mut parts = tiny_parts(dir, 7, Scripted::honest(bright_tokens(7)), Failpoints::off());
    let asked = (0..questions).map(|i| question(&format!("q{i}"))).collect();
    parts.sources = vec![Box::new(ListSource::new("list", asked, repeat))];
    Daemon::start(config, parts).await.expect("the tiny daemon starts")
}

async fn next(events: &mut Subscription<LoopEvent>) -> LoopEvent {
    let next = tokio::time::timeout(Duration::from_secs(60), events.next()).await;
    next.expect("the loop goes on").expect("the loop has not ended")
}

async fn drain(daemon: Daemon) {
    let by = Instant::now() + Duration::from_secs(60);
    daemon.drain(by).run(by, std::future::pending()).await.expect("a clean end");
}

/// Names and bits, in order of the names.
fn bits(mut tensors: Vec<(String, tch::Tensor)>, prefix: &str) -> Vec<(String, Vec<u32>)> {
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let exact = |tensor: &tch::Tensor| {
        let numbers = Vec::<f32>::try_from(tensor.reshape([-1])).expect("weights are f32");
        numbers.into_iter().map(f32::to_bits).collect()
    };
    tensors.iter().filter_map(|(name, t)| name.strip_prefix(prefix).map(|name| (name.to_owned(), exact(t)))).collect()
}

#[test]
fn a_policy_that_has_gone_bad_serves_its_last_good_weights_under_a_new_version_and_so_does_the_checkpoint() {
    let dir = TempDir::new().unwrap();
    running(async {
        let daemon = start(dir.path(), 4, false).await;
        let mut events = daemon.handle().events();
        let mut seen = Vec::new();
        let rolled_back = loop {
            match next(&mut events).await {
                LoopEvent::PolicyUpdate { version, .. } => seen.push(version),
                LoopEvent::PolicyRollback { version, weights_of, reason, why } => {
                    assert_eq!((weights_of, reason), (0, "entropy"));
                    assert!(why.contains("at least 100 is wanted, for 2 updates in a row"), "{why}");
                    break version;
                }
                _ => {}
            }
        };
        // The second update was never shown; one version more keeps what the first one sampled from being learned from.
        assert_eq!((seen.as_slice(), rolled_back), ([1, 4].as_slice(), 4));
        let base = bits(tiny_base(7).share().1.parameters(), "");
        let look = |_, served: &crate::seams::PolicySnapshot| (served.version, bits(served.branch.parameters(), ""));
        assert_eq!(daemon.handle().bus().snapshots.read(look).expect("a policy serves"), (4, base.clone()));
        while !matches!(next(&mut events).await, LoopEvent::Checkpoint { policy_version: 4, .. }) {}
        let (_, checkpoint) = Saved::newest(&dir.path().join("checkpoints")).unwrap().unwrap();
        let saved = Saved::ppo(&checkpoint).unwrap();
        assert_eq!(get_f64(&saved.scalars, "kl_coef").unwrap(), PpoConfig::default().kl_coef);
        let steps = saved.tensors.iter().find(|(name, _)| name == "policy_adam/steps").unwrap().1.int64_value(&[0]);
        assert_eq!(steps, 0, "the moments are those of the weights");
        assert_eq!(bits(saved.tensors, "policy/"), base);
        drain(daemon).await;
    });
}

#[test]
fn however_often_the_policy_is_put_back_the_loop_goes_on_and_versions_rise() {
    let dir = TempDir::new().unwrap();
    running(async {
        let daemon = start(dir.path(), 8, true).await;
        let handle = daemon.handle();
        let mut events = handle.events();
        let (mut versions, mut rollbacks) = (Vec::new(), 0);
        while rollbacks < 3 {
            match next(&mut events).await {
                LoopEvent::PolicyUpdate { version, .. } => versions.push(version),
                LoopEvent::PolicyRollback { .. } => rollbacks += 1,
                _ => {}
            }
        }
        assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
        assert!(handle.status().actors.iter().all(|actor| actor.restarts == 0), "{:#?}", handle.status().actors);
        assert_eq!(daemon.invariants().violations(), 0);
        drain(daemon).await;
    });
}

#[test]
fn a_reward_learner_that_calls_learning_off_is_started_anew_and_has_heard_each_rating_once() {
    let dir = TempDir::new().unwrap();
    running(async {
        let failpoints = Failpoints::armed();
        let parts = tiny_parts(dir.path(), 7, Scripted::honest(bright_tokens(7)), failpoints.clone());
        let daemon = Daemon::start(tiny_config(7), parts).await.unwrap();
        let handle = daemon.handle();
        let mut events = handle.events();
        let saved = loop {
            if let LoopEvent::Checkpoint { reward_version: saved @ 1.., .. } = next(&mut events).await {
                break saved;
            }
        };
        // A learner that has diverged says so by an error of its minibatch.
        failpoints.set("learn.before", When::Nth(failpoints.hits("learn.before") + 1), Action::Error);
        while !matches!(next(&mut events).await, LoopEvent::Trouble { actor: "reward", .. }) {}
        let shown = handle.status().reward.version;
        let learned = loop {
            if let LoopEvent::RewardUpdate { version, .. } = next(&mut events).await {
                break version;
            }
        };
        assert!(saved <= shown && shown < learned, "saved {saved}, shown {shown}, learned {learned}");
        handle.bus().pace.close();
        while tokio::time::timeout(Duration::from_millis(150), events.next()).await.is_ok() {}
        let restarts: Vec<_> = handle.status().actors.iter().map(|actor| (actor.name, actor.restarts)).collect();
        assert!(restarts.iter().all(|(name, count)| *count == u64::from(*name == "reward")), "{restarts:?}");
        let said = handle.store.read_from(RecordKind::Feedback, 0, 10_000).unwrap();
        let reward = handle.status().reward;
        assert_eq!((reward.heard, reward.up_to), (said.len() as u64, said.last().unwrap().seq));
        drain(daemon).await;
    });
}
