//! What people say of answers. Ids are the client's and idempotent: the same id twice is one event.

use serde::{Deserialize, Serialize};

use super::AnswerId;

/// Longest id of an annotator or a feedback event, in bytes.
const MAX_ID_BYTES: usize = 128;
/// Most answers in one ranking.
const MAX_RANKED: usize = 64;
/// Longest edit or reason, in bytes.
const MAX_TEXT_BYTES: usize = 32 * 1024;
/// Longest reason in the annotator's own words, in bytes.
const MAX_WHY_BYTES: usize = 2 * 1024;

/// Most lines that one event marks.
const MAX_MARKS: usize = 64;

/// One event of human (or simulated) feedback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feedback {
    /// Client-supplied and idempotent.
    pub id: String,
    /// Pseudonym of whoever rated.
    pub annotator: String,
    /// Milliseconds since the Unix epoch, as the client states it; never used for ordering.
    pub at: i64,
    /// What was said.
    #[serde(flatten)]
    pub kind: FeedbackKind,
    /// Why, in the annotator's own words; told to people, not learned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The kinds of feedback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FeedbackKind {
    /// 1 (worst) to 5 (best).
    Stars {
        /// The rated answer.
        answer: AnswerId,
        /// 1 to 5.
        stars: u8,
    },
    /// Up or down.
    Thumb {
        /// The rated answer.
        answer: AnswerId,
        /// `true` is up.
        up: bool,
    },
    /// A number on a declared scale.
    Score {
        /// The rated answer.
        answer: AnswerId,
        /// `min ..= max`.
        value: f64,
        /// Worst value of the scale.
        min: f64,
        /// Best value of the scale.
        max: f64,
    },
    /// One answer is better than another to the same question.
    Pair {
        /// The better answer.
        better: AnswerId,
        /// The worse answer.
        worse: AnswerId,
        /// How much better: 1 is plain, above is stronger; finite and > 0.
        #[serde(default = "one")]
        strength: f64,
    },
    /// Answers from best to worst; an inner list holds equals.
    Ranking {
        /// Best level first.
        levels: Vec<Vec<AnswerId>>,
    },
    /// A better text for an answer.
    Edit {
        /// The edited answer.
        answer: AnswerId,
        /// The text it should have been.
        text: String,
    },
    /// Something is wrong with an answer.
    Flag {
        /// The flagged answer.
        answer: AnswerId,
        /// Why.
        reason: String,
    },
    /// Which lines of an answer are right: one mark a line, in order (labels of a process reward).
    Steps {
        /// The answer whose lines are marked.
        answer: AnswerId,
        /// `true` is right, `false` is wrong, `null` is no opinion; lines after the last mark have none.
        marks: Vec<Option<bool>>,
    },
    /// Takes back an earlier event of the same annotator.
    Retract {
        /// Id of the event that is taken back.
        feedback: String,
    },
}

fn one() -> f64 {
    1.0
}

/// What is wrong with a feedback event: the field, the value and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}; {remedy}")]
pub struct FeedbackError {
    /// The offending field.
    pub field: &'static str,
    /// Its value, shortened.
    pub value: String,
    /// What would be right.
    pub remedy: &'static str,
}

impl Feedback {
    /// The answers that the event speaks of, each once, in order of mention.
    pub fn answers(&self) -> Vec<AnswerId> {
        match &self.kind {
            FeedbackKind::Stars { answer, .. }
            | FeedbackKind::Thumb { answer, .. }
            | FeedbackKind::Score { answer, .. }
            | FeedbackKind::Edit { answer, .. }
            | FeedbackKind::Flag { answer, .. }
            | FeedbackKind::Steps { answer, .. } => vec![*answer],
            FeedbackKind::Pair { better, worse, .. } => vec![*better, *worse],
            FeedbackKind::Ranking { levels } => levels.iter().flatten().copied().collect(),
            FeedbackKind::Retract { .. } => Vec::new(),
        }
    }

    /// The graded answer and where the grade stands on its scale, from 0 (worst) to 1 (best): stars and scores only.
    pub fn grade(&self) -> Option<(AnswerId, f64)> {
        match self.kind {
            FeedbackKind::Stars { answer, stars } => Some((answer, (f64::from(stars) - 1.0) / 4.0)),
            FeedbackKind::Score { answer, value, min, max } => Some((answer, (value - min) / (max - min))),
            _ => None,
        }
    }

    /// The kind's stable name, as in JSON and metrics.
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            FeedbackKind::Stars { .. } => "stars",
            FeedbackKind::Thumb { .. } => "thumb",
            FeedbackKind::Score { .. } => "score",
            FeedbackKind::Pair { .. } => "pair",
            FeedbackKind::Ranking { .. } => "ranking",
            FeedbackKind::Edit { .. } => "edit",
            FeedbackKind::Flag { .. } => "flag",
            FeedbackKind::Steps { .. } => "steps",
            FeedbackKind::Retract { .. } => "retract",
        }
    }

    /// Checks everything that can be checked without knowing the answers.
    pub fn validate(&self) -> Result<(), FeedbackError> {
        check_id("id", &self.id)?;
        check_id("annotator", &self.annotator)?;
        let fail = |field, value: String, remedy| Err(FeedbackError { field, value, remedy });
        if let Some(why) = self.why.as_ref().filter(|why| why.trim().is_empty() || why.len() > MAX_WHY_BYTES) {
            return fail("why", format!("{} bytes long", why.len()), "give 1 to 2048 bytes of text, or leave it out");
        }
        match &self.kind {
            FeedbackKind::Stars { stars, .. } if !(1..=5).contains(stars) => {
                fail("stars", stars.to_string(), "give a whole number from 1 to 5")
            }
            // A scale wider than all numbers has no place between its ends.
            FeedbackKind::Score { min, max, .. } if !(min < max && (max - min).is_finite()) => {
                fail("min", format!("{min:?} with max {max:?}"), "give finite bounds with min below max")
            }
            FeedbackKind::Score { value, min, max, .. } if !(*min..=*max).contains(value) => {
                fail("value", format!("{value:?}"), "give a number between min and max")
            }
            FeedbackKind::Pair { better, worse, .. } if better == worse => {
                fail("worse", worse.to_string(), "name two different answers")
            }
            FeedbackKind::Pair { strength, .. } if !(strength.is_finite() && *strength > 0.0 && *strength <= 10.0) => {
                fail("strength", strength.to_string(), "give a number above 0 and at most 10")
            }
            FeedbackKind::Ranking { levels } => check_levels(levels),
            FeedbackKind::Edit { text, .. } if text.trim().is_empty() || text.len() > MAX_TEXT_BYTES => {
                fail("text", format!("{} bytes long", text.len()), "give 1 to 32768 bytes of text")
            }
            FeedbackKind::Flag { reason, .. } if reason.len() > MAX_TEXT_BYTES => {
                fail("reason", format!("{} bytes long", reason.len()), "give at most 32768 bytes")
            }
            FeedbackKind::Steps { marks, .. } if marks.is_empty() || marks.len() > MAX_MARKS => {
                fail("marks", format!("{} marks long", marks.len()), "mark 1 to 64 lines")
            }
            FeedbackKind::Steps { marks, .. } if marks.iter().all(Option::is_none) => {
                fail("marks", "without an opinion".into(), "mark at least one line true or false")
            }
            FeedbackKind::Retract { feedback } => check_id("feedback", feedback),
            _ => Ok(()),
        }
    }
}

fn check_id(field: &'static str, id: &str) -> Result<(), FeedbackError> {
    if id.is_empty() || id.len() > MAX_ID_BYTES || id.chars().any(char::is_control) {
        let value = format!("{:?}", id.chars().take(32).collect::<String>());
        return Err(FeedbackError { field, value, remedy: "give 1 to 128 bytes without control characters" });
    }
    Ok(())
}

fn check_levels(levels: &[Vec<AnswerId>]) -> Result<(), FeedbackError> {
    let fail = |value: String, remedy| Err(FeedbackError { field: "levels", value, remedy });
    let mut seen: Vec<AnswerId> = levels.iter().flatten().copied().collect();
    if levels.iter().any(Vec::is_empty) {
        return fail("holding an empty level".into(), "leave empty levels out");
    }
    if !(2..=MAX_RANKED).contains(&seen.len()) {
        return fail(format!("{} answers long", seen.len()), "rank 2 to 64 answers");
    }
    seen.sort_unstable();
    match seen.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => fail(format!("naming answer {} twice", pair[0]), "name each answer once"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: FeedbackKind, wrong_field: Option<&str>) {
        let feedback = Feedback { id: "f1".into(), annotator: "ana".into(), at: 0, kind, why: None };
        assert_eq!(feedback.validate().err().map(|e| e.field), wrong_field, "{feedback:?}");
    }

    #[test]
    fn validation_names_the_field_that_is_wrong() {
        check(FeedbackKind::Stars { answer: 1, stars: 5 }, None);
        check(FeedbackKind::Stars { answer: 1, stars: 6 }, Some("stars"));
        check(FeedbackKind::Score { answer: 1, value: f64::NAN, min: 0.0, max: 1.0 }, Some("value"));
        check(FeedbackKind::Score { answer: 1, value: 0.5, min: 1.0, max: 1.0 }, Some("min"));
        check(FeedbackKind::Score { answer: 1, value: 1e308, min: -1e308, max: 1e308 }, Some("min"));
        check(
            FeedbackKind::Score { answer: 1, value: f64::NEG_INFINITY, min: f64::NEG_INFINITY, max: 1.0 },
            Some("min"),
        );
        check(FeedbackKind::Score { answer: 1, value: f64::from_bits(1), min: -0.0, max: f64::from_bits(2) }, None);
        check(FeedbackKind::Pair { better: 1, worse: 1, strength: 1.0 }, Some("worse"));
        check(FeedbackKind::Pair { better: 1, worse: 2, strength: f64::INFINITY }, Some("strength"));
        check(FeedbackKind::Ranking { levels: vec![vec![1], vec![2, 1]] }, Some("levels"));
        check(FeedbackKind::Ranking { levels: vec![vec![1], vec![2, 3]] }, None);
        check(FeedbackKind::Steps { answer: 1, marks: vec![None, Some(false)] }, None);
        check(FeedbackKind::Steps { answer: 1, marks: vec![None] }, Some("marks"));
        check(FeedbackKind::Steps { answer: 1, marks: vec![Some(true); 65] }, Some("marks"));
        check(FeedbackKind::Retract { feedback: "a\u{0}".into() }, Some("feedback"));
    }

    #[test]
    fn a_reason_is_bounded_and_an_event_without_one_reads_and_writes_as_before() {
        let before = r#"{"id":"f","annotator":"a","at":3,"kind":"thumb","answer":1,"up":true}"#;
        let mut feedback: Feedback = serde_json::from_str(before).expect("valid");
        assert_eq!(feedback.why, None);
        assert_eq!(serde_json::to_string(&feedback).expect("plain"), before);
        for (bytes, is_right) in [(0, false), (1, true), (2048, true), (2049, false)] {
            feedback.why = Some("w".repeat(bytes));
            assert_eq!(feedback.validate().err().map(|e| e.field), (!is_right).then_some("why"), "{bytes}");
        }
        feedback.why = Some("it is\ntrue".into());
        let text = serde_json::to_string(&feedback).expect("plain");
        assert_eq!(serde_json::from_str::<Feedback>(&text).expect("valid"), feedback);
    }

    #[test]
    fn json_form_is_flat_and_survives_a_round_trip() {
        let text = r#"{"id":"f","annotator":"a","at":3,"kind":"pair","better":1,"worse":2}"#;
        let feedback: Feedback = serde_json::from_str(text).expect("valid");
        assert_eq!(feedback.kind, FeedbackKind::Pair { better: 1, worse: 2, strength: 1.0 });
        let again: Feedback = serde_json::from_str(&serde_json::to_string(&feedback).expect("plain")).expect("valid");
        assert_eq!(again, feedback);
    }
}
