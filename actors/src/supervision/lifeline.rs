//! `Lifeline`: what an incarnation holds of its supervision.
//!
//! Invariant: an actor that ends without having said `finish` or `fail` has failed. The lifeline gives no way to reach
//! another actor.

use std::fmt::Display;
use std::sync::{Arc, Mutex};

use super::exit::Exit;
use super::in_hand::{Hold, InHand};
use super::progress::{Progress, Unit};
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
    said: Arc<Mutex<Option<Exit>>>,
}

impl Lifeline {
    /// The lifeline of an incarnation; by hand only for an actor that runs without supervision, in a test.
    pub fn new(actor: &'static str, incarnation: u64, progress: Progress) -> Self {
        let (in_hand, cancel, said) = Default::default();
        Self { actor, incarnation, progress, in_hand, cancel, said }
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

    /// Describes what it takes up, for the report should it die of it.
    pub fn hold(&self, label: impl Into<String>) -> Hold {
        self.in_hand.hold(label, None)
    }

    /// As [`Lifeline::hold`], with the content that a quarantine keeps.
    pub fn hold_content(&self, label: impl Into<String>, content: Arc<[u8]>) -> Hold {
        self.in_hand.hold(label, Some(content))
    }

    /// What it holds.
    pub fn in_hand(&self) -> &InHand {
        &self.in_hand
    }

    pub(super) fn said(&self) -> Option<Exit> {
        locked(&self.said).clone()
    }
}
