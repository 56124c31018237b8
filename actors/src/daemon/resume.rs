//! What a restart goes on from.
//!
//! Invariant: reading changes nothing. What is found here is all that a restart knows; nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use understudy_checkpoints::{RecordKind, StoreHandle};
use understudy_learning::stages::{AnswerId, Feedback, PolicyVersion, Rollout};

use super::StartError;
use crate::answers::decode_answer;
use crate::checkpoint::{Saved, SavedState};
use crate::messages::AnsweredQuestion;
use crate::seams::highest_published;

/// Records read at once.
const PAGE: usize = 256;

/// What was found in the data directory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResumeReport {
    /// The newest whole checkpoint.
    pub checkpoint: Option<SavedState>,
    /// The highest policy version that was ever published.
    pub highest_published: PolicyVersion,
    /// The highest answer id in the journal.
    pub highest_answer: AnswerId,
    /// Answers kept.
    pub answers: usize,
    /// Events of feedback kept.
    pub feedback: usize,
    /// Events that the checkpoint does not hold: they are learned from again.
    pub feedback_to_learn: usize,
    /// Questions put before the annotators again.
    pub unrated: usize,
}

/// The report, and the answers that nobody rated yet, oldest first.
pub(crate) struct Found {
    pub(crate) report: ResumeReport,
    pub(crate) unrated: Vec<AnsweredQuestion>,
}

/// Looks at the store and the checkpoints.
pub(crate) fn look(store: &StoreHandle, checkpoints: &Path, most_unrated: usize) -> Result<Found, StartError> {
    let checkpoint = Saved::newest(checkpoints)?.map(|(state, _)| state);
    let up_to = checkpoint.as_ref().map_or(0, |state| state.feedback_up_to);
    let mut rated: BTreeSet<AnswerId> = BTreeSet::new();
    let (mut feedback, mut feedback_to_learn) = (0, 0);
    each(store, RecordKind::Feedback, |seq, bytes| {
        let event: Feedback = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        rated.extend(event.answers());
        feedback += 1;
        feedback_to_learn += usize::from(seq > up_to);
        Ok(())
    })?;
    let mut groups: BTreeMap<AnswerId, Vec<Rollout>> = BTreeMap::new();
    let (mut answers, mut highest_answer) =
        (0, checkpoint.as_ref().map_or(0, |state| state.next_answer.saturating_sub(1)));
    each(store, RecordKind::Answer, |_, bytes| {
        let rollout = decode_answer(bytes)?;
        answers += 1;
        highest_answer = highest_answer.max(rollout.id);
        groups.entry(rollout.group).or_default().push(rollout);
        while groups.len() > most_unrated.max(1) {
            groups.pop_first();
        }
        Ok(())
    })?;
    groups.retain(|_, answers| answers.iter().all(|answer| !rated.contains(&answer.id)));
    let unrated: Vec<AnsweredQuestion> = groups.into_values().map(answered).take(most_unrated).collect();
    let report = ResumeReport {
        checkpoint,
        highest_published: highest_published(store)?,
        highest_answer,
        answers,
        feedback,
        feedback_to_learn,
        unrated: unrated.len(),
    };
    Ok(Found { report, unrated })
}

fn answered(mut answers: Vec<Rollout>) -> AnsweredQuestion {
    answers.sort_by_key(|answer| answer.id);
    AnsweredQuestion { question: answers[0].prompt.question.clone(), answers: Arc::new(answers) }
}

fn each(
    store: &StoreHandle,
    kind: RecordKind,
    mut see: impl FnMut(u64, &[u8]) -> Result<(), String>,
) -> Result<(), StartError> {
    let mut from = 0;
    loop {
        let records = store.read_from(kind, from, PAGE)?;
        let Some(last) = records.last() else { return Ok(()) };
        from = last.seq + 1;
        for record in &records {
            see(record.seq, &record.bytes).map_err(|reason| StartError::Record { seq: record.seq, reason })?;
        }
    }
}
