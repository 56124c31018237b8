//! How old a rollout may be, and how many may be under way.
//!
//! Invariant: pure whole-number arithmetic; admitting only what [`admissible`] allows, no rollout that is trained on in
//! order is older than the bound.

use crate::stages::PolicyVersion;

/// How many more rollouts may be started: `(η + v + 1)·B − n`.
///
/// With `started` = n rollouts started since version 0, the n-th is trained on in update `⌊(n − 1)/B⌋`, at which time
/// the learner has that version; sampled at version ≥ `v` it is then at most `η` = `max_staleness` updates old.
pub fn admissible(max_staleness: u64, version: PolicyVersion, batch_size: u64, started: u64) -> u64 {
    max_staleness.saturating_add(version).saturating_add(1).saturating_mul(batch_size).saturating_sub(started)
}

/// Updates between the sampling of a rollout and now.
pub fn staleness(version: PolicyVersion, sampled: PolicyVersion) -> u64 {
    version.saturating_sub(sampled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn at_the_start_a_strictly_on_policy_gate_admits_one_batch() {
        assert_eq!(admissible(0, 0, 16, 0), 16);
        assert_eq!(admissible(0, 0, 16, 16), 0);
        assert_eq!(admissible(4, 2, 16, 100), 12);
        assert_eq!(admissible(u64::MAX, 1, 16, 0), u64::MAX);
    }

    proptest! {
        /// Rollouts start whenever the gate lets them, finish in order, and are trained on in batches.
        #[test]
        fn no_admitted_rollout_is_trained_on_too_late(
            bound in 0u64..5,
            batch in 1u64..9,
            moves in proptest::collection::vec(any::<bool>(), 1..400),
        ) {
            let (mut version, mut started) = (0, 0);
            let mut under_way = VecDeque::new();
            for start in moves {
                if start && admissible(bound, version, batch, started) > 0 {
                    under_way.push_back(version);
                    started += 1;
                } else if under_way.len() as u64 >= batch {
                    for sampled in under_way.drain(..batch as usize) {
                        prop_assert!(staleness(version, sampled) <= bound);
                    }
                    version += 1;
                }
                // Whatever happened, the gate and the learner cannot both be stuck.
                prop_assert!(admissible(bound, version, batch, started) > 0 || under_way.len() as u64 >= batch);
            }
        }
    }
}
