//! The wall clock, read in one place.
//!
//! Invariant: nothing that is learned depends on it; it stamps logs, answers to clients and simulated arrivals.

/// Milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "the edge of the program stamps wall-clock time; the core never does")]
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
