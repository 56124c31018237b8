//! How a command fails: a sentence and an exit code.

use std::fmt;
use std::process::ExitCode;

use crate::config::ConfigError;

/// What a command returns.
pub type Outcome = Result<(), Failure>;

/// Why a command did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// It was tried and did not work: exit code 1.
    Failed(anyhow::Error),
    /// It was asked for in a wrong way: exit code 2.
    Usage(String),
    /// Something has to be set up or started first: exit code 3.
    NotReady(String),
}

impl Failure {
    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotReady(_) => 3,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The chain of causes on one line.
            Self::Failed(error) => write!(f, "{error:#}"),
            Self::Usage(sentence) | Self::NotReady(sentence) => write!(f, "{sentence}"),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}
