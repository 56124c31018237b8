//! Why the stage does not do what it is told.
//!
//! Invariant: each sentence names the version and what would be right.

use understudy_learning::stages::PolicyVersion;

use crate::link::AskError;

/// Why an order was not followed; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StageRefusal {
    /// Every version serves at once.
    #[error("stage.mode is \"direct\": every version serves at once; set stage.mode = \"guarded\" and start again")]
    Direct,
    /// Its weights are not here (any more).
    #[error(
        "version {version} is not kept; {} are: the lead, the leads before it, the candidate and the newest published \
         (stage.keep of each)",
        listed(kept)
    )]
    NotKept {
        /// Which.
        version: PolicyVersion,
        /// Those that are.
        kept: Vec<PolicyVersion>,
    },
    /// The lead stays until somebody says otherwise.
    #[error("version {0} is pinned; unpin it first")]
    Pinned(PolicyVersion),
    /// Nothing is pinned.
    #[error("no version is pinned")]
    NotPinned,
    /// Its KL and entropy are not known.
    #[error("version {0} is not measured yet: the update after it does that; wait for one, or name an older version")]
    Unmeasured(PolicyVersion),
    /// It may not serve.
    #[error("version {version} may not go on stage: {why}")]
    OutOfBounds {
        /// Which.
        version: PolicyVersion,
        /// The figure and its bound.
        why: String,
    },
    /// It is the lead.
    #[error("version {0} is on stage already")]
    OnStage(PolicyVersion),
    /// No version is newer and measured within bounds.
    #[error("there is no candidate: no version newer than {0} was measured within the bounds; wait for an update")]
    NoCandidate(PolicyVersion),
    /// No lead before this one is kept.
    #[error("there is no lead before version {0} to go back to; name a version that is kept")]
    NothingBefore(PolicyVersion),
    /// The change could not be made durable.
    #[error("nothing was changed: the stage could not be written down ({0})")]
    NotWritten(String),
    /// The stage could not be asked.
    #[error("{0}")]
    NotAsked(AskError),
}

fn listed(versions: &[PolicyVersion]) -> String {
    versions.iter().map(PolicyVersion::to_string).collect::<Vec<_>>().join(", ")
}
