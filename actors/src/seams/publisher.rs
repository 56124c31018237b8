//! Publishing policies.
//!
//! Invariant: a version number is journaled before anybody can sample under it, and never used for other weights, also
//! after a crash between two checkpoints; a publisher that was fenced off publishes nothing more.

use sha2::{Digest, Sha256};
use tokio::time::Instant;
use understudy_checkpoints::{CommitError, NewRecord, RecordKind, StoreHandle};
use understudy_learning::stages::PolicyVersion;
use understudy_model::Branch;

use crate::link::Latest;

/// Immutable weights of the policy's branch under their version. Readers clone the tensors' handles, never write.
#[derive(Debug)]
pub struct PolicySnapshot {
    /// Names the weights for ever.
    pub version: PolicyVersion,
    /// A deep copy of the learner's branch.
    pub branch: Branch,
    /// When it was put on the link.
    pub published_at: Instant,
}

/// Why a version was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Another version is the newest already.
    #[error("version {version} was not published: {newest} is the newest already; another learner took over")]
    Fenced {
        /// What was to be published.
        version: PolicyVersion,
        /// What is published.
        newest: PolicyVersion,
    },
    /// In lockstep: the journal has other figures or weights under this number.
    #[error("version {version}: {}", crate::lockstep::DIVERGED)]
    Diverged {
        /// What was to be published.
        version: PolicyVersion,
    },
    /// The journal refused, so nobody may see the version.
    #[error("version {version} was not published: its number could not be journaled ({reason})")]
    Journal {
        /// What was to be published.
        version: PolicyVersion,
        /// The journal's words.
        reason: String,
    },
}

/// Makes versions visible to engines, in order.
pub trait WeightPublisher: Send {
    /// Reserves `version` durably, then shows the weights. May wait for one disk sync. `figures` tell of the update; a run
    /// in lockstep keeps them beside the number.
    fn publish(&mut self, version: PolicyVersion, branch: Branch, figures: &[f64]) -> Result<(), PublishError>;
    /// The highest version that was ever reserved, also before the last crash.
    fn highest(&self) -> PolicyVersion;
}

/// Publishes on this process's own link, after a sync of the journal.
pub struct LocalPublisher {
    store: StoreHandle,
    snapshots: Latest<PolicySnapshot>,
    highest: PolicyVersion,
    /// Whether numbers are reserved again on the way that was gone before.
    lockstep: bool,
}

impl LocalPublisher {
    /// A publisher that goes on after the versions in the journal.
    pub fn new(store: StoreHandle, snapshots: Latest<PolicySnapshot>) -> Result<Self, PublishError> {
        let highest = highest_published(&store)?;
        Ok(Self { store, snapshots, highest, lockstep: false })
    }

    /// A publisher that goes on after `restored` and repeats what the journal has beyond it: the same number with the same
    /// figures and weights is published again, with others it is [`PublishError::Diverged`].
    pub fn in_lockstep(store: StoreHandle, snapshots: Latest<PolicySnapshot>, restored: PolicyVersion) -> Self {
        Self { store, snapshots, highest: restored, lockstep: true }
    }

    /// Shows weights under a version that was reserved before: what a restart goes on from.
    pub fn show(&self, version: PolicyVersion, branch: Branch) {
        self.snapshots.publish(PolicySnapshot { version, branch, published_at: Instant::now() });
    }

    fn reserve(&self, version: PolicyVersion, trace: &[u8]) -> Result<(), PublishError> {
        let bytes = [&version.to_le_bytes(), trace].concat();
        let key = Some(format!("published/{version}"));
        let record = NewRecord { kind: RecordKind::Published, key, group: 0, bytes };
        match self.store.append(record) {
            Ok(ack) if ack.duplicate && !self.lockstep => Err(PublishError::Fenced { version, newest: version }),
            Ok(_) => Ok(()),
            Err(CommitError::Conflict { .. }) if self.lockstep => Err(PublishError::Diverged { version }),
            Err(error) => Err(PublishError::Journal { version, reason: error.to_string() }),
        }
    }
}

impl WeightPublisher for LocalPublisher {
    fn publish(&mut self, version: PolicyVersion, branch: Branch, figures: &[f64]) -> Result<(), PublishError> {
        if version <= self.highest {
            return Err(PublishError::Fenced { version, newest: self.highest });
        }
        let trace = if self.lockstep { trace(figures, &branch) } else { Vec::new() };
        self.reserve(version, &trace)?;
        self.highest = version;
        self.show(version, branch);
        Ok(())
    }

    fn highest(&self) -> PolicyVersion {
        self.highest
    }
}

/// The figures' bits, and the SHA-256 of the weights' bits in the order of their names.
fn trace(figures: &[f64], branch: &Branch) -> Vec<u8> {
    let mut digest = Sha256::new();
    for (name, tensor) in branch.parameters() {
        let tensor = tensor.detach().to_device(tch::Device::Cpu).contiguous();
        let mut bytes = vec![0u8; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        digest.update(name.as_bytes());
        digest.update(&bytes);
    }
    let mut trace: Vec<u8> = figures.iter().flat_map(|figure| figure.to_bits().to_le_bytes()).collect();
    trace.extend_from_slice(&digest.finalize());
    trace
}

/// The highest version in the journal; 0 if none was ever published. Versions rise, so it is the newest.
pub(crate) fn highest_published(store: &StoreHandle) -> Result<PolicyVersion, PublishError> {
    let refused = |reason: String| PublishError::Journal { version: 0, reason };
    let newest = store.newest(RecordKind::Published).map_err(|error| refused(error.to_string()))?;
    newest.map_or(Ok(0), |record| {
        let version = record.bytes.first_chunk().ok_or_else(|| refused("its newest record is no version".into()))?;
        Ok(PolicyVersion::from_le_bytes(*version))
    })
}
