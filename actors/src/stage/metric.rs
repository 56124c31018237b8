//! Names of the stage's metrics.
//!
//! Invariant: a metric is named here once and described in docs/METRICS.md under the same name.

/// Gauge, the version that answers people.
pub const LEAD: &str = "understudy_stage_lead_version";
/// Gauge, the version on trial; 0 is none.
pub const CANDIDATE: &str = "understudy_stage_candidate_version";
/// Gauge, the candidate's share of the wins against the lead.
pub const WIN_RATE: &str = "understudy_stage_win_rate";
/// Counter, comparisons of a candidate with its lead.
pub const COMPARISONS: &str = "understudy_stage_comparisons_total";
/// Counter, what happened on stage. Labels `change`, `reason`.
pub const CHANGES: &str = "understudy_stage_changes_total";
