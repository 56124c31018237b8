//! What keeps failing, fails at random, hangs, or cannot go on at all, in a whole daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use understudy_checkpoints::checkpoint::load;
use understudy_checkpoints::{Disk, DiskOp, RecordKind, Store, StoreConfig};
use understudy_learning::stages::Feedback;

use super::fault_kit::{Quarantined, ask, ask_once, config, live, quarantine, rate, soon, start, thumb, until};
use super::{Daemon, DaemonHandle, Threads};
use crate::failpoint::{Action, Failpoints, SIDES, UNITS, When};
use crate::messages::{ChatError, FeedbackRefusal};
use crate::runtime::{Ending, Reason, run};
use crate::supervision::RestartPolicy;
use crate::testkit::{Scripted, bright_tokens, running, tiny_parts};

fn poison(point: &str) -> Failpoints {
    let failpoints = Failpoints::armed();
    failpoints.set(point, When::Always, Action::Panic);
    failpoints
}

/// Labels of what is lost, by the files of the quarantine.
fn lost(quarantined: &[Quarantined]) -> BTreeSet<String> {
    let held = quarantined.iter().flat_map(|file| file.0["in_hand"].as_array().unwrap());
    held.filter(|held| held["lost"] == true).map(|held| held["label"].as_str().unwrap().to_owned()).collect()
}

fn journaled(handle: &DaemonHandle) -> Vec<Feedback> {
    let records = handle.store().read_from(RecordKind::Feedback, 0, 100_000).unwrap();
    records.iter().map(|record| serde_json::from_slice(&record.bytes).unwrap()).collect()
}

async fn all_heard(handle: &DaemonHandle) {
    until("that all is heard", handle, || {
        let newest = handle.store().newest(RecordKind::Feedback).unwrap();
        handle.status().reward.up_to == newest.map_or(0, |record| record.seq)
    })
    .await;
}

async fn drain(daemon: Daemon) {
    daemon.drain(soon()).run(soon(), std::future::pending()).await.expect("a clean end");
}

fn restarts(handle: &DaemonHandle) -> BTreeMap<&'static str, u64> {
    handle.status().actors.iter().map(|actor| (actor.name, actor.restarts)).filter(|(_, count)| *count > 0).collect()
}

#[test]
fn a_rating_that_makes_learning_fail_is_lost_alone_and_is_not_taken_up_after_a_restart() {
    for point in ["learn.before(client-0)", "reward.before(client-0)"] {
        let (dir, failpoints) = (TempDir::new().unwrap(), poison(point));
        let left = running(live(dir.path(), config(), failpoints.clone()));
        assert_eq!((left.heard, left.learned), (left.events, left.events - 1), "{point}: {left:#?}");
        assert!((2..=3).contains(&left.restarts["reward"]), "{point}: {left:#?}");
        assert_eq!(left.restarts.values().sum::<u64>(), left.restarts["reward"], "{point}: {left:#?}");
        let guilty = lost(&left.quarantined);
        assert!(guilty.len() == 1 && guilty.first().unwrap().starts_with("feedback client-0"), "{point}: {guilty:?}");
        // The journal is heard from the beginning, and the poison is still poison.
        std::fs::remove_dir_all(dir.path().join("checkpoints")).unwrap();
        let hits = failpoints.hits(point);
        running(async {
            let daemon = start(dir.path(), config(), failpoints.clone()).await;
            let handle = daemon.handle();
            all_heard(&handle).await;
            assert_eq!(handle.status().reward.heard, left.events, "{point}");
            drain(daemon).await;
            assert_eq!(restarts(&handle), BTreeMap::new(), "{point}");
        });
        assert_eq!(failpoints.hits(point), hits, "{point}: it was not touched again");
    }
}

#[test]
fn a_rating_that_makes_its_check_fail_is_refused_by_name_and_others_are_taken() {
    let dir = TempDir::new().unwrap();
    running(async {
        let daemon = start(dir.path(), config(), poison("feedback.before(bad)")).await;
        let handle = daemon.handle();
        let (ids, _) = ask(&handle, "one").await;
        for _ in 0..2 {
            assert_eq!(handle.submit_feedback(thumb("bad", ids[0]), soon()).await, Err(FeedbackRefusal::Crashed));
        }
        let refused = handle.submit_feedback(thumb("bad", ids[0]), soon()).await;
        assert_eq!(refused, Err(FeedbackRefusal::Quarantined("bad".to_owned())));
        rate(&handle, thumb("good", ids[1])).await;
        drain(daemon).await;
        assert_eq!(restarts(&handle), BTreeMap::from([("feedback", 2)]));
        assert_eq!(lost(&quarantine(dir.path())), BTreeSet::from(["feedback bad".to_owned()]));
        let content = &quarantine(dir.path())[0].0["in_hand"][0]["content"];
        assert_eq!(serde_json::from_value::<Feedback>(content.clone()).unwrap(), thumb("bad", ids[0]));
    });
}

#[test]
fn a_question_that_cannot_be_drawn_is_passed_over() {
    let dir = TempDir::new().unwrap();
    running(async {
        let daemon = start(dir.path(), config(), poison("source.before(2)")).await;
        let handle = daemon.handle();
        let source = daemon.actors().into_iter().find(|actor| actor.name() == "source").unwrap();
        until("the source's end", &handle, || source.verdict_now().is_some()).await;
        drain(daemon).await;
        assert_eq!(restarts(&handle), BTreeMap::from([("source", 2)]));
        assert_eq!(lost(&quarantine(dir.path())), BTreeSet::from(["question 2".to_owned()]));
    });
    let (store, _) = Store::open(dir.path(), StoreConfig::default()).unwrap();
    let answers = store.handle().read_from(RecordKind::Answer, 0, 1000).unwrap();
    let asked: BTreeSet<String> = answers
        .iter()
        .map(|record| postcard::from_bytes::<understudy_learning::stages::Rollout>(&record.bytes).unwrap())
        .map(|rollout| rollout.prompt.question.id.clone())
        .collect();
    assert_eq!(asked, ["q0", "q1", "q3"].map(str::to_owned).into());
}

#[test]
fn a_simulated_rating_that_fails_again_and_again_is_passed_over() {
    let dir = TempDir::new().unwrap();
    running(async {
        // The first question of the client gets the first answers.
        let daemon = start(dir.path(), config(), poison("annotator.before(1)")).await;
        let handle = daemon.handle();
        let (first, _) = ask(&handle, "one").await;
        let rated = |group: u64| journaled(&handle).iter().any(|event| event.id == format!("scripted-{group}"));
        let (second, _) = ask(&handle, "two").await;
        until("the next rating", &handle, || rated(second[0])).await;
        assert_eq!((first[0], rated(1)), (1, false));
        drain(daemon).await;
        assert_eq!(restarts(&handle), BTreeMap::from([("annotator", 2)]));
        assert_eq!(lost(&quarantine(dir.path())).len(), 1);
    });
}

#[test]
fn scores_that_are_not_finite_are_not_learned_from_and_the_loop_goes_on() {
    for score in [f64::NAN, f64::INFINITY] {
        let dir = TempDir::new().unwrap();
        running(async {
            let mut parts = tiny_parts(dir.path(), 7, Scripted::honest(bright_tokens(7)), Failpoints::armed());
            parts.judge = Some(Arc::new(move |_| score));
            let failpoints = parts.failpoints.clone();
            let daemon = Daemon::start(config(), parts).await.unwrap();
            let handle = daemon.handle();
            // Two groups are a batch; places that were given back admit more than the pace bears without an update.
            until("many scores", &handle, || failpoints.hits("score.after") > 20).await;
            ask(&handle, "anybody?").await;
            let saved = handle.checkpoint().await.unwrap().state;
            assert_eq!((saved.policy_version, saved.updates, handle.policy_version()), (0, 0, 0), "{score}");
            assert!(saved.reward_version > 0, "ratings are learned from all the same");
            drain(daemon).await;
            assert_eq!(restarts(&handle), BTreeMap::new(), "{score}");
        });
    }
}

#[test]
fn a_learner_that_calls_learning_off_goes_on_bit_for_bit_from_the_newest_checkpoint() {
    let dir = TempDir::new().unwrap();
    running(async {
        let failpoints = Failpoints::armed();
        let daemon = start(dir.path(), config(), failpoints.clone()).await;
        let handle = daemon.handle();
        // 16 answers of the source are two batches of 8.
        until("two updates", &handle, || handle.policy_version() == 2).await;
        let learner = async || {
            let done = handle.checkpoint().await.unwrap();
            let bytes = load(&done.path).unwrap().read("ppo.safetensors").unwrap();
            (done.state.policy_version, done.state.updates, bytes)
        };
        let before = learner().await;
        // What three steps in a row that are not finite end in: an error of the unit, here after some units of an update.
        failpoints.set("ppo.after", When::Nth(failpoints.hits("ppo.after") + 4), Action::Error);
        for i in 0..4 {
            ask(&handle, &format!("chat {i}")).await;
        }
        until("a restart", &handle, || restarts(&handle).contains_key("ppo")).await;
        assert!(learner().await == before, "weights, moments, coefficients and versions are those of the checkpoint");
        drain(daemon).await;
        assert_eq!(restarts(&handle), BTreeMap::from([("ppo", 1)]));
    });
}

/// Asks and rates until `rounds` are over; what was acknowledged, and how often a question or rating was lost.
async fn client(handle: DaemonHandle, name: usize, rounds: usize) -> (Vec<String>, usize) {
    let (mut acknowledged, mut lost) = (Vec::new(), 0);
    for round in 0..rounds {
        let answered = ask_once(&handle, &format!("client {name} asks {round}")).await;
        let ids = match answered {
            Ok(ids) => ids,
            Err(ChatError::Crashed(_) | ChatError::Full) => {
                lost += 1;
                continue;
            }
            Err(other) => panic!("neither an answer nor a loss: {other}"),
        };
        for (sample, answer) in ids.iter().enumerate() {
            let id = format!("client-{name}-{round}-{sample}");
            match handle.submit_feedback(thumb(&id, *answer), soon()).await {
                Ok(_) => acknowledged.push(id),
                Err(FeedbackRefusal::Crashed | FeedbackRefusal::Quarantined(_)) => lost += 1,
                Err(other) => panic!("neither acknowledged nor lost: {other}"),
            }
        }
    }
    (acknowledged, lost)
}

#[test]
fn under_load_with_panics_everywhere_everything_is_answered_and_nothing_acknowledged_is_lost() {
    let dir = TempDir::new().unwrap();
    running(async {
        let failpoints = Failpoints::armed();
        for (i, (unit, side)) in UNITS.iter().flat_map(|unit| SIDES.map(|side| (unit, side))).enumerate() {
            let when = When::OneIn { odds: 100, seed: i as u64 };
            failpoints.set(&format!("{unit}.{side}"), when, Action::Panic);
        }
        // Far more often than a run is allowed to fail.
        let restart = RestartPolicy { max_restarts: 10_000, backoff: Duration::from_millis(1), ..Default::default() };
        let daemon = Daemon::start(
            super::DaemonConfig { restart, ..config() },
            tiny_parts(dir.path(), 7, Scripted::honest(bright_tokens(7)), failpoints),
        );
        let daemon = daemon.await.unwrap();
        let handle = daemon.handle();
        let clients: Vec<_> = (0..4).map(|name| actix_rt::spawn(client(handle.clone(), name, 12))).collect();
        let (mut acknowledged, mut lost) = (Vec::new(), 0);
        for client in clients {
            let (more, missed) = client.await.expect("a client gets an answer to everything");
            acknowledged.extend(more);
            lost += missed;
        }
        handle.bus().pace.close();
        all_heard(&handle).await;
        let events = journaled(&handle);
        let count = |id: &String| events.iter().filter(|event| event.id == *id).count();
        assert!(acknowledged.iter().all(|id| count(id) == 1), "each acknowledged rating stands in the journal once");
        assert!(acknowledged.len() >= 4 * 12, "{} acknowledged, {lost} lost", acknowledged.len());
        let failed: BTreeMap<_, _> = restarts(&handle);
        assert!(failed.values().sum::<u64>() >= 10 && failed.contains_key("policy"), "faults came: {failed:?}");
        assert_eq!(handle.status().reward.heard, events.len() as u64, "each event was heard once");
        assert_eq!(daemon.invariants().violations(), 0);
        assert!(handle.not_ready().is_empty(), "{:?}", handle.not_ready());
    });
}

async fn ended(daemon: Daemon, patience: Duration) -> Ending {
    let actors = daemon.actors();
    run(std::future::pending(), &actors, std::future::pending(), |by| daemon.drain(by), patience).await
}

fn gave_up(ending: &Ending) -> &str {
    match &ending.reason {
        Reason::GaveUp { actor, .. } => actor,
        Reason::Asked(_) => panic!("nobody asked: {ending:?}"),
    }
}

#[test]
fn the_sixth_failure_in_a_minute_closes_the_ingress_and_ends_the_daemon_with_70() {
    let rows = [("policy", "policy.before"), ("feedback", "feedback.before"), ("ppo", "ppo.before")];
    for (actor, point) in rows {
        let dir = TempDir::new().unwrap();
        running(async {
            let failpoints = poison(point);
            let daemon = Daemon::start(
                config(),
                tiny_parts(dir.path(), 7, Scripted::honest(bright_tokens(7)), failpoints.clone()),
            );
            let daemon = daemon.await.unwrap();
            let handle = daemon.handle();
            let ending = ended(daemon, Duration::from_secs(60)).await;
            assert_eq!((gave_up(&ending), ending.exit_code()), (actor, 70), "{ending:?}");
            assert_eq!((restarts(&handle)[actor], failpoints.hits(point)), (5, 6), "five restarts, six failures");
            assert_eq!(ask_once(&handle, "anybody?").await, Err(ChatError::Closed), "{actor}");
            assert!(handle.not_ready().iter().any(|why| why.contains(actor)), "{:?}", handle.not_ready());
        });
    }
}

/// Holds whoever passes until it is opened.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
    passing: AtomicBool,
}

impl Gate {
    fn pass(&self) {
        self.passing.store(true, Ordering::Release);
        let open = self.open.lock().unwrap();
        drop(self.changed.wait_while(open, |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

/// A daemon on real threads whose scoring hangs at a gate, with two seconds for a unit.
async fn hanging(dir: &Path) -> (Daemon, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let (held, budget) = (gate.clone(), Duration::from_secs(2));
    let mut parts = tiny_parts(dir, 7, Scripted::honest(bright_tokens(7)), Failpoints::off());
    parts.judge = Some(Arc::new(move |_| {
        held.pass();
        0.5
    }));
    let config = super::DaemonConfig { unit_budget: budget, threads: Threads::Dedicated { intra_op: 1 }, ..config() };
    (Daemon::start(config, parts).await.unwrap(), gate)
}

#[test]
fn a_unit_that_hangs_is_named_its_group_kept_and_the_actor_started_anew() {
    let dir = TempDir::new().unwrap();
    running(async {
        let (daemon, gate) = hanging(dir.path()).await;
        let handle = daemon.handle();
        let cancelled = || {
            let busy = handle.status().actors.iter().find(|actor| actor.name == "reward").and_then(|a| a.busy.clone());
            busy.is_some_and(|unit| unit == "score") && gate.passing.load(Ordering::Acquire)
        };
        until("the hanging unit", &handle, cancelled).await;
        // Somebody who asks is answered all the while.
        ask(&handle, "anybody?").await;
        // Past its budget, and within the grace in which its task may end.
        tokio::time::sleep(Duration::from_secs(3)).await;
        gate.open();
        until("a restart", &handle, || restarts(&handle).contains_key("reward")).await;
        let scored = handle.policy_version();
        until("an update", &handle, || handle.policy_version() > scored).await;
        let file = &quarantine(dir.path())[0].0;
        assert_eq!((&file["actor"], &file["exit"]), (&"reward".into(), &"stuck".into()), "{file}");
        assert!(file["cause"].as_str().unwrap().contains("'score'"), "{file}");
        assert!(file["in_hand"][0]["content"].is_array(), "{file}");
        drain(daemon).await;
    });
}

#[test]
fn a_unit_that_never_ends_ends_the_daemon_with_an_error() {
    let dir = TempDir::new().unwrap();
    running(async {
        let (daemon, gate) = hanging(dir.path()).await;
        let handle = daemon.handle();
        // Its thread cannot be joined: the deadline passes, and the end says who kept the gate from closing.
        let ending = ended(daemon, Duration::from_secs(2)).await;
        assert_eq!((gave_up(&ending), ending.exit_code()), ("reward", 75), "{ending:?}");
        assert!(handle.not_ready().iter().any(|why| why.contains("reward")), "{:?}", handle.not_ready());
        gate.open();
    });
}

#[test]
fn when_the_committer_dies_nothing_is_acknowledged_readiness_turns_false_and_the_daemon_ends_with_70() {
    for panics in [true, false] {
        let dir = TempDir::new().unwrap();
        running(async {
            let dead = Arc::new(AtomicBool::new(false));
            let now = dead.clone();
            let hook = Disk::with_hook(Arc::new(move |op, _: &Path| {
                match now.load(Ordering::Acquire) && matches!(op, DiskOp::Write | DiskOp::SyncFile) {
                    true if panics => panic!("the committer dies on purpose"),
                    true => Err(std::io::Error::other("the disk is gone")),
                    false => Ok(()),
                }
            }));
            let mut parts =
                tiny_parts(&dir.path().join("other"), 7, Scripted::honest(bright_tokens(7)), Failpoints::off());
            let store = StoreConfig { disk: hook, min_free_bytes: 0, ..StoreConfig::default() };
            parts.store = Store::open(&dir.path().join("data"), store).unwrap().0;
            parts.sources.clear();
            let daemon = Daemon::start(config(), parts).await.unwrap();
            let handle = daemon.handle();
            let (ids, _) = ask(&handle, "one").await;
            rate(&handle, thumb("kept", ids[0])).await;
            dead.store(true, Ordering::Release);
            let refused = handle.submit_feedback(thumb("late", ids[1]), soon()).await;
            assert!(matches!(refused, Err(FeedbackRefusal::Store(_) | FeedbackRefusal::Crashed)), "{refused:?}");
            until("readiness to turn false", &handle, || handle.not_ready().iter().any(|why| why.contains("store")))
                .await;
            let ending = ended(daemon, Duration::from_secs(60)).await;
            assert_eq!((gave_up(&ending), ending.exit_code()), ("feedback", 70), "{ending:?}");
        });
        let (store, _) = Store::open(&dir.path().join("data"), StoreConfig::default()).unwrap();
        let kept = store.handle().read_from(RecordKind::Feedback, 0, 10).unwrap();
        assert!(kept.iter().any(|record| String::from_utf8_lossy(&record.bytes).contains("\"kept\"")));
    }
}
