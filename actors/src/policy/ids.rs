//! Where answer ids come from.
//!
//! Invariant: an id is given once in the life of a data directory. The counter belongs to the daemon and not to an
//! incarnation of the policy, and begins above every id in the journal. An id is told only when its answer is durable,
//! so ids that a crash swallowed were never seen by anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use understudy_learning::stages::AnswerId;

/// The counter. Clones are the same counter.
#[derive(Debug, Clone)]
pub struct AnswerIds(Arc<AtomicU64>);

impl AnswerIds {
    /// Goes on after `highest`, the highest id in the journal (0: none yet).
    pub fn after(highest: AnswerId) -> Self {
        Self(Arc::new(AtomicU64::new(highest + 1)))
    }

    /// `count` fresh consecutive ids; the first of them.
    pub fn take(&self, count: usize) -> AnswerId {
        self.0.fetch_add(count as u64, Ordering::Relaxed)
    }

    /// The next id that would be given.
    pub fn next(&self) -> AnswerId {
        self.0.load(Ordering::Relaxed)
    }
}
