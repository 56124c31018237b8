//! Names of the policy's metrics.
//!
//! Invariant: a metric is named here once and described in docs/METRICS.md under the same name.

/// Counter, tokens sampled.
pub const TOKENS: &str = "understudy_tokens_total";
/// Histogram, seconds from a chat request's admission to its first token.
pub const FIRST_TOKEN: &str = "understudy_first_token_seconds";
/// Histogram, seconds from the publication of a policy to the first token that it samples.
pub const PUBLISH_TO_FIRST_TOKEN: &str = "understudy_publish_to_first_token_seconds";
/// Counter, requests given up because their deadline passed or their reader went away.
pub const CANCELLED: &str = "understudy_requests_cancelled_total";
/// Counter, requests refused when they were taken up (deadline passed, invalid, engine full).
pub const REFUSED: &str = "understudy_requests_refused_total";
/// Counter, answers that could not be written to disk.
pub const UNKEPT: &str = "understudy_answers_unkept_total";
/// Counter, chat answers kept for rating but not learned from, because the pace had no room.
pub const CHAT_NOT_LEARNED: &str = "understudy_chat_answers_not_learned_total";
/// Gauge, the policy version at work.
pub const POLICY_VERSION: &str = "understudy_policy_version";
