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
    /// The daemon ended, and not as it should: its own exit code.
    Ended {
        /// 70 an actor was given up or a step of the drain failed, 75 the drain took too long, 130 told twice.
        code: u8,
        /// What happened.
        sentence: String,
    },
}

impl Failure {
    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotReady(_) => 3,
            Self::Ended { code, .. } => *code,
        })
    }
}

impl Failure {
    /// Ends the process when threads of the daemon may still be at work.
    ///
    /// An ordinary exit destroys libtorch's globals under their feet, and they crash. Replacing the process image ends
    /// them all at one instant, with nothing destroyed; the price is a shell that only says `exit`.
    pub fn leave_threads_behind(&self) {
        use std::os::unix::process::CommandExt;
        if let Self::Ended { code, .. } = self {
            // Returns only when there is no shell: then the ordinary exit has to do.
            let _ = std::process::Command::new("/bin/sh").arg("-c").arg(format!("exit {code}")).exec();
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The chain of causes on one line.
            Self::Failed(error) => write!(f, "{error:#}"),
            Self::Usage(sentence) | Self::NotReady(sentence) | Self::Ended { sentence, .. } => write!(f, "{sentence}"),
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
