//! Who is at work on which candidate.
//!
//! Invariant: at most one lease a candidate and one an annotator, so no more than there are candidates; one that has run
//! out counts no more.

use std::collections::BTreeMap;

use understudy_learning::stages::AnswerId;

use super::task::TaskName;

/// A task that somebody is at work on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lease {
    who: u64,
    name: TaskName,
    until_ms: u64,
}

/// The leases by candidate.
#[derive(Debug, Clone, Default)]
pub(super) struct Leases(BTreeMap<AnswerId, Lease>);

impl Leases {
    /// Drops those that ran out by `now_ms`.
    pub(super) fn expire(&mut self, now_ms: u64) {
        self.0.retain(|_, lease| lease.until_ms > now_ms);
    }

    /// What this annotator is at work on: the candidate and the task.
    pub(super) fn of(&self, who: u64) -> Option<(AnswerId, TaskName)> {
        self.0.iter().find(|(_, lease)| lease.who == who).map(|(group, lease)| (*group, lease.name.clone()))
    }

    /// Whether somebody else is at work on a candidate.
    pub(super) fn taken(&self, group: AnswerId, who: u64) -> bool {
        self.0.get(&group).is_some_and(|lease| lease.who != who)
    }

    /// Gives a candidate to an annotator until `until_ms`; what they had before is free again. One that somebody else has
    /// stays theirs.
    pub(super) fn give(&mut self, group: AnswerId, who: u64, name: &TaskName, until_ms: u64) {
        self.0.retain(|_, lease| lease.who != who);
        self.0.entry(group).or_insert_with(|| Lease { who, name: name.clone(), until_ms });
    }

    /// This annotator is done with a candidate.
    pub(super) fn release(&mut self, group: AnswerId, who: u64) {
        if self.0.get(&group).is_some_and(|lease| lease.who == who) {
            self.0.remove(&group);
        }
    }

    /// A candidate is none any more.
    pub(super) fn forget(&mut self, group: AnswerId) {
        self.0.remove(&group);
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
