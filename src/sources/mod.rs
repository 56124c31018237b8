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
use stack_exchange::clause;

/// A stream of questions.
pub type Questions = Box<dyn Iterator<Item = Result<Question, SourceError>> + Send>;

/// Opens the configured source from its beginning; `None` when there is none. Of the API: what was fetched so far; after its
/// end there may be more later.
pub fn open(source: &Source) -> Result<Option<Questions>, SourceError> {
    let questions: Questions = match source.kind {
        SourceKind::None => return Ok(None),
        SourceKind::Sample => Box::new(sample::questions()?),
        SourceKind::Jsonl => {
            // All of it before the first is asked. A line that cannot be read is told when its turn comes.
            if !source.may_train {
                let mut all = jsonl::Reader::open(&source.path)?.flatten();
                all.try_for_each(|one| clause::allowed_all([(one.url.as_deref(), one.asked_at)], false, MAY_TRAIN))?;
            }
            Box::new(jsonl::Reader::open(&source.path)?)
        }
        SourceKind::StackExchange => {
            let site = stack_exchange::Site::new(&source.site, &source.path);
            let events = stack_exchange::events_of_file(&source.path, site)?;
            clause::allowed(events.newest(), source.may_train, MAY_TRAIN)?;
            Box::new(events.questions())
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

/// The operator's word for the clause of July 2024.
const MAY_TRAIN: &str = "source.may_train = true";

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    #[test]
    fn newer_posts_of_stack_exchange_are_not_asked_without_the_operators_word() {
        let folder = tempfile::tempdir().unwrap();
        let mut source = Layers::built_in().finish().unwrap().config.source;
        source.held_out = 0.0;
        let mut refused = |kind, name: &str, text: &str| {
            (source.kind, source.path, source.may_train) = (kind, folder.path().join(name), false);
            std::fs::write(&source.path, text).unwrap();
            let said = collect(&source, Split::Train, 9).unwrap_err().to_string();
            assert!(said.contains("the newest post is of 2024-07-02") && said.contains(MAY_TRAIN), "{said}");
            source.may_train = true;
            assert_eq!(collect(&source, Split::Train, 9).unwrap().len(), 1);
        };
        let row = "<row Id=\"1\" PostTypeId=\"1\" Title=\"t\" Body=\"b\" CreationDate=\"2024-07-02T00:00:00.000\" />";
        refused(SourceKind::StackExchange, "Posts.xml", &format!("<posts>{row}</posts>"));
        let line = "{\"title\":\"t\",\"url\":\"https://beer.stackexchange.com/q/1\",\"asked_at\":1719878400000}";
        refused(SourceKind::Jsonl, "rows.jsonl", line);
        // It is seen before anything is asked, wherever it stands.
        std::fs::write(folder.path().join("late.jsonl"), format!("{{\"title\":\"first\"}}\n{line}\n")).unwrap();
        (source.path, source.may_train) = (folder.path().join("late.jsonl"), false);
        assert!(open(&source).is_err());
    }
}
