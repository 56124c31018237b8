//! Lockstep: the loop as a pure function of its configuration, bit for bit, also across kills.
//!
//! Invariant: a run is a row of rounds. In a round one batch of questions is answered by one policy, rated, scored, learned
//! from by the reward model and then by the policy, each step only after the one before, so that nothing depends on which
//! thread was faster. Checkpoints are taken between two rounds, where every queue is empty. After a kill the rounds since
//! the newest checkpoint are run again and give the journal the same records once more: what is there already is a
//! duplicate, and what comes out otherwise is a conflict, which ends the run by name instead of going on from something
//! else in silence.

mod conductor;
mod rounds;

use understudy_learning::stages::PolicyVersion;

use crate::link::{Ask, Envelope};

pub(crate) use conductor::{Conductor, ConductorActor};
pub use rounds::RoundState;
pub(crate) use rounds::Rounds;

/// A run in lockstep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lockstep {
    /// No round begins once the policy has this version; without it rounds follow one another until the daemon drains.
    pub until_version: Option<PolicyVersion>,
}

/// The end of a round's ratings: score its answers, hand them to the learner, hear its ratings, learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fence {
    /// Groups of answers in the round.
    pub(crate) groups: usize,
    /// The journal sequence of its last rating.
    pub(crate) up_to: u64,
}

/// What a run says that does not repeat itself.
pub(crate) const DIVERGED: &str = "it comes out otherwise than the journal has it; a run in lockstep repeats itself only \
    with the same program, configuration, model and kind of machine: use those again, or another data.dir";

/// A fence, and whoever waits until it is passed.
pub(crate) type FenceRequest = Envelope<Ask<Fence, ()>>;
