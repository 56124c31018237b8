//! Names of the feedback actor's metrics.
//!
//! Invariant: a metric is named here once and described in docs/METRICS.md under the same name.

/// Counter, events that became durable and were passed on. Label `kind`.
pub const ACCEPTED: &str = "understudy_feedback_total";
/// Counter, acknowledgements. Label `duplicate` (`yes`, `no`).
pub const ACKNOWLEDGED: &str = "understudy_feedback_acknowledged_total";
/// Counter, events refused. Label `reason`.
pub const REFUSED: &str = "understudy_feedback_refused_total";
