//! What simulated people will say, and when: ordered by time, then by order of planning.
//!
//! Invariant: bounded; when full the event that is due last is given up, and counted.

use std::collections::BTreeMap;

use tokio::time::Instant;

/// Things due at an instant.
#[derive(Debug)]
pub(crate) struct Schedule<T> {
    capacity: usize,
    planned: u64,
    dropped: u64,
    due: BTreeMap<(Instant, u64), T>,
}

impl<T> Schedule<T> {
    /// Holds at most `capacity` things.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), planned: 0, dropped: 0, due: BTreeMap::new() }
    }

    /// Plans `what` for `when`.
    pub(crate) fn plan(&mut self, when: Instant, what: T) {
        self.planned += 1;
        self.due.insert((when, self.planned), what);
        if self.due.len() > self.capacity {
            self.due.pop_last();
            self.dropped += 1;
        }
    }

    /// When the next thing is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((when, _), _)| *when)
    }

    /// Strikes the next thing off, due or not.
    pub(crate) fn take_first(&mut self) -> Option<T> {
        self.due.pop_first().map(|(_, what)| what)
    }

    /// The next thing, if it is due by `now`; it stays planned.
    pub(crate) fn due(&self, now: Instant) -> Option<&T> {
        self.due.first_key_value().filter(|((when, _), _)| *when <= now).map(|(_, what)| what)
    }

    /// Things given up because too many were planned.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn things_come_in_order_of_time_and_the_last_is_given_up_when_full() {
        let now = Instant::now();
        let at = |s| now + Duration::from_secs(s);
        let mut schedule = Schedule::new(3);
        for (seconds, name) in [(5, 'd'), (1, 'a'), (2, 'b'), (2, 'c')] {
            schedule.plan(at(seconds), name);
        }
        assert_eq!((schedule.dropped(), schedule.due(now)), (1, None));
        assert_eq!(schedule.due(at(1)), Some(&'a'));
        let all: String = std::iter::from_fn(|| schedule.take_first()).collect();
        assert_eq!(all, "abc");
    }
}
