//! Votes on the answers of Stack Exchange questions, as comparisons that a reward model can learn from.
//!
//! Invariant: a comparison is between two answers of one question whose scores differ; which comparisons are drawn and
//! which part of the split a question belongs to are functions of its id alone. docs/PREFERENCES.md derives the scores.

pub mod accuracy;
pub mod comparisons;
pub mod duplicates;
pub mod exposure;
pub mod held_out;
pub mod jsonl;
mod openness;
mod question;
#[cfg(test)]
mod question_tests;
pub mod score;
pub mod summary;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use tests::by_hand;

pub use comparisons::{Comparison, Comparisons, Rule};
pub use exposure::Exposure;
pub use openness::{VoteFigures, evidence};
pub use question::{Ballot, PairRule, VotedAnswer, VotedPair, VotedQuestion, of_events, of_file};
pub use score::Scoring;
