//! From the first signal to the last thread: what ends the daemon, and in which order it ends.
//!
//! Invariant: the trigger is an argument, the order is a list of named steps under one deadline, and whoever keeps the
//! gate from closing is named. Nothing relies on the order in which things are dropped.

mod drain;
mod run;
mod signals;

pub use drain::{Drain, DrainError, Drained};
pub use run::{Ending, Reason, run};
pub use signals::Signals;
