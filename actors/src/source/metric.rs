//! Names of the sources' metrics.
//!
//! Invariant: a metric is named here once and described in docs/METRICS.md under the same name.

/// Counter, questions drawn. Label `source`.
pub const DRAWN: &str = "understudy_questions_total";
