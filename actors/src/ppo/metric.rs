//! Names of the PPO actor's metrics.
//!
//! Invariant: a metric is named here once and described in docs/METRICS.md under the same name.

use understudy_learning::ppo::PpoReport;

/// Counter, updates that taught something.
pub const UPDATES: &str = "understudy_ppo_updates_total";
/// Counter, updates given up because a number was not finite.
pub const ABANDONED: &str = "understudy_ppo_updates_abandoned_total";
/// Counter, times that the policy had gone bad and was put back. Label `reason`.
pub const ROLLBACKS: &str = "understudy_policy_rollbacks_total";
/// Histogram, seconds of an update.
pub const SECONDS: &str = "understudy_ppo_update_seconds";
/// Gauge, mean score of the batch as the reward model gave it.
pub const SCORE: &str = "understudy_ppo_score";
/// Gauge, mean score less the KL penalty.
pub const REWARD: &str = "understudy_ppo_reward";
/// Gauge, KL to the reference in nats per sequence.
pub const KL: &str = "understudy_ppo_kl_per_sequence";
/// Gauge, weight of the KL penalty.
pub const KL_COEF: &str = "understudy_ppo_kl_coef";
/// Gauge, mean entropy in nats per token.
pub const ENTROPY: &str = "understudy_ppo_entropy";
/// Gauge, share of clipped tokens.
pub const CLIPFRAC: &str = "understudy_ppo_clipfrac";
/// Gauge, how well values foretell returns; 1 is fully.
pub const EXPLAINED_VARIANCE: &str = "understudy_ppo_explained_variance";
/// Gauge, norm of the policy's gradient before clipping.
pub const GRAD_NORM: &str = "understudy_ppo_grad_norm";
/// Gauge, greatest difference between a token's log-probability when served and when learned.
pub const LOGPROB_GAP: &str = "understudy_max_logprob_gap";
/// Gauge, mean updates between sampling and learning.
pub const STALENESS: &str = "understudy_staleness_mean";
/// Counter, rollouts dropped by the learner. Label `reason`.
pub const DROPPED: &str = "understudy_ppo_rollouts_dropped_total";

/// Records what an update tells.
pub(super) fn record(report: &PpoReport, seconds: f64) {
    metrics::counter!(UPDATES).increment(1);
    metrics::histogram!(SECONDS).record(seconds);
    let gauges = [
        (SCORE, report.mean_score),
        (REWARD, report.mean_reward),
        (KL, report.kl_per_sequence),
        (KL_COEF, report.kl_coef),
        (ENTROPY, report.entropy),
        (CLIPFRAC, report.clipfrac),
        (EXPLAINED_VARIANCE, report.explained_variance),
        (GRAD_NORM, report.grad_norm),
        (STALENESS, report.staleness_mean),
    ];
    gauges.into_iter().for_each(|(name, value)| metrics::gauge!(name).set(value));
    if let Some(gap) = report.max_logprob_gap {
        metrics::gauge!(LOGPROB_GAP).set(gap);
    }
    let dropped =
        [("stale", report.dropped_stale), ("sampling", report.dropped_sampling), ("invalid", report.dropped_invalid)];
    for (reason, count) in dropped {
        metrics::counter!(DROPPED, "reason" => reason).increment(count as u64);
    }
}
