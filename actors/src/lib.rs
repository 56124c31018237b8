//! Who does it, when, and what happens when it fails: links, supervision, threads, shutdown and the actors themselves.
//!
//! Invariant: actors decide when, the core decides what. Nothing here computes a loss, a reward or a token; nothing here
//! is global: ports, places, fail points and counters are arguments, so a test builds its own universe.

pub mod annotator;
pub mod answers;
pub mod bus;
pub mod cancel;
pub mod checkpoint;
pub mod control;
pub mod daemon;
pub mod error;
pub mod failpoint;
pub mod feedback;
#[doc(hidden)]
pub mod fuzz;
pub mod invariant;
pub mod link;
pub mod lockstep;
pub mod messages;
pub mod metric;
pub mod past;
pub mod place;
pub mod policy;
pub mod ppo;
pub mod reward;
pub mod runtime;
pub mod seams;
pub mod source;
pub mod stage;
pub mod supervision;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod worker;

mod locked;
