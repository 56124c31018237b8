//! What can be wrong with a source.

use super::stack_exchange::clause::Clause;
use crate::corpus::CorpusError;

/// A source that cannot be read (further).
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be opened or read.
    #[error("cannot read '{file}': {cause}; check the path")]
    Read {
        /// The file.
        file: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The API's key cannot be read.
    #[error("cannot read the key in '{file}': {cause}; check source.key_file")]
    Key {
        /// The file.
        file: String,
        /// Why.
        cause: std::io::Error,
    },
    /// Another program writes to it.
    #[error("a daemon is writing to '{0}'; stop it first")]
    InUse(String),
    /// A corpus cannot be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// Its terms need a word of the operator.
    #[error(transparent)]
    Clause(#[from] Clause),
    /// There is none.
    #[error("there are no corpora in '{0}'; bring one in with 'understudy ingest'")]
    NoCorpora(String),
    /// Not the format that was promised.
    #[error("'{file}' is broken {place}: {message}")]
    Broken {
        /// The file.
        file: String,
        /// Line or byte.
        place: String,
        /// What is wrong, and what would be right.
        message: String,
    },
}
