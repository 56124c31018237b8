//! What the events of a batch say, by indices into the batch's answers.
//!
//! Invariant: knows no text and no network: what is learned from it needs the answers' logits alone.

use std::collections::BTreeMap;

use super::losses::davidson::Choice;
use super::losses::weak_order::WeightedPair;

/// What one event says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    /// A weak order of three or more.
    Order { answers: Vec<usize>, ranks: Vec<i64>, pairs: Vec<WeightedPair> },
    /// A comparison of two that could have been a tie: `Win` or `Tie` of the first.
    Two { first: usize, second: usize, outcome: Choice },
    /// A comparison of two that could not.
    Pair { better: usize, worse: usize, strength: f64 },
    /// Shares of the levels, worst first, and where on the scale from 0 to 1 it stands.
    Grade { answer: usize, shares: Vec<f64>, position: f64 },
    /// Up or down.
    Thumb { answer: usize, up: bool },
    /// Right or wrong, of beginnings of an answer.
    Lines { marks: Vec<(usize, bool)> },
}

impl Said {
    /// The event's comparisons, which weigh as its choices (K − 1 for a strict ranking of K); none for grades.
    pub(super) fn pairs(&self) -> Vec<WeightedPair> {
        match *self {
            Self::Order { ref pairs, .. } => pairs.clone(),
            Self::Two { first, second, outcome: Choice::Win } => {
                vec![WeightedPair { better: first, worse: second, weight: 1.0 }]
            }
            Self::Pair { better, worse, .. } => vec![WeightedPair { better, worse, weight: 1.0 }],
            _ => Vec::new(),
        }
    }
}

/// Comparisons that link answers to one question.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Linked {
    pub(super) pairs: Vec<WeightedPair>,
    /// Mean P(closed-ended) of their events.
    pub(super) closedness: f64,
    /// Mean trust in those who made them, in (0, 1].
    pub(super) trust: f64,
}

/// The events of a batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Statements {
    /// One entry an example; `None` where it says nothing about a score (a retraction, a ranking of equals).
    pub(super) said: Vec<Option<Said>>,
    /// Index into `annotators` by example.
    pub(super) by: Vec<usize>,
    /// Everybody who speaks, once.
    pub(super) annotators: Vec<String>,
    /// P(closed-ended) by example.
    pub(super) closedness: Vec<f64>,
    /// The question of each answer, by number; `None` for beginnings of answers.
    pub(super) question: Vec<Option<usize>>,
}

impl Statements {
    /// Examples that say something.
    pub(super) fn speaking(&self) -> Vec<usize> {
        (0..self.said.len()).filter(|&example| self.said[example].is_some()).collect()
    }

    /// The place of `annotator` among the annotators, who is added where new.
    pub(super) fn annotator(&mut self, annotator: &str) -> usize {
        self.annotators.iter().position(|known| known == annotator).unwrap_or_else(|| {
            self.annotators.push(annotator.to_owned());
            self.annotators.len() - 1
        })
    }

    /// The comparisons of each question in which at least `least` answers are linked by them. `trust` by example
    /// multiplies the weights; below 0 the pairs are turned round, at 0 left out.
    pub(super) fn linked(&self, least: usize, trust: &[f64]) -> Vec<Linked> {
        let mut by_question: BTreeMap<usize, Vec<(Vec<WeightedPair>, f64, f64)>> = BTreeMap::new();
        for ((said, closedness), trust) in self.said.iter().zip(&self.closedness).zip(trust) {
            let pairs: Vec<WeightedPair> =
                said.iter().flat_map(Said::pairs).map(|pair| trusted(pair, *trust)).collect();
            let question = pairs.first().and_then(|pair| self.question[pair.better]);
            if let Some(question) = question.filter(|_| *trust != 0.0) {
                by_question.entry(question).or_default().push((pairs, *closedness, trust.abs()));
            }
        }
        let mut linked = Vec::new();
        for orders in by_question.into_values() {
            let count = orders.len() as f64;
            let closedness = orders.iter().map(|order| order.1).sum::<f64>() / count;
            let trust = orders.iter().map(|order| order.2).sum::<f64>() / count;
            let pairs: Vec<WeightedPair> = orders.into_iter().flat_map(|order| order.0).collect();
            let groups = components(&pairs, self.question.len());
            for group in groups.into_iter().filter(|group| group.len() >= least) {
                let pairs = pairs.iter().filter(|pair| group.contains(&pair.better)).copied().collect();
                linked.push(Linked { pairs, closedness, trust });
            }
        }
        linked
    }

    /// The answers of each question that has at least two in the batch.
    pub(super) fn by_question(&self) -> Vec<Vec<i64>> {
        let mut by_question: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
        for (place, question) in self.question.iter().enumerate() {
            if let Some(question) = question {
                by_question.entry(*question).or_default().push(place as i64);
            }
        }
        by_question.into_values().filter(|places| places.len() >= 2).collect()
    }
}

fn trusted(pair: WeightedPair, trust: f64) -> WeightedPair {
    let WeightedPair { better, worse, weight } = pair;
    let (better, worse) = if trust < 0.0 { (worse, better) } else { (better, worse) };
    WeightedPair { better, worse, weight: weight * trust.abs() }
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

    #[test]
    fn the_untrusted_link_nothing_and_the_inverted_link_the_other_way_round() {
        let said = |better, worse| Some(Said::Pair { better, worse, strength: 1.0 });
        let statements = Statements {
            said: vec![said(0, 1), said(1, 2), said(2, 3)],
            by: vec![0; 3],
            annotators: vec!["a".into()],
            closedness: vec![0.2, 0.4, 0.9],
            question: vec![Some(0); 4],
        };
        let linked = statements.linked(2, &[1.0, -0.5, 0.0]);
        let turned = WeightedPair { better: 2, worse: 1, weight: 0.5 };
        assert_eq!(linked.len(), 1);
        assert_eq!(linked[0].pairs, [pair(0, 1), turned]);
        assert_eq!(linked[0].trust, 0.75);
        assert!((linked[0].closedness - 0.3).abs() < 1e-12, "the untrusted say nothing of the question either");
    }

    #[test]
    fn each_group_of_a_question_has_its_own_pairs_and_too_small_ones_have_none() {
        let said = vec![
            Some(Said::Two { first: 1, second: 0, outcome: Choice::Win }),
            Some(Said::Two { first: 0, second: 2, outcome: Choice::Tie }),
            Some(Said::Pair { better: 3, worse: 4, strength: 1.0 }),
            Some(Said::Pair { better: 5, worse: 4, strength: 1.0 }),
        ];
        let statements = Statements {
            said,
            by: vec![0; 4],
            annotators: vec!["a".into()],
            closedness: vec![0.5; 4],
            question: [vec![Some(0); 6], vec![None, Some(1)]].concat(),
        };
        let groups = |least: usize| -> Vec<Vec<WeightedPair>> {
            statements.linked(least, &[1.0; 4]).into_iter().map(|linked| linked.pairs).collect()
        };
        // A tie links nothing here; the better one of a comparison stands first.
        assert_eq!(groups(2), [vec![pair(1, 0)], vec![pair(3, 4), pair(5, 4)]]);
        assert_eq!(groups(3), [vec![pair(3, 4), pair(5, 4)]]);
        assert!(groups(4).is_empty());
        assert_eq!(statements.by_question(), [vec![0, 1, 2, 3, 4, 5]], "one answer alone is not centred");
    }
}
