//! When the questions of a replay are due.
//!
//! Invariant: two questions are as far apart as they were, divided by the speed, or further where the learner is slower; the
//! first after a start is due at once, so that a restart goes on where it was.

use std::time::Duration;

use tokio::time::Instant;

/// Longest wait that is told at a time; the question is asked for again then.
const LONGEST: f64 = 60.0;

/// Which moment of the past is now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moments {
    /// Its seconds to one of ours.
    speed: f64,
    /// When the first question was given and when it had been asked; the newest since, and its position.
    begun: Option<(Instant, i64, i64, u64)>,
}

impl Moments {
    /// `speed` is above 0.
    pub(super) fn new(speed: f64) -> Self {
        Self { speed, begun: None }
    }

    /// How long to wait for the question at `position`, asked at `at` (milliseconds); `None` when it is due.
    pub(super) fn wait(&mut self, position: u64, at: i64, now: Instant) -> Option<Duration> {
        match &mut self.begun {
            // Time goes on, in the same run through the corpus.
            Some((start, first, newest, last)) if at >= *newest && position >= *last => {
                let due = (at - *first) as f64 / 1000.0 / self.speed;
                let left = due - now.saturating_duration_since(*start).as_secs_f64();
                if left > 0.0 {
                    return Some(Duration::from_secs_f64(left.min(LONGEST)));
                }
                (*newest, *last) = (at, position);
            }
            // The first, or the first again.
            _ => self.begun = Some((now, at, at, position)),
        }
        None
    }
}
