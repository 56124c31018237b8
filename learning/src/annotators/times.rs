//! When things happen: response delays and arrivals.
//!
//! Invariant: only durations come out; what time it is stays with the caller.

use rand_distr::{Distribution, Exp1, StandardNormal};

use super::member::Annotator;
use crate::rng::Stream;

/// Nobody is waited for longer: the tail of a log-normal has no end.
const LONGEST_DELAY_MS: f64 = 24.0 * 3600.0 * 1000.0;

impl Annotator {
    /// Time from seeing a task to saying something: log-normal around its median.
    pub fn delay_ms(&self, stream: &mut Stream) -> u64 {
        let step: f64 = StandardNormal.sample(stream);
        (self.delay_median_ms * (self.delay_spread * step).exp()).min(LONGEST_DELAY_MS).round() as u64
    }
}

/// Time to the next arrival of a Poisson process of `rate_per_s` (exponential); never (`None`) without a rate above 0.
pub fn next_arrival_ms(rate_per_s: f64, stream: &mut Stream) -> Option<u64> {
    if !(rate_per_s.is_finite() && rate_per_s > 0.0) {
        return None;
    }
    let wait: f64 = Exp1.sample(stream);
    Some((wait / rate_per_s * 1000.0).round() as u64)
}
