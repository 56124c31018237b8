//! Ratings as the desk heard them, so that one that is taken back can be counted out again.
//!
//! Invariant: at most [`MOST_SAID`], the oldest leave first; texts, names and ids are not kept, only a hash of the last
//! two.

use std::collections::{HashMap, VecDeque};

use understudy_learning::stages::{Feedback, FeedbackKind};

/// Most ratings that can still be taken out of the figures.
pub const MOST_SAID: usize = 16_384;

/// By a hash of the client's id.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    by_id: HashMap<u64, (u64, Feedback)>,
    order: VecDeque<u64>,
}

impl Said {
    /// Remembers what `who` said under the id that `id` is a hash of.
    pub(super) fn hear(&mut self, id: u64, who: u64, feedback: &Feedback) {
        let kind = match &feedback.kind {
            FeedbackKind::Edit { answer, .. } => FeedbackKind::Edit { answer: *answer, text: String::new() },
            FeedbackKind::Flag { answer, .. } => FeedbackKind::Flag { answer: *answer, reason: String::new() },
            kind => kind.clone(),
        };
        let bare = Feedback { id: String::new(), annotator: String::new(), at: feedback.at, kind, why: None };
        if self.by_id.insert(id, (who, bare)).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > MOST_SAID
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
        }
    }

    /// Forgets and gives what `who` said under that id; nobody takes back what others said.
    pub(super) fn take_back(&mut self, id: u64, who: u64) -> Option<Feedback> {
        if self.by_id.get(&id)?.0 != who {
            return None;
        }
        self.order.retain(|other| *other != id);
        self.by_id.remove(&id).map(|(_, feedback)| feedback)
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.by_id.len(), self.order.len())
    }
}
