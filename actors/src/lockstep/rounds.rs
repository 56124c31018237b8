//! Where a run in lockstep stands.
//!
//! Invariant: while a round is under way no state of the loop is one to go on from, and [`Rounds::saved`] says so.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;
use crate::locked::locked;

/// What a checkpoint holds of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundState {
    /// Rounds that are over.
    pub rounds: u64,
    /// Questions that were drawn for them.
    pub questions: u64,
}

/// Shared by the conductor, who counts, and the checkpoint actor, who saves. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Rounds {
    inner: Arc<Mutex<Inner>>,
    /// Fired when an actor failed: the round cannot be ended.
    broken: Cancel,
}

#[derive(Debug)]
struct Inner {
    state: RoundState,
    under_way: bool,
}

impl Rounds {
    /// Goes on after `state`.
    pub(crate) fn after(state: RoundState) -> Self {
        Self { inner: Arc::new(Mutex::new(Inner { state, under_way: false })), broken: Cancel::new() }
    }

    /// What is over.
    pub(crate) fn state(&self) -> RoundState {
        locked(&self.inner).state
    }

    /// A round begins.
    pub(crate) fn begin(&self) {
        locked(&self.inner).under_way = true;
    }

    /// The round is over, and `questions` were drawn for it.
    pub(crate) fn end(&self, questions: u64) {
        let mut inner = locked(&self.inner);
        inner.under_way = false;
        inner.state.rounds += 1;
        inner.state.questions += questions;
    }

    /// For a checkpoint; an error in the middle of a round.
    pub(crate) fn saved(&self) -> Result<RoundState, String> {
        let inner = locked(&self.inner);
        match inner.under_way {
            false => Ok(inner.state),
            true => Err(format!(
                "round {} is under way: a run in lockstep goes on from the checkpoint before it",
                inner.state.rounds + 1
            )),
        }
    }

    /// Fired when the round under way cannot be ended.
    pub(crate) fn broken(&self) -> &Cancel {
        &self.broken
    }
}
