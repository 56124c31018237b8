//! Preferences as JSON lines in the conventions of TRL, out of corpora and into them.
//!
//! Invariant: every row that goes out carries author, link, licence, source and terms of all that is in it; a row that
//! comes in is understood wholly or is an error that names its line.

mod export;
mod import;
mod row;
#[cfg(test)]
mod tests;

pub use export::{ExportPlan, Exported, export};
pub use import::{ImportError, Imported, Origin, import};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// `{prompt, chosen, rejected, margin}`: for a reward model or DPO.
    Preference,
    /// `{prompt, completion, label}`: for KTO.
    Unpaired,
    /// `{prompt, completion}`: the best answer of each question, for fine-tuning.
    PromptCompletion,
    /// `{prompt}`.
    PromptOnly,
    /// `{prompt, completions, ranking, scores}`: all answers of a question; equals are inner lists of `ranking`.
    Rankings,
}
