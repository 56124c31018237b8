//! What an end does with ratings that the reward model has no time for.

use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use tokio::time::{Duration, timeout};
use understudy_checkpoints::{Store, StoreConfig};
use understudy_learning::stages::{Feedback, FeedbackKind};

use super::{FeedbackJob, PassedOn};
use crate::answers::Answers;
use crate::failpoint::Failpoints;
use crate::link::{Feed, Port};
use crate::seams::{FeedbackLog, StoreLog};
use crate::testkit::running;

/// So many wait for a reward model that takes none of them.
const WAITING: u64 = 5;
/// It has room for so many.
const ROOM: usize = 2;

/// A job behind which so many ratings are acknowledged and none is passed on; the port has room for `room`.
fn job(store: &Store, room: usize) -> FeedbackJob {
    let log = StoreLog(store.handle());
    let passed_on = PassedOn::after(0);
    for number in 0..WAITING {
        let kind = FeedbackKind::Thumb { answer: 1, up: true };
        let feedback = Feedback { id: number.to_string(), annotator: "ana".into(), at: 1, kind, why: None };
        passed_on.0.offered.fetch_add(1, Ordering::AcqRel);
        let told = passed_on.clone();
        log.append(&feedback, Box::new(move |outcome| told.answered(&outcome))).unwrap();
    }
    FeedbackJob {
        inbox: Port::new("feedback", 1).inlet(),
        ratings: Port::new("ratings", room),
        events: Feed::new("events", 8),
        answers: Answers::new(store.handle(), 1),
        log: Box::new(log),
        passed_on,
        failpoints: Failpoints::off(),
    }
}

#[test]
fn an_end_leaves_what_the_reward_model_has_no_room_for_in_the_journal() {
    let dir = TempDir::new().unwrap();
    let (store, _) = Store::open(dir.path(), StoreConfig::default()).unwrap();
    running(async {
        let (job, taking) = (job(&store, ROOM), AtomicBool::new(true));
        let patience = Duration::from_secs(20);
        let ending = async {
            while job.ratings.len() < ROOM {
                tokio::task::yield_now().await;
            }
            // It waits for room, and the end begins.
            tokio::task::yield_now().await;
            taking.store(false, Ordering::Release);
            job.passed_on.0.changed.notify_one();
        };
        let (passed, ()) = tokio::join!(timeout(patience, job.pass_all_on(&taking)), ending);
        assert_eq!(passed.expect("an end waits for no reward model"), Ok(()));
        assert_eq!(job.passed_on.seq(), ROOM as u64, "what has room is passed on, the rest is not taken for passed on");
    });
    store.close().unwrap();
}

#[test]
fn an_end_still_passes_on_what_has_room() {
    let dir = TempDir::new().unwrap();
    let (store, _) = Store::open(dir.path(), StoreConfig::default()).unwrap();
    running(async {
        let job = job(&store, WAITING as usize);
        let passed = timeout(Duration::from_secs(20), job.pass_all_on(&AtomicBool::new(false))).await;
        assert_eq!((passed, job.passed_on.seq()), (Ok(Ok(())), WAITING));
    });
    store.close().unwrap();
}
