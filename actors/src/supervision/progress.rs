//! Signs of life that only work gives.
//!
//! Invariant: marks come from the work itself and not from timers (a timer may starve, or fire while the work hangs). An
//! actor outside of any unit (idle, or waiting on a full port) counts as alive.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::locked::locked;

/// An actor's signs of life. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    unit: Option<(u64, Cow<'static, str>, Instant)>,
    begun: u64,
}

/// A unit of work in progress; ends when dropped.
#[derive(Debug)]
#[must_use = "dropped at once it covers no work"]
pub struct Unit {
    progress: Progress,
    id: u64,
}

/// What an actor works on, and since when without a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    /// The unit's name.
    pub unit: String,
    /// The last mark.
    pub since: Instant,
}

impl Progress {
    /// A unit of work begins; an unfinished one before it is forgotten.
    pub fn begin(&self, unit: impl Into<Cow<'static, str>>) -> Unit {
        let mut state = locked(&self.0);
        state.begun += 1;
        let id = state.begun;
        state.unit = Some((id, unit.into(), Instant::now()));
        Unit { progress: self.clone(), id }
    }

    /// Units begun so far.
    pub fn units(&self) -> u64 {
        locked(&self.0).begun
    }

    /// What it works on now, if anything.
    pub fn busy(&self) -> Option<Busy> {
        let state = locked(&self.0);
        state.unit.as_ref().map(|(_, unit, since)| Busy { unit: unit.clone().into_owned(), since: *since })
    }

    /// Waits until a unit has worked for `budget` without a mark, and tells which and for how long.
    pub async fn stuck(&self, budget: Duration) -> (String, Duration) {
        loop {
            let now = Instant::now();
            let due = match self.busy() {
                Some(busy) if busy.since + budget <= now => return (busy.unit, now - busy.since),
                Some(busy) => busy.since + budget,
                None => now + budget,
            };
            tokio::time::sleep_until(due).await;
        }
    }

    /// No unit is in progress: a new incarnation begins.
    pub(super) fn reset(&self) {
        locked(&self.0).unit = None;
    }
}

impl Unit {
    /// The unit is getting on.
    pub fn mark(&self) {
        if let Some((id, _, since)) = &mut locked(&self.progress.0).unit
            && *id == self.id
        {
            *since = Instant::now();
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let mut state = locked(&self.progress.0);
        if state.unit.as_ref().is_some_and(|(id, ..)| *id == self.id) {
            state.unit = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_unit_without_marks_is_stuck() {
        let (progress, budget) = (Progress::default(), Duration::from_secs(10));
        let watched = tokio::spawn({
            let progress = progress.clone();
            async move { progress.stuck(budget).await }
        });
        tokio::time::sleep(Duration::from_secs(100)).await; // idle: alive
        let unit = progress.begin("minibatch");
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(9)).await;
            unit.mark();
        }
        assert!(!watched.is_finished(), "marks keep it alive");
        assert_eq!(watched.await.unwrap(), ("minibatch".to_owned(), budget));
        drop(unit);
        assert_eq!((progress.busy(), progress.units()), (None, 1));
    }
}
