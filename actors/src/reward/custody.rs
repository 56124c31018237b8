//! Events in the reward actor's hand while it works on them, and those it must not take up any more.
//!
//! Invariant: whatever an incarnation dies of was named before; an event that made the work fail again and again is left
//! out by every later incarnation, of this run of the program or another, though the journal still holds it.

use std::collections::BTreeSet;

use understudy_learning::reward::RewardExample;
use understudy_learning::stages::Feedback;

use super::mind::{Chosen, Learned};
use crate::supervision::{Crash, Exit, Held, Lifeline};

/// Units of work whose events come again from the journal.
const UNITS: [&str; 4] = [SERVING.0, SERVING.1, REBUILDING.0, REBUILDING.1];
/// Hearing and learning of the model that serves.
const SERVING: (&str, &str) = ("hear", "learn");
/// The same of a model that is learned anew: what fails one need not fail the other.
const REBUILDING: (&str, &str) = ("hear-anew", "learn-anew");

/// The hand of one model. Clones are the same hand.
#[derive(Clone)]
pub(super) struct Custody {
    lifeline: Lifeline,
    units: (&'static str, &'static str),
}

impl Custody {
    /// For the model that serves.
    pub(super) fn serving(lifeline: Lifeline) -> Self {
        Self { lifeline, units: SERVING }
    }

    /// For a model that is learned anew beside it.
    pub(super) fn rebuilding(&self) -> Self {
        Self { lifeline: self.lifeline.clone(), units: REBUILDING }
    }

    /// Sequences of events that must not be taken up.
    pub(super) fn lost(&self) -> BTreeSet<u64> {
        let quarantine = self.lifeline.quarantine();
        UNITS.iter().flat_map(|unit| quarantine.lost(unit)).filter_map(|seq| seq.parse().ok()).collect()
    }

    /// Sequences of events to be learned from alone.
    pub(super) fn suspects(&self) -> BTreeSet<u64> {
        self.lifeline.quarantine().suspects(self.units.1).iter().filter_map(|seq| seq.parse().ok()).collect()
    }

    /// Hears an event with it in hand.
    pub(super) fn hear<T, E>(&self, seq: u64, said: &Feedback, hear: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let held = event(self.units.0, seq, said);
        let key = held.key.clone();
        let _hand = self.lifeline.hold(held);
        let heard = self.lifeline.judge(hear())?;
        key.iter().for_each(|key| self.lifeline.quarantine().acquit(key));
        Ok(heard)
    }

    /// Learns from a minibatch with all its events in hand. An event that was to prove itself and gave no finite step is
    /// left out from now on; its sequence is answered too.
    pub(super) fn learn<E>(
        &self,
        chosen: Chosen,
        learn: impl FnOnce(Chosen) -> Result<Learned, E>,
    ) -> Result<(Learned, Option<u64>), E> {
        let held = |example: &RewardExample| event(self.units.1, example.seq, &example.feedback);
        let events: Vec<Held> = chosen.batch.iter().map(held).collect();
        let proof = chosen.proof;
        let _hands: Vec<_> = events.iter().map(|held| self.lifeline.hold(held.clone())).collect();
        let learned = self.lifeline.judge(learn(chosen))?;
        let quarantine = self.lifeline.quarantine();
        if !learned.report.skipped {
            events.iter().flat_map(|held| &held.key).for_each(|key| quarantine.acquit(key));
            return Ok((learned, None));
        }
        if proof.is_some() {
            let (actor, incarnation) = (self.lifeline.actor(), self.lifeline.incarnation());
            let exit = Exit::Failed("its loss or gradient is not finite".to_owned());
            quarantine.convict(&Crash { actor, incarnation, exit, in_hand: events });
        }
        Ok((learned, proof))
    }
}

fn event(unit: &str, seq: u64, feedback: &Feedback) -> Held {
    let label = format!("feedback {} (journal {seq})", feedback.id);
    Held::new(label).saying(feedback).called(format!("{unit}/{seq}"))
}
