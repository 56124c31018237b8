//! What can be wrong with a source.

/// A source that cannot be read (further).
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be opened or read.
    #[error("cannot read '{file}': {cause}; check source.path")]
    Read {
        /// The file.
        file: String,
        /// Why.
        cause: std::io::Error,
    },
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
