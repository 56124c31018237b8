//! Whether an event of feedback can be taken.
//!
//! Invariant: an event that passes names only answers that are kept, compares only answers to one question, and takes
//! back only what its own author gave. Checking changes nothing.

use understudy_learning::stages::{Feedback, FeedbackError, FeedbackKind};

use crate::answers::Answers;
use crate::messages::FeedbackRefusal;
use crate::seams::FeedbackLog;

/// Checks `feedback` against what was answered and said before.
pub(crate) fn check(feedback: &Feedback, answers: &Answers, log: &dyn FeedbackLog) -> Result<(), FeedbackRefusal> {
    feedback.validate()?;
    let store = |error: &dyn std::fmt::Display| FeedbackRefusal::Store(error.to_string());
    let mut first = None;
    for id in feedback.answers() {
        let answer = answers.find(id).map_err(|error| store(&error))?;
        let answer = answer.ok_or(FeedbackRefusal::UnknownAnswer(id))?;
        let (first_id, question) = first.get_or_insert_with(|| (id, answer.prompt.question.id.clone()));
        if *question != answer.prompt.question.id {
            return Err(FeedbackRefusal::DifferentQuestions(*first_id, id));
        }
    }
    if let FeedbackKind::Steps { answer, marks } = &feedback.kind {
        let text = answers.find(*answer).map_err(|error| store(&error))?.map(|answer| answer.text.clone());
        let lines = text.unwrap_or_default().lines().filter(|line| !line.trim().is_empty()).count();
        if marks.iter().rposition(Option::is_some).is_some_and(|last| last >= lines) {
            let value = format!("{} marks long for {lines} lines", marks.len());
            let remedy = "mark only lines that the answer has; blank ones do not count";
            return Err(FeedbackError { field: "marks", value, remedy }.into());
        }
    }
    if let FeedbackKind::Retract { feedback: taken_back } = &feedback.kind {
        let earlier = log.find(taken_back).map_err(|error| store(&error))?;
        let earlier = earlier.ok_or_else(|| FeedbackRefusal::UnknownFeedback(taken_back.clone()))?;
        if earlier.feedback.annotator != feedback.annotator {
            return Err(FeedbackRefusal::NotYours(taken_back.clone()));
        }
    }
    Ok(())
}
