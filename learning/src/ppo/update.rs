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
use crate::batches::MicroBatch;
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
