//! What was taken back leaves no trace.

use std::sync::Arc;

use tempfile::TempDir;
use understudy_checkpoints::{RecordKind, Store, StoreConfig};
use understudy_learning::LearnerState;
use understudy_learning::reward::{RewardConfig, RewardLearner};
use understudy_learning::stages::{Feedback, FeedbackKind, Rollout};

use super::custody::Custody;
use super::hearing::HearingConfig;
use super::journal::{Reader, Retractions};
use super::mind::{Fresh, Mind, MindParts};
use super::rebuild::{AnchorMarks, Anchors, Rebuild, Step};
use super::wording::Wording;
use crate::answers::Answers;
use crate::checkpoint::Saved;
use crate::daemon::{ChatRequest, Daemon, DaemonHandle};
use crate::failpoint::Failpoints;
use crate::messages::TokenEvent;
use crate::seams::{DurableFeedback, FeedbackLog, LogError, LogReply, StoreLog};
use crate::supervision::{Lifeline, Progress};
use crate::testkit::{Scripted, bright_tokens, rollout, running, sampling, tiny_base, tiny_config, tiny_parts};

/// Answers known to every mind of a test: 12, four to a question.
pub(super) struct Bench {
    pub(super) answers: Answers,
    _store: Store,
    _dir: TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        tch::set_num_threads(1);
        let dir = TempDir::new().unwrap();
        let config = StoreConfig { min_free_bytes: 0, ..StoreConfig::default() };
        let (store, _) = Store::open(dir.path(), config).unwrap();
        let answers = Answers::new(store.handle(), 64);
        for id in 1..=12u64 {
            let tokens = (0..3 + id as i64 % 4).map(|at| 20 + 7 * at + id as i64).collect();
            answers.remember(Arc::new(Rollout { tokens, ..rollout(id, (id - 1) / 4 * 4 + 1) }));
        }
        Self { answers, _store: store, _dir: dir }
    }

    pub(super) fn mind(&self) -> Mind {
        let hearing = HearingConfig { replay: 10, cached: 3, normalise_every: 2, ..HearingConfig::default() };
        self.mind_with(hearing)
    }

    pub(super) fn mind_with(&self, hearing: HearingConfig) -> Mind {
        Mind::new(self.parts_with(hearing)).unwrap()
    }

    pub(super) fn parts_with(&self, hearing: HearingConfig) -> MindParts {
        let reward =
            RewardConfig { batch_size: 4, learning_rate: 1e-3, head_learning_rate: 3e-3, ..Default::default() };
        let base = tiny_base(7);
        let fresh = Arc::new(move || {
            let (trunk, branch) = base.share();
            RewardLearner::new(trunk, &branch, reward.clone(), 7)
        });
        parts(fresh, hearing, self.answers.clone())
    }
}

pub(super) fn parts(fresh: Fresh, hearing: HearingConfig, answers: Answers) -> MindParts {
    let base = tiny_base(7);
    let (width, end) = (base.width(), base.eos.first().copied());
    let wording = Wording { text: base.text, end, longest: 64 };
    let openness = Default::default();
    MindParts { fresh, width, wording, hearing, openness, seed: 7, answers, judge: None }
}

pub(super) struct Journal(pub(super) Vec<DurableFeedback>);

impl FeedbackLog for Journal {
    fn append(&self, _: &Feedback, _: LogReply) -> Result<(), LogError> {
        Err(LogError::Full)
    }

    fn read_after(&self, cursor: u64, limit: usize) -> Result<Vec<DurableFeedback>, LogError> {
        Ok(self.0.iter().filter(|event| event.seq > cursor).take(limit).cloned().collect())
    }

    fn find(&self, id: &str) -> Result<Option<DurableFeedback>, LogError> {
        Ok(self.0.iter().find(|event| event.feedback.id == id).cloned())
    }
}

pub(super) fn said(id: &str, kind: FeedbackKind) -> Feedback {
    Feedback { id: id.into(), annotator: format!("a{}", id.trim_start_matches("not-").len()), at: 0, kind, why: None }
}

fn retract(id: &str) -> Feedback {
    said(&format!("not-{id}"), FeedbackKind::Retract { feedback: id.into() })
}

/// Fourteen ratings of all kinds, `e1` to `e14`.
pub(super) fn ratings() -> Vec<Feedback> {
    let kind = |at: u64| match at % 4 {
        _ if at == 6 => FeedbackKind::Edit { answer: 6, text: "better\nthan".into() },
        _ if at == 11 => FeedbackKind::Steps { answer: 2, marks: vec![Some(true)] },
        _ if at == 13 => FeedbackKind::Score { answer: 5, value: 3.0, min: 0.0, max: 4.0 },
        0 => FeedbackKind::Ranking { levels: vec![vec![5, 7], vec![6], vec![8]] },
        1 => FeedbackKind::Stars { answer: 1 + at % 12, stars: 1 + (at % 5) as u8 },
        2 => FeedbackKind::Pair { better: 9 + at % 3, worse: 12, strength: 1.0 },
        _ => FeedbackKind::Thumb { answer: 1 + at * 5 % 12, up: at.is_multiple_of(2) },
    };
    (1..=14).map(|at| said(&format!("e{at}"), kind(at))).collect()
}

/// A journal in which each event follows the last by `gap`.
pub(super) fn journal(events: impl IntoIterator<Item = Feedback>, gap: u64) -> Journal {
    let numbered = events.into_iter().zip(1..).map(|(feedback, at)| DurableFeedback { seq: at * gap, feedback });
    Journal(numbered.collect())
}

fn without(ids: &[&str]) -> Vec<Feedback> {
    ratings().into_iter().filter(|event| !ids.contains(&event.id.as_str())).collect()
}

/// Whatever was saved.
pub(super) struct Kept(Vec<(AnchorMarks, std::cell::RefCell<Option<LearnerState>>)>);

impl Anchors for Kept {
    fn newest(&self, usable: &dyn Fn(AnchorMarks) -> bool) -> Option<LearnerState> {
        let newest = self.0.iter().rev().find(|(marks, _)| usable(*marks));
        newest.and_then(|(_, state)| state.borrow_mut().take())
    }
}

pub(super) fn nothing_kept() -> Kept {
    Kept(Vec::new())
}

fn keep(mind: &Mind) -> (AnchorMarks, std::cell::RefCell<Option<LearnerState>>) {
    let marks = AnchorMarks { up_to: mind.up_to(), clean_up_to: mind.clean_up_to() };
    (marks, std::cell::RefCell::new(Some(mind.state())))
}

/// Hears and learns as the actor does when ratings come one by one, up to sequence `last`.
fn live(mind: &mut Mind, journal: &Journal, last: u64) {
    let mut reader = Reader::after(mind.up_to());
    while let Some(event) = reader.next(journal, last).unwrap() {
        if mind.hear(event, false).unwrap() {
            mind.learn().unwrap();
        }
    }
}

fn retractions(journal: &Journal) -> Retractions {
    let mut retractions = Retractions::default();
    for event in &journal.0 {
        let _ = retractions.note(event, journal).unwrap();
    }
    retractions
}

fn custody() -> Custody {
    Custody::serving(Lifeline::new("reward", 0, Progress::default())).rebuilding()
}

fn rebuilt(serving: &mut Mind, anchors: &Kept, journal: &Journal) -> Mind {
    let mut retractions = retractions(journal);
    let mut rebuild = Rebuild::begin(serving, anchors, &retractions, custody()).unwrap();
    while rebuild.step(serving.up_to(), journal, &mut retractions).unwrap() == Step::Worked {}
    rebuild.finish(serving).unwrap()
}

/// Everything that was learned, but for sequence numbers: tensors, the learner's scalars, and what else is foretold.
fn contents(mind: &Mind) -> (Vec<u8>, [serde_json::Value; 3]) {
    let mut state = mind.state();
    state.tensors.retain(|(name, _)| name != "epistemic.seen"); // sequence numbers
    let scalars = &state.scalars;
    let frozen = scalars["heard"]["closedness"].as_array().unwrap().iter().map(|one| one[1].clone()).collect();
    let parts = [scalars["learner"].clone(), scalars["drift"].clone(), frozen];
    (crate::checkpoint::encode(&state.tensors).unwrap(), parts)
}

#[test]
fn what_was_given_and_taken_back_leaves_the_model_as_if_it_had_never_been_given() {
    let bench = Bench::new();
    let mut events = ratings();
    events.insert(9, retract("e5"));
    events.push(retract("e12"));
    let (with, never) = (journal(events, 3), journal(without(&["e5", "e12"]), 2));
    let (mut served, mut other) = (bench.mind(), bench.mind());
    live(&mut served, &with, u64::MAX);
    live(&mut other, &never, u64::MAX);
    assert!(contents(&served) != contents(&other), "the model that serves has learned from them");
    let after = rebuilt(&mut served, &nothing_kept(), &with);
    let expected = rebuilt(&mut other, &nothing_kept(), &never);
    assert!(expected.version() > 4 && expected.replay_len() == 10);
    assert!(contents(&after) == contents(&expected), "bit for bit");
    assert!(contents(&after) != contents(&served));
    assert!(after.version() > served.version(), "the version never goes back");
    assert_eq!((after.up_to(), after.clean_up_to()), (served.up_to(), served.up_to()));
}

#[test]
fn it_begins_at_the_newest_state_that_never_heard_the_event() {
    let bench = Bench::new();
    let mut events = ratings();
    events.push(retract("e9"));
    let (with, never) = (journal(events, 1), journal(without(&["e9"]), 1));
    let anchors = |journal: &Journal| {
        let mut mind = bench.mind();
        let kept = [4, 8, 13].map(|last| {
            live(&mut mind, journal, last);
            keep(&mind)
        });
        (mind, Kept(kept.into()))
    };
    let ((mut served, kept), (mut other, kept_without)) = (anchors(&with), anchors(&never));
    live(&mut served, &with, u64::MAX);
    live(&mut other, &never, u64::MAX);
    let after = rebuilt(&mut served, &kept, &with);
    let taken: Vec<bool> = kept.0.iter().map(|(_, state)| state.borrow().is_none()).collect();
    assert_eq!(taken, [false, true, false], "the third had heard it, the first is older than need be");
    // The other one goes on from the same state, which is the same since nothing differs before.
    kept_without.0[2].1.borrow_mut().take();
    let kept_without = Kept(kept_without.0.into_iter().take(2).collect());
    let expected = rebuilt(&mut other, &kept_without, &never);
    assert!(contents(&after) == contents(&expected), "bit for bit");
}

#[test]
fn a_state_that_heard_what_was_taken_back_is_never_begun_with() {
    let bench = Bench::new();
    let mut events = ratings();
    events.push(retract("e9"));
    let journal = journal(events, 1);
    let mut mind = bench.mind();
    live(&mut mind, &journal, 14);
    let before = keep(&mind).0;
    let retractions = retractions(&journal);
    assert_eq!(retractions.spoiling(before.clean_up_to, before.up_to).len(), 1, "saved before it was taken back");
    live(&mut mind, &journal, u64::MAX);
    mind.take_back(&retractions.spoiling(0, u64::MAX)[0]);
    let dirty = keep(&mind).0;
    assert_eq!((dirty.up_to, dirty.clean_up_to), (15, 14), "saved before it was learned anew");
    assert_eq!(retractions.spoiling(dirty.clean_up_to, dirty.up_to).len(), 1);
    let mut again = bench.mind();
    again.restore(mind.state()).unwrap();
    assert_eq!(again.clean_up_to(), 14, "and a restart knows");
    let clean = keep(&rebuilt(&mut mind, &nothing_kept(), &journal)).0;
    assert!(retractions.spoiling(clean.clean_up_to, clean.up_to).is_empty());
}

#[test]
fn a_retraction_itself_or_a_second_one_changes_nothing() {
    let events = [ratings().remove(0), retract("e1"), retract("not-e1"), said("again", retract("e1").kind)];
    let journal = journal(events, 1);
    let mut retractions = Retractions::default();
    let noted: Vec<bool> = journal.0.iter().map(|e| retractions.note(e, &journal).unwrap().is_some()).collect();
    assert_eq!(noted, [false, true, false, false]);
}

#[test]
fn a_restored_replay_holds_the_same_events() {
    let bench = Bench::new();
    let journal = journal(ratings(), 1);
    let mut mind = bench.mind();
    live(&mut mind, &journal, u64::MAX);
    let mut again = bench.mind();
    let mut recall = again.restore(mind.state()).unwrap();
    while recall.page(&mut again, &journal).unwrap() {}
    assert_eq!(again.state().scalars, mind.state().scalars);
    mind.learn().unwrap();
    again.learn().unwrap();
    assert_eq!(again.state().scalars, mind.state().scalars);
    assert!(contents(&again) == contents(&mind), "and goes on bit for bit");
}

/// The same journal as if some events, and their retractions, had never been given.
struct Without<'a>(&'a StoreLog, &'a [&'a str]);

impl FeedbackLog for Without<'_> {
    fn append(&self, _: &Feedback, _: LogReply) -> Result<(), LogError> {
        Err(LogError::Full)
    }

    fn read_after(&self, cursor: u64, limit: usize) -> Result<Vec<DurableFeedback>, LogError> {
        let never = |event: &DurableFeedback| {
            let of = match &event.feedback.kind {
                FeedbackKind::Retract { feedback } => feedback,
                _ => &event.feedback.id,
            };
            self.1.contains(&of.as_str())
        };
        let mut events = self.0.read_after(cursor, limit)?;
        events.retain(|event| !never(event));
        Ok(events)
    }

    fn find(&self, id: &str) -> Result<Option<DurableFeedback>, LogError> {
        self.0.find(id)
    }
}

async fn started(dir: &std::path::Path) -> Daemon {
    let mut config = tiny_config(7);
    config.reward.batch_size = 2;
    let mut parts = tiny_parts(dir, 7, Scripted::honest(bright_tokens(7)), Failpoints::off());
    (parts.sources, parts.rater) = (Vec::new(), None);
    Daemon::start(config, parts).await.unwrap()
}

async fn give(handle: &DaemonHandle, feedback: Feedback) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    handle.submit_feedback(feedback, deadline).await.unwrap();
}

/// Waits until all that was said is heard and nothing is learned anew.
async fn settled(handle: &DaemonHandle) {
    let newest = handle.store().newest(RecordKind::Feedback).unwrap();
    let last = newest.map_or(0, |record| record.seq);
    while handle.status().reward.rebuilding || handle.status().reward.up_to < last {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// The checkpointed reward model of a daemon, and the same learned anew from its journal without what was never given.
async fn checkpointed(handle: &DaemonHandle, never: &[&str]) -> [Everything; 2] {
    let done = handle.checkpoint().await.unwrap();
    let checkpoint = understudy_checkpoints::checkpoint::load(&done.path).unwrap();
    let mut config = tiny_config(7);
    config.reward.batch_size = 2;
    let base = tiny_base(7);
    let fresh = Arc::new(move || {
        let (trunk, branch) = base.share();
        RewardLearner::new(trunk, &branch, config.reward.clone(), 7)
    });
    let mut mind = Mind::new(parts(fresh, tiny_config(7).hearing, handle.answers().clone())).unwrap();
    mind.restore(Saved::reward(&checkpoint).unwrap()).unwrap();
    let log = StoreLog(handle.store().clone());
    let (log, mut retractions) = (Without(&log, never), Retractions::default());
    let mut rebuild = Rebuild::begin(&mind, &nothing_kept(), &retractions, custody()).unwrap();
    while rebuild.step(mind.up_to(), &log, &mut retractions).unwrap() == Step::Worked {}
    let everything = |mind: &Mind| (contents(mind), mind.state().scalars["openness"].clone());
    let learned = everything(&mind);
    [learned, everything(&rebuild.finish(&mut mind).unwrap())]
}

/// Tensors and scalars, and what is known of questions.
type Everything = ((Vec<u8>, [serde_json::Value; 3]), serde_json::Value);

#[test]
fn the_running_loop_forgets_what_was_taken_back_also_across_a_kill() {
    let dir = TempDir::new().unwrap();
    let thumb = |id: &str, answer, up| said(id, FeedbackKind::Thumb { answer, up });
    running(async {
        let daemon = started(dir.path()).await;
        let handle = daemon.handle();
        let mut ids = Vec::new();
        for text in ["one", "two"] {
            let messages = vec![understudy_model::text::Message::user(text)];
            let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
            let chat = ChatRequest { messages, samples: 2, sampling: sampling(6), stop: vec![], deadline, asked_at: 0 };
            let mut stream = handle.chat(chat).unwrap();
            while let Some(event) = stream.next().await {
                ids.extend(if let TokenEvent::Finished { answer, .. } = event { Some(answer) } else { None });
            }
        }
        for (at, answer) in ids.iter().chain(&ids).enumerate() {
            give(&handle, thumb(&format!("t{at}"), *answer, at % 3 == 0)).await;
        }
        settled(&handle).await;
        let before = handle.status().reward.version;
        let [learned, never] = checkpointed(&handle, &["t2"]).await;
        assert!(learned != never, "it has learned from the rating");
        give(&handle, retract("t2")).await;
        settled(&handle).await;
        let [now, never] = checkpointed(&handle, &["t2"]).await;
        assert!(now == never, "bit for bit as if it had never been given");
        assert!(handle.status().reward.version > before);
        // Another one is taken back, and the process dies before anything is learned anew.
        give(&handle, retract("t5")).await;
    });
    running(async {
        let daemon = started(dir.path()).await;
        let handle = daemon.handle();
        settled(&handle).await;
        let [now, never] = checkpointed(&handle, &["t2", "t5"]).await;
        assert!(now == never, "the checkpoint that had heard it is not gone on with");
        let by = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        daemon.drain(by).run(by, std::future::pending()).await.expect("a clean end");
    });
}
