//! A short life of a whole daemon, with or without faults in it, and what it leaves behind.
//!
//! Invariant: what is compared is read from the disk after the end, as a restart would read it; only what nobody writes
//! down (restarts, the pace) is asked of the daemon.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::Instant;
use understudy_checkpoints::{Disk, QuarantineBounds, QuarantineFiles, RecordKind, Store};
use understudy_learning::stages::{Feedback, FeedbackKind, Rollout};

use super::tests::{answers, chat};
use super::{Daemon, DaemonConfig, DaemonHandle};
use crate::checkpoint::{Saved, SavedState};
use crate::failpoint::Failpoints;
use crate::messages::{ChatError, FeedbackAck, FeedbackRefusal, LoopEvent};
use crate::source::ListSource;
use crate::testkit::{Scripted, bright_tokens, question, tiny_config, tiny_parts};

/// Questions of the source.
pub(super) const QUESTIONS: usize = 4;
/// Questions of the client, each rated by it.
pub(super) const CHATS: usize = 2;

/// What a client lost, and was told so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) chats: usize,
    pub(super) ratings: usize,
    pub(super) checkpoints: usize,
}

/// A file of the quarantine, shown by the labels of what it holds.
pub(super) struct Quarantined(pub(super) Value);

impl std::fmt::Debug for Quarantined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let held = self.0["in_hand"].as_array().map(Vec::as_slice).unwrap_or_default();
        let labels: Vec<String> = held.iter().map(|held| held["label"].to_string()).collect();
        write!(f, "{} {}: {labels:?}", self.0["actor"], self.0["cause"])
    }
}

/// What a life left behind.
#[derive(Debug)]
pub(super) struct Left {
    /// Questions that were answered whole.
    pub(super) answered: BTreeSet<String>,
    /// Who rated which question.
    pub(super) rated: BTreeSet<(String, String)>,
    /// Events of feedback in the journal.
    pub(super) events: u64,
    /// Events whose id stands in the journal more than once.
    pub(super) doubled: u64,
    /// Acknowledged events that the journal lacks.
    pub(super) missing: Vec<String>,
    /// Events that the reward model in the last checkpoint heard, and learned from.
    pub(super) heard: u64,
    pub(super) learned: u64,
    /// Events that it heard and has not learned from.
    pub(super) owed: usize,
    /// The last checkpoint.
    pub(super) saved: SavedState,
    /// The last event of feedback.
    pub(super) last_feedback: u64,
    /// The highest answer id.
    pub(super) last_answer: u64,
    /// Policy versions, as they were published.
    pub(super) versions: Vec<u64>,
    /// Answers in the journal, and answers that the policy's learner has learned from.
    pub(super) answers: u64,
    pub(super) spent: u64,
    /// Restarts by actor.
    pub(super) restarts: BTreeMap<&'static str, u64>,
    /// Violated invariants.
    pub(super) violations: u64,
    /// Files of the quarantine.
    pub(super) quarantined: Vec<Quarantined>,
    /// What the client was told of.
    pub(super) told: Lost,
}

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Settings of a life: a checkpoint after each update.
pub(super) fn config() -> DaemonConfig {
    tiny_config(7)
}

/// A daemon that asks [`QUESTIONS`] questions once.
pub(super) async fn start(dir: &Path, config: DaemonConfig, failpoints: Failpoints) -> Daemon {
    let mut parts = tiny_parts(dir, 7, Scripted::honest(bright_tokens(7)), failpoints);
    let asked = (0..QUESTIONS).map(|i| question(&format!("q{i}"))).collect();
    parts.sources = vec![Box::new(ListSource::new("list", asked, false))];
    Daemon::start(config, parts).await.expect("the tiny daemon starts")
}

/// Asks until it is answered; the ids of the answers, and how often the question was lost.
pub(super) async fn ask(handle: &DaemonHandle, text: &str) -> (Vec<u64>, usize) {
    for lost in 0.. {
        match ask_once(handle, text).await {
            Ok(ids) => return (ids, lost),
            Err(ChatError::Crashed(_)) => {}
            Err(other) => panic!("{text}: {other}"),
        }
    }
    unreachable!("it asks for ever")
}

/// Asks once: the ids of the answers, or what the asker is told.
pub(super) async fn ask_once(handle: &DaemonHandle, text: &str) -> Result<Vec<u64>, ChatError> {
    let ids = answers(handle.chat(chat(text))?).await?;
    assert!(ids.iter().all(|id| *id > 0), "the stream ended without all answers: {ids:?}");
    Ok(ids)
}

pub(super) fn thumb(id: &str, answer: u64) -> Feedback {
    Feedback {
        id: id.into(),
        annotator: "client".into(),
        at: 1,
        kind: FeedbackKind::Thumb { answer, up: true },
        why: None,
    }
}

/// Rates until it is acknowledged, as a client does, under the same id; says how often it was told of a loss.
pub(super) async fn rate(handle: &DaemonHandle, feedback: Feedback) -> (FeedbackAck, usize) {
    for lost in 0.. {
        match handle.submit_feedback(feedback.clone(), soon()).await {
            Ok(ack) => return (ack, lost),
            Err(FeedbackRefusal::Crashed) => {}
            Err(other) => panic!("{}: {other}", feedback.id),
        }
    }
    unreachable!("it rates for ever")
}

/// The files of the quarantine, oldest first.
pub(super) fn quarantine(dir: &Path) -> Vec<Quarantined> {
    let files = QuarantineFiles::new(&dir.join("quarantine"), Disk::real(), QuarantineBounds::default());
    let read = |path: &Path| Quarantined(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
    files.list().unwrap().iter().map(|file| read(&file.path)).collect()
}

/// Questions that the policy had in hand when it died.
pub(super) fn lost_questions(quarantined: &[Quarantined]) -> BTreeSet<String> {
    let of_policy = quarantined.iter().filter(|file| file.0["actor"] == "policy");
    let held = of_policy.flat_map(|file| file.0["in_hand"].as_array().unwrap());
    held.map(|held| held["content"]["prompt"]["question"]["id"].as_str().unwrap().to_owned()).collect()
}

/// Waits for a condition.
pub(super) async fn until(what: &str, handle: &DaemonHandle, is_so: impl Fn() -> bool) {
    let by = soon();
    while !is_so() {
        assert!(Instant::now() < by, "never came: {what}; {:#?}", handle.status());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What was seen while it lived.
#[derive(Debug, Default)]
struct Seen {
    published: BTreeMap<u64, String>,
    rated: BTreeSet<String>,
    versions: Vec<u64>,
}

/// Lives: the source's questions are answered and rated, a client asks, rates and wants checkpoints; then a clean end.
pub(super) async fn live(dir: &Path, config: DaemonConfig, failpoints: Failpoints) -> Left {
    let daemon = start(dir, config, failpoints).await;
    let handle = daemon.handle();
    let seen = Rc::new(RefCell::new(Seen::default()));
    watch(&handle, &seen);
    let (mut told, mut acknowledged) = (Lost::default(), Vec::new());
    for i in 0..CHATS {
        let (ids, lost) = ask(&handle, &format!("chat {i}")).await;
        told.chats += lost;
        let (_, lost) = rate(&handle, thumb(&format!("client-{i}"), ids[0])).await;
        told.ratings += lost;
        acknowledged.push(format!("client-{i}"));
        while handle.checkpoint().await.is_err() {
            told.checkpoints += 1;
        }
    }
    let source = daemon.actors().into_iter().find(|actor| actor.name() == "source").unwrap();
    until("the source's end", &handle, || source.verdict_now().is_some()).await;
    until("an answer to each question", &handle, || {
        let lost = lost_questions(&quarantine(dir));
        let seen = seen.borrow();
        let known = |id: &String| lost.contains(id) || seen.published.values().any(|question| question == id);
        (0..QUESTIONS).all(|i| known(&format!("q{i}")))
    })
    .await;
    until("a rating of each answer", &handle, || {
        let seen = seen.borrow();
        seen.published.keys().all(|group| seen.rated.contains(&format!("scripted-{group}")))
    })
    .await;
    until("that all is heard", &handle, || {
        let newest = handle.store().newest(RecordKind::Feedback).unwrap();
        handle.status().reward.up_to == newest.map_or(0, |record| record.seq)
    })
    .await;
    let invariants = daemon.invariants().clone();
    let pace = handle.bus().pace.clone();
    let ppo = config_of_ppo();
    daemon.drain(soon()).run(soon(), std::future::pending()).await.expect("a clean end");
    tokio::task::yield_now().await;
    let restarts = handle.status().actors.iter().map(|actor| (actor.name, actor.restarts)).collect();
    // All tickets have been spent or given back: what is missing was spent.
    let spent = (ppo.0 + pace.version() + 1) * ppo.1 - pace.room();
    acknowledged.extend(seen.borrow().rated.iter().cloned());
    let seen = seen.borrow();
    look(dir, &seen, acknowledged, Told { restarts, spent, violations: invariants.violations(), told })
}

/// Staleness that is borne, and samples an update.
fn config_of_ppo() -> (u64, u64) {
    let ppo = config().ppo;
    (ppo.max_staleness, ppo.batch_size as u64)
}

fn watch(handle: &DaemonHandle, seen: &Rc<RefCell<Seen>>) {
    let (mut answered, into) = (handle.answered(), seen.clone());
    actix_rt::spawn(async move {
        while let Some(group) = answered.next().await {
            into.borrow_mut().published.insert(group.answers[0].group, group.question.id.clone());
        }
    });
    let (mut events, into) = (handle.events(), seen.clone());
    actix_rt::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                LoopEvent::Rated { feedback, .. } => drop(into.borrow_mut().rated.insert(feedback.id)),
                LoopEvent::PolicyUpdate { version, .. } => into.borrow_mut().versions.push(version),
                _ => {}
            }
        }
    });
}

/// What only the daemon knew.
struct Told {
    restarts: BTreeMap<&'static str, u64>,
    spent: u64,
    violations: u64,
    told: Lost,
}

fn look(dir: &Path, seen: &Seen, acknowledged: Vec<String>, told: Told) -> Left {
    let (store, _) = Store::open(dir, Default::default()).expect("the store opens again");
    let read = |kind| store.handle().read_from(kind, 0, 10_000).unwrap();
    let answers: Vec<Rollout> =
        read(RecordKind::Answer).iter().map(|record| postcard::from_bytes(&record.bytes).unwrap()).collect();
    let question_of: BTreeMap<u64, String> =
        answers.iter().map(|answer| (answer.id, answer.prompt.question.id.clone())).collect();
    let events: Vec<Feedback> =
        read(RecordKind::Feedback).iter().map(|record| serde_json::from_slice(&record.bytes).unwrap()).collect();
    let ids: BTreeSet<&String> = events.iter().map(|event| &event.id).collect();
    let (saved, checkpoint) = Saved::newest(&dir.join("checkpoints")).unwrap().expect("a checkpoint");
    let heard = Saved::reward(&checkpoint).unwrap().scalars["heard"].take();
    let number = |name: &str| heard[name].as_u64().unwrap();
    let by = |event: &Feedback| (question_of[&event.answers()[0]].clone(), event.annotator.clone());
    Left {
        answered: seen.published.values().cloned().collect(),
        rated: events.iter().map(by).collect(),
        events: events.len() as u64,
        doubled: (events.len() - ids.len()) as u64,
        missing: acknowledged.into_iter().filter(|id| !ids.contains(id)).collect(),
        heard: number("events"),
        learned: number("learned"),
        owed: heard["fresh"].as_array().unwrap().len(),
        saved,
        last_feedback: read(RecordKind::Feedback).last().map_or(0, |record| record.seq),
        last_answer: answers.iter().map(|answer| answer.id).max().unwrap_or(0),
        versions: seen.versions.clone(),
        answers: answers.len() as u64,
        spent: told.spent,
        restarts: told.restarts,
        violations: told.violations,
        quarantined: quarantine(dir),
        told: told.told,
    }
}
