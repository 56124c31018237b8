//! The catalogue of metrics: name, kind and meaning. `docs/METRICS.md` has formula and what bad looks like.
//!
//! Invariant: a test keeps this list, the document and the names emitted anywhere in the workspace the same. Base units
//! only; `_total` on counters and nowhere else.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// What a metric does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, as Prometheus shows it.
    pub name: &'static str,
    /// What it does over time.
    pub kind: Kind,
    /// One line of meaning.
    pub help: &'static str,
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, help }
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, help }
}

/// Requests over HTTP, by route and status class.
pub const HTTP_REQUESTS: &str = "understudy_http_requests_total";
/// Time to answer an HTTP request; streams count until their last byte.
pub const HTTP_SECONDS: &str = "understudy_http_request_seconds";
/// Ratings that were refused at the edge, by reason.
pub const RATINGS_REJECTED: &str = "understudy_ratings_rejected_total";

/// Readers of the events now.
pub const EVENT_READERS: &str = "understudy_event_readers";
/// Readers of the events that were refused or let go, by reason.
pub const EVENT_READERS_LOST: &str = "understudy_event_readers_lost_total";
/// From a rating to the first token of a policy that learned from it.
pub const RATING_TO_ANSWER: &str = "understudy_rating_to_answer_seconds";
/// Times that the configuration was read again, by outcome.
pub const CONFIG_RELOADS: &str = "understudy_config_reloads_total";
/// Values that TensorBoard's files lack because the disk failed or was too slow.
pub const TENSORBOARD_LOST: &str = "understudy_tensorboard_lost_total";
/// Tasks given to annotators, by kind.
pub const TASKS_GIVEN: &str = "understudy_tasks_given_total";
/// Tasks that annotators did not want.
pub const TASKS_SKIPPED: &str = "understudy_tasks_skipped_total";

/// Every metric of the program.
pub const CATALOGUE: &[Metric] = &[
    counter(HTTP_REQUESTS, "HTTP requests, by route and status"),
    histogram(HTTP_SECONDS, "Seconds to answer an HTTP request, by route"),
    counter(RATINGS_REJECTED, "Ratings refused at the edge, by reason"),
    gauge(EVENT_READERS, "Readers of the events now"),
    counter(EVENT_READERS_LOST, "Readers of the events that were refused or let go, by reason"),
    histogram(RATING_TO_ANSWER, "Seconds from a rating to the first token of a policy that learned from it"),
    counter(CONFIG_RELOADS, "Times that the configuration was read again, by outcome"),
    counter(TENSORBOARD_LOST, "Values that TensorBoard's files lack"),
    counter(TASKS_GIVEN, "Tasks given to annotators, by kind"),
    counter(TASKS_SKIPPED, "Tasks that annotators did not want"),
    counter("understudy_questions_total", "Training questions asked, by source"),
    gauge(
        "understudy_se_api_quota_remaining",
        "Requests that the Stack Exchange API says are left of today's, by site",
    ),
    counter("understudy_se_api_requests_total", "Requests sent to the Stack Exchange API, by site"),
    counter("understudy_se_api_errors_total", "Those that were not answered, or with an error, by site"),
    counter("understudy_se_api_questions_total", "New questions that came from the Stack Exchange API, by site"),
    counter("understudy_tokens_total", "Tokens sampled"),
    histogram("understudy_first_token_seconds", "Seconds from a chat request's admission to its first token"),
    histogram("understudy_publish_to_first_token_seconds", "Seconds from a policy's publication to its first token"),
    counter("understudy_requests_cancelled_total", "Requests given up: late, or the reader went away"),
    counter("understudy_requests_refused_total", "Requests refused when they were taken up"),
    counter("understudy_answers_unkept_total", "Answers that could not be written to disk"),
    counter("understudy_chat_answers_not_learned_total", "Chat answers kept for rating but not learned from"),
    gauge("understudy_policy_version", "The policy version at work"),
    counter("understudy_feedback_total", "Ratings that became durable and were passed on, by kind"),
    counter("understudy_feedback_acknowledged_total", "Acknowledgements of ratings, by duplicate"),
    counter("understudy_feedback_refused_total", "Ratings that the feedback actor refused, by reason"),
    counter("understudy_answers_scored_total", "Answers scored by the reward model"),
    counter("understudy_reward_updates_total", "Reward minibatches learned"),
    histogram("understudy_reward_update_seconds", "Seconds of a reward minibatch"),
    gauge("understudy_reward_loss", "Negative log-likelihood of the last reward minibatch, nats"),
    gauge("understudy_reward_prequential_accuracy", "Share of choices foretold before learning from them"),
    gauge("understudy_reward_prequential_log_loss", "Log-loss of what was foretold, nats"),
    gauge("understudy_reward_calibration_error", "Expected calibration error of what was foretold"),
    histogram("understudy_reward_heard_to_learned_seconds", "Seconds from a rating's arrival to its first minibatch"),
    counter(
        "understudy_scores_held_back_total",
        "Answers whose scores were held back: too few ratings were learned from",
    ),
    gauge("understudy_reward_kind_accuracy", "Share of choices of a kind foretold before learning from them, by kind"),
    gauge("understudy_reward_kind_log_loss", "Log-loss of what was foretold of a kind, nats, by kind"),
    gauge("understudy_reward_drift", "Sum of the recent rises of the log-loss, standard deviations"),
    gauge("understudy_reward_drift_alarm", "1 while people's taste seems to have changed, else 0"),
    gauge("understudy_reward_collapse_d_opt", "Distance of rated questions' rewards from where their loss ends"),
    gauge(
        "understudy_reward_collapse_d_types",
        "Distance between the rewards of closed-ended and open-ended questions",
    ),
    gauge("understudy_reward_collapse_d_want", "The same distance where the loss ends"),
    gauge("understudy_reward_collapse_index", "1 - d_types / d_want: 0 is healthy, 1 is collapsed"),
    gauge("understudy_reward_collapse_saturation", "Share of rewards below 0.01 or above 0.99"),
    gauge("understudy_reward_collapse_alarm", "1 while the reward model has collapsed, else 0"),
    counter("understudy_reward_rebuilds_total", "Times the reward model was learned anew without what was taken back"),
    gauge("understudy_reward_rebuilding", "1 while the reward model is learned anew, else 0"),
    counter("understudy_ppo_updates_total", "Policy updates that taught something"),
    counter("understudy_ppo_updates_abandoned_total", "Policy updates given up: a number was not finite"),
    counter("understudy_policy_rollbacks_total", "Times that the policy had gone bad and was put back, by reason"),
    gauge("understudy_stage_lead_version", "The version that answers people, where the stage is guarded"),
    gauge("understudy_stage_candidate_version", "The version on trial; 0 is none"),
    gauge("understudy_stage_win_rate", "The candidate's share of the wins against the lead"),
    counter("understudy_stage_comparisons_total", "Comparisons of a candidate with its lead"),
    counter("understudy_stage_changes_total", "What happened on stage, by change and reason"),
    histogram("understudy_ppo_update_seconds", "Seconds of a policy update"),
    gauge("understudy_ppo_score", "Mean score of the last batch"),
    gauge("understudy_ppo_reward", "Mean score less the KL penalty"),
    gauge("understudy_ppo_kl_per_sequence", "KL to the reference, nats an answer"),
    gauge("understudy_ppo_kl_coef", "Weight of the KL penalty"),
    gauge("understudy_ppo_entropy", "Mean entropy, nats a token"),
    gauge("understudy_ppo_clipfrac", "Share of clipped tokens"),
    gauge("understudy_ppo_explained_variance", "How well values foretell returns"),
    gauge("understudy_ppo_grad_norm", "Norm of the policy's gradient before clipping"),
    gauge("understudy_max_logprob_gap", "Greatest gap of a log-probability between serving and learning, nats"),
    gauge("understudy_staleness_mean", "Mean updates between sampling and learning"),
    counter("understudy_ppo_rollouts_dropped_total", "Answers that the learner dropped, by reason"),
    counter("understudy_simulated_ratings_total", "Ratings of simulated people that were acknowledged"),
    gauge("understudy_simulated_ratings_given_up", "Simulated ratings given up because too many were planned"),
    histogram("understudy_gold_reward", "Gold reward of answers by the population's common taste"),
    counter("understudy_checkpoints_total", "Checkpoints committed"),
    counter("understudy_checkpoints_failed_total", "Checkpoints that could not be committed"),
    histogram("understudy_checkpoint_seconds", "Seconds from a checkpoint's request to its commit"),
    gauge("understudy_queue_depth", "Items waiting in a link, by queue"),
    gauge("understudy_queue_capacity", "Items that a link can hold, by queue"),
    counter("understudy_queue_refused_total", "Items that a link refused at its edge, by queue and reason"),
    counter("understudy_feed_forgotten_total", "Items that a feed forgot for a slow watcher, by queue"),
    counter(
        "understudy_request_dropped_total",
        "Requests dropped when they were taken from a link, by queue and reason",
    ),
    gauge("understudy_pace_room", "Answers that the staleness gate would still admit"),
    counter("understudy_actor_restarts_total", "New incarnations after the first, by actor"),
    counter("understudy_actor_exits_total", "Ends of incarnations, by actor and exit"),
    counter("understudy_quarantined_total", "Messages kept because an actor died with them in hand, by actor"),
    counter("understudy_invariant_violations_total", "Violated invariants, by invariant"),
];

/// Tells the recorder what each metric means.
pub fn describe_all() {
    for metric in CATALOGUE {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        for Metric { name, kind, .. } in CATALOGUE {
            assert!(name.starts_with("understudy_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}: _total is for counters");
            // The gold reward has no unit; everything else that is spread over buckets is time.
            let timed = name.ends_with("_seconds") || *name == "understudy_gold_reward";
            assert!(*kind != Kind::Histogram || timed, "{name}: histograms are of seconds");
        }
    }
}
