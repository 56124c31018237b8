//! Wall and processor time of one phase.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::resources::cpu_seconds;

/// Running since it was made.
pub(super) struct Meter {
    begun: Instant,
    cpu: f64,
}

/// What a phase took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) wall: f64,
    pub(super) cpu: f64,
}

impl Meter {
    pub(super) fn start() -> Self {
        Self { begun: Instant::now(), cpu: cpu_seconds() }
    }

    pub(super) fn spent(&self) -> Spent {
        Spent { wall: self.begun.elapsed().as_secs_f64(), cpu: cpu_seconds() - self.cpu }
    }
}

impl Spent {
    pub(super) fn add(&mut self, other: Self) {
        self.wall += other.wall;
        self.cpu += other.cpu;
    }

    pub(super) fn json(self) -> Value {
        json!({"wall_s": rounded(self.wall), "cpu_s": rounded(self.cpu)})
    }

    /// So many `what` in this time.
    pub(super) fn rate(self, count: usize) -> Value {
        // The kernel counts processor time in hundredths: shorter phases have none to tell.
        let per_core_second = (self.cpu >= 0.05).then(|| rounded(count as f64 / self.cpu));
        json!({
            "tokens": count,
            "wall_s": rounded(self.wall),
            "cpu_s": rounded(self.cpu),
            "tokens_per_s": rounded(count as f64 / self.wall.max(1e-9)),
            "tokens_per_core_second": per_core_second,
        })
    }
}

/// Four significant decimals are more than a measurement is worth.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
