//! What tests of actors need: a system under simulated time.
//!
//! Invariant: a test builds its own universe and drops it; nothing here is global, nothing sleeps in real time.

mod past;
mod system;
mod tiny;
mod values;

pub use past::Written;
pub use system::{running, settle, simulated};
pub use tiny::{Opinion, Scripted, bright_tokens, decided_base, noise, tiny_base, tiny_config, tiny_parts};
pub use values::{question, reward_example, rollout, sampling, scored_group, stars, ticket};
