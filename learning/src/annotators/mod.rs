//! Simulated people: what they like, how surely they choose, when they answer, what they say.
//!
//! Invariant: pure. A member is a function of (configuration, seed, index); what it says of a task is a function of the
//! member, the task, the time and the stream that are given.

mod config;
mod member;
mod rate;
mod times;

pub use config::{KindWeights, PopulationConfig};
pub use member::{Annotator, Honesty, Population};
pub use rate::{RatedAnswer, RatingTask};
pub use times::next_arrival_ms;

#[cfg(test)]
mod tests;
