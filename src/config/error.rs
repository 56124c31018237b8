//! What can be wrong with a configuration: one sentence that names the place, the key and the remedy.

use std::path::PathBuf;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file '{}' ({source}); check the path given with --config", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML.
    #[error("{place}: not valid TOML: {message}; correct the line")]
    Syntax {
        /// File, line and column.
        place: String,
        /// What the parser says.
        message: String,
    },
    /// A key that does not exist.
    #[error("{place}: unknown key '{key}'; {}", suggestion(nearest.as_deref()))]
    UnknownKey {
        /// File, line and column, or the variable.
        place: String,
        /// The key.
        key: String,
        /// The nearest valid key.
        nearest: Option<String>,
    },
    /// A value of another type.
    #[error("{place}: '{key}' is {found} but must be {wanted}; see config/default.toml for an example")]
    WrongType {
        /// File, line and column, or the variable.
        place: String,
        /// The key.
        key: String,
        /// The type that was found.
        found: &'static str,
        /// The type that is wanted.
        wanted: &'static str,
    },
    /// A value that makes no sense.
    #[error("{place}: '{key}' is {value}; {remedy}")]
    Invalid {
        /// Where the value came from.
        place: String,
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What would be right.
        remedy: String,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    match nearest {
        Some(key) => format!("did you mean '{key}'?"),
        None => "run 'understudy config show' for the valid keys".to_owned(),
    }
}
