//! `Pace`: admits samples for training only so far ahead of the learner that none is older than the staleness bound when
//! it is learned from.
//!
//! Invariant: with `n` samples admitted and not given back, `v` updates done and `B` samples an update,
//! `n <= (eta + v + 1) * B` (AReaL, arXiv 2505.24298, equation 3). When samples are learned in order of admission, the
//! one admitted last is consumed by an update that begins at version `eta + v` at most, so its staleness is at most `eta`;
//! and when all in flight are consumed there is always room, so the gate cannot lock itself. A sample that is lost gives
//! its place back when its [`Ticket`] is dropped.

use std::future::Future;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::locked::locked;
use crate::metric;

/// Why samples were not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PaceError {
    /// They would become too old; wait for the learner.
    #[error("no room before the learner's next update")]
    Full,
    /// The daemon is shutting down.
    #[error("the pace is closed; the daemon is shutting down")]
    Closed,
    /// More at once than would ever be admitted.
    #[error("{asked} samples at once, but at most {most} can ever be in flight; raise max_staleness or batch_size")]
    TooMany {
        /// Samples asked for.
        asked: u64,
        /// `(eta + 1) * B`.
        most: u64,
    },
}

/// The gate. Clones are the same gate.
#[derive(Clone)]
pub struct Pace {
    core: Arc<Core>,
}

/// The right to bring samples to the learner. Dropped unspent, it gives their places back.
pub struct Ticket {
    pace: Pace,
    samples: u64,
}

struct Core {
    batch: u64,
    max_staleness: u64,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    version: u64,
    admitted: u64,
    closed: bool,
}

impl Pace {
    /// A gate for a learner that is at `version` and takes `batch` samples (at least one) an update. What was in flight
    /// before a restart is gone, so exactly `version * batch` samples count as admitted.
    pub fn new(batch: u64, max_staleness: u64, version: u64) -> Self {
        let batch = batch.max(1);
        let state = State { version, admitted: version.saturating_mul(batch), closed: false };
        Self { core: Arc::new(Core { batch, max_staleness, state: Mutex::new(state), changed: Notify::new() }) }
    }

    /// Admits `samples` if none of them would become too old.
    pub fn try_admit(&self, samples: u64) -> Result<Ticket, PaceError> {
        let most = self.core.limit(0);
        if samples > most {
            return Err(PaceError::TooMany { asked: samples, most });
        }
        let mut state = locked(&self.core.state);
        if state.closed {
            return Err(PaceError::Closed);
        }
        let room = self.core.room(&state);
        if samples > room {
            return Err(PaceError::Full);
        }
        state.admitted += samples;
        metrics::gauge!(metric::PACE_ROOM).set((room - samples) as f64);
        Ok(Ticket { pace: self.clone(), samples })
    }

    /// Waits until `samples` are admitted; never `Full`. A large request may wait while smaller ones pass.
    pub fn admit(&self, samples: u64) -> impl Future<Output = Result<Ticket, PaceError>> + use<> {
        let pace = self.clone();
        async move {
            loop {
                let mut changed = std::pin::pin!(pace.core.changed.notified());
                changed.as_mut().enable(); // before looking, so that no change falls between
                match pace.try_admit(samples) {
                    Err(PaceError::Full) => changed.await,
                    decided => return decided,
                }
            }
        }
    }

    /// The learner finished the update that made `version`; older news is ignored.
    pub fn advance(&self, version: u64) {
        self.change(|state| state.version = state.version.max(version));
    }

    /// Gives back places whose tickets were spent: samples dropped on the way or refused by the learner.
    pub fn release(&self, samples: u64) {
        self.change(|state| state.admitted = state.admitted.saturating_sub(samples));
    }

    /// Admits nobody any more; whoever waits is told.
    pub fn close(&self) {
        self.change(|state| state.closed = true);
    }

    /// Waits until it is closed.
    pub fn closed(&self) -> impl Future<Output = ()> + use<> {
        let pace = self.clone();
        async move {
            loop {
                let mut changed = std::pin::pin!(pace.core.changed.notified());
                changed.as_mut().enable(); // before looking, so that no change falls between
                if locked(&pace.core.state).closed {
                    return;
                }
                changed.await;
            }
        }
    }

    /// Samples that would be admitted now: `(eta + v + 1) * B - n`.
    pub fn room(&self) -> u64 {
        self.core.room(&locked(&self.core.state))
    }

    /// The learner's version as known here.
    pub fn version(&self) -> u64 {
        locked(&self.core.state).version
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        {
            let mut state = locked(&self.core.state);
            change(&mut state);
            metrics::gauge!(metric::PACE_ROOM).set(self.core.room(&state) as f64);
        }
        self.core.changed.notify_waiters();
    }
}

impl Core {
    /// `(eta + v + 1) * B`.
    fn limit(&self, version: u64) -> u64 {
        self.max_staleness.saturating_add(version).saturating_add(1).saturating_mul(self.batch)
    }

    fn room(&self, state: &State) -> u64 {
        self.limit(state.version).saturating_sub(state.admitted)
    }
}

impl Ticket {
    /// Samples that it stands for.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// The samples reached the learner: their places are used up.
    pub fn spend(mut self) {
        self.samples = 0;
    }

    /// A ticket of its own for up to `samples` of these.
    #[must_use]
    pub fn split(&mut self, samples: u64) -> Ticket {
        let samples = samples.min(self.samples);
        self.samples -= samples;
        Ticket { pace: self.pace.clone(), samples }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.samples > 0 {
            self.pace.release(self.samples);
        }
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ticket({} samples)", self.samples)
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
