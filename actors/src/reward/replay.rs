//! The reward model's memory of what people said: the newest events, and a fair sample of all older ones.
//!
//! Invariant: an event stands here at most once, and at most as many as there is room for. What is kept and drawn depends
//! on the order of the events and not on their sequence numbers, and a restored memory goes on as the saved one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use understudy_learning::LearningError;
use understudy_learning::reward::RewardExample;
use understudy_learning::reward::replay::{ReplayIndex, ReplayState};
use understudy_learning::rng::{Purpose, Stream};
use understudy_learning::stages::{FeedbackKind, TrunkStates};
use understudy_model::hash::fnv1a;

/// Among the streams of [`Purpose::Replay`], those of what is kept have this bit set; those of draws have not.
const KEEPING: u64 = 1 << 63;

/// Examples by journal sequence.
#[derive(Debug)]
pub(crate) struct Replay {
    seed: u64,
    /// How many of the newest examples keep their trunk states; the others recompute them when drawn.
    cached: usize,
    index: ReplayIndex,
    by_seq: BTreeMap<u64, RewardExample>,
    /// Events that came so far.
    pushed: u64,
}

/// What a checkpoint holds of it: the examples themselves are in the journal, but for what was decided when each came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SavedReplay {
    index: ReplayState,
    pushed: u64,
}

impl Replay {
    /// At most `capacity` examples: the newest `recent_share` of that and a uniform sample of the older ones, drawn by
    /// streams of `seed`. The newest `cached` keep their trunk states.
    pub(crate) fn new(seed: u64, capacity: usize, recent_share: f64, cached: usize) -> Self {
        let index = ReplayIndex::new(capacity, recent_share);
        Self { seed, cached, index, by_seq: BTreeMap::new(), pushed: 0 }
    }

    /// Examples at hand.
    pub(crate) fn len(&self) -> usize {
        self.by_seq.len()
    }

    /// Whether the event is here.
    pub(crate) fn contains(&self, seq: u64) -> bool {
        self.index.contains(seq)
    }

    /// The examples at hand, in the order of their sequences.
    pub(crate) fn examples(&self) -> impl DoubleEndedIterator<Item = &RewardExample> {
        self.by_seq.values()
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
        if self.index.contains(example.seq) {
            return;
        }
        let question = example.answers.first().map_or(0, |answer| fnv1a(answer.prompt.question.id.bytes()));
        let mut stream = Stream::new(self.seed, Purpose::Replay, KEEPING | self.pushed);
        self.pushed += 1;
        let gone = self.index.insert(example.seq, question, kind_of(&example.feedback.kind), &mut stream);
        self.by_seq.insert(example.seq, example);
        if let Some(gone) = gone {
            self.by_seq.remove(&gone);
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
        self.index.remove(seq);
        self.by_seq.remove(&seq).is_some()
    }

    /// A minibatch of at most `size`: first the events of `fresh` that are still here, then draws from the others (see
    /// [`ReplayIndex::draw`]), without repetition, in the order of their sequences. O(size log n).
    pub(crate) fn minibatch(&self, fresh: &[u64], size: usize, stream: &mut Stream) -> Vec<RewardExample> {
        let mut chosen: BTreeSet<u64> = fresh.iter().filter(|seq| self.by_seq.contains_key(seq)).copied().collect();
        while chosen.len() > size {
            chosen.pop_first();
        }
        let drawn = self.index.draw(size - chosen.len(), &chosen, stream);
        chosen.extend(drawn);
        chosen.iter().filter_map(|seq| self.by_seq.get(seq).cloned()).collect()
    }

    /// Everything but the examples.
    pub(crate) fn state(&self) -> SavedReplay {
        SavedReplay { index: self.index.state(), pushed: self.pushed }
    }

    /// Takes over a saved state; the examples come back by [`Replay::recall`]. Says which ones.
    pub(crate) fn restore(&mut self, saved: &SavedReplay) -> Result<BTreeSet<u64>, LearningError> {
        self.index.restore(&saved.index)?;
        self.pushed = saved.pushed;
        self.by_seq.clear();
        Ok(self.index.iter().collect())
    }

    /// Puts the example of an event that is kept back.
    pub(crate) fn recall(&mut self, example: RewardExample) {
        if self.index.contains(example.seq) {
            self.by_seq.insert(example.seq, example);
        }
    }
}

fn kind_of(kind: &FeedbackKind) -> u8 {
    match kind {
        FeedbackKind::Stars { .. } => 0,
        FeedbackKind::Thumb { .. } => 1,
        FeedbackKind::Score { .. } => 2,
        FeedbackKind::Pair { .. } => 3,
        FeedbackKind::Ranking { .. } => 4,
        FeedbackKind::Edit { .. } => 5,
        FeedbackKind::Flag { .. } => 6,
        FeedbackKind::Steps { .. } => 7,
        FeedbackKind::Retract { .. } => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::reward_example;

    fn stream() -> Stream {
        Stream::new(1, Purpose::Replay, 0)
    }

    fn replay(capacity: usize, cached: usize) -> Replay {
        Replay::new(1, capacity, 0.5, cached)
    }

    #[test]
    fn it_stays_bounded_and_keeps_nothing_twice() {
        let mut replay = replay(4, 1);
        for seq in [1, 2, 2, 3, 4, 5, 6, 7] {
            replay.push(reward_example(seq));
            assert!(replay.len() <= 4);
        }
        let kept: Vec<u64> = replay.minibatch(&[], 10, &mut stream()).iter().map(|e| e.seq).collect();
        assert!(kept.len() == 4 && kept.ends_with(&[6, 7]), "{kept:?}: the newest half and two of the older");
    }

    #[test]
    fn computed_states_stay_with_the_newest_examples_only() {
        let mut replay = replay(8, 2);
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
        let mut replay = replay(8, 8);
        (1..=2).for_each(|seq| replay.push(reward_example(seq)));
        assert!(replay.remove(1) && !replay.remove(1));
        assert_eq!(replay.examples().map(|example| example.seq).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_minibatch_begins_with_what_is_new_and_repeats_nothing() {
        let mut replay = replay(100, 100);
        (1..=50).for_each(|seq| replay.push(reward_example(seq)));
        let batch: Vec<u64> = replay.minibatch(&[7, 50, 99], 8, &mut stream()).iter().map(|e| e.seq).collect();
        assert_eq!(batch.len(), 8);
        assert!(batch.contains(&7) && batch.contains(&50));
        assert!(batch.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
