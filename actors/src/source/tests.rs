//! A source that has nothing yet holds nothing up: neither the learner, nor whoever chats, nor the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::daemon::Daemon;
use crate::failpoint::Failpoints;
use crate::lockstep::Lockstep;
use crate::testkit::{Scripted, bright_tokens, question, running, tiny_config, tiny_parts};

/// A list that has nothing beyond its first `few` before it is opened; without a door, nothing at every other look.
struct Shy {
    inner: ListSource,
    few: u64,
    open: Option<Arc<AtomicBool>>,
    asked: Arc<AtomicU64>,
}

impl Shy {
    fn new(few: u64, open: Option<Arc<AtomicBool>>) -> (Self, Arc<AtomicU64>) {
        let asked = Arc::new(AtomicU64::new(0));
        let questions = (0..8).map(|i| question(&format!("q{i}"))).collect();
        let inner = ListSource::new("list", questions, true);
        (Self { inner, few, open, asked: asked.clone() }, asked)
    }
}

impl QuestionSource for Shy {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn draw(&mut self, position: u64) -> Result<Draw, SourceError> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let closed = match &self.open {
            Some(open) => position >= self.few && !open.load(Ordering::Relaxed),
            None => asked.is_multiple_of(2),
        };
        if closed { Ok(Draw::NotYet(Duration::from_millis(2))) } else { self.inner.draw(position) }
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waits = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waits).await.unwrap_or_else(|_| panic!("waited for {what}"));
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[test]
fn a_source_with_nothing_yet_is_asked_again_and_takes_no_place_from_the_learner() {
    let dir = TempDir::new().unwrap();
    running(async {
        let mut parts = tiny_parts(dir.path(), 7, Scripted::honest(bright_tokens(7)), Failpoints::off());
        let open = Arc::new(AtomicBool::new(false));
        let (source, asked) = Shy::new(2, Some(open.clone()));
        parts.sources = vec![Box::new(source)];
        let daemon = Daemon::start(tiny_config(7), parts).await.unwrap();
        let handle = daemon.handle();
        // Far more often than there are places: each look gave its place back.
        until("a hundred looks", || asked.load(Ordering::Relaxed) > 100).await;
        open.store(true, Ordering::Relaxed);
        until("updates", || handle.status().policy_version >= 2).await;
        open.store(false, Ordering::Relaxed);
        let before = asked.load(Ordering::Relaxed);
        until("looks in vain", || asked.load(Ordering::Relaxed) > before + 20).await;
        // It ends though the source still has nothing.
        daemon.drain(soon()).run(soon(), std::future::pending()).await.unwrap();
    });
    // The place in the list outlived it.
    running(async {
        let parts = tiny_parts(dir.path(), 7, Scripted::honest(bright_tokens(7)), Failpoints::off());
        let records = parts.store.handle().read_from(RecordKind::Cursor, 0, 10_000).unwrap();
        let last: (String, u64) = postcard::from_bytes(&records.last().unwrap().bytes).unwrap();
        assert!(last.0 == "list" && last.1 > 2, "{last:?}");
    });
}

#[test]
fn in_lockstep_a_source_that_hesitates_gives_the_same_run() {
    let run = |hesitates: bool| {
        let dir = TempDir::new().unwrap();
        running(async {
            let mut parts = tiny_parts(dir.path(), 7, Scripted::honest(bright_tokens(7)), Failpoints::off());
            if hesitates {
                parts.sources = vec![Box::new(Shy::new(0, None).0)];
            }
            let mut config = tiny_config(7);
            config.lockstep = Some(Lockstep { until_version: Some(2) });
            let daemon = Daemon::start(config, parts).await.unwrap();
            let handle = daemon.handle();
            until("two updates", || handle.status().policy_version >= 2).await;
            daemon.drain(soon()).run(soon(), std::future::pending()).await.unwrap();
        });
        let (store, _) = understudy_checkpoints::Store::open(dir.path(), Default::default()).unwrap();
        let answers = store.handle().read_from(RecordKind::Answer, 0, 10_000).unwrap();
        answers.into_iter().map(|record| record.bytes).collect::<Vec<_>>()
    };
    let (plain, hesitating) = (run(false), run(true));
    assert!(!plain.is_empty() && plain == hesitating, "{} and {} answers", plain.len(), hesitating.len());
}
