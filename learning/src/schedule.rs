//! How the learning rate changes with the number of updates.
//!
//! Invariant: a pure function of the step; nothing to save, nothing to restore.

use serde::{Deserialize, Serialize};

/// What happens after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "shape", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decay {
    /// The full rate for ever: right for a run without an end.
    #[default]
    Constant,
    /// Straight down to 0 at a step, and 0 after it.
    Linear {
        /// The first step without learning.
        zero_at: u64,
    },
    /// Half a cosine down to `floor` at a step, and `floor` after it. Loshchilov and Hutter, SGDR (2017), equation 5.
    Cosine {
        /// The step at which the floor is reached.
        floor_at: u64,
        /// Share of the full rate that remains.
        floor: f64,
    },
}

/// A warm-up in a straight line from near 0, then a [`Decay`].
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// Steps until the full rate; 0 begins with it.
    pub warmup: u64,
    /// What follows.
    pub decay: Decay,
}

impl Schedule {
    /// The share of the full rate at `step` (0 = the first), in `0 ..= 1`.
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / (self.warmup + 1) as f64;
        }
        let progress = |end: u64| {
            let length = end.saturating_sub(self.warmup);
            if length == 0 { 1.0 } else { ((step - self.warmup) as f64 / length as f64).min(1.0) }
        };
        match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear { zero_at } => 1.0 - progress(zero_at),
            Decay::Cosine { floor_at, floor } => {
                floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * progress(floor_at)).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schedule: Schedule, points: &[(u64, f64)]) {
        for (step, wanted) in points {
            assert!((schedule.factor(*step) - wanted).abs() < 1e-12, "{schedule:?} at {step}");
        }
    }

    #[test]
    fn schedules_pass_through_their_known_points() {
        check(Schedule::default(), &[(0, 1.0), (1_000_000, 1.0)]);
        let warm = Schedule { warmup: 3, decay: Decay::Constant };
        check(warm, &[(0, 0.25), (1, 0.5), (2, 0.75), (3, 1.0), (9, 1.0)]);
        let linear = Schedule { warmup: 1, decay: Decay::Linear { zero_at: 11 } };
        check(linear, &[(0, 0.5), (1, 1.0), (6, 0.5), (11, 0.0), (99, 0.0)]);
        let cosine = Schedule { warmup: 0, decay: Decay::Cosine { floor_at: 10, floor: 0.2 } };
        check(cosine, &[(0, 1.0), (5, 0.6), (10, 0.2), (11, 0.2)]);
        check(Schedule { warmup: 5, decay: Decay::Linear { zero_at: 2 } }, &[(5, 0.0)]);
    }
}
