//! Checkpoints: directories of large parts that exist whole or not at all. `<dir>/step-N/` holds one file a part,
//! `manifest.json` and `manifest.sha256`; it appears by one rename after everything in it has been synced, and nothing
//! in it changes afterwards. Names ending in `.tmp` or `.del` are leftovers and never read.
//!
//! One process at a time writes to a directory; the data directory's lock sees to that.

mod commit;
mod copy;
mod manifest;
mod recover;
mod retention;
mod rules;

#[cfg(test)]
mod tests;

pub use commit::{clean, commit, commit_on};
pub use copy::{export, export_on};
pub use manifest::{MANIFEST_VERSION, Manifest, Part, hex, sha256_hex};
pub use recover::{Checkpoint, Listed, Recovery, Skipped, list, load, recover};
pub use retention::{Best, Retention, prunable, prune, prune_on};
pub use rules::{RuleError, parse_age};

use std::path::Path;

/// A checkpoint directory's name: the step, and from the second time on that this step is committed also which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    step: u64,
    attempt: u32,
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("step-")?;
        let (step, attempt) = rest.split_once('.').unwrap_or((rest, "1"));
        let name = Self { step: step.parse().ok()?, attempt: attempt.parse().ok()? };
        // Only the one spelling of each name counts: no sign, no leading zero, no suffix.
        (name.to_string() == text).then_some(name)
    }

    fn of(path: &Path) -> Option<Self> {
        Self::parse(path.file_name()?.to_str()?)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.attempt {
            1 => write!(f, "step-{}", self.step),
            attempt => write!(f, "step-{}.{attempt}", self.step),
        }
    }
}
