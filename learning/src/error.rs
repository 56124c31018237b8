//! What can go wrong while learning: the thing, its value and the remedy.
//!
//! Invariant: an error leaves the learner as it was before the call that returned it.

/// An error of the learning core.
#[derive(Debug, thiserror::Error)]
pub enum LearningError {
    /// A loss or gradient was not finite; nothing was changed.
    #[error(
        "{what} is {value}: the step was skipped and nothing changed; look for an infinite score or a broken weight"
    )]
    NonFinite {
        /// What was not finite: a loss or a gradient norm.
        what: &'static str,
        /// NaN or an infinity.
        value: f64,
    },
    /// Several steps in a row were not finite; the weights are those before the first of them.
    #[error("{times} steps in a row were not finite (the last: {what} is {value}): go back to the last checkpoint")]
    Diverged {
        /// How many.
        times: u32,
        /// What was not finite the last time.
        what: &'static str,
        /// NaN or an infinity.
        value: f64,
    },
    /// A configuration value that cannot work.
    #[error("{field} is {value}; {remedy}")]
    Config {
        /// The key.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        remedy: &'static str,
    },
    /// A saved state that does not belong to this learner.
    #[error("saved state: {name} {problem}; restore a state of the same model and configuration")]
    State {
        /// Which tensor or scalar.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Input that does not fit together.
    #[error("{what}: {problem}")]
    Input {
        /// Which input.
        what: String,
        /// What is wrong with it, and the remedy.
        problem: String,
    },
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

impl LearningError {
    /// A [`LearningError::State`].
    pub fn state(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::State { name: name.into(), problem: problem.into() }
    }

    /// A [`LearningError::Input`].
    pub fn input(what: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Input { what: what.into(), problem: problem.into() }
    }
}
