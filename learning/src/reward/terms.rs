//! From feedback events to likelihood terms over the distinct answers of a batch.
//!
//! Invariant: every event weighs as the choices that were made in it: one for a grade, a thumb or a plain pair, and as
//! many as Plackett-Luce would see (K − 1) for a strict ranking of K.

use std::collections::BTreeMap;

use super::losses::ordinal::level_shares;
use super::losses::weak_order::{WeightedPair, pairs_of_ranks};
use crate::error::LearningError;
use crate::stages::{AnswerId, Feedback, FeedbackKind, Rollout};

/// Stars, and levels that scores on other scales are mapped to.
pub(super) const LEVELS: usize = 5;

/// One event with the answers it speaks of.
#[derive(Debug, Clone, PartialEq)]
pub struct RewardExample {
    /// The feedback's journal sequence number.
    pub seq: u64,
    /// Every answer that the feedback names (others are ignored).
    pub answers: Vec<Rollout>,
    /// What was said.
    pub feedback: Feedback,
    /// P(the question is closed-ended), as it was when the event was taken up.
    pub closedness: f64,
    /// For [`FeedbackKind::Steps`]: the answer's tokens up to and with the end of each line, rising. Else empty.
    pub lines: Vec<usize>,
}

/// The id under which [`RewardExample::answers`] holds the edited text of the [`FeedbackKind::Edit`] at journal sequence
/// `seq`. Answers are counted from 0, so an id with the highest bit set names no answer.
pub fn edited_id(seq: u64) -> AnswerId {
    (1 << 63) | seq
}

/// What one event says, by indices into the batch's answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    /// Pairs of one weak order.
    Order { pairs: Vec<WeightedPair> },
    /// Shares of the levels, worst first, and where on the scale from 0 to 1 it stands.
    Grade { answer: usize, shares: Vec<f64>, position: f64 },
    /// Up or down.
    Thumb { answer: usize, up: bool },
}

/// The distinct answers of a batch and what is said of them.
pub(super) struct Terms<'a> {
    /// Each answer once.
    pub(super) answers: Vec<&'a Rollout>,
    /// One entry an example; `None` where it says nothing about a score (an edit, a retraction, a ranking of equals).
    pub(super) said: Vec<Option<Said>>,
    /// P(closed-ended) by example.
    pub(super) closedness: Vec<f64>,
    index: BTreeMap<AnswerId, usize>,
}

impl<'a> Terms<'a> {
    /// Collects; an answer that is named but not given is an error.
    pub(super) fn collect(batch: &'a [RewardExample]) -> Result<Self, LearningError> {
        let closedness = batch.iter().map(|example| example.closedness).collect();
        let mut terms = Self { answers: Vec::new(), said: Vec::new(), closedness, index: BTreeMap::new() };
        for example in batch {
            let said = terms.take(example)?;
            terms.said.push(said);
        }
        Ok(terms)
    }

    fn take(&mut self, example: &'a RewardExample) -> Result<Option<Said>, LearningError> {
        let mut index = |id: &AnswerId| self.place(example, *id);
        let grade = |answer, position: f64| Said::Grade { answer, shares: level_shares(position, LEVELS), position };
        Ok(match &example.feedback.kind {
            FeedbackKind::Stars { answer, stars } => Some(grade(index(answer)?, (f64::from(*stars) - 1.0) / 4.0)),
            FeedbackKind::Score { answer, value, min, max } => Some(grade(index(answer)?, (value - min) / (max - min))),
            FeedbackKind::Thumb { answer, up } => Some(Said::Thumb { answer: index(answer)?, up: *up }),
            FeedbackKind::Flag { answer, .. } => Some(Said::Thumb { answer: index(answer)?, up: false }),
            FeedbackKind::Pair { better, worse, strength } => {
                let pair = WeightedPair { better: index(better)?, worse: index(worse)?, weight: *strength };
                Some(Said::Order { pairs: vec![pair] })
            }
            FeedbackKind::Ranking { levels } => {
                let ranked: Vec<(i64, &AnswerId)> = levels
                    .iter()
                    .enumerate()
                    .flat_map(|(rank, ids)| ids.iter().map(move |id| (rank as i64, id)))
                    .collect();
                let places = ranked.iter().map(|(_, id)| index(id)).collect::<Result<Vec<_>, _>>()?;
                let ranks: Vec<i64> = ranked.iter().map(|(rank, _)| *rank).collect();
                // K(K − 1)/2 pairs of weight 2/K each weigh K − 1.
                let weight = 2.0 / ranks.len() as f64;
                let of = |pair: WeightedPair| WeightedPair {
                    better: places[pair.better],
                    worse: places[pair.worse],
                    weight,
                };
                let pairs: Vec<WeightedPair> = pairs_of_ranks(&ranks).into_iter().map(of).collect();
                (!pairs.is_empty()).then_some(Said::Order { pairs })
            }
            FeedbackKind::Edit { .. } | FeedbackKind::Steps { .. } | FeedbackKind::Retract { .. } => None,
        })
    }

    fn place(&mut self, example: &'a RewardExample, id: AnswerId) -> Result<usize, LearningError> {
        if let Some(place) = self.index.get(&id) {
            return Ok(*place);
        }
        let rollout = example.answers.iter().find(|rollout| rollout.id == id).ok_or_else(|| {
            let problem = format!("names answer {id} which was not given with it; give every answer that it names");
            LearningError::input(format!("feedback {:?}", example.feedback.id), problem)
        })?;
        self.index.insert(id, self.answers.len());
        self.answers.push(rollout);
        Ok(self.answers.len() - 1)
    }

    /// The weak orders of each question in which at least `least` answers are linked by pairs, with its mean
    /// P(closed-ended).
    pub(super) fn linked(&self, least: usize) -> Vec<(Vec<WeightedPair>, f64)> {
        let mut by_question: BTreeMap<&str, Vec<(&[WeightedPair], f64)>> = BTreeMap::new();
        for (said, closedness) in self.said.iter().zip(&self.closedness) {
            if let Some(Said::Order { pairs }) = said {
                let question = self.answers[pairs[0].better].prompt.question.id.as_str();
                by_question.entry(question).or_default().push((pairs, *closedness));
            }
        }
        let mut linked = Vec::new();
        for orders in by_question.into_values() {
            let closedness = orders.iter().map(|(_, p)| p).sum::<f64>() / orders.len() as f64;
            let pairs: Vec<WeightedPair> = orders.iter().flat_map(|(pairs, _)| pairs.iter().copied()).collect();
            let groups = components(&pairs, self.answers.len());
            for group in groups.into_iter().filter(|group| group.len() >= least) {
                let inside = pairs.iter().filter(|pair| group.contains(&pair.better)).copied().collect();
                linked.push((inside, closedness));
            }
        }
        linked
    }

    /// The answers of each question that has at least two in the batch.
    pub(super) fn by_question(&self) -> Vec<Vec<i64>> {
        let mut by_question: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for (place, answer) in self.answers.iter().enumerate() {
            by_question.entry(&answer.prompt.question.id).or_default().push(place as i64);
        }
        by_question.into_values().filter(|places| places.len() >= 2).collect()
    }
}

/// Sets of answers that are linked by pairs; answers in no pair are left out.
fn components(pairs: &[WeightedPair], answers: usize) -> Vec<Vec<usize>> {
    let mut label: Vec<usize> = (0..answers).collect();
    for pair in pairs {
        let (from, to) = (label[pair.worse], label[pair.better]);
        label.iter_mut().filter(|label| **label == from).for_each(|label| *label = to);
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    label.iter().enumerate().for_each(|(answer, label)| groups.entry(*label).or_default().push(answer));
    groups.into_values().filter(|group| group.len() >= 2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(better: usize, worse: usize) -> WeightedPair {
        WeightedPair { better, worse, weight: 1.0 }
    }

    #[test]
    fn answers_are_linked_through_common_ones_only() {
        let groups = components(&[pair(0, 1), pair(2, 1), pair(4, 3)], 6);
        assert_eq!(groups, [vec![0, 1, 2], vec![3, 4]]);
    }
}
