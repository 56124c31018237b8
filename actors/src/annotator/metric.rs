//! Names of the simulated people's metrics.
//!
//! Invariant: a metric is named here once and described in docs/METRICS.md under the same name.

/// Counter, ratings that were acknowledged.
pub const RATED: &str = "understudy_simulated_ratings_total";
/// Histogram, gold reward of answers by the population's common taste.
pub const GOLD: &str = "understudy_gold_reward";
/// Gauge, ratings that were planned and given up because too many were.
pub const GIVEN_UP: &str = "understudy_simulated_ratings_given_up";
