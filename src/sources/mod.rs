//! Where questions come from: the built-in sample, JSON lines, Stack Exchange dumps, corpora, the Stack Exchange API.
//!
//! Invariant: a source is a stream with a bounded memory; a broken file is an error that names the file, never a panic
//! and never silence; attribution stays attached.

mod corpora;
pub mod drawn;
mod error;
pub mod feed;
pub mod jsonl;
mod replayed;
#[cfg(test)]
mod replayed_tests;
pub mod sample;
pub mod split;
pub mod stack_exchange;

use std::path::Path;

use understudy_learning::stages::Question;

use crate::config::{Source, SourceKind};
pub use error::SourceError;
pub use split::{Shares, Split};

/// A stream of questions.
pub type Questions = Box<dyn Iterator<Item = Result<Question, SourceError>> + Send>;

/// Opens the configured source from its beginning; `None` when there is none. Of the API: what was fetched so far; after its
/// end there may be more later.
pub fn open(source: &Source) -> Result<Option<Questions>, SourceError> {
    let questions: Questions = match source.kind {
        SourceKind::None => return Ok(None),
        SourceKind::Sample => Box::new(sample::questions()?),
        SourceKind::Jsonl => Box::new(jsonl::Reader::open(&source.path)?),
        SourceKind::StackExchange => {
            let site = stack_exchange::Site::new(&source.site, &source.path);
            Box::new(stack_exchange::events_of_file(&source.path, site)?.questions())
        }
        SourceKind::Corpus | SourceKind::Replay => corpora::questions(source)?,
        SourceKind::Api => Box::new(feed::fetched(source)),
    };
    let (bodies, terms) = (source.bodies, Some(source.terms.clone()).filter(|terms| !terms.is_empty()));
    let finished = move |mut question: Question| {
        question.terms = question.terms.or_else(|| terms.clone());
        if bodies { question } else { title_only(question) }
    };
    Ok(Some(Box::new(questions.map(move |question| question.map(&finished)))))
}

/// The question without its body, where it has a title to stand for it.
pub(crate) fn title_only(mut question: Question) -> Question {
    if !question.title.trim().is_empty() {
        question.body.clear();
    }
    question
}

/// All questions of the configured source that belong to `split`, at most `limit` of them.
pub fn collect(source: &Source, split: Split, limit: usize) -> Result<Vec<Question>, SourceError> {
    let Some(questions) = open(source)? else { return Ok(Vec::new()) };
    questions
        .filter(|question| question.as_ref().map_or(true, |q| split::of(&q.id, source.shares()) == split))
        .take(limit)
        .collect()
}

/// The name of a file for messages.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
