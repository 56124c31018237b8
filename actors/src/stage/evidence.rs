//! What people say of answers, as comparisons of the candidate with the lead.
//!
//! Invariant: an answer takes part in one comparison at most, so that nobody counts twice by rating one answer again and
//! again, and comparisons of different answers are drawn by the same lot. Bounded by [`MOST_ANSWERS`] and, for each kind of
//! grade, [`MOST_WAITING`].

use std::collections::{BTreeMap, VecDeque};

use understudy_learning::stages::{AnswerId, Feedback, FeedbackKind};

/// Answers that wait for what is said of them; the oldest leave first.
const MOST_ANSWERS: usize = 4096;
/// Grades of one kind that wait for one of the other side.
const MOST_WAITING: usize = 64;

/// Who gave an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The lead.
    Lead,
    /// The candidate.
    Candidate,
}

/// Answers of one trial, and grades without a counterpart.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    answers: BTreeMap<AnswerId, Side>,
    /// Grades of one side that wait, oldest first; only one side of a kind ever waits.
    waiting: BTreeMap<&'static str, (Option<Side>, VecDeque<f64>)>,
}

impl Evidence {
    /// An answer was given.
    pub fn answered(&mut self, answer: AnswerId, side: Side) {
        self.answers.insert(answer, side);
        if self.answers.len() > MOST_ANSWERS {
            self.answers.pop_first();
        }
    }

    /// What an event says: 1 the candidate was better, 0 the lead was, 1/2 a tie; `None` where it compares nothing (yet).
    ///
    /// A pair or ranking with an answer of each side compares these two. A grade (stars, scores, thumbs) is compared with
    /// the oldest waiting grade of the same kind for the other side: requests are given to a side by lot, so the two are
    /// equally hard on average. Edits, flags, marks and what is taken back say nothing here.
    pub fn heard(&mut self, feedback: &Feedback) -> Option<f64> {
        match &feedback.kind {
            FeedbackKind::Pair { better, worse, .. } => self.ranked(&[(0, *better), (1, *worse)]),
            FeedbackKind::Ranking { levels } => {
                let placed =
                    levels.iter().enumerate().flat_map(|(place, level)| level.iter().map(move |a| (place, *a)));
                self.ranked(&placed.collect::<Vec<_>>())
            }
            FeedbackKind::Thumb { answer, up } => self.graded("thumb", *answer, f64::from(u8::from(*up))),
            _ => feedback.grade().and_then(|(answer, grade)| self.graded(feedback.kind_name(), answer, grade)),
        }
    }

    /// Answers with their places, best first: the first of each side are compared.
    fn ranked(&mut self, placed: &[(usize, AnswerId)]) -> Option<f64> {
        let first = |wanted| placed.iter().find(|(_, answer)| self.answers.get(answer) == Some(&wanted)).copied();
        let ((ours, candidate), (theirs, lead)) = (first(Side::Candidate)?, first(Side::Lead)?);
        self.answers.remove(&candidate);
        self.answers.remove(&lead);
        Some(outcome(theirs as f64, ours as f64)) // a lower place is better
    }

    fn graded(&mut self, kind: &'static str, answer: AnswerId, grade: f64) -> Option<f64> {
        let side = self.answers.remove(&answer)?;
        let (whose, waiting) = self.waiting.entry(kind).or_default();
        if *whose != Some(side)
            && let Some(other) = waiting.pop_front()
        {
            return Some(if side == Side::Candidate { outcome(grade, other) } else { outcome(other, grade) });
        }
        *whose = Some(side);
        waiting.push_back(grade);
        if waiting.len() > MOST_WAITING {
            waiting.pop_front();
        }
        None
    }
}

fn outcome(candidate: f64, lead: f64) -> f64 {
    match candidate.partial_cmp(&lead) {
        Some(std::cmp::Ordering::Greater) => 1.0,
        Some(std::cmp::Ordering::Less) => 0.0,
        _ => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: FeedbackKind) -> Feedback {
        Feedback { id: "f".into(), annotator: "ana".into(), at: 0, kind, why: None }
    }

    fn trial() -> Evidence {
        let mut evidence = Evidence::default();
        (1..=4).for_each(|answer| evidence.answered(answer, Side::Lead));
        (11..=14).for_each(|answer| evidence.answered(answer, Side::Candidate));
        evidence
    }

    #[test]
    fn pairs_and_rankings_across_the_sides_compare_and_others_say_nothing() {
        let mut evidence = trial();
        let mut pair = |better, worse| evidence.heard(&said(FeedbackKind::Pair { better, worse, strength: 1.0 }));
        assert_eq!((pair(11, 1), pair(2, 12), pair(3, 4), pair(13, 14)), (Some(1.0), Some(0.0), None, None));
        assert_eq!((pair(11, 3), pair(13, 1)), (None, None), "an answer takes part once");
        let mut rank = |levels| evidence.heard(&said(FeedbackKind::Ranking { levels }));
        assert_eq!(rank(vec![vec![3, 13], vec![4]]), Some(0.5));
        assert_eq!(rank(vec![vec![99], vec![14], vec![4]]), Some(1.0));
    }

    #[test]
    fn grades_are_compared_with_grades_of_the_same_kind_in_order() {
        let mut evidence = trial();
        let mut stars = |answer, stars| evidence.heard(&said(FeedbackKind::Stars { answer, stars }));
        assert_eq!((stars(1, 5), stars(1, 5), stars(2, 2)), (None, None, None), "the lead's wait");
        assert_eq!((stars(11, 4), stars(12, 3)), (Some(0.0), Some(1.0)));
        assert_eq!(stars(13, 3), None, "now a candidate's waits");
        let mut thumb = |answer, up| evidence.heard(&said(FeedbackKind::Thumb { answer, up }));
        assert_eq!(thumb(3, true), None, "a thumb is no star");
        assert_eq!(thumb(14, true), Some(0.5));
        assert_eq!(evidence.heard(&said(FeedbackKind::Stars { answer: 4, stars: 3 })), Some(0.5));
    }
}
