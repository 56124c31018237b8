//! The questions that the API gave, as a source; fetching them is a thread's, see [`super::stack_exchange::api`].
//!
//! Invariant: what was fetched is read from the disk in the order of its coming, so that a restart finds the same questions
//! at the same places.

use std::path::{Path, PathBuf};

use understudy_learning::stages::Question;

use super::SourceError;
use super::stack_exchange::api::FeedReader;
use crate::config::Source;

/// Where the questions of the configured site lie.
pub fn folder(source: &Source) -> PathBuf {
    folder_of(&source.data, &source.site)
}

/// Where the questions of `site` lie in a data directory.
pub fn folder_of(data: &Path, site: &str) -> PathBuf {
    data.join("feeds").join(site)
}

/// What was fetched; after the end there may be more later.
pub(super) fn fetched(source: &Source) -> impl Iterator<Item = Result<Question, SourceError>> + Send + use<> {
    let mut reader = FeedReader::new(&folder(source));
    let mut position = 0;
    std::iter::from_fn(move || {
        let question = reader.at(position).transpose();
        position += u64::from(matches!(question, Some(Ok(_))));
        question
    })
}
