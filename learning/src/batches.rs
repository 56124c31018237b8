//! How a batch is cut: epochs of permutations, minibatches to a step, micro-batches to a pass.
//!
//! Invariant: a function of seed and index; the micro-batch size changes the cut inside minibatches and nothing else.

use std::collections::VecDeque;

use crate::rng::{Purpose, Stream};

/// Rows for one forward and backward pass.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MicroBatch {
    pub(crate) rows: Vec<usize>,
    pub(crate) epoch: usize,
    /// Tokens of the whole minibatch: what both losses are divided by.
    pub(crate) minibatch_tokens: i64,
    pub(crate) first_of_minibatch: bool,
    pub(crate) last_of_minibatch: bool,
    pub(crate) last_of_epoch: bool,
}

/// Sizes of the cut; each above 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) epochs: usize,
    pub(crate) minibatch: usize,
    pub(crate) micro_batch: usize,
}

/// Rows in groups of at most `size`, those of like length together, so that little is spent on padding.
pub(crate) fn groups_by_length(lengths: &[usize], rows: &[usize], size: usize) -> Vec<Vec<usize>> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| (std::cmp::Reverse(lengths[*row]), *row));
    rows.chunks(size).map(<[usize]>::to_vec).collect()
}

/// All micro-batches of an update: for each epoch a fresh permutation of the rollouts, cut into minibatches of nearly
/// equal size. `lengths` and `tokens` are each row's length
/// and the tokens that count in it; `index` names the update, so that each has orders of its own.
pub(crate) fn plan(lengths: &[usize], tokens: &[usize], cut: Cut, seed: u64, index: u64) -> VecDeque<MicroBatch> {
    let mut stream = Stream::new(seed, Purpose::Shuffle, index);
    let mut plan = VecDeque::new();
    for epoch in 0..cut.epochs {
        let order = stream.permutation(lengths.len());
        let count = lengths.len().div_ceil(cut.minibatch);
        for minibatch in 0..count {
            let edge = |i: usize| i * lengths.len() / count;
            let rows = &order[edge(minibatch)..edge(minibatch + 1)];
            let minibatch_tokens = rows.iter().map(|row| tokens[*row] as i64).sum();
            let groups = groups_by_length(lengths, rows, cut.micro_batch);
            let last = groups.len() - 1;
            plan.extend(groups.into_iter().enumerate().map(|(i, rows)| MicroBatch {
                rows,
                epoch,
                minibatch_tokens,
                first_of_minibatch: i == 0,
                last_of_minibatch: i == last,
                last_of_epoch: i == last && minibatch + 1 == count,
            }));
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(plan: &VecDeque<MicroBatch>, epoch: usize) -> Vec<usize> {
        plan.iter().filter(|micro| micro.epoch == epoch).flat_map(|micro| micro.rows.clone()).collect()
    }

    #[test]
    fn every_epoch_takes_every_rollout_once_in_a_fresh_order_that_the_seed_decides() {
        let cut = Cut { epochs: 2, minibatch: 4, micro_batch: 2 };
        let lengths: Vec<usize> = (0..11).map(|i| 20 + i).collect();
        let make = |seed, index| plan(&lengths, &[5; 11], cut, seed, index);
        let first = make(1, 0);
        for epoch in 0..2 {
            let mut rows = rows_of(&first, epoch);
            rows.sort_unstable();
            assert_eq!(rows, (0..11).collect::<Vec<_>>());
        }
        assert_ne!(rows_of(&first, 0), rows_of(&first, 1));
        assert_eq!(first, make(1, 0));
        assert_ne!(first, make(2, 0));
        assert_ne!(first, make(1, 1));
        assert_eq!(first.iter().filter(|micro| micro.last_of_minibatch).count(), 6);
        assert_eq!(first.iter().filter(|micro| micro.last_of_epoch).count(), 2);
        assert!(first.iter().all(|micro| micro.rows.len() <= 2 && [15, 20].contains(&micro.minibatch_tokens)));
    }

    #[test]
    fn a_micro_batch_size_changes_the_cut_and_not_the_minibatches() {
        let minibatches = |micro_batch| {
            let made = plan(&[9; 16], &[3; 16], Cut { epochs: 1, minibatch: 8, micro_batch }, 7, 3);
            let mut minibatches = vec![Vec::new()];
            for micro in made {
                minibatches.last_mut().unwrap().extend(micro.rows);
                if micro.last_of_minibatch {
                    minibatches.last_mut().unwrap().sort_unstable();
                    minibatches.push(Vec::new());
                }
            }
            minibatches
        };
        assert_eq!(minibatches(8), minibatches(1));
        assert_eq!(minibatches(8), minibatches(3));
    }
}
