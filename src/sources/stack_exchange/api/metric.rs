//! Names of the API's metrics.
//!
//! Invariant: a metric is named here once and described in docs/METRICS.md under the same name.

/// Gauge, requests that the API says are left of today's. Label `site`.
pub const QUOTA_REMAINING: &str = "understudy_se_api_quota_remaining";
/// Counter, requests sent to the API. Label `site`.
pub const REQUESTS: &str = "understudy_se_api_requests_total";
/// Counter, requests that were not answered, or with an error. Label `site`.
pub const ERRORS: &str = "understudy_se_api_errors_total";
/// Counter, new questions that came from the API. Label `site`.
pub const FETCHED: &str = "understudy_se_api_questions_total";
