//! A mind in a checkpoint, and back.
//!
//! Invariant: a restored mind whose replay was remembered goes on bit for bit; P(closed-ended) of its events is what it
//! was when they were taken up, whatever has been said since.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use understudy_learning::reward::openness::{Closedness, Origin};
use understudy_learning::stages::{Rollout, TrunkStates};
use understudy_learning::{LearnerState, LearningError};

use super::journal::Reader;
use super::mind::{Mind, MindError};
use super::replay::SavedReplay;
use crate::seams::FeedbackLog;

/// Saved beside the learner's own scalars.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Heard {
    up_to: u64,
    clean_up_to: u64,
    events: u64,
    learned: u64,
    base: u64,
    fresh: Vec<u64>,
    owed_bits: u64,
    since_normalised: u64,
    references: Vec<u64>,
    replay: SavedReplay,
    /// Sequence, bits of p, version and origin of the replay's events.
    closedness: Vec<(u64, u64, u64, Origin)>,
}

impl Mind {
    /// Everything that a restart needs besides the journal.
    pub(crate) fn state(&self) -> LearnerState {
        let kept = self.frozen.iter().filter(|(seq, _)| self.replay.contains(**seq));
        let heard = Heard {
            up_to: self.up_to,
            clean_up_to: self.clean_up_to(),
            events: self.heard,
            learned: self.learned,
            base: self.base,
            fresh: self.fresh.iter().copied().collect(),
            owed_bits: self.owed.to_bits(),
            since_normalised: self.since_normalised,
            references: self.references.iter().map(|answer| answer.id).collect(),
            replay: self.replay.state(),
            closedness: kept.map(|(seq, one)| (*seq, one.p.to_bits(), one.version, one.origin)).collect(),
        };
        let LearnerState { tensors, scalars } = self.learner.state();
        let scalars = serde_json::json!({
            "learner": scalars,
            "heard": heard,
            "openness": self.openness.state(),
            "drift": self.drift.state(),
            "collapse": self.probes.state(),
        });
        LearnerState { tensors, scalars }
    }

    /// Goes on from a saved state, whose replay is still to be remembered.
    pub(crate) fn restore(&mut self, state: LearnerState) -> Result<Recall, MindError> {
        let LearnerState { tensors, mut scalars } = state;
        let heard = serde_json::from_value::<Heard>(scalars["heard"].take())
            .map_err(|error| LearningError::state("heard", format!("does not read ({error})")))?;
        self.learner.restore(&LearnerState { tensors, scalars: scalars["learner"].take() })?;
        self.openness.restore(&scalars["openness"])?;
        self.drift.restore(&scalars["drift"])?;
        self.probes.restore(&scalars["collapse"], &self.parts.answers, &self.learner)?;
        (self.up_to, self.heard, self.learned, self.base) = (heard.up_to, heard.events, heard.learned, heard.base);
        self.dirty = (heard.clean_up_to < heard.up_to).then_some(heard.clean_up_to);
        self.fresh = heard.fresh.into();
        self.owed = f64::from_bits(heard.owed_bits);
        self.since_normalised = heard.since_normalised;
        let frozen = |(seq, bits, version, origin)| (seq, Closedness { p: f64::from_bits(bits), origin, version });
        self.frozen = heard.closedness.into_iter().map(frozen).collect();
        self.references.clear();
        for id in heard.references {
            if let Some(answer) = self.parts.answers.find(id)? {
                self.references.push(Rollout { trunk: TrunkStates::Absent, ..Rollout::clone(&answer) });
            }
        }
        let members = self.replay.restore(&heard.replay)?;
        let first = members.first().map_or(self.up_to, |first| first.saturating_sub(1));
        Ok(Recall { reader: Reader::after(first), members, up_to: self.up_to })
    }
}

/// Fills the replay of a restored mind from the journal, with exactly the events that it held.
#[derive(Debug)]
pub(crate) struct Recall {
    reader: Reader,
    members: BTreeSet<u64>,
    up_to: u64,
}

impl Recall {
    /// Events passed in one unit.
    const PAGE: usize = 64;

    /// Remembers a page of events; `false` when all are remembered. Those that cannot be (the journal or the store have
    /// let them go) leave the replay.
    pub(crate) fn page(&mut self, mind: &mut Mind, log: &dyn FeedbackLog) -> Result<bool, MindError> {
        for _ in 0..Self::PAGE {
            let event = if self.members.is_empty() { None } else { self.reader.next(log, self.up_to)? };
            let Some(event) = event else {
                self.members.iter().for_each(|lost| {
                    mind.replay.remove(*lost);
                });
                return Ok(false);
            };
            let seq = event.seq;
            if self.members.remove(&seq) && !mind.recall(event)? {
                mind.replay.remove(seq);
            }
        }
        Ok(true)
    }
}
