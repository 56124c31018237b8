//! Publishing policies.
//!
//! Invariant: a version number is journaled before anybody can sample under it, and never used for other weights, also
//! after a crash between two checkpoints; a publisher that was fenced off publishes nothing more.

use tokio::time::Instant;
use understudy_checkpoints::{NewRecord, RecordKind, StoreHandle};
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
    /// Reserves `version` durably, then shows the weights. May wait for one disk sync.
    fn publish(&mut self, version: PolicyVersion, branch: Branch) -> Result<(), PublishError>;
    /// The highest version that was ever reserved, also before the last crash.
    fn highest(&self) -> PolicyVersion;
}

/// Publishes on this process's own link, after a sync of the journal.
pub struct LocalPublisher {
    store: StoreHandle,
    snapshots: Latest<PolicySnapshot>,
    highest: PolicyVersion,
}

impl LocalPublisher {
    /// A publisher that goes on after the versions in the journal.
    pub fn new(store: StoreHandle, snapshots: Latest<PolicySnapshot>) -> Result<Self, PublishError> {
        let highest = highest_published(&store)?;
        Ok(Self { store, snapshots, highest })
    }

    /// Shows weights under a version that was reserved before: what a restart goes on from.
    pub fn show(&self, version: PolicyVersion, branch: Branch) {
        self.snapshots.publish(PolicySnapshot { version, branch, published_at: Instant::now() });
    }

    fn reserve(&self, version: PolicyVersion) -> Result<(), PublishError> {
        let bytes = version.to_le_bytes().to_vec();
        let key = Some(format!("published/{version}"));
        let record = NewRecord { kind: RecordKind::Published, key, group: 0, bytes };
        match self.store.append(record) {
            Ok(ack) if ack.duplicate => Err(PublishError::Fenced { version, newest: version }),
            Ok(_) => Ok(()),
            Err(error) => Err(PublishError::Journal { version, reason: error.to_string() }),
        }
    }
}

impl WeightPublisher for LocalPublisher {
    fn publish(&mut self, version: PolicyVersion, branch: Branch) -> Result<(), PublishError> {
        if version <= self.highest {
            return Err(PublishError::Fenced { version, newest: self.highest });
        }
        self.reserve(version)?;
        self.highest = version;
        self.show(version, branch);
        Ok(())
    }

    fn highest(&self) -> PolicyVersion {
        self.highest
    }
}

/// The highest version in the journal; 0 if none was ever published. Versions rise, so it is the newest.
pub(crate) fn highest_published(store: &StoreHandle) -> Result<PolicyVersion, PublishError> {
    let refused = |reason: String| PublishError::Journal { version: 0, reason };
    let newest = store.newest(RecordKind::Published).map_err(|error| refused(error.to_string()))?;
    newest.map_or(Ok(0), |record| {
        let bytes =
            record.bytes.as_slice().try_into().map_err(|_| refused("its newest record is no version".into()))?;
        Ok(PolicyVersion::from_le_bytes(bytes))
    })
}
