//! The observer at work: what was said before, one subscription to a daemon's events, a regular look at its state.
//!
//! Invariant: no event since the call is missed, and none counts twice; it ends when the daemon's feed ends, and its
//! readers with it.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use understudy_actors::daemon::DaemonHandle;
use understudy_actors::past::Past;

use super::Observer;
use super::opinions::MOST_RATINGS;
use crate::clock;

/// Between two looks at rates and at the reward model's view.
const BEAT: Duration = Duration::from_secs(2);
/// Beats between two times that the scores are written down.
const KEEP_EVERY: u64 = 15;
/// Answers from before the start that can become tasks.
const MOST_ANSWERS: usize = 2048;
/// Ratings read from the store at a time.
const CHUNK: usize = 1024;

impl Observer {
    /// Watches from now on until the daemon ends. Within an actix system.
    pub fn watch(self, handle: DaemonHandle) -> impl Future<Output = ()> + 'static {
        let mut events = handle.events();
        async move {
            let (observer, past) = (self.clone(), handle.past());
            if let Err(error) = actix_web::web::block(move || observer.read_back(&past)).await {
                tracing::warn!(%error, "what was said before the start was not read");
            }
            let mut beats = interval_at(Instant::now() + BEAT, BEAT);
            beats.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let mut beat = 0;
            loop {
                tokio::select! {
                    event = events.next() => match event {
                        Some(event) => self.take(clock::now_ms(), &event),
                        None => break,
                    },
                    _ = beats.tick() => {
                        self.beat(clock::now_ms(), &handle.reward());
                        beat += 1;
                        if beat % KEEP_EVERY == 0 {
                            // Nobody waits for it: events go on meanwhile.
                            let observer = self.clone();
                            drop(actix_web::rt::task::spawn_blocking(move || observer.keep_scores()));
                        }
                    }
                }
            }
            self.end();
        }
    }

    /// Takes up the newest answers and their scores, then the newest of what was said of answers, and then what was skipped.
    fn read_back(&self, past: &Past) {
        match past.answers(u64::MAX, MOST_ANSWERS) {
            Ok(answers) => answers.iter().for_each(|(_, answer)| self.recall_answer(answer.group, answer.id)),
            Err(error) => tracing::warn!(%error, "answers from before the start could not be read"),
        }
        self.recall_scores();
        let (mut before, mut found) = (u64::MAX, Vec::new());
        while found.len() < MOST_RATINGS {
            match past.feedback(before, CHUNK) {
                Ok(chunk) if chunk.is_empty() => break,
                Ok(chunk) => {
                    before = chunk.last().map_or(0, |oldest| oldest.seq);
                    found.extend(chunk);
                }
                Err(error) => {
                    tracing::warn!(%error, "ratings from before the start could not all be read");
                    break;
                }
            }
        }
        found.iter().rev().for_each(|said| self.recall(said.seq, &said.feedback));
        self.recall_skips();
    }
}
