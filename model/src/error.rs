//! What can go wrong in this crate, each as one sentence that names the thing, the value and the remedy.
//!
//! Invariant: nothing here is ever raised as a panic; a malformed file, template or request ends as a [`ModelError`].

use std::path::{Path, PathBuf};

/// An error of the model crate.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file could not be opened, read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried: "read", "write", ….
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is there but is not what its format demands.
    #[error("{file} is malformed: {reason}")]
    Malformed {
        /// The file (or "config.json" where only its text was given).
        file: String,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// The folder or file holds a kind of network that this program does not know.
    #[error("the architecture '{found}' is not supported; supported are {supported}")]
    UnsupportedArchitecture {
        /// The architecture or model type that was named.
        found: String,
        /// Those that would do.
        supported: String,
    },
    /// A configuration value is absent or impossible.
    #[error("config.json: {key}: {reason}")]
    Config {
        /// The key.
        key: String,
        /// What is wrong with its value and what would do.
        reason: String,
    },
    /// A tensor that the configuration demands is not there.
    #[error("the weights lack the tensor '{name}', which this configuration needs")]
    MissingTensor {
        /// The Hugging Face name of the tensor.
        name: String,
    },
    /// A tensor's shape is not that of the configuration.
    #[error("the tensor '{name}' has shape {found:?}, but the configuration needs {expected:?}")]
    WrongShape {
        /// The name of the tensor.
        name: String,
        /// The shape in the file.
        found: Vec<i64>,
        /// The shape that the configuration implies.
        expected: Vec<i64>,
    },
    /// A weight is NaN or infinite.
    #[error("the tensor '{name}' holds a value that is not finite: the file is damaged or its training diverged")]
    NonFinite {
        /// The name of the tensor.
        name: String,
    },
    /// The tokenizer could not be built or could not encode.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The chat template could not be parsed or refused the messages.
    #[error("chat template: {0}")]
    Template(String),
    /// The target of an export is in use.
    #[error("{path} exists and is not empty: name another folder, or remove it first")]
    TargetNotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// An argument is out of range or contradicts another.
    #[error("{0}")]
    Invalid(String),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

impl ModelError {
    /// An [`ModelError::Io`] of reading `path`.
    pub(crate) fn reading(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        Self::io("read", path)
    }

    /// An [`ModelError::Io`] of doing `action` to `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }

    /// A [`ModelError::Malformed`] file.
    pub(crate) fn malformed(file: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Malformed { file: file.into(), reason: reason.to_string() }
    }

    /// A [`ModelError::Config`] about `key`.
    pub(crate) fn config(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Config { key: key.into(), reason: reason.into() }
    }
}
