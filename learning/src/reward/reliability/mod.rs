//! Who is believed how much: each annotator's reliability, temperature and shift, learned beside the scores.
//!
//! Invariant: nobody is believed the wrong way round without proof from gold, nobody outweighs the others by writing
//! more, and the whole state is bounded.

mod config;
mod dawid_skene;
mod gold;
mod heard;
mod people;
mod person;
mod report;
mod share;

pub use config::ReliabilityConfig;
pub use dawid_skene::{Agreement, Label, dawid_skene};
#[cfg(test)]
pub(super) use gold::Judgements;
pub use people::annotators_of;
pub(super) use people::{Heard, People, Voice};
pub(super) use person::PARAMETERS;
pub use report::{AnnotatorReport, Standing};
