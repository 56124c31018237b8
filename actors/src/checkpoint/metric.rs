//! Names of the checkpoint actor's metrics.
//!
//! Invariant: a metric is named here once and described in docs/METRICS.md under the same name.

/// Counter, checkpoints committed.
pub const COMMITTED: &str = "understudy_checkpoints_total";
/// Counter, checkpoints that could not be committed.
pub const FAILED: &str = "understudy_checkpoints_failed_total";
/// Histogram, seconds from the request to the commit.
pub const SECONDS: &str = "understudy_checkpoint_seconds";
