//! What of an event the annotators' record keeps.
//!
//! Invariant: depends on the event alone, never on the model, so that it is the same before and after a restart.

use super::gold::Judgements;
use super::people::Heard;
use crate::reward::terms::{RewardExample, edited_id};
use crate::stages::{AnswerId, FeedbackKind};

/// Grades nearer to the middle than this (of a scale from 0 to 1) take no side.
const MIDDLE: f64 = 0.2;

impl Heard {
    /// The record of `example`: a ranking of K in L levels makes L − 1 choices at least, like Plackett-Luce K − 1.
    pub(in crate::reward) fn of(example: &RewardExample) -> Self {
        let annotator = example.feedback.annotator.clone();
        let mut judgements = Judgements::default();
        let mut choices = 1.0;
        let mut side = |answer: &AnswerId, position: f64| {
            if (position - 0.5).abs() > MIDDLE {
                judgements.sides.push((*answer, position > 0.5));
            }
        };
        match &example.feedback.kind {
            FeedbackKind::Stars { .. } | FeedbackKind::Score { .. } => {
                let (answer, position) = example.feedback.grade().expect("stars and scores are grades");
                side(&answer, position);
            }
            FeedbackKind::Thumb { answer, up } => side(answer, if *up { 1.0 } else { 0.0 }),
            FeedbackKind::Flag { answer, .. } => side(answer, 0.0),
            FeedbackKind::Pair { better, worse, .. } => judgements.orders.push((*better, *worse)),
            FeedbackKind::Edit { answer, .. } => judgements.orders.push((edited_id(example.seq), *answer)),
            FeedbackKind::Ranking { levels } => {
                choices = levels.iter().map(Vec::len).sum::<usize>() as f64 - 1.0;
                for (rank, better) in levels.iter().enumerate() {
                    let worse = || levels[rank + 1..].iter().flatten();
                    judgements.orders.extend(better.iter().flat_map(|b| worse().map(|w| (*b, *w))));
                }
            }
            FeedbackKind::Steps { marks, .. } => choices = marks.iter().flatten().count() as f64,
            FeedbackKind::Retract { .. } => choices = 0.0,
        }
        Self { annotator, choices, judgements }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::Feedback;

    fn heard(kind: FeedbackKind) -> Heard {
        let feedback = Feedback { id: "f".into(), annotator: "ana".into(), at: 0, kind, why: None };
        Heard::of(&RewardExample { seq: 7, answers: Vec::new(), feedback, closedness: 0.5, lines: Vec::new() })
    }

    #[test]
    fn every_kind_counts_its_choices_and_what_gold_can_confirm() {
        let ranking = heard(FeedbackKind::Ranking { levels: vec![vec![1], vec![2, 3]] });
        assert_eq!((ranking.choices, ranking.judgements.orders), (2.0, vec![(1, 2), (1, 3)]));
        let stars = |stars| heard(FeedbackKind::Stars { answer: 4, stars }).judgements.sides;
        assert_eq!((stars(5), stars(3), stars(2)), (vec![(4, true)], vec![], vec![(4, false)]));
        assert_eq!(heard(FeedbackKind::Flag { answer: 4, reason: String::new() }).judgements.sides, [(4, false)]);
        let edit = heard(FeedbackKind::Edit { answer: 4, text: "x".into() });
        assert_eq!(edit.judgements.orders, [(edited_id(7), 4)]);
        assert_eq!(heard(FeedbackKind::Steps { answer: 4, marks: vec![Some(true), None, Some(false)] }).choices, 2.0);
    }

    #[test]
    fn what_is_better_or_good_is_heard_the_right_way_round() {
        let thumb = |up| heard(FeedbackKind::Thumb { answer: 4, up }).judgements.sides;
        assert_eq!((thumb(true), thumb(false)), (vec![(4, true)], vec![(4, false)]));
        let score = |value| heard(FeedbackKind::Score { answer: 4, value, min: 4.0, max: 6.0 }).judgements.sides;
        assert_eq!((score(5.0), score(5.5), score(4.5)), (vec![], vec![(4, true)], vec![(4, false)]));
        let pair = heard(FeedbackKind::Pair { better: 9, worse: 3, strength: 2.0 });
        assert_eq!((pair.choices, pair.judgements.orders), (1.0, vec![(9, 3)]));
        assert_eq!(heard(FeedbackKind::Retract { feedback: "g".into() }).choices, 0.0);
    }
}
