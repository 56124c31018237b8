//! When to start anew, and when to give up.
//!
//! Invariant: pure bookkeeping; time and randomness are arguments. Within any window of `within` there are at most
//! `max_restarts` restarts.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use understudy_model::rng::Stream;

/// How often and how fast an actor is started anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Restarts that are allowed within `within`; one more failure and the actor is given up.
    pub max_restarts: usize,
    /// The window.
    pub within: Duration,
    /// Pause before the first restart of a window; doubles with each further one.
    pub backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
}

impl Default for RestartPolicy {
    /// Five restarts a minute, pauses from 100 ms to 5 s.
    fn default() -> Self {
        Self {
            max_restarts: 5,
            within: Duration::from_secs(60),
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
        }
    }
}

impl RestartPolicy {
    /// Give up at the first failure.
    pub fn never() -> Self {
        Self { max_restarts: 0, ..Self::default() }
    }
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Start anew after this pause.
    Restart(Duration),
    /// Do not start again.
    GiveUp,
}

/// The restarts of one actor.
#[derive(Debug)]
pub struct Restarts {
    policy: RestartPolicy,
    jitter: Stream,
    recent: VecDeque<Instant>,
    total: u64,
}

impl Restarts {
    /// None so far. Pauses are shortened by up to half, drawn from `jitter`, so that actors that fail together do not
    /// come back together.
    pub fn new(policy: RestartPolicy, jitter: Stream) -> Self {
        Self { policy, jitter, recent: VecDeque::new(), total: 0 }
    }

    /// A failure happened at `now`.
    pub fn after_failure(&mut self, now: Instant) -> Decision {
        while self.recent.front().is_some_and(|restart| now.duration_since(*restart) >= self.policy.within) {
            self.recent.pop_front();
        }
        if self.recent.len() >= self.policy.max_restarts {
            return Decision::GiveUp;
        }
        let doublings = u32::try_from(self.recent.len()).unwrap_or(u32::MAX).min(30);
        let pause = self.policy.backoff.saturating_mul(1 << doublings).min(self.policy.max_backoff);
        self.recent.push_back(now);
        self.total += 1;
        Decision::Restart(pause.mul_f64(1.0 - 0.5 * self.jitter.uniform()))
    }

    /// Restarts so far.
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use understudy_model::rng::Purpose;

    use super::*;

    fn restarts(policy: RestartPolicy) -> Restarts {
        Restarts::new(policy, Stream::new(1, Purpose::Backoff, 0))
    }

    #[tokio::test(start_paused = true)]
    async fn five_failures_in_a_minute_are_restarted_and_the_sixth_is_not() {
        let mut restarts = restarts(RestartPolicy::default());
        let now = Instant::now();
        let pauses: Vec<Decision> = (0..6).map(|_| restarts.after_failure(now)).collect();
        for (doublings, decision) in pauses[..5].iter().enumerate() {
            let Decision::Restart(pause) = decision else { panic!("{decision:?}") };
            let longest = Duration::from_millis(100 << doublings);
            assert!(*pause <= longest && *pause >= longest / 2, "{pause:?} of {longest:?}");
        }
        assert_eq!(pauses[5], Decision::GiveUp);
        assert_eq!(restarts.total(), 5);
        let later = now + Duration::from_secs(60);
        assert!(matches!(restarts.after_failure(later), Decision::Restart(_)), "a new window");
    }

    proptest! {
        #[test]
        fn no_window_holds_more_restarts_than_allowed(gaps in proptest::collection::vec(0u64..40, 1..60), most in 0usize..6) {
            let policy = RestartPolicy { max_restarts: most, ..RestartPolicy::default() };
            let mut restarts = restarts(policy);
            let mut now = Instant::now();
            let mut done: Vec<Instant> = Vec::new();
            for gap in gaps {
                now += Duration::from_secs(gap);
                if let Decision::Restart(pause) = restarts.after_failure(now) {
                    prop_assert!(pause <= policy.max_backoff);
                    done.push(now);
                }
                let in_window = done.iter().filter(|at| now.duration_since(**at) < policy.within).count();
                prop_assert!(in_window <= most, "{in_window} restarts within a minute");
            }
        }
    }
}
