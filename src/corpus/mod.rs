//! What was brought in: questions with everything that was said below them, one folder a source.
//!
//! Invariant: a source's folder appears whole or not at all, and the same input gives the same bytes. Every row carries
//! its author, link, licence, source and the terms under which the operator has it.

mod build;
mod forget;
mod manifest;
mod read;
mod replay;
#[cfg(test)]
mod tests;
mod thread;

pub use build::Builder;
pub(crate) use forget::is_one_of;
pub use forget::{Forgotten, forget_author, forgotten, remember_to_forget, remove};
pub use manifest::{Counts, Manifest, check_name};
pub use read::{Corpus, list};
pub use replay::{Moment, Replay, What};
pub use thread::{Comment, Post, Thread, Vote, VoteKind};

/// The folder of the corpora within a data directory.
pub const FOLDER: &str = "corpus";

/// A corpus that cannot be read, or not be written.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// The disk refused.
    #[error("cannot {what} '{path}': {cause}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: String,
        /// Why not.
        cause: std::io::Error,
    },
    /// Not what was written.
    #[error("the corpus '{path}' is damaged {place}: {message}; ingest it again")]
    Damaged {
        /// The folder.
        path: String,
        /// Line or file.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// Something that the caller has to change.
    #[error("{0}")]
    Refused(String),
}

pub(crate) fn io(what: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> CorpusError {
    let path = path.display().to_string();
    move |cause| CorpusError::Io { what, path, cause }
}
