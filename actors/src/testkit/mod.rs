//! What tests of actors need: a system under simulated time.
//!
//! Invariant: a test builds its own universe and drops it; nothing here is global, nothing sleeps in real time.

mod system;
mod values;

pub use system::{settle, simulated};
pub use values::{question, reward_example, rollout, sampling, scored_group, stars, ticket};
