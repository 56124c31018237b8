//! The reward model's memory of what people said, mirrored from the store: bounded, oldest out first.
//!
//! Invariant: an event stands here at most once, in journal order, and a retracted one not at all.

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
    seq_of: BTreeMap<String, u64>,
    /// Ids taken back before or after their event came, so that the order of arrival does not matter.
    retracted: BTreeSet<String>,
}

impl Replay {
    /// At most `capacity` examples, of which the newest `cached` keep their trunk states.
    pub(crate) fn new(capacity: usize, cached: usize) -> Self {
        let (by_seq, seq_of, retracted) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { capacity: capacity.max(1), cached, by_seq, seq_of, retracted }
    }

    /// Examples at hand.
    pub(crate) fn len(&self) -> usize {
        self.by_seq.len()
    }

    /// Adds an example unless its event was taken back or is here already.
    pub(crate) fn push(&mut self, example: RewardExample) {
        let id = example.feedback.id.clone();
        if self.retracted.contains(&id) || self.seq_of.contains_key(&id) {
            return;
        }
        self.seq_of.insert(id, example.seq);
        self.by_seq.insert(example.seq, example);
        if self.by_seq.len() > self.capacity
            && let Some((_, oldest)) = self.by_seq.pop_first()
        {
            self.seq_of.remove(&oldest.feedback.id);
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

    /// Takes an event back: it leaves the memory and never enters it again. Says whether it was here.
    pub(crate) fn retract(&mut self, feedback: &str) -> bool {
        self.retracted.insert(feedback.to_owned());
        let seq = self.seq_of.remove(feedback);
        seq.is_some_and(|seq| self.by_seq.remove(&seq).is_some())
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
    fn a_retracted_event_is_gone_also_when_it_comes_later() {
        let mut replay = Replay::new(8, 8);
        replay.push(reward_example(1));
        assert!(replay.retract("f1"));
        assert!(!replay.retract("f2"), "not here yet");
        replay.push(reward_example(1));
        replay.push(reward_example(2));
        assert_eq!(replay.len(), 0);
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
