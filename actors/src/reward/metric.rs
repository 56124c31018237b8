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
/// Counter, answers whose scores were not passed on because too few ratings were learned from.
pub const HELD_BACK: &str = "understudy_scores_held_back_total";
/// Gauge, share of two-way questions of a kind of feedback foretold rightly, recently. Label `kind`.
pub const KIND_ACCURACY: &str = "understudy_reward_kind_accuracy";
/// Gauge, log-loss of the same predictions, nats. Label `kind`.
pub const KIND_LOG_LOSS: &str = "understudy_reward_kind_log_loss";
/// Gauge, sum of the recent rises of the log-loss beyond what is borne, standard deviations.
pub const DRIFT: &str = "understudy_reward_drift";
/// Gauge, 1 while people's taste seems to have changed, else 0.
pub const DRIFT_ALARM: &str = "understudy_reward_drift_alarm";
/// Gauge, mean distance (W1) of the rated probes' rewards from where their loss ends.
pub const COLLAPSE_D_OPT: &str = "understudy_reward_collapse_d_opt";
/// Gauge, distance (W1) between the mean sorted rewards of closed-ended and open-ended unrated probes.
pub const COLLAPSE_D_TYPES: &str = "understudy_reward_collapse_d_types";
/// Gauge, the same distance between the optima of the rated probes.
pub const COLLAPSE_D_WANT: &str = "understudy_reward_collapse_d_want";
/// Gauge, 1 − d_types / d_want.
pub const COLLAPSE_INDEX: &str = "understudy_reward_collapse_index";
/// Gauge, share of the rated probes' rewards below 0.01 or above 0.99.
pub const COLLAPSE_SATURATION: &str = "understudy_reward_collapse_saturation";
/// Gauge, 1 while the alarm is on, else 0.
pub const COLLAPSE_ALARM: &str = "understudy_reward_collapse_alarm";
