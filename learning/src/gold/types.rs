//! Two types of question: open ones, whose answers are better or worse, and closed ones, whose answers are right or wrong.
//!
//! Invariant: a question's type is a function of the question alone, so that everybody who asks is told the same; with a
//! closed share of 0 there are no types, and quality is the gold reward itself.

use serde::{Deserialize, Serialize};
use understudy_model::hash::mixed;

use super::{Taste, gold_reward};
use crate::reward::openness::declared;
use crate::stages::Question;

/// What kind of answer a question has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuestionType {
    /// Any number of answers, graded.
    Open,
    /// An answer is right or it is wrong.
    Closed,
}

/// How questions are divided into types, and how gold rewards become qualities by type.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Types {
    /// Share of the questions that declare nothing which are closed, by their id; 0 turns types off altogether.
    pub closed_share: f64,
    /// Share of usual answers that are right for a closed question.
    pub right_share: f64,
    /// Mean gold reward of usual answers.
    pub gold_mean: f64,
    /// Standard deviation of the gold reward over usual answers.
    pub gold_spread: f64,
}

/// The logistic function of this times z is within 0.01 of the normal distribution function (Haley 1952).
const NORMAL_TO_LOGISTIC: f64 = 1.702;

impl Types {
    /// Whether questions have types.
    pub fn are_on(&self) -> bool {
        self.closed_share > 0.0
    }

    /// The type of a question: what it declares (above 0.5 is closed), else a draw by its id.
    pub fn of(&self, question: &Question) -> QuestionType {
        let closed = match declared(question) {
            _ if !self.are_on() => false,
            Some(declared) => declared > 0.5,
            None => unit(&question.id) < self.closed_share,
        };
        if closed { QuestionType::Closed } else { QuestionType::Open }
    }

    /// The quality in `[0, 1]` of an answer whose gold reward is `gold`. Open: its place among usual answers, which are
    /// spread evenly over the interval. Closed: 1 for the best `right_share` of them, 0 for the others. These are the
    /// two laws between which the prompt-aware utility turns.
    pub fn quality(&self, kind: QuestionType, gold: f64) -> f64 {
        let place = 1.0 / (1.0 + (-NORMAL_TO_LOGISTIC * (gold - self.gold_mean) / self.gold_spread).exp());
        match kind {
            QuestionType::Open => place,
            QuestionType::Closed => f64::from(place > 1.0 - self.right_share),
        }
    }
}

/// The worth of an answer: its quality by the question's type where types are on, else its gold reward.
pub fn worth_by_type(taste: &Taste, types: &Types, question: &Question, answer: &str, finished: bool) -> f64 {
    let gold = gold_reward(taste, question, answer, finished);
    if types.are_on() { types.quality(types.of(question), gold) } else { gold }
}

/// A number in `[0, 1)` from a salt and an id. The salt keeps it independent of the split into training and held-out
/// questions, which hashes the id too.
fn unit(id: &str) -> f64 {
    (mixed("type/".bytes().chain(id.bytes())) >> 11) as f64 * (-53f64).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPES: Types = Types { closed_share: 0.3, right_share: 0.25, gold_mean: 1.0, gold_spread: 0.5 };

    fn question(id: &str, closedness: Option<f64>) -> Question {
        let text = r#"{"id":"","source":"t","title":"Which tea?","body":"","tags":[],"author":null,"url":null,
            "licence":null,"asked_at":0,"closedness":null}"#;
        Question { id: id.to_owned(), closedness, ..serde_json::from_str(text).unwrap() }
    }

    #[test]
    fn what_a_question_declares_counts_before_the_draw_by_its_id() {
        assert_eq!(TYPES.of(&question("a", Some(0.9))), QuestionType::Closed);
        assert_eq!(TYPES.of(&question("a", Some(0.1))), QuestionType::Open);
        let drawn = (0..10_000).filter(|i| TYPES.of(&question(&format!("s/{i}"), None)) == QuestionType::Closed);
        // Standard deviation of a binomial(10000, 0.3): 45.8; five of them.
        assert!(drawn.count().abs_diff(3000) < 229);
        let off = Types { closed_share: 0.0, ..TYPES };
        assert_eq!(off.of(&question("a", Some(0.9))), QuestionType::Open);
    }

    #[test]
    fn a_questions_type_never_changes() {
        // Written down once: a change of the hash would make past experiments about other questions.
        let types = Types { closed_share: 0.5, ..TYPES };
        let closed = |i| types.of(&question(&format!("sample/{i}"), None)) == QuestionType::Closed;
        let drawn: String = (0..16).map(|i| if closed(i) { 'c' } else { 'o' }).collect();
        assert_eq!(drawn, "ooococcoccocccoo");
    }

    #[test]
    fn open_answers_are_graded_by_their_place_and_closed_ones_are_right_or_wrong() {
        assert_eq!(TYPES.quality(QuestionType::Open, 1.0), 0.5);
        // One standard deviation above the mean: the normal distribution function is 0.8413 there.
        assert!((TYPES.quality(QuestionType::Open, 1.5) - 0.8413).abs() < 0.01);
        // A quarter of usual answers is right: those beyond 0.674 standard deviations, 1.337.
        assert_eq!(TYPES.quality(QuestionType::Closed, 1.32), 0.0);
        assert_eq!(TYPES.quality(QuestionType::Closed, 1.35), 1.0);
    }

    #[test]
    fn without_types_the_worth_is_the_gold_reward_to_the_bit() {
        let (taste, off) = (Taste::default(), Types { closed_share: 0.0, ..TYPES });
        let asked = question("a", Some(0.9));
        let gold = gold_reward(&taste, &asked, "Green tea.", true);
        assert_eq!(worth_by_type(&taste, &off, &asked, "Green tea.", true).to_bits(), gold.to_bits());
        assert_eq!(worth_by_type(&taste, &TYPES, &asked, "Green tea.", true), 1.0);
        assert_eq!(worth_by_type(&taste, &TYPES, &asked, "Milk.", true), 0.0);
    }
}
