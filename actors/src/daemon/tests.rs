//! The whole loop on the tiny model, in process.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::time::Instant;
use understudy_checkpoints::{Disk, RecordKind, Store, StoreConfig};
use understudy_learning::reward::RewardLearner;
use understudy_learning::stages::{Feedback, FeedbackKind};
use understudy_model::text::Message;

use super::*;
use crate::failpoint::{Action, Failpoints, When};
use crate::messages::{ChatError, FeedbackRefusal, LoopEvent, TokenEvent};
use crate::runtime::Drained;
use crate::testkit::{Scripted, bright_tokens, running, sampling, tiny_base, tiny_config, tiny_parts};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

async fn start(dir: &Path, failpoints: Failpoints) -> Daemon {
    let parts = tiny_parts(dir, 7, Scripted::honest(bright_tokens(7)), failpoints);
    Daemon::start(tiny_config(7), parts).await.expect("the tiny daemon starts")
}

async fn drain(daemon: Daemon) -> Drained {
    daemon.drain(soon()).run(soon(), std::future::pending()).await.expect("a clean end")
}

/// Waits until so many policy updates were seen.
async fn updates(handle: &DaemonHandle, count: usize) {
    let mut events = handle.events();
    let mut seen = 0;
    let watch = async {
        while seen < count {
            match events.next().await {
                Some(LoopEvent::PolicyUpdate { .. }) => seen += 1,
                Some(_) => {}
                None => panic!("the loop ended"),
            }
        }
    };
    tokio::time::timeout_at(soon(), watch).await.unwrap_or_else(|_| panic!("{:#?}", handle.status()));
}

pub(super) fn chat(text: &str) -> ChatRequest {
    let messages = vec![Message::user(text)];
    ChatRequest { messages, samples: 2, sampling: sampling(6), stop: vec![], deadline: soon(), asked_at: 0 }
}

/// Ids of the answers to a chat, by sample.
pub(super) async fn answers(mut stream: ChatStream) -> Result<Vec<u64>, ChatError> {
    let mut ids = vec![0; 2];
    while let Some(event) = stream.next().await {
        match event {
            TokenEvent::Token { .. } => {}
            TokenEvent::Finished { sample, answer, .. } => ids[sample] = answer,
            TokenEvent::Failed(why) => return Err(why),
        }
    }
    Ok(ids)
}

fn thumb(id: &str, answer: u64) -> Feedback {
    Feedback {
        id: id.into(),
        annotator: "ana".into(),
        at: 1,
        kind: FeedbackKind::Thumb { answer, up: true },
        why: None,
    }
}

/// Everything that was said, in journal order.
fn journaled(handle: &DaemonHandle) -> Vec<Feedback> {
    let records = handle.store.read_from(RecordKind::Feedback, 0, 10_000).unwrap();
    records.iter().map(|record| serde_json::from_slice(&record.bytes).unwrap()).collect()
}

fn last_feedback(handle: &DaemonHandle) -> u64 {
    handle.store.newest(RecordKind::Feedback).unwrap().map_or(0, |record| record.seq)
}

/// Waits until nothing moves: no answer, no rating, no update for a while.
async fn quiet(handle: &DaemonHandle) {
    let mut events = handle.events();
    let mut looks = 0;
    while looks < 3 {
        // A slow machine may say nothing for long in the middle of a unit.
        let says = tokio::time::timeout(Duration::from_millis(50), events.next()).await.is_ok();
        let status = handle.status();
        let busy = status.actors.iter().any(|actor| actor.busy.is_some());
        let waits = status.links.iter().any(|link| link.waiting > 0);
        looks = if says || busy || waits { 0 } else { looks + 1 };
    }
}

#[test]
fn the_loop_learns_checkpoints_and_ends_cleanly() {
    let dir = TempDir::new().unwrap();
    running(async {
        let daemon = start(dir.path(), Failpoints::off()).await;
        let handle = daemon.handle();
        updates(&handle, 3).await;
        let status = handle.status();
        assert!(status.policy_version >= 3 && status.not_ready.is_empty(), "{status:#?}");
        assert!(status.reward.version > 0, "feedback was learned from: {status:#?}");
        assert_eq!(daemon.invariants().violations(), 0);
        let steps = drain(daemon).await.steps;
        assert_eq!(steps.last().unwrap().0, "store");
        assert_eq!(handle.chat(chat("late")).err(), Some(ChatError::Closed));
    });
}

#[test]
fn whoever_asks_is_answered_while_the_loop_learns() {
    let dir = TempDir::new().unwrap();
    running(async {
        let daemon = start(dir.path(), Failpoints::off()).await;
        let handle = daemon.handle();
        let mut events = handle.events();
        let (mut asked, mut learned, mut first_tokens) = (0, 0, 0);
        while learned < 3 {
            let stream = handle.chat(chat(&format!("question {asked}"))).expect("never refused");
            let ids = answers(stream).await.expect("never dropped");
            assert_eq!(ids[1], ids[0] + 1, "a request's answers have consecutive ids");
            asked += 1;
            while let Some(Some(event)) = futures_util::FutureExt::now_or_never(events.next()) {
                learned += usize::from(matches!(event, LoopEvent::PolicyUpdate { .. }));
                first_tokens += usize::from(matches!(event, LoopEvent::FirstToken { seconds, .. } if seconds < 5.0));
            }
        }
        assert!(first_tokens >= 2, "the time from a publication to its first token is measured: {first_tokens}");
        drain(daemon).await;
    });
}

#[test]
fn a_rating_is_durable_once_and_a_wrong_one_is_told_what_is_wrong() {
    let dir = TempDir::new().unwrap();
    running(async {
        let daemon = start(dir.path(), Failpoints::off()).await;
        let handle = daemon.handle();
        let mine = answers(handle.chat(chat("one")).unwrap()).await.unwrap();
        let other = answers(handle.chat(chat("two")).unwrap()).await.unwrap();
        let submit = |feedback| handle.submit_feedback(feedback, soon());
        let first = submit(thumb("t1", mine[0])).await.unwrap();
        let again = submit(thumb("t1", mine[0])).await.unwrap();
        assert_eq!((first.duplicate, again.duplicate, again.seq), (false, true, first.seq));
        assert_eq!(submit(thumb("t1", mine[1])).await, Err(FeedbackRefusal::Conflict("t1".into())));
        assert_eq!(submit(thumb("t2", 1 << 60)).await, Err(FeedbackRefusal::UnknownAnswer(1 << 60)));
        let pair = FeedbackKind::Pair { better: mine[0], worse: other[0], strength: 1.0 };
        let pair = Feedback { kind: pair, ..thumb("t3", 0) };
        assert_eq!(submit(pair).await, Err(FeedbackRefusal::DifferentQuestions(mine[0], other[0])));
        let retract = |id: &str, annotator: &str, feedback: &str| {
            let kind = FeedbackKind::Retract { feedback: feedback.into() };
            Feedback { id: id.into(), annotator: annotator.into(), at: 2, kind, why: None }
        };
        assert_eq!(submit(retract("t4", "bob", "t1")).await, Err(FeedbackRefusal::NotYours("t1".into())));
        assert_eq!(submit(retract("t5", "ana", "t0")).await, Err(FeedbackRefusal::UnknownFeedback("t0".into())));
        assert!(!submit(retract("t6", "ana", "t1")).await.unwrap().duplicate);
        let mine = journaled(&handle).into_iter().filter(|event| event.annotator == "ana").count();
        assert_eq!(mine, 2, "the thumb and its retraction");
        drain(daemon).await;
    });
}

#[test]
fn beyond_its_capacity_the_edge_says_full_and_nothing_grows() {
    let dir = TempDir::new().unwrap();
    running(async {
        let mut config = tiny_config(7);
        config.capacities.chats = 3;
        let mut parts = tiny_parts(dir.path(), 7, Scripted::honest(bright_tokens(7)), Failpoints::off());
        parts.sources.clear();
        let daemon = Daemon::start(config, parts).await.unwrap();
        let handle = daemon.handle();
        // Nobody else runs before the first await, so exactly the port's capacity is taken.
        let offered: Vec<_> = (0..50).map(|i| handle.chat(chat(&format!("{i}")))).collect();
        let taken = offered.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(taken, 3);
        assert!(offered.iter().flat_map(|outcome| outcome.as_ref().err()).all(|why| *why == ChatError::Full));
        assert!(handle.status().links.iter().all(|link| link.waiting <= link.capacity));
        for stream in offered.into_iter().flatten() {
            answers(stream).await.unwrap();
        }
        assert!(handle.chat(chat("later")).is_ok(), "and it recovers");
        drain(daemon).await;
    });
}

#[test]
fn a_request_whose_reader_went_away_or_whose_time_is_over_is_given_up() {
    let dir = TempDir::new().unwrap();
    running(async {
        let mut parts = tiny_parts(dir.path(), 7, Scripted::honest(bright_tokens(7)), Failpoints::off());
        parts.sources.clear();
        let daemon = Daemon::start(tiny_config(7), parts).await.unwrap();
        let handle = daemon.handle();
        let late = ChatRequest { deadline: Instant::now(), ..chat("too late") };
        assert_eq!(answers(handle.chat(late).unwrap()).await, Err(ChatError::Expired));
        let long = ChatRequest { sampling: sampling(40), ..chat("long") };
        let mut stream = handle.chat(long).unwrap();
        assert!(matches!(stream.next().await, Some(TokenEvent::Token { .. })));
        drop(stream);
        answers(handle.chat(chat("next")).unwrap()).await.unwrap();
        drain(daemon).await;
        let store = understudy_checkpoints::Store::open(dir.path(), Default::default()).unwrap().0;
        let kept = store.handle().read_from(RecordKind::Answer, 0, 99).unwrap().len();
        assert_eq!(kept, 2, "only the answers that somebody waited for");
    });
}

#[test]
fn on_a_full_disk_ratings_and_answers_are_refused_by_name_and_taken_again_when_there_is_room() {
    let dir = TempDir::new().unwrap();
    running(async {
        let free = Arc::new(AtomicU64::new(100));
        let asked = free.clone();
        let disk = Disk::real().with_free_bytes(Arc::new(move |_| asked.load(Ordering::Relaxed)));
        let flush_interval = Duration::from_millis(1);
        let store = StoreConfig { disk, min_free_bytes: 50, flush_interval, ..StoreConfig::default() };
        let mut parts = tiny_parts(&dir.path().join("other"), 7, Scripted::honest(bright_tokens(7)), Failpoints::off());
        parts.store = Store::open(&dir.path().join("full"), store).unwrap().0;
        parts.sources.clear();
        let daemon = Daemon::start(tiny_config(7), parts).await.unwrap();
        let handle = daemon.handle();
        let mine = answers(handle.chat(chat("one")).unwrap()).await.unwrap();
        free.store(49, Ordering::Relaxed);
        handle.store.flush().unwrap();
        let refused = handle.submit_feedback(thumb("t1", mine[0]), soon()).await.unwrap_err();
        assert!(matches!(&refused, FeedbackRefusal::NoSpace(why) if why.contains("49 bytes free")), "{refused}");
        let lost = answers(handle.chat(chat("two")).unwrap()).await;
        assert!(matches!(&lost, Err(ChatError::NoSpace(why)) if why.contains("49 bytes free")), "{lost:?}");
        free.store(50, Ordering::Relaxed);
        handle.store.flush().unwrap();
        assert!(!handle.submit_feedback(thumb("t1", mine[0]), soon()).await.unwrap().duplicate, "it was not kept");
        answers(handle.chat(chat("three")).unwrap()).await.unwrap();
        assert!(handle.status().actors.iter().all(|actor| actor.restarts == 0 && actor.ended.is_none()));
        drain(daemon).await;
    });
}

#[test]
fn killed_and_started_again_it_goes_on_from_where_it_was() {
    let dir = TempDir::new().unwrap();
    let (version, reward, feedback) = running(async {
        let daemon = start(dir.path(), Failpoints::off()).await;
        let handle = daemon.handle();
        updates(&handle, 2).await;
        let mine = answers(handle.chat(chat("one")).unwrap()).await.unwrap();
        handle.submit_feedback(thumb("mine", mine[0]), soon()).await.unwrap();
        // No question more, so that the last checkpoint holds the last update. Then it is dropped as it stands.
        handle.bus().pace.close();
        quiet(&handle).await;
        let done = handle.checkpoint().await.unwrap();
        assert_eq!(done.state.policy_version, handle.policy_version());
        (done.state.policy_version, done.state.reward_version, journaled(&handle))
    });
    running(async {
        let mut parts = tiny_parts(dir.path(), 7, Scripted::honest(bright_tokens(7)), Failpoints::off());
        parts.sources.clear();
        let daemon = Daemon::start(tiny_config(7), parts).await.unwrap();
        let handle = daemon.handle();
        let resumed = daemon.resumed();
        assert_eq!(resumed.checkpoint.as_ref().map(|state| state.policy_version), Some(version));
        assert_eq!((handle.policy_version(), resumed.highest_published), (version, version), "same version");
        assert_eq!(resumed.feedback, feedback.len(), "no feedback lost or doubled");
        // What the journal has beyond the checkpoint is learned from now: nothing before it again.
        quiet(&handle).await;
        let now = handle.status().reward;
        assert!(now.version >= reward && now.version <= reward + 4, "{reward} then {now:?}");
        assert_eq!(now.heard, journaled(&handle).len() as u64, "each event was heard once");
        let before = answers(handle.chat(chat("one")).unwrap()).await.unwrap();
        assert!(before[0] > resumed.highest_answer, "no answer id is used twice");
        let again = handle.submit_feedback(feedback.iter().find(|f| f.id == "mine").unwrap().clone(), soon()).await;
        assert!(again.unwrap().duplicate);
        drain(daemon).await;
    });
}

#[test]
fn what_was_learned_from_another_model_is_refused_by_name_and_stays_as_it_was() {
    let dir = TempDir::new().unwrap();
    running(async { drain(start(dir.path(), Failpoints::off()).await).await });
    let checkpoints = dir.path().join("checkpoints");
    let newest = || crate::checkpoint::Saved::newest(&checkpoints).unwrap().unwrap().0;
    let before = newest();
    assert_eq!(before.base, Some(tiny_base(7).digest));
    running(async {
        let parts = tiny_parts(dir.path(), 8, Scripted::honest(bright_tokens(8)), Failpoints::off());
        let refused = Daemon::start(tiny_config(7), parts).await.err().unwrap().to_string();
        assert!(refused.contains("was learned from another model") && refused.contains("model.path"), "{refused}");
    });
    assert_eq!(newest(), before);
    running(async { drain(start(dir.path(), Failpoints::off()).await).await });
}

#[test]
fn a_version_number_is_never_used_twice_also_when_its_update_was_lost() {
    let dir = TempDir::new().unwrap();
    let lost = running(async {
        let mut config = tiny_config(7);
        config.checkpoint_every = 0;
        let parts = tiny_parts(dir.path(), 7, Scripted::honest(bright_tokens(7)), Failpoints::off());
        let daemon = Daemon::start(config, parts).await.unwrap();
        updates(&daemon.handle(), 2).await;
        daemon.handle().policy_version()
    });
    running(async {
        let daemon = start(dir.path(), Failpoints::off()).await;
        let handle = daemon.handle();
        assert!(daemon.resumed().checkpoint.is_none() && daemon.resumed().highest_published >= lost);
        let mut events = handle.events();
        let next = loop {
            if let Some(LoopEvent::PolicyUpdate { version, .. }) = events.next().await {
                break version;
            }
        };
        assert_eq!(next, daemon.resumed().highest_published + 1);
        drain(daemon).await;
    });
}

#[test]
fn a_panic_of_any_actor_before_or_after_any_unit_loses_no_feedback_and_the_loop_goes_on() {
    let actors = ["policy", "feedback", "reward", "score", "ppo", "checkpoint", "source", "annotator"];
    for (actor, side, hit) in actors.iter().flat_map(|a| [(a, "before", 1), (a, "after", 2)]) {
        let dir = TempDir::new().unwrap();
        running(async {
            let failpoints = Failpoints::armed();
            failpoints.set(&format!("{actor}.{side}"), When::Nth(hit), Action::Panic);
            let daemon = start(dir.path(), failpoints.clone()).await;
            let handle = daemon.handle();
            updates(&handle, 3).await;
            let mine = loop {
                match answers(handle.chat(chat("mine")).unwrap()).await {
                    Ok(mine) => break mine,
                    Err(why) => assert_eq!(why, ChatError::Crashed("policy actor"), "{actor}.{side}"),
                }
            };
            handle.submit_feedback(thumb("mine", mine[0]), soon()).await.unwrap();
            let restarts: u64 = handle.status().actors.iter().map(|actor| actor.restarts).sum();
            assert_eq!(restarts, 1, "{actor}.{side}: {:#?}", handle.status().actors);
            assert_eq!(daemon.invariants().violations(), 0);
            handle.bus().pace.close();
            quiet(&handle).await;
            let events = journaled(&handle);
            let reward = handle.status().reward;
            assert_eq!(reward.up_to, last_feedback(&handle), "{actor}.{side}: all that was said is heard");
            assert_eq!(reward.heard, events.len() as u64, "{actor}.{side}: each event once");
            // Less than a batch waits for the next update; everything that was lost gave its places back.
            let ppo = tiny_config(7).ppo;
            let (batch, bearable) = (ppo.batch_size as u64, ppo.max_staleness);
            let room = handle.bus().pace.room();
            assert!(room > bearable * batch, "{actor}.{side}: the pace has room for {room} samples");
            assert!(events.iter().any(|event| event.id == "mine"));
            drain(daemon).await;
        });
    }
}

#[test]
fn an_actor_that_keeps_failing_is_given_up_and_the_daemon_says_so() {
    let dir = TempDir::new().unwrap();
    running(async {
        let failpoints = Failpoints::armed();
        failpoints.set("policy.before", When::Always, Action::Panic);
        let daemon = start(dir.path(), failpoints).await;
        let handle = daemon.handle();
        let policy = daemon.actors().into_iter().find(|actor| actor.name() == "policy").unwrap();
        assert!(policy.verdict().await.is_failure());
        assert_eq!(handle.chat(chat("anybody?")).err(), Some(ChatError::Closed), "its ingress is closed");
        assert!(handle.not_ready()[0].contains("policy"), "{:?}", handle.not_ready());
        let fault = daemon.drain(soon()).run(soon(), std::future::pending()).await.unwrap_err();
        assert!(fault.to_string().contains("policy: gave up"), "{fault}");
    });
}

#[test]
fn a_loop_without_a_checkpoint_begins_with_the_reward_model_that_it_is_given_and_one_with_it_does_not() {
    let dir = TempDir::new().unwrap();
    running(async {
        let given = |version: u64| {
            let (trunk, branch) = tiny_base(7).share();
            let learner = RewardLearner::new(trunk, &branch, tiny_config(7).reward, 1).expect("valid settings");
            let mut state = learner.state();
            state.scalars["version"] = version.into();
            Some(state)
        };
        let start = async |version| {
            let parts = tiny_parts(dir.path(), 7, Scripted::honest(bright_tokens(7)), Failpoints::off());
            let mut config = tiny_config(7);
            config.hearing.ratings_before_scores = 1000;
            Daemon::start(config, DaemonParts { rater: None, reward_start: given(version), ..parts }).await
        };
        let first = start(5).await.expect("the tiny daemon starts");
        // Nobody rates, and yet its scores teach the policy: it knows something.
        updates(&first.handle(), 1).await;
        assert_eq!(first.handle().status().reward.version, 5);
        first.handle().checkpoint().await.unwrap();
        drain(first).await;
        let second = start(9).await.expect("the tiny daemon starts");
        updates(&second.handle(), 1).await;
        assert_eq!(second.handle().status().reward.version, 5, "the checkpoint goes before");
        drain(second).await;
        let mut misfit = given(1).expect("a state");
        misfit.tensors.pop();
        let other = TempDir::new().unwrap();
        let parts = tiny_parts(other.path(), 7, Scripted::honest(bright_tokens(7)), Failpoints::off());
        let refused = Daemon::start(tiny_config(7), DaemonParts { reward_start: Some(misfit), ..parts }).await;
        assert!(refused.is_err(), "a state that does not fit is an error of the start");
    });
}
