//! The reward model's memory of what people said, mirrored from the store: bounded, oldest out first.
//!
//! Invariant: an event stands here at most once, in journal order. What is drawn depends on the order of the events and
//! not on their sequence numbers.

use std::collections::{BTreeMap, BTreeSet};

use understudy_learning::reward::RewardExample;
use understudy_learning::rng::Stream;
use understudy_learning::stages::TrunkStates;

/// Examples by journal sequence.
#[derive(Debug)]
pub(crate) struct Replay {
    capacity: usize,
    /// How many of the newest examples keep their trunk states; the others recompute them when drawn.
    cached: usize,
    by_seq: BTreeMap<u64, RewardExample>,
}

impl Replay {
    /// At most `capacity` examples, of which the newest `cached` keep their trunk states.
    pub(crate) fn new(capacity: usize, cached: usize) -> Self {
        Self { capacity: capacity.max(1), cached, by_seq: BTreeMap::new() }
    }

    /// Examples at hand.
    pub(crate) fn len(&self) -> usize {
        self.by_seq.len()
    }

    /// Sequences of the examples at hand, in their order.
    pub(crate) fn seqs(&self) -> impl Iterator<Item = u64> {
        self.by_seq.keys().copied()
    }

    /// Keeps trunk states of only so many of the newest examples from now on.
    pub(crate) fn keep_states_of(&mut self, newest: usize) {
        self.cached = newest;
        for example in self.by_seq.values_mut().rev().skip(newest) {
            example.answers.iter_mut().for_each(|answer| answer.trunk = TrunkStates::Absent);
        }
    }

    /// Adds an example unless it is here already.
    pub(crate) fn push(&mut self, example: RewardExample) {
        if self.by_seq.contains_key(&example.seq) {
            return;
        }
        self.by_seq.insert(example.seq, example);
        if self.by_seq.len() > self.capacity {
            self.by_seq.pop_first();
        }
        if let Some((_, aged)) = self.by_seq.iter_mut().rev().nth(self.cached) {
            aged.answers.iter_mut().for_each(|answer| answer.trunk = TrunkStates::Absent);
        }
    }

    /// Keeps the trunk states that were computed for an example, if it is among the newest that keep theirs.
    pub(crate) fn keep_states(&mut self, example: &RewardExample) {
        let newer = self.by_seq.range(example.seq + 1..).take(self.cached).count();
        if newer < self.cached
            && let Some(kept) = self.by_seq.get_mut(&example.seq)
        {
            kept.answers.clone_from(&example.answers);
        }
    }

    /// An example leaves the memory. Says whether it was here.
    pub(crate) fn remove(&mut self, seq: u64) -> bool {
        self.by_seq.remove(&seq).is_some()
    }

    /// A minibatch of at most `size`: first the events of `fresh` that are still here, then, half and half, recent and
    /// uniform draws from the rest, without repetition.
    pub(crate) fn minibatch(&self, fresh: &[u64], size: usize, stream: &mut Stream) -> Vec<RewardExample> {
        let mut chosen: BTreeSet<u64> = fresh.iter().filter(|seq| self.by_seq.contains_key(seq)).copied().collect();
        while chosen.len() > size {
            chosen.pop_first();
        }
        let mut rest: Vec<u64> = self.by_seq.keys().filter(|seq| !chosen.contains(seq)).copied().collect();
        while chosen.len() < size && !rest.is_empty() {
            // Alternate between the newest quarter of what is left and all of it.
            let from = if chosen.len().is_multiple_of(2) { rest.len() - rest.len().div_ceil(4) } else { 0 };
            let at = from + stream.below(rest.len() - from);
            chosen.insert(rest.remove(at));
        }
        chosen.iter().map(|seq| self.by_seq[seq].clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::reward_example;
    use understudy_learning::rng::Purpose;

    fn stream() -> Stream {
        Stream::new(1, Purpose::Replay, 0)
    }

    #[test]
    fn the_oldest_leaves_first_and_nothing_is_kept_twice() {
        let mut replay = Replay::new(3, 1);
        for seq in [1, 2, 2, 3, 4] {
            replay.push(reward_example(seq));
        }
        let kept: Vec<u64> = replay.minibatch(&[], 10, &mut stream()).iter().map(|e| e.seq).collect();
        assert_eq!(kept, [2, 3, 4]);
    }

    #[test]
    fn computed_states_stay_with_the_newest_examples_only() {
        let mut replay = Replay::new(8, 2);
        (1..=3).for_each(|seq| replay.push(reward_example(seq)));
        for seq in 1..=3 {
            let mut example = replay.minibatch(&[seq], 1, &mut stream()).remove(0);
            for answer in &mut example.answers {
                answer.trunk = TrunkStates::Present { values: vec![0.0].into(), width: 1 };
            }
            replay.keep_states(&example);
        }
        let has = |seq: u64| {
            let example = replay.minibatch(&[seq], 1, &mut stream()).remove(0);
            example.answers.iter().all(|answer| matches!(answer.trunk, TrunkStates::Present { .. }))
        };
        assert_eq!([1, 2, 3].map(has), [false, true, true]);
    }

    #[test]
    fn what_is_removed_is_drawn_no_more() {
        let mut replay = Replay::new(8, 8);
        (1..=2).for_each(|seq| replay.push(reward_example(seq)));
        assert!(replay.remove(1) && !replay.remove(1));
        assert_eq!(replay.seqs().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_minibatch_begins_with_what_is_new_and_repeats_nothing() {
        let mut replay = Replay::new(100, 100);
        (1..=50).for_each(|seq| replay.push(reward_example(seq)));
        let batch: Vec<u64> = replay.minibatch(&[7, 50, 99], 8, &mut stream()).iter().map(|e| e.seq).collect();
        assert_eq!(batch.len(), 8);
        assert!(batch.contains(&7) && batch.contains(&50));
        assert!(batch.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
