//! What the view knows, and how it says it.
//!
//! Invariant: numbers are of this process and this start unless a version says otherwise; what is not known yet is a
//! dash, never a zero.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use understudy_actors::daemon::DaemonStatus;
use understudy_actors::messages::LoopEvent;
use understudy_learning::ppo::PpoReport;
use understudy_learning::stages::{AnswerId, Feedback, FeedbackKind};

use crate::evaluation::Estimate;

/// Lines of the view.
pub(super) const LINES: usize = 10;
/// Answers in the first and in the last window of the gold reward.
const WINDOW: usize = 64;

#[derive(Default)]
pub(super) struct State {
    resumed: String,
    answers: u64,
    tokens: u64,
    ratings: BTreeMap<&'static str, u64>,
    updates: u64,
    last_update: Option<(u64, Box<PpoReport>, f64)>,
    mean_score: Option<f64>,
    first_token_s: Option<f64>,
    first_gold: Vec<f64>,
    last_gold: VecDeque<f64>,
    checkpoint: Option<(u64, u64)>,
    latest: Option<(AnswerId, String, String)>,
    said: Option<String>,
    trouble: Option<String>,
}

impl State {
    pub(super) fn new(status: &DaemonStatus) -> Self {
        let report = &status.resumed;
        let resumed = match &report.checkpoint {
            None if report.answers == 0 => "begins anew".to_owned(),
            None => format!("goes on without a checkpoint: {} answers, {} ratings", report.answers, report.feedback),
            Some(saved) => format!(
                "goes on: policy {}, reward model {}, {} answers, {} ratings ({} to learn again)",
                saved.policy_version, saved.reward_version, report.answers, report.feedback, report.feedback_to_learn
            ),
        };
        Self { resumed, ..Self::default() }
    }

    pub(super) fn resumed_line(&self) -> String {
        format!("understudy {}", self.resumed)
    }

    pub(super) fn updates_seen(&self) -> u64 {
        self.updates
    }

    pub(super) fn take(&mut self, event: LoopEvent) {
        match event {
            LoopEvent::Answered { answer, question, text, tokens, .. } => {
                self.answers += 1;
                self.tokens += tokens as u64;
                self.latest = Some((answer, question, text));
            }
            LoopEvent::FirstToken { seconds, .. } => self.first_token_s = Some(seconds),
            LoopEvent::Rated { feedback, .. } => {
                *self.ratings.entry(feedback.kind_name()).or_default() += 1;
                self.said = Some(said(&feedback));
            }
            LoopEvent::Scored { mean_score, .. } => self.mean_score = Some(mean_score),
            LoopEvent::PolicyUpdate { version, report, seconds, .. } => {
                self.updates += 1;
                self.last_update = Some((version, report, seconds));
            }
            LoopEvent::Gold { gold, .. } => {
                if self.first_gold.len() < WINDOW {
                    self.first_gold.push(gold);
                }
                self.last_gold.push_back(gold);
                if self.last_gold.len() > WINDOW {
                    self.last_gold.pop_front();
                }
            }
            LoopEvent::Checkpoint { step, policy_version, .. } => self.checkpoint = Some((step, policy_version)),
            LoopEvent::Trouble { actor, what } => self.trouble = Some(format!("{actor}: {what}")),
            LoopEvent::PolicyRollback { weights_of, why, .. } => {
                self.trouble = Some(format!("policy put back to {weights_of}: {why}"));
            }
            LoopEvent::RewardUpdate { .. } | LoopEvent::RewardRebuilt { .. } | LoopEvent::Stage { .. } => {}
            LoopEvent::RewardAlarm { alarm, on, why, .. } => {
                self.trouble = on.then(|| format!("{alarm}: {why}"));
            }
        }
    }

    /// The view, [`LINES`] lines.
    pub(super) fn lines(&self, status: &DaemonStatus, elapsed: Duration) -> Vec<String> {
        let (id, question, answer) = match &self.latest {
            Some((id, question, answer)) => (id.to_string(), one_line(question), one_line(answer)),
            None => ("–".into(), "–".into(), "–".into()),
        };
        let trouble = self.trouble.as_deref().map_or_else(String::new, |what| format!("  TROUBLE {}", one_line(what)));
        vec![
            format!("{}{trouble}", self.counts(elapsed)),
            self.policy(status),
            self.update(),
            self.reward(status),
            self.gold(),
            self.queues(status),
            self.durable(),
            format!("question   {question}"),
            format!("answer {id:>3} {answer}"),
            format!("said       {}", self.said.as_deref().unwrap_or("–")),
        ]
    }

    /// The same in one line, for logs.
    pub(super) fn one_line(&self, status: &DaemonStatus, elapsed: Duration) -> String {
        let trouble = self.trouble.as_deref().map_or_else(String::new, |what| format!(" | TROUBLE {}", one_line(what)));
        [self.counts(elapsed), self.policy(status), self.update(), self.reward(status), self.gold()].join(" | ")
            + &trouble
    }

    fn counts(&self, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs();
        let ratings: u64 = self.ratings.values().sum();
        let kinds: Vec<String> = self.ratings.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let rate = self.tokens as f64 / elapsed.as_secs_f64().max(1.0);
        let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        format!(
            "{:02}:{:02}  answers {} ({rate:.0} tokens/s)  ratings {ratings}{kinds}",
            seconds / 60,
            seconds % 60,
            self.answers
        )
    }

    fn policy(&self, status: &DaemonStatus) -> String {
        let version = status.policy_version;
        let Some((_, report, _)) = &self.last_update else { return format!("policy {version}: no update yet") };
        let (reward, kl, weight) = (report.mean_reward, report.kl_per_sequence, report.kl_coef);
        format!(
            "policy {version}: reward {reward:+.2}  KL {kl:.2} nats (weight {weight:.3})  entropy {:.2}",
            report.entropy
        )
    }

    fn update(&self) -> String {
        let Some((_, report, seconds)) = &self.last_update else { return "update     –".to_owned() };
        let (clipped, explained) = (report.clipfrac * 100.0, report.explained_variance);
        let first = dash(self.first_token_s, |seconds| format!("{seconds:.2} s"));
        format!(
            "update     {seconds:.1} s  clipped {clipped:.1} %  value explains {explained:.2}  first token after {first}"
        )
    }

    fn reward(&self, status: &DaemonStatus) -> String {
        let reward = &status.reward;
        format!(
            "reward model {}: foretold {}  log-loss {}  score {}  {} ratings",
            reward.version,
            dash(reward.accuracy, |share| format!("{:.0} %", share * 100.0)),
            dash(reward.log_loss, |loss| format!("{loss:.2}")),
            dash(self.mean_score, |score| format!("{score:+.2}")),
            reward.replay,
        )
    }

    fn gold(&self) -> String {
        let last: Vec<f64> = self.last_gold.iter().copied().collect();
        let estimate = |values: &[f64]| match values {
            [] => "–".to_owned(),
            values => {
                let Estimate { mean, standard_error } = Estimate::of(values);
                format!("{mean:.2} ± {standard_error:.2}")
            }
        };
        format!(
            "gold       first {}: {}  last {}: {}",
            self.first_gold.len(),
            estimate(&self.first_gold),
            last.len(),
            estimate(&last)
        )
    }

    fn queues(&self, status: &DaemonStatus) -> String {
        let links: Vec<String> = status.links.iter().map(|link| format!("{} {}", link.name, link.waiting)).collect();
        format!("queues     {}  room {}", links.join("  "), status.pace_room)
    }

    fn durable(&self) -> String {
        match self.checkpoint {
            Some((step, policy)) => format!("checkpoint {step} (policy {policy})"),
            None => "checkpoint –".to_owned(),
        }
    }
}

fn dash<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), show)
}

/// Control characters (an answer could hold any) and line breaks become spaces.
fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn said(feedback: &Feedback) -> String {
    let what = match &feedback.kind {
        FeedbackKind::Stars { answer, stars } => {
            format!("{}{} for {answer}", "★".repeat(usize::from(*stars)), "☆".repeat(5 - usize::from(*stars).min(5)))
        }
        FeedbackKind::Thumb { answer, up } => format!("{} for {answer}", if *up { "thumb up" } else { "thumb down" }),
        FeedbackKind::Score { answer, value, max, .. } => format!("{value:.2} of {max} for {answer}"),
        FeedbackKind::Pair { better, worse, .. } => format!("{better} is better than {worse}"),
        FeedbackKind::Ranking { levels } => {
            let level = |ids: &Vec<AnswerId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" = ");
            levels.iter().map(level).collect::<Vec<_>>().join(" > ")
        }
        FeedbackKind::Edit { answer, .. } => format!("a better text for {answer}"),
        FeedbackKind::Flag { answer, reason } => format!("{answer} is flagged: {}", one_line(reason)),
        FeedbackKind::Steps { answer, marks } => {
            let sign = |mark: &Option<bool>| mark.map_or('·', |right| if right { '+' } else { '-' });
            format!("lines {} for {answer}", marks.iter().map(sign).collect::<String>())
        }
        FeedbackKind::Retract { feedback } => format!("takes back {}", one_line(feedback)),
    };
    format!("{what}  ({})", one_line(&feedback.annotator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_cannot_move_the_cursor() {
        assert_eq!(one_line("a\u{1b}[2J\nb\tc"), "a [2J b c");
    }

    #[test]
    fn what_was_said_is_readable() {
        let said = |kind| said(&Feedback { id: "f".into(), annotator: "ana".into(), at: 0, kind, why: None });
        assert_eq!(said(FeedbackKind::Stars { answer: 3, stars: 4 }), "★★★★☆ for 3  (ana)");
        assert_eq!(said(FeedbackKind::Ranking { levels: vec![vec![1], vec![2, 3]] }), "1 > 2 = 3  (ana)");
    }
}
