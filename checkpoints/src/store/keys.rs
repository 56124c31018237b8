//! Which records' keys have which print. A print is half of a SHA-256 already, so it is its own hash; almost every print
//! has one record, and the rare others stand aside.
//!
//! Invariant: of the records with one print the newest is in `newest` and all others are in `older`.

use std::collections::{BTreeSet, HashMap};

use crate::record::PrintHash;

/// Sequence numbers by print.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Keys {
    newest: HashMap<u64, u64, PrintHash>,
    older: BTreeSet<(u64, u64)>,
}

impl Keys {
    pub(super) fn insert(&mut self, print: u64, seq: u64) {
        let Some(before) = self.newest.insert(print, seq) else { return };
        // When a store is opened the rings come one after the other, so a later one may have an earlier record.
        if before > seq {
            self.newest.insert(print, before);
        }
        self.older.insert((print, before.min(seq)));
    }

    pub(super) fn remove(&mut self, print: u64, seq: u64) {
        if self.newest.get(&print) != Some(&seq) {
            self.older.remove(&(print, seq));
            return;
        }
        match self.older.range((print, 0)..=(print, u64::MAX)).next_back().copied() {
            Some(next) => {
                self.older.remove(&next);
                self.newest.insert(print, next.1);
            }
            None => drop(self.newest.remove(&print)),
        }
    }

    /// The records whose keys have this print, newest first.
    pub(super) fn with(&self, print: u64) -> impl Iterator<Item = u64> + '_ {
        let newest = self.newest.get(&print).copied();
        // Nearly always there are none, and then no tree is gone through.
        let older = newest.filter(|_| !self.older.is_empty()).map(|_| self.older.range((print, 0)..=(print, u64::MAX)));
        newest.into_iter().chain(older.into_iter().flat_map(|range| range.rev().map(|(_, seq)| *seq)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_set_of_pairs_in_any_order_of_coming_and_going(
            pairs in prop::collection::btree_set((1u64..6, 1u64..30), 0..40), order: u64, gone in any::<u64>(),
        ) {
            let mut shuffled: Vec<(u64, u64)> = pairs.iter().copied().collect();
            shuffled.sort_by_key(|(print, seq)| (print * 31 + seq).wrapping_mul(order | 1));
            let mut keys = Keys::default();
            shuffled.iter().for_each(|(print, seq)| keys.insert(*print, *seq));
            let left: BTreeSet<(u64, u64)> =
                pairs.iter().copied().filter(|(print, seq)| gone >> ((print * 7 + seq) % 64) & 1 == 0).collect();
            shuffled.iter().filter(|pair| !left.contains(pair)).for_each(|(print, seq)| keys.remove(*print, *seq));
            for print in 0..7 {
                let wanted: Vec<u64> = left.range((print, 0)..=(print, u64::MAX)).rev().map(|(_, seq)| *seq).collect();
                prop_assert_eq!(keys.with(print).collect::<Vec<_>>(), wanted);
            }
            let mut again = Keys::default();
            left.iter().for_each(|(print, seq)| again.insert(*print, *seq));
            prop_assert_eq!(again, keys);
        }
    }
}
