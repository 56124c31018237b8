//! Published version numbers and the learner's own count of updates.
//!
//! Invariant: a published number is never used twice, also when a crash threw away the updates behind it. After a crash
//! the learner has done fewer updates than were ever published, so the two counts differ by a constant until the next.

use understudy_learning::stages::{PolicyVersion, Rollout};

/// Translates between published versions and updates done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    /// The highest number that was ever published (journaled), before this incarnation.
    highest: PolicyVersion,
    /// Updates that the learner had done when this incarnation began.
    updates: u64,
    /// The number under which the weights of `updates` were published.
    restored: PolicyVersion,
}

impl Versions {
    /// A learner with `updates` done, whose weights were published as `restored`, where `highest` was ever published.
    pub(crate) fn new(updates: u64, restored: PolicyVersion, highest: PolicyVersion) -> Self {
        Self { highest: highest.max(restored), updates, restored }
    }

    /// The number under which the weights after `updates` updates are published.
    pub(crate) fn published(&self, updates: u64) -> PolicyVersion {
        match updates.checked_sub(self.updates) {
            None | Some(0) => self.restored,
            Some(since) => self.highest + since,
        }
    }

    /// Updates done by the policy that was published as `version`. Versions whose updates were lost in a crash count as
    /// one update older than the weights that the learner went on from: they are not those weights, and their behaviour
    /// log-probabilities say how far they really are.
    pub(crate) fn updates(&self, version: PolicyVersion) -> u64 {
        match version {
            new if new > self.highest => self.updates + (new - self.highest),
            lost if lost > self.restored => self.updates.saturating_sub(1),
            old => self.updates.saturating_sub(self.restored - old),
        }
    }

    /// Rewrites a rollout's spans from published versions to updates done, as the learner counts staleness.
    pub(crate) fn to_updates(self, rollout: &mut Rollout) {
        for span in &mut rollout.version_spans {
            span.version = self.updates(span.version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_crash_the_two_counts_agree() {
        let versions = Versions::new(4, 4, 4);
        for count in 0..9 {
            assert_eq!(versions.updates(count), count);
        }
        assert_eq!((4..8).map(|u| versions.published(u)).collect::<Vec<_>>(), [4, 5, 6, 7]);
    }

    #[test]
    fn after_a_crash_no_number_is_used_twice() {
        // The checkpoint holds update 4 (published as 4), but 5, 6 and 7 had been published before the crash.
        let versions = Versions::new(4, 4, 7);
        assert_eq!((4..7).map(|u| versions.published(u)).collect::<Vec<_>>(), [4, 8, 9]);
        assert_eq!([3, 4, 6, 7, 8, 9].map(|v| versions.updates(v)), [3, 4, 3, 3, 5, 6]);
    }
}
