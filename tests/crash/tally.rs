//! What was done and seen, for the verdict.
//!
//! Invariant: a kill is counted once in `kills`, and in as many of the other lines as it met; each of those was seen at the
//! instant of the kill and not assumed.

use std::fmt;
use std::time::Duration;

/// What kills met.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Met {
    /// Not ready yet.
    pub(super) starting: usize,
    /// People were asking and rating.
    pub(super) load: usize,
    /// The policy's learner was at work.
    pub(super) policy: usize,
    /// The reward model was at work: it scored, or learned.
    pub(super) reward: usize,
    /// It was learning the reward model anew.
    pub(super) anew: usize,
    /// A checkpoint was half written.
    pub(super) saving: usize,
    /// New weights were taken up a moment ago.
    pub(super) swapping: usize,
    /// It was ending.
    pub(super) draining: usize,
}

impl Met {
    pub(super) fn add(&mut self, one: Self) {
        self.starting += one.starting;
        self.load += one.load;
        self.policy += one.policy;
        self.reward += one.reward;
        self.anew += one.anew;
        self.saving += one.saving;
        self.swapping += one.swapping;
        self.draining += one.draining;
    }
}

/// Counts of one round or of many.
#[derive(Debug, Default, Clone)]
pub(super) struct Tally {
    pub(super) rounds: usize,
    pub(super) kills: usize,
    pub(super) met: Met,
    pub(super) drains: usize,
    pub(super) damages: usize,
    /// Journals that a start cut.
    pub(super) torn: usize,
    /// Spoiled pages of sled, and how many of them a start noticed.
    pub(super) pages: (usize, usize),
    pub(super) starts: usize,
    /// Starts from a checkpoint, each learner's state shown to be the one in it.
    pub(super) resumed: usize,
    pub(super) slowest_start: Duration,
    pub(super) acknowledged: usize,
    pub(super) conflicts: usize,
    pub(super) lost: usize,
    pub(super) doubled: usize,
    pub(super) faults: usize,
}

impl Tally {
    pub(super) fn add(&mut self, one: &Self) {
        self.rounds += one.rounds;
        self.kills += one.kills;
        self.met.add(one.met);
        self.drains += one.drains;
        self.damages += one.damages;
        self.torn += one.torn;
        self.pages = (self.pages.0 + one.pages.0, self.pages.1 + one.pages.1);
        self.starts += one.starts;
        self.resumed += one.resumed;
        self.slowest_start = self.slowest_start.max(one.slowest_start);
        self.acknowledged += one.acknowledged;
        self.conflicts += one.conflicts;
        self.lost += one.lost;
        self.doubled += one.doubled;
        self.faults += one.faults;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Met { starting, load, policy, reward, anew, saving, swapping, draining } = self.met;
        write!(f, "rounds {}, kills {} (starting {starting}, under load {load}, ", self.rounds, self.kills)?;
        write!(f, "policy learner at work {policy}, reward model at work {reward}, of these learned anew {anew}, ")?;
        write!(f, "saving a checkpoint {saving}, taking up weights {swapping}, draining {draining}), ")?;
        write!(f, "drains {}, damages {} (journals cut {}, ", self.drains, self.damages, self.torn)?;
        write!(f, "sled's pages spoiled {} and noticed {}), ", self.pages.0, self.pages.1)?;
        write!(f, "starts {}, of these from a checkpoint and equal to it {}, ", self.starts, self.resumed)?;
        write!(f, "slowest start to a chat's answer {:.1} s, ", self.slowest_start.as_secs_f64())?;
        write!(f, "events acknowledged {}, conflicts refused {}, ", self.acknowledged, self.conflicts)?;
        write!(f, "lost {}, duplicated {}, faults {}", self.lost, self.doubled, self.faults)
    }
}
