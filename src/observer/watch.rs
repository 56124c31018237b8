//! The observer at work: one subscription to a daemon's events and a regular look at its state.
//!
//! Invariant: it ends when the daemon's feed ends, and its readers with it.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{MissedTickBehavior, interval};
use understudy_actors::daemon::DaemonHandle;

use super::Observer;
use crate::clock;

/// Between two looks at rates and at the reward model's view.
const BEAT: Duration = Duration::from_secs(2);

impl Observer {
    /// Watches until the daemon ends. Events are seen from the first call of the returned future's `poll` on.
    pub async fn watch(self, handle: DaemonHandle) {
        let mut events = handle.events();
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.take(clock::now_ms(), &event),
                    None => break,
                },
                _ = beats.tick() => self.beat(clock::now_ms(), &handle.reward()),
            }
        }
        self.end();
    }
}
