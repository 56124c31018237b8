//! Collects scored groups until there are enough answers for an update.
//!
//! Invariant: answers to one prompt stay together, so that a batch never tears a group apart.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::locked::locked;
use crate::messages::ScoredGroup;

/// A batcher that outlives incarnations of its actor. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Waiting(Arc<Mutex<Batcher>>);

impl Waiting {
    /// For batches of at least `batch_size` rollouts.
    pub(crate) fn new(batch_size: usize) -> Self {
        Self(Arc::new(Mutex::new(Batcher::new(batch_size))))
    }

    /// Adds a group.
    pub(crate) fn push(&self, group: ScoredGroup) {
        locked(&self.0).push(group);
    }

    /// Whether [`Waiting::take`] would give a batch.
    pub(crate) fn is_ready(&self) -> bool {
        locked(&self.0).is_ready()
    }

    /// The oldest groups that together reach the batch size.
    pub(crate) fn take(&self) -> Option<Vec<ScoredGroup>> {
        locked(&self.0).take()
    }
}

/// Whole groups waiting for an update.
#[derive(Debug)]
pub(crate) struct Batcher {
    batch_size: usize,
    groups: VecDeque<ScoredGroup>,
}

impl Batcher {
    /// Batches of at least `batch_size` rollouts.
    pub(crate) fn new(batch_size: usize) -> Self {
        Self { batch_size: batch_size.max(1), groups: VecDeque::new() }
    }

    /// Adds a group; an empty one is no group.
    pub(crate) fn push(&mut self, group: ScoredGroup) {
        if !group.rollouts.is_empty() {
            self.groups.push_back(group);
        }
    }

    /// Rollouts at hand.
    pub(crate) fn len(&self) -> usize {
        self.groups.iter().map(|group| group.rollouts.len()).sum()
    }

    /// Whether [`Batcher::take`] would give a batch.
    pub(crate) fn is_ready(&self) -> bool {
        self.len() >= self.batch_size
    }

    /// The oldest groups that together reach the batch size; `None` while there are too few.
    pub(crate) fn take(&mut self) -> Option<Vec<ScoredGroup>> {
        if !self.is_ready() {
            return None;
        }
        let (mut batch, mut size) = (Vec::new(), 0);
        while size < self.batch_size {
            let group = self.groups.pop_front().expect("is_ready counted enough rollouts");
            size += group.rollouts.len();
            batch.push(group);
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::scored_group;

    #[test]
    fn a_batch_holds_whole_groups_in_order_of_arrival() {
        let mut batcher = Batcher::new(5);
        for (first, size) in [(10, 3), (20, 1), (30, 3), (40, 3)] {
            batcher.push(scored_group(first, size));
        }
        let batch = batcher.take().unwrap();
        let ids: Vec<_> = batch.iter().flat_map(|group| &group.rollouts).map(|scored| scored.rollout.id).collect();
        assert_eq!(ids, [10, 11, 12, 20, 30, 31, 32]);
        assert_eq!(batcher.len(), 3);
        assert!(batcher.take().is_none(), "three rollouts are no batch of five");
    }
}
