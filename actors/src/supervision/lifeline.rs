//! `Lifeline`: what an incarnation holds of its supervision.
//!
//! Invariant: an actor that ends without having said `finish` or `fail` has failed. The lifeline gives no way to reach
//! another actor.

use std::fmt::Display;
use std::sync::{Arc, Mutex};

use super::exit::Exit;
use super::in_hand::{Held, Hold, InHand};
use super::progress::{Progress, Unit};
use super::quarantine::Quarantine;
use crate::cancel::Cancel;
use crate::locked::locked;

/// One incarnation's link to its supervisor. Clones are the same link.
#[derive(Debug, Clone)]
pub struct Lifeline {
    actor: &'static str,
    incarnation: u64,
    progress: Progress,
    in_hand: InHand,
    cancel: Cancel,
    quarantine: Quarantine,
    said: Arc<Mutex<Option<Exit>>>,
}

impl Lifeline {
    /// The lifeline of an incarnation; by hand only for an actor that runs without supervision, in a test.
    pub fn new(actor: &'static str, incarnation: u64, progress: Progress) -> Self {
        let (in_hand, cancel, said) = Default::default();
        Self { actor, incarnation, progress, in_hand, cancel, quarantine: Quarantine::in_memory(), said }
    }

    pub(super) fn with_quarantine(self, quarantine: Quarantine) -> Self {
        Self { quarantine, ..self }
    }

    /// The actor's name.
    pub fn actor(&self) -> &'static str {
        self.actor
    }

    /// Which incarnation, from 0.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The work is done: call it before `ctx.stop()`. The first word counts.
    pub fn finish(&self) {
        locked(&self.said).get_or_insert(Exit::Finished);
    }

    /// It cannot go on: call it before `ctx.stop()`. The first word counts.
    pub fn fail(&self, why: impl Display) {
        locked(&self.said).get_or_insert_with(|| Exit::Failed(why.to_string()));
    }

    /// The wish that it ends, to be looked at between units.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Its signs of life.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// A unit of work begins: `let _unit = lifeline.begin("minibatch")`.
    pub fn begin(&self, unit: &'static str) -> Unit {
        self.progress.begin(unit)
    }

    /// Describes what it takes up, for the report and the quarantine should it die of it.
    pub fn hold(&self, held: Held) -> Hold {
        self.in_hand.hold(held)
    }

    /// The outcome of work on what is held: after an error all that is held stays so, for the report.
    pub fn judge<T, E>(&self, outcome: Result<T, E>) -> Result<T, E> {
        if outcome.is_err() {
            self.in_hand.fail();
        }
        outcome
    }

    /// What must not be taken up, or only alone, because incarnations before died of it.
    pub fn quarantine(&self) -> &Quarantine {
        &self.quarantine
    }

    /// What it holds.
    pub fn in_hand(&self) -> &InHand {
        &self.in_hand
    }

    pub(super) fn said(&self) -> Option<Exit> {
        locked(&self.said).clone()
    }
}
