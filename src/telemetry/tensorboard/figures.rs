//! Events of the loop as TensorBoard's values: which tag, which run, which step.
//!
//! Invariant: memory does not grow with events. The policy's run counts policy versions, the reward model's run counts its
//! own versions. Tags under `train/` are TRL's (as its trainers' callback writes them), with TRL's meaning, so that
//! dashboards made for it show this too; what TRL does not have is under `understudy/`. A value that is not finite is left
//! out.

use understudy_actors::messages::LoopEvent;
use understudy_learning::ppo::PpoReport;

/// Where values go: TensorBoard shows a folder each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// By policy version.
    Policy,
    /// By the reward model's version.
    Reward,
}

impl Run {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Policy, Self::Reward];

    /// Its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Reward => "reward",
        }
    }
}

/// Values of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    /// Where they go.
    pub run: Run,
    /// When, in milliseconds since the Unix epoch.
    pub t_ms: i64,
    /// A version.
    pub step: u64,
    /// Tag and value.
    pub values: Vec<(&'static str, f64)>,
}

/// What happened since the last policy update.
#[derive(Debug, Clone, Copy, Default)]
struct Since {
    scores: Mean,
    squares: f64,
    groups: u64,
    /// Groups of which all answers have one score: nothing can be learned by comparing them.
    alike: u64,
    gold: Mean,
    ratings: u64,
    tokens: Mean,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        *self = Self { sum: self.sum + value, count: self.count + 1 };
    }

    /// Not finite where there was nothing.
    fn value(self) -> f64 {
        self.sum / self.count as f64
    }
}

/// Gathers what stands between two updates.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures(Since);

impl Figures {
    /// Takes up an event; the values of an update, if it is one.
    pub fn take(&mut self, t_ms: i64, event: &LoopEvent) -> Option<Values> {
        let since = &mut self.0;
        let (run, step, values) = match event {
            LoopEvent::Scored { scores, .. } => {
                scores.iter().for_each(|score| {
                    since.scores.add(score.1);
                    since.squares += score.1 * score.1;
                });
                since.groups += 1;
                since.alike += u64::from(scores.windows(2).all(|pair| pair[0].1 == pair[1].1));
                return None;
            }
            LoopEvent::Answered { tokens, .. } => {
                since.tokens.add(*tokens as f64);
                return None;
            }
            LoopEvent::Rated { .. } => {
                since.ratings += 1;
                return None;
            }
            LoopEvent::Gold { gold, .. } => {
                since.gold.add(*gold);
                return None;
            }
            LoopEvent::FirstToken { version, seconds } => {
                (Run::Policy, *version, vec![("understudy/publish_to_first_token_s", *seconds)])
            }
            LoopEvent::PolicyUpdate { version, report, seconds, .. } => {
                let values = of_update(report, *seconds, std::mem::take(since));
                (Run::Policy, *version, values)
            }
            LoopEvent::RewardUpdate {
                version,
                report,
                prequential_accuracy,
                prequential_log_loss,
                replay,
                seconds,
                ..
            } => {
                let known = |value: &Option<f64>| value.unwrap_or(f64::NAN);
                let values = vec![
                    ("train/loss", report.likelihood_loss),
                    ("train/accuracy", known(prequential_accuracy)),
                    ("train/grad_norm", report.grad_norm),
                    ("train/step_time", *seconds),
                    ("understudy/log_loss", known(prequential_log_loss)),
                    ("understudy/utility_loss", report.utility_loss),
                    ("understudy/saturated", report.saturated),
                    ("understudy/replay", *replay as f64),
                ];
                (Run::Reward, *version, values)
            }
            _ => return None,
        };
        let values: Vec<_> = values.into_iter().filter(|(_, value)| value.is_finite()).collect();
        (!values.is_empty()).then_some(Values { run, t_ms, step, values })
    }
}

fn of_update(report: &PpoReport, seconds: f64, since: Since) -> Vec<(&'static str, f64)> {
    let mean = since.scores.value();
    let variance = since.squares / since.scores.count as f64 - mean * mean;
    vec![
        // As TRL's GRPO and RLOO trainers name them.
        ("train/reward", report.mean_score),
        // Not `max`, which would make 0 of no scores at all.
        ("train/reward_std", variance.clamp(0.0, f64::INFINITY).sqrt()),
        ("train/frac_reward_zero_std", since.alike as f64 / since.groups as f64),
        ("train/kl", report.kl_per_sequence),
        ("train/entropy", report.entropy),
        ("train/clip_ratio/region_mean", report.clipfrac),
        ("train/completions/mean_length", report.mean_length),
        ("train/completions/clipped_ratio", report.truncated),
        ("train/sampling/importance_sampling_ratio/mean", report.mean_weight),
        ("train/policy_loss", report.policy_loss),
        ("train/grad_norm", report.grad_norm),
        ("train/learning_rate", report.learning_rate),
        ("train/step_time", seconds),
        // As its PPO trainer does.
        ("train/objective/rlhf_reward", report.mean_reward),
        ("train/policy/approxkl_avg", report.approx_kl),
        ("train/loss/value_avg", report.value_loss),
        ("train/val/ratio", report.ratio_mean),
        ("train/val/ratio_var", report.ratio_var),
        // Ours.
        ("understudy/kl_coef", report.kl_coef),
        ("understudy/explained_variance", report.explained_variance),
        ("understudy/value_grad_norm", report.value_grad_norm),
        ("understudy/staleness", report.staleness_mean),
        ("understudy/max_logprob_gap", report.max_logprob_gap.unwrap_or(f64::NAN)),
        ("understudy/gold", since.gold.value()),
        ("understudy/ratings", since.ratings as f64),
        ("understudy/answers", since.tokens.count as f64),
        ("understudy/tokens_an_answer", since.tokens.value()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(scores: &[f64]) -> LoopEvent {
        let mean_score = scores.iter().sum::<f64>() / scores.len() as f64;
        let scores = scores.iter().enumerate().map(|(id, score)| (id as u64, *score, 0.0)).collect();
        LoopEvent::Scored { group: 0, mean_score, scores, version: 1 }
    }

    fn update(version: u64) -> LoopEvent {
        let report = PpoReport { mean_score: 0.5, kl_per_sequence: f64::NAN, ..PpoReport::default() };
        LoopEvent::PolicyUpdate { version, scored_by: 1, report: Box::new(report), seconds: 2.0 }
    }

    fn value(values: &Values, tag: &str) -> Option<f64> {
        values.values.iter().find(|(name, _)| *name == tag).map(|(_, value)| *value)
    }

    #[test]
    fn an_update_has_its_report_and_what_was_scored_and_rated_since_the_last_one() {
        let mut figures = Figures::default();
        for event in [scored(&[1.0, 3.0]), scored(&[2.0, 2.0]), LoopEvent::Gold { answer: 1, version: 1, gold: 0.25 }] {
            assert_eq!(figures.take(1, &event), None);
        }
        let values = figures.take(7, &update(3)).expect("an update is written");
        assert_eq!((values.run, values.t_ms, values.step), (Run::Policy, 7, 3));
        assert_eq!(value(&values, "train/reward"), Some(0.5));
        assert_eq!(value(&values, "train/kl"), None, "what is not finite is left out");
        // Scores 1, 3, 2, 2: mean 2, variance (1 + 1) / 4.
        assert_eq!(value(&values, "train/reward_std"), Some(0.5f64.sqrt()));
        assert_eq!(value(&values, "train/frac_reward_zero_std"), Some(0.5));
        assert_eq!(value(&values, "understudy/gold"), Some(0.25));
        let next = figures.take(8, &update(4)).expect("an update is written");
        assert_eq!(value(&next, "understudy/gold"), None, "nothing of it counts again");
        assert_eq!(value(&next, "train/reward_std"), None);
    }

    #[test]
    fn no_tag_stands_twice_and_each_is_trls_or_ours() {
        let values = of_update(&PpoReport::default(), 1.0, Since::default());
        let tags: std::collections::BTreeSet<&str> = values.iter().map(|(tag, _)| *tag).collect();
        assert_eq!(tags.len(), values.len());
        assert!(tags.iter().all(|tag| tag.starts_with("train/") || tag.starts_with("understudy/")), "{tags:?}");
    }
}
