//! Invariants that are checked while the daemon runs.
//!
//! Invariant: a violation is counted, logged as an error and never panics: serving goes on, tests assert that the count is
//! zero. The counters are an argument, so a test sees only its own universe.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::locked::locked;
use crate::metric;

/// What must always hold. The description is the invariant's sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InvariantId {
    /// The versions that the generator sees never go back.
    VersionsRise,
    /// A rollout that is learned from is at most `max_staleness` updates old.
    StalenessBounded,
    /// Feedback is acknowledged only after it is on disk.
    AcknowledgedIsDurable,
    /// A rollout is scored once and learned from once.
    LearnedOnce,
}

impl InvariantId {
    /// The word in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VersionsRise => "versions_rise",
            Self::StalenessBounded => "staleness_bounded",
            Self::AcknowledgedIsDurable => "acknowledged_is_durable",
            Self::LearnedOnce => "learned_once",
        }
    }
}

/// Counts of violations. Clones are the same counts.
#[derive(Debug, Clone, Default)]
pub struct Invariants(Arc<Mutex<BTreeMap<InvariantId, u64>>>);

impl Invariants {
    /// All hold so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a violation unless `holds`; tells `holds`.
    pub fn check(&self, id: InvariantId, holds: bool, detail: impl FnOnce() -> String) -> bool {
        if !holds {
            *locked(&self.0).entry(id).or_default() += 1;
            metrics::counter!(metric::INVARIANT_VIOLATIONS, "invariant" => id.as_str()).increment(1);
            tracing::error!(invariant = id.as_str(), detail = detail(), "an invariant does not hold");
        }
        holds
    }

    /// Violations so far.
    pub fn violations(&self) -> u64 {
        locked(&self.0).values().sum()
    }

    /// Violations by invariant; empty when all hold.
    pub fn by_id(&self) -> Vec<(InvariantId, u64)> {
        locked(&self.0).iter().map(|(id, count)| (*id, *count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_are_counted_by_invariant_and_the_detail_is_made_only_then() {
        let invariants = Invariants::new();
        assert!(invariants.check(InvariantId::VersionsRise, true, || panic!("not asked for")));
        assert!(!invariants.clone().check(InvariantId::LearnedOnce, false, || "rollout 7 twice".to_owned()));
        assert_eq!((invariants.violations(), invariants.by_id()), (1, vec![(InvariantId::LearnedOnce, 1)]));
    }
}
