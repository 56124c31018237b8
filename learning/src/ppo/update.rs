//! One update as a chain of short units: measure, then learn, one micro-batch at a time.
//!
//! Invariant: what is learned does not depend on where the chain is cut: between two units anything else may happen to
//! the process but not to the learner.

use std::collections::VecDeque;

use tch::Tensor;

use super::config::PpoConfig;
use super::experience::{Experience, Measured};
use super::report::{Dropped, PpoReport};
use super::stats::RatioSums;
use crate::rng::{Purpose, Stream};
use crate::stages::{PolicyVersion, Rollout, ScoredRollout};

/// Where an update stands after a unit.
#[derive(Debug)]
pub enum Progress {
    /// There is more to do.
    Working {
        /// What the unit belonged to.
        phase: Phase,
        /// Units of that phase that are done.
        done: usize,
        /// Units of that phase; early stopping may spare some.
        total: usize,
    },
    /// The update is over; the learner's version has gone up if anything was learned.
    Done(Box<PpoReport>),
}

/// The two parts of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Log-probabilities of policy and reference, and values, before the first step.
    Measure,
    /// Forward, backward and optimiser steps.
    Learn,
}

/// An update under way. Dropping it abandons what it has not yet done.
#[derive(Debug)]
pub struct Update {
    pub(super) version: PolicyVersion,
    pub(super) batch: Vec<ScoredRollout>,
    /// `[P + R, D]` of each rollout, from its measurement on.
    pub(super) states: Vec<Tensor>,
    pub(super) stage: Stage,
    pub(super) tally: Tally,
}

#[derive(Debug)]
pub(super) enum Stage {
    Measure { groups: VecDeque<Vec<usize>>, total: usize, measured: Measured },
    Learn { experience: Box<Experience>, plan: VecDeque<MicroBatch>, total: usize },
    Over,
}

/// Rows for one forward and backward pass.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MicroBatch {
    pub(super) rows: Vec<usize>,
    pub(super) epoch: usize,
    /// Tokens of the whole minibatch: what both losses are divided by.
    pub(super) minibatch_tokens: i64,
    pub(super) first_of_minibatch: bool,
    pub(super) last_of_minibatch: bool,
    pub(super) last_of_epoch: bool,
}

/// What has been counted so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) report: PpoReport,
    pub(super) all: RatioSums,
    pub(super) epoch: RatioSums,
    pub(super) minibatch: LossSums,
    pub(super) losses: LossSums,
    pub(super) grad_norms: (f64, f64),
}

/// Sums of the losses of a minibatch (each already divided by its tokens), or of several.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LossSums {
    pub(super) policy: f64,
    pub(super) value: f64,
}

/// Splits `batch` into what can be learned from and why the rest cannot.
pub(super) fn admit(
    batch: Vec<ScoredRollout>,
    version: PolicyVersion,
    config: &PpoConfig,
    width: usize,
    vocabulary: usize,
    max_position: usize,
) -> (Vec<ScoredRollout>, Dropped) {
    let mut dropped = Dropped::default();
    let keep = |scored: &ScoredRollout| {
        let rollout = &scored.rollout;
        let invalid = !scored.score.is_finite() || !sound(rollout, width, vocabulary, max_position);
        let stale = super::staleness::staleness(version, rollout.oldest_version()) > config.max_staleness;
        let sampling = (rollout.sampling.temperature - config.temperature).abs() > 1e-9
            || rollout.sampling.repetition_penalty != 1.0;
        dropped.invalid += usize::from(invalid);
        dropped.sampling += usize::from(!invalid && sampling);
        dropped.stale += usize::from(!invalid && !sampling && stale);
        !(invalid || sampling || stale)
    };
    let mut batch = batch;
    batch.retain(keep);
    (batch, dropped)
}

/// Whether a rollout's parts fit together and its numbers are finite.
fn sound(rollout: &Rollout, width: usize, vocabulary: usize, max_position: usize) -> bool {
    let (prompt, answer) = (rollout.prompt.tokens.len(), rollout.tokens.len());
    let states = match &rollout.trunk {
        crate::stages::TrunkStates::Absent => true,
        crate::stages::TrunkStates::Present { values, width: have } => {
            *have == width && values.len() == (prompt + answer) * width
        }
    };
    let known = |token: &i64| (0..vocabulary as i64).contains(token);
    prompt > 0
        && answer > 0
        && prompt + answer <= max_position
        && rollout.prompt.tokens.iter().chain(&rollout.tokens).all(known)
        && rollout.old_logprobs.len() == answer
        && rollout.kept_mass.len() == answer
        && rollout.old_logprobs.iter().all(|logprob| logprob.is_finite())
        // A mass is at most 1 but for rounding.
        && rollout.kept_mass.iter().all(|mass| *mass > 0.0 && *mass < 1.001)
        && states
}

/// Rows in groups of at most `size`, those of like length together, so that little is spent on padding.
pub(super) fn groups_by_length(lengths: &[usize], rows: &[usize], size: usize) -> Vec<Vec<usize>> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| (std::cmp::Reverse(lengths[*row]), *row));
    rows.chunks(size).map(<[usize]>::to_vec).collect()
}

/// All micro-batches of an update: for each epoch a fresh permutation of the rollouts, cut into minibatches of nearly
/// equal size. A function of the seed and the version.
pub(super) fn plan(
    lengths: &[usize],
    tokens: &[usize],
    config: &PpoConfig,
    seed: u64,
    version: PolicyVersion,
) -> VecDeque<MicroBatch> {
    let mut stream = Stream::new(seed, Purpose::Shuffle, version);
    let mut plan = VecDeque::new();
    for epoch in 0..config.update_epochs {
        let order = stream.permutation(lengths.len());
        let count = lengths.len().div_ceil(config.minibatch_size);
        for minibatch in 0..count {
            let cut = |i: usize| i * lengths.len() / count;
            let rows = &order[cut(minibatch)..cut(minibatch + 1)];
            let minibatch_tokens = rows.iter().map(|row| tokens[*row] as i64).sum();
            let groups = groups_by_length(lengths, rows, config.micro_batch_size);
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
        let config = PpoConfig { minibatch_size: 4, micro_batch_size: 2, ..PpoConfig::default() };
        let lengths: Vec<usize> = (0..11).map(|i| 20 + i).collect();
        let make = |seed, version| plan(&lengths, &[5; 11], &config, seed, version);
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
        let sizes = |micro_batch_size| {
            let config = PpoConfig { minibatch_size: 8, micro_batch_size, ..PpoConfig::default() };
            let made = plan(&[9; 16], &[3; 16], &config, 7, 3);
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
        assert_eq!(sizes(8), sizes(1));
        assert_eq!(sizes(8), sizes(3));
    }
}
