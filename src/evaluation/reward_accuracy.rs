//! How many held-out comparisons a reward model orders rightly, beside what length and age alone get right.
//!
//! Invariant: model and baselines are judged on the same pairs; questions are what is resampled.

use serde::Serialize;

use crate::preferences::accuracy::{Accuracy, Tally};
use crate::preferences::{VotedPair, VotedQuestion};

/// A difference with its error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Lead {
    /// In shares of pairs.
    pub lead: f64,
    /// Standard error over questions.
    pub error: f64,
    /// Ends of the 95 % interval.
    pub interval: [f64; 2],
}

/// Accuracy on held-out questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RewardAccuracy {
    /// The reward model's.
    pub model: Accuracy,
    /// "The longer answer is better."
    pub longer: Accuracy,
    /// "The older answer is better."
    pub older: Accuracy,
    /// "The younger or the older, the shorter or the longer": whichever of the four is best here.
    pub best_baseline: f64,
    /// The model's lead over length.
    pub over_longer: Lead,
    /// The model's lead over age.
    pub over_older: Lead,
}

/// How many pairs of a question are right, by its answers' scores.
type Right = dyn Fn(&VotedQuestion, &[VotedPair], &[f64]) -> Tally;

impl RewardAccuracy {
    /// Of questions with their pairs and the model's `[K]` scores of their answers.
    pub fn of(questions: &[(&VotedQuestion, Vec<VotedPair>, Vec<f64>)]) -> Self {
        let tallies = |right: &Right| -> Vec<Tally> {
            questions.iter().map(|(question, pairs, scores)| right(question, pairs, scores)).collect()
        };
        let model = tallies(&|question, pairs, scores| question.right(pairs, |place| scores[place]));
        let longer = tallies(&|question, pairs, _| question.longer_is_right(pairs));
        let older = tallies(&|question, pairs, _| question.older_is_right(pairs));
        let lead = |over: &[Tally]| {
            let (lead, error, interval) = Accuracy::difference(&model, over);
            Lead { lead, error, interval }
        };
        let (of_longer, of_older) = (Accuracy::of(&longer), Accuracy::of(&older));
        let shares = [of_longer.share, 1.0 - of_longer.share, of_older.share, 1.0 - of_older.share];
        Self {
            over_longer: lead(&longer),
            over_older: lead(&older),
            model: Accuracy::of(&model),
            longer: of_longer,
            older: of_older,
            best_baseline: shares.into_iter().fold(f64::NAN, f64::max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preferences::{Exposure, Rule};

    #[test]
    fn a_model_that_goes_by_length_has_no_lead_over_length_and_a_right_one_has() {
        let question = |number: i64| {
            let thread =
                crate::preferences::by_hand(number as u64, &[(1, 3, "aa"), (2, 9, "b"), (3, 0, &"c".repeat(9))]);
            VotedQuestion::of_thread(&thread)
        };
        let questions: Vec<VotedQuestion> = (1..30).map(question).collect();
        let of = |score: &dyn Fn(&VotedQuestion) -> Vec<f64>| {
            let pairs = |question: &VotedQuestion| question.voted_pairs(&Rule::default(), &Exposure::neutral());
            let judged: Vec<_> = questions.iter().map(|q| (q, pairs(q), score(q))).collect();
            RewardAccuracy::of(&judged)
        };
        let long = of(&|q| q.answers.iter().map(|answer| answer.text.len() as f64).collect());
        assert_eq!((long.model.share, long.over_longer.lead, long.over_longer.error), (0.0, 0.0, 0.0));
        let right = of(&|q| q.answers.iter().map(|answer| answer.score as f64).collect());
        // Of three pairs the older wins two: (first, third) and (second, third).
        assert!((right.model.share, right.longer.share) == (1.0, 0.0) && (right.older.share - 2.0 / 3.0).abs() < 1e-12);
        assert!(right.over_longer.lead == 1.0 && (right.over_older.lead - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(right.best_baseline, 1.0, "the shorter always wins here");
    }
}
