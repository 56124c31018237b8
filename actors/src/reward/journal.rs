//! The journal as the reward actor reads it: event by event, and what was taken back.
//!
//! Invariant: a reader gives each event once, in journal order; an event counts as taken back from the moment its
//! retraction was read, whichever of the two a reader meets first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use understudy_learning::stages::FeedbackKind;

use crate::seams::{DurableFeedback, FeedbackLog, LogError};

/// Events read from the journal at once.
const PAGE: usize = 256;

/// Reads the journal from a sequence on.
#[derive(Debug)]
pub(super) struct Reader {
    cursor: u64,
    page: VecDeque<DurableFeedback>,
}

impl Reader {
    /// Whose first event is the first one after `seq`.
    pub(super) fn after(seq: u64) -> Self {
        Self { cursor: seq, page: VecDeque::new() }
    }

    /// The next event up to sequence `last`; `None` where there is none (yet).
    pub(super) fn next(&mut self, log: &dyn FeedbackLog, last: u64) -> Result<Option<DurableFeedback>, LogError> {
        if self.page.is_empty() {
            self.page = log.read_after(self.cursor, PAGE)?.into();
            self.cursor = self.page.back().map_or(self.cursor, |event| event.seq);
        }
        let is_due = self.page.front().is_some_and(|event| event.seq <= last);
        Ok(if is_due { self.page.pop_front() } else { None })
    }
}

/// One event that was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retraction {
    /// Id of the event.
    pub(crate) id: String,
    /// Sequence of the event.
    pub(crate) of: u64,
    /// Sequence of its retraction.
    pub(crate) at: u64,
}

/// What was taken back, by the id of the event, and what is left out for other reasons. As large as the number of
/// retractions in the journal.
#[derive(Debug, Default)]
pub(super) struct Retractions {
    by_id: BTreeMap<String, Retraction>,
    left_out: BTreeSet<u64>,
}

impl Retractions {
    /// Takes note of a retraction; `None` when the event is none, repeats one, or names an event that is not kept or
    /// is a retraction itself.
    pub(super) fn note(
        &mut self,
        event: &DurableFeedback,
        log: &dyn FeedbackLog,
    ) -> Result<Option<Retraction>, LogError> {
        let FeedbackKind::Retract { feedback } = &event.feedback.kind else { return Ok(None) };
        if self.by_id.contains_key(feedback) {
            return Ok(None);
        }
        let named = log.find(feedback)?.filter(|named| named.seq < event.seq);
        let Some(named) = named else { return Ok(None) };
        if matches!(named.feedback.kind, FeedbackKind::Retract { .. }) {
            tracing::warn!(seq = event.seq, "a retraction cannot be taken back; give the rating again under a new id");
            return Ok(None);
        }
        let retraction = Retraction { id: feedback.clone(), of: named.seq, at: event.seq };
        self.by_id.insert(feedback.clone(), retraction.clone());
        Ok(Some(retraction))
    }

    /// The event is not to be learned from, though nobody took it back.
    pub(super) fn leave_out(&mut self, seq: u64) {
        self.left_out.insert(seq);
    }

    /// Whether the event is left out though nobody took it back.
    pub(super) fn leaves_out(&self, seq: u64) -> bool {
        self.left_out.contains(&seq)
    }

    /// Whether the event was taken back, or is left out.
    pub(super) fn holds(&self, event: &DurableFeedback) -> bool {
        self.by_id.contains_key(&event.feedback.id) || self.leaves_out(event.seq)
    }

    /// The retractions after `clean_up_to` of events up to `up_to`: a state that heard up to the latter and left out what
    /// was taken back up to the former must not be gone on with when there are any.
    pub(super) fn spoiling(&self, clean_up_to: u64, up_to: u64) -> Vec<Retraction> {
        let spoils = |one: &&Retraction| one.at > clean_up_to && one.of <= up_to;
        self.by_id.values().filter(spoils).cloned().collect()
    }
}
