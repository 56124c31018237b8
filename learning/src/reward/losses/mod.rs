//! Losses of scores against what people said: pure functions of tensors, one kind of feedback each.
//!
//! Invariant: every likelihood here is a negative logarithm of a probability, and its gradient by the scores agrees with
//! finite differences.

pub mod bradley_terry;
pub mod crowd;
pub mod davidson;
pub mod ordinal;
pub mod plackett_luce;
pub mod prompt_aware;
pub mod thumbs;
mod tie_level;
pub mod utility;
pub mod weak_order;

#[cfg(test)]
pub(crate) mod gradcheck;
