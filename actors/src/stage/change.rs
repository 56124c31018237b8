//! What is asked of the stage, and what happens on it.
//!
//! Invariant: plain values; every change says why in words.

use serde::Serialize;
use understudy_learning::stages::PolicyVersion;

/// What somebody tells the stage to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Put a version on stage: this one, else the candidate, else the newest that may.
    Promote(Option<PolicyVersion>),
    /// Take the candidate off; without one, go back to the lead of before; with a version, to that one.
    Rollback(Option<PolicyVersion>),
    /// Keep this version on stage whatever comes.
    Pin(PolicyVersion),
    /// Let others come again.
    Unpin,
}

/// Why a version does not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A figure is not finite.
    NotFinite,
    /// The KL to the base model is over its budget.
    Kl,
    /// The entropy is under its floor.
    Entropy,
    /// People liked the lead better.
    Worse,
    /// Somebody asked for it.
    Asked,
}

impl Reason {
    /// The word in metrics and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFinite => "not_finite",
            Self::Kl => "kl",
            Self::Entropy => "entropy",
            Self::Worse => "worse",
            Self::Asked => "asked",
        }
    }
}

/// What happened on stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A candidate answers a share of people's requests from now on.
    Canary {
        /// The candidate.
        version: PolicyVersion,
        /// Who answers the rest.
        lead: PolicyVersion,
    },
    /// A version leads from now on.
    Promoted {
        /// Which.
        version: PolicyVersion,
        /// Who led before.
        from: PolicyVersion,
        /// In words.
        why: String,
    },
    /// A candidate or lead serves no longer.
    RolledBack {
        /// Which.
        version: PolicyVersion,
        /// Who leads now.
        to: PolicyVersion,
        /// Why.
        reason: Reason,
        /// The same in words.
        why: String,
    },
    /// A version may not serve; it is not tried.
    Refused {
        /// Which.
        version: PolicyVersion,
        /// Why.
        reason: Reason,
        /// The same in words.
        why: String,
    },
    /// The lead stays from now on.
    Pinned {
        /// Who leads.
        version: PolicyVersion,
        /// Who led before; the same when it led already.
        from: PolicyVersion,
    },
    /// Others may come again.
    Unpinned {
        /// Who leads.
        version: PolicyVersion,
    },
}

impl Change {
    /// The word in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Canary { .. } => "canary",
            Self::Promoted { .. } => "promoted",
            Self::RolledBack { .. } => "rolled_back",
            Self::Refused { .. } => "refused",
            Self::Pinned { .. } => "pinned",
            Self::Unpinned { .. } => "unpinned",
        }
    }

    /// The reason's word; `none` where the change needs none.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::RolledBack { reason, .. } | Self::Refused { reason, .. } => reason.as_str(),
            _ => "none",
        }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Canary { version, lead } => write!(f, "policy {version} is tried beside {lead}"),
            Self::Promoted { version, from, why } => write!(f, "policy {version} leads after {from}: {why}"),
            Self::RolledBack { version, to, reason, why } => {
                write!(f, "policy {version} was rolled back ({}), {to} leads: {why}", reason.as_str())
            }
            Self::Refused { version, reason, why } => {
                write!(f, "policy {version} is not tried ({}): {why}", reason.as_str())
            }
            Self::Pinned { version, .. } => write!(f, "policy {version} is pinned"),
            Self::Unpinned { version } => write!(f, "policy {version} leads and is pinned no longer"),
        }
    }
}
