//! Names of the reward actor's metrics.
//!
//! Invariant: a metric is named here once and described in docs/METRICS.md under the same name.

/// Counter, answers scored.
pub const SCORED: &str = "understudy_answers_scored_total";
/// Counter, minibatches learned.
pub const UPDATES: &str = "understudy_reward_updates_total";
/// Histogram, seconds of a minibatch.
pub const SECONDS: &str = "understudy_reward_update_seconds";
/// Gauge, mean negative log-likelihood of the last minibatch's events, nats.
pub const LOSS: &str = "understudy_reward_loss";
/// Gauge, share of two-way questions foretold rightly before learning from them, recently.
pub const ACCURACY: &str = "understudy_reward_prequential_accuracy";
/// Gauge, mean −log probability of what was said, foretold before learning from it, recently, nats.
pub const LOG_LOSS: &str = "understudy_reward_prequential_log_loss";
/// Gauge, expected calibration error of the same predictions.
pub const ECE: &str = "understudy_reward_calibration_error";
/// Counter, times that the model was learned anew without what was taken back.
pub const REBUILDS: &str = "understudy_reward_rebuilds_total";
/// Gauge, 1 while the model is learned anew beside the one that serves, else 0.
pub const REBUILDING: &str = "understudy_reward_rebuilding";
/// Histogram, seconds from an event's arrival at the actor to the end of the first minibatch that held it.
pub const HEARD_TO_LEARNED: &str = "understudy_reward_heard_to_learned_seconds";
