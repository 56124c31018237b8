//! Held-out threads that training has not seen under another name.
//!
//! Invariant: a held-out question whose text, or one of whose longer answers, stands (nearly) in a training thread of any
//! source is left out, and so is the second of two held-out twins; each is reported. Memory: the held-out threads, 600 bytes
//! a remembered text, and one training thread at a time.

use serde::Serialize;

use super::duplicates::{Fingerprint, Index};
use super::question::VotedQuestion;
use crate::corpus::{Corpus, CorpusError, Thread};
use crate::sources::{Shares, Split, split};

/// Answers of fewer characters are said by chance: "No, it is not."
const LEAST_ANSWER: usize = 120;

/// A held-out question that was left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Twin {
    /// Its id.
    pub id: String,
    /// The thread that has the same text.
    pub of: String,
    /// Which text: of the question or of an answer.
    pub what: TwinOf,
    /// 1 for the same words, else the estimate of the similarity.
    pub similarity: f64,
}

/// Which text is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TwinOf {
    /// A training question's.
    TrainingQuestion,
    /// An answer's to a training question.
    TrainingAnswer,
    /// Another held-out question's.
    HeldOutQuestion,
}

/// Held-out threads.
#[derive(Debug, Clone, Default)]
pub struct HeldOut {
    /// In an order that their ids decide, sources mixed.
    pub threads: Vec<Thread>,
    /// What was left out.
    pub twins: Vec<Twin>,
}

/// The held-out threads of `corpora` (at most `most`, drawn by their ids) for which `wanted` holds.
pub fn held_out(
    corpora: &[Corpus],
    shares: Shares,
    most: usize,
    wanted: impl Fn(&Thread) -> bool,
) -> Result<HeldOut, CorpusError> {
    let mut drawn: std::collections::BTreeMap<(u64, String), Thread> = Default::default();
    for thread in threads_of(corpora, shares, Split::HeldOut) {
        let thread = thread?;
        if wanted(&thread) {
            drawn.insert((split::drawn(&thread.id), thread.id.clone()), thread);
            // Some more than asked for, since twins will go.
            if drawn.len() > most.saturating_add(most / 4).saturating_add(8) {
                drawn.pop_last();
            }
        }
    }
    let (mut found, mut kept) = (HeldOut::default(), Vec::new());
    let (mut questions, mut answers, mut answer_of) = (Index::default(), Index::default(), Vec::new());
    for thread in drawn.into_values() {
        let text = Fingerprint::of(&thread.question().text());
        if let Some((number, similarity)) = questions.near(&text).first() {
            let of: &Thread = &kept[*number];
            let twin =
                Twin { id: thread.id, of: of.id.clone(), what: TwinOf::HeldOutQuestion, similarity: *similarity };
            found.twins.push(twin);
            continue;
        }
        questions.add(text);
        for answer in thread.answers.iter().filter(|answer| answer.text.len() >= LEAST_ANSWER) {
            answers.add(Fingerprint::of(&answer.text));
            answer_of.push(kept.len());
        }
        kept.push(thread);
    }
    let mut gone: Vec<Option<Twin>> = vec![None; kept.len()];
    for thread in threads_of(corpora, shares, Split::Train) {
        let thread = thread?;
        let mut tell = |place: usize, what, similarity| {
            let twin = Twin { id: kept[place].id.clone(), of: thread.id.clone(), what, similarity };
            gone[place].get_or_insert(twin);
        };
        for (place, similarity) in questions.near(&Fingerprint::of(&thread.question().text())) {
            tell(place, TwinOf::TrainingQuestion, similarity);
        }
        for answer in thread.answers.iter().filter(|answer| answer.text.len() >= LEAST_ANSWER) {
            for (number, similarity) in answers.near(&Fingerprint::of(&answer.text)) {
                tell(answer_of[number], TwinOf::TrainingAnswer, similarity);
            }
        }
    }
    for (thread, twin) in kept.into_iter().zip(gone) {
        match twin {
            Some(twin) => found.twins.push(twin),
            None => found.threads.push(thread),
        }
    }
    found.threads.truncate(most);
    Ok(found)
}

/// The threads of one part of the split.
pub(super) fn threads_of(
    corpora: &[Corpus],
    shares: Shares,
    part: Split,
) -> impl Iterator<Item = Result<Thread, CorpusError>> {
    corpora
        .iter()
        .flat_map(|corpus| -> Box<dyn Iterator<Item = Result<Thread, CorpusError>>> {
            match corpus.threads() {
                Ok(threads) => Box::new(threads),
                Err(error) => Box::new(std::iter::once(Err(error))),
            }
        })
        .filter(move |thread| thread.as_ref().map_or(true, |thread| split::of(&thread.id, shares) == part))
}

impl HeldOut {
    /// The threads with their votes.
    pub fn voted(&self) -> Vec<VotedQuestion> {
        self.threads.iter().map(VotedQuestion::of_thread).collect()
    }
}
