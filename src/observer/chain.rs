//! From a rating to the first token of a policy that has learned from it: how long somebody waits for what they said to
//! come back.
//!
//! Invariant: a rating is measured at most once, and only along the way that it really went: a minibatch of the reward
//! model held it, all answers of a policy update were scored by that reward model or a later one, and that policy or a later
//! one sampled a token. At most `MOST` ratings are followed; the oldest are given up first.

use std::collections::{BTreeMap, VecDeque};

use understudy_actors::messages::LoopEvent;

/// Ratings that are followed at a time, at each stage.
const MOST: usize = 4096;

/// Ratings on their way.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// Journal sequence → when it was seen.
    rated: BTreeMap<u64, i64>,
    /// When it was rated, and the first reward model that learned from it.
    learned: VecDeque<(i64, u64)>,
    /// When it was rated, and the first policy whose update was scored by such a reward model.
    taught: VecDeque<(i64, u64)>,
}

impl Chain {
    /// Takes up an event seen at `t_ms`; the seconds of the ratings whose way ends with it.
    pub fn take(&mut self, t_ms: i64, event: &LoopEvent) -> Vec<f64> {
        match event {
            LoopEvent::Rated { seq, .. } => {
                self.rated.insert(*seq, t_ms);
                if self.rated.len() > MOST {
                    self.rated.pop_first();
                }
            }
            LoopEvent::RewardUpdate { version, learned, .. } => {
                let found = learned.iter().filter_map(|seq| self.rated.remove(seq));
                self.learned.extend(found.map(|rated| (rated, *version)));
                bound(&mut self.learned);
            }
            LoopEvent::PolicyUpdate { version, scored_by, .. } => {
                let known = taken(&mut self.learned, |reward| reward <= *scored_by);
                self.taught.extend(known.map(|rated| (rated, *version)));
                bound(&mut self.taught);
            }
            // What these updates taught has been taken back.
            LoopEvent::PolicyRollback { .. } => self.taught.clear(),
            LoopEvent::FirstToken { version, .. } => {
                let spoken = taken(&mut self.taught, |policy| policy <= *version);
                return spoken.map(|rated| (t_ms - rated).max(0) as f64 / 1000.0).collect();
            }
            _ => {}
        }
        Vec::new()
    }
}

fn bound(queue: &mut VecDeque<(i64, u64)>) {
    queue.drain(..queue.len().saturating_sub(MOST));
}

/// Takes out those whose version is as wanted; when they were rated.
fn taken(queue: &mut VecDeque<(i64, u64)>, wanted: impl Fn(u64) -> bool) -> impl Iterator<Item = i64> {
    let (out, stay): (VecDeque<_>, VecDeque<_>) = std::mem::take(queue).into_iter().partition(|one| wanted(one.1));
    *queue = stay;
    out.into_iter().map(|one| one.0)
}

#[cfg(test)]
mod tests {
    use understudy_learning::ppo::PpoReport;
    use understudy_learning::reward::RewardReport;
    use understudy_learning::stages::{Feedback, FeedbackKind};

    use super::*;

    fn rated(seq: u64) -> LoopEvent {
        let kind = FeedbackKind::Thumb { answer: 1, up: true };
        let feedback = Feedback { id: format!("f{seq}"), annotator: "ana".into(), at: 0, kind, why: None };
        LoopEvent::Rated { seq, feedback }
    }

    fn learned_from(version: u64, learned: Vec<u64>) -> LoopEvent {
        let report = RewardReport {
            version,
            events: learned.len(),
            answers: 1,
            likelihood_loss: 0.5,
            utility_loss: 0.0,
            utility_questions: 0,
            grad_norm: 1.0,
            saturated: 0.0,
            skipped: false,
        };
        let (prequential_accuracy, prequential_log_loss) = (None, None);
        LoopEvent::RewardUpdate {
            version,
            report,
            prequential_accuracy,
            prequential_log_loss,
            learned,
            replay: 1,
            seconds: 0.1,
        }
    }

    fn updated(version: u64, scored_by: u64) -> LoopEvent {
        LoopEvent::PolicyUpdate { version, scored_by, report: Box::new(PpoReport::default()), seconds: 1.0 }
    }

    fn spoke(version: u64) -> LoopEvent {
        LoopEvent::FirstToken { version, seconds: 0.1 }
    }

    fn check(events: &[(i64, LoopEvent)], wanted: &[f64]) {
        let mut chain = Chain::default();
        let seconds: Vec<f64> = events.iter().flat_map(|(t_ms, event)| chain.take(*t_ms, event)).collect();
        assert_eq!(seconds, wanted, "{events:?}");
    }

    #[test]
    fn a_rating_is_measured_once_from_when_it_was_made_to_the_first_token_of_what_learned_from_it() {
        let way = [
            (1000, rated(5)),
            (1500, rated(6)),
            (2000, learned_from(10, vec![5])),
            (3000, updated(3, 9)), // scored by a reward model that did not know it
            (3100, spoke(3)),
            (4000, updated(4, 10)),
            (4500, spoke(4)),
            (5000, learned_from(11, vec![5, 6])),
            (6000, updated(5, 12)),
            (6500, spoke(6)), // 5 was followed by 6 before it said anything
            (7000, spoke(7)),
        ];
        check(&way, &[3.5, 5.0]);
    }

    #[test]
    fn what_was_put_back_is_not_counted_and_the_clock_may_be() {
        let back = LoopEvent::PolicyRollback { version: 5, weights_of: 3, reason: "kl", why: String::new() };
        let begin = [(1000, rated(1)), (2000, learned_from(1, vec![1])), (3000, updated(4, 1))];
        check(&[&begin[..], &[(3500, back), (4000, spoke(5))]].concat(), &[]);
        check(&[&begin[..], &[(0, spoke(4))]].concat(), &[0.0]);
    }

    #[test]
    fn however_many_rate_only_so_many_are_followed_and_the_newest_are() {
        let mut chain = Chain::default();
        let all = MOST as u64 + 10;
        (0..all).for_each(|seq| drop(chain.take(seq as i64, &rated(seq))));
        chain.take(0, &learned_from(1, (0..all).collect()));
        chain.take(0, &updated(1, 1));
        assert_eq!(chain.take(all as i64, &spoke(1)).len(), MOST);
        assert!(chain.rated.is_empty() && chain.learned.is_empty() && chain.taught.is_empty());
    }
}
