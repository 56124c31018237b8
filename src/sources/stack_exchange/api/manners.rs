//! When the next request may be sent.
//!
//! Invariant: pure arithmetic on times; whatever is asked of it, the next request is never earlier than the rate, the API's
//! own wish, the pause after errors and the quota allow.

use serde::{Deserialize, Serialize};

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 24 * 60 * MINUTE;
/// Longest pause after errors in a row.
const LONGEST_PAUSE: i64 = 30 * MINUTE;

/// What the operator allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    /// Requests a second.
    pub(super) rate: f64,
    /// Requests of a day's quota that are left to others.
    pub(super) reserve: u64,
}

/// The times that must be kept to; they outlive a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Manners {
    /// When the last request was sent.
    last: i64,
    /// No request before this.
    not_before: i64,
    /// Errors in a row.
    errors: u32,
    quota_remaining: Option<u64>,
}

impl Manners {
    /// When the next request may be sent.
    pub(super) fn next(&self, limits: Limits) -> i64 {
        let spacing = (SECOND as f64 / limits.rate.max(1e-3)).ceil() as i64;
        (self.last + spacing).max(self.not_before)
    }

    pub(super) fn quota_remaining(&self) -> Option<u64> {
        self.quota_remaining
    }

    /// Times from a clock that was ahead are forgotten: no ban is longer than 30 days.
    pub(super) fn not_later_than(&mut self, now: i64) {
        self.last = self.last.min(now);
        self.not_before = self.not_before.min(now + 30 * DAY + MINUTE);
    }

    /// A request is sent at `now`.
    pub(super) fn sent(&mut self, now: i64) {
        self.last = now;
    }

    /// It was answered well.
    pub(super) fn answered(&mut self, now: i64, backoff: Option<u64>, quota: Option<u64>, limits: Limits) {
        self.errors = 0;
        if let Some(seconds) = backoff {
            self.throttled(now, seconds);
        }
        self.heed_quota(now, quota, limits);
    }

    /// What is left is too little: the quota is given anew at midnight (UTC).
    pub(super) fn heed_quota(&mut self, now: i64, quota: Option<u64>, limits: Limits) {
        self.quota_remaining = quota.or(self.quota_remaining);
        if quota.is_some_and(|left| left <= limits.reserve) {
            let midnight = (now.div_euclid(DAY) + 1) * DAY;
            self.not_before = self.not_before.max(midnight + MINUTE);
        }
    }

    /// The API named a time. A second more is kept, since clocks differ.
    pub(super) fn throttled(&mut self, now: i64, seconds: u64) {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX / 10_000).min(30 * 24 * 3600);
        self.not_before = self.not_before.max(now + (seconds + 1) * SECOND);
    }

    /// Something failed: each time in a row the pause doubles, from a minute on (an identical request is not repeated
    /// within one), and `jitter` in [0, 1) spreads it by half.
    pub(super) fn failed(&mut self, now: i64, jitter: f64) {
        let pause = (MINUTE << self.errors.min(10)).min(LONGEST_PAUSE);
        self.errors += 1;
        self.not_before = self.not_before.max(now + pause + (pause as f64 * 0.5 * jitter) as i64);
    }

    /// Errors in a row.
    pub(super) fn errors(&self) -> u32 {
        self.errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { rate: 2.0, reserve: 10 };

    #[test]
    fn requests_keep_their_distance() {
        let mut manners = Manners::default();
        manners.sent(10_000);
        manners.answered(10_100, None, Some(300), LIMITS);
        assert_eq!(manners.next(LIMITS), 10_500);
    }

    #[test]
    fn the_apis_wish_is_kept_with_a_second_more() {
        let mut manners = Manners::default();
        manners.sent(10_000);
        manners.answered(10_100, Some(10), Some(300), LIMITS);
        assert_eq!(manners.next(LIMITS), 21_100);
        manners.throttled(30_000, 69_138);
        assert_eq!(manners.next(LIMITS), 30_000 + 69_139_000);
        // A shorter wish later does not shorten it.
        manners.answered(31_000, Some(1), None, LIMITS);
        assert_eq!(manners.next(LIMITS), 30_000 + 69_139_000);
    }

    #[test]
    fn an_exhausted_quota_waits_for_midnight() {
        let mut manners = Manners::default();
        let noon = 100 * DAY + DAY / 2;
        manners.answered(noon, None, Some(11), LIMITS);
        assert!(manners.next(LIMITS) < noon);
        manners.answered(noon, None, Some(10), LIMITS);
        assert_eq!(manners.next(LIMITS), 101 * DAY + MINUTE);
    }

    #[test]
    fn pauses_after_errors_double_up_to_half_an_hour_and_end_with_success() {
        let mut manners = Manners::default();
        let mut pause = |now| {
            manners.failed(now, 0.0);
            manners.next(LIMITS) - now
        };
        let pauses: Vec<i64> = (1..=7).map(|n| pause(n * DAY) / MINUTE).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        manners.answered(9 * DAY, None, None, LIMITS);
        manners.failed(10 * DAY, 0.999);
        let pause = manners.next(LIMITS) - 10 * DAY;
        assert!((MINUTE..MINUTE * 3 / 2).contains(&pause), "{pause}");
    }
}
