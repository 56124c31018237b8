//! The built-in questions, in the Stack Exchange dump format and in our own words.
//!
//! Invariant: they are part of the binary, so the demo needs no file; a test reads them all.

use std::io::Cursor;

use super::SourceError;
use super::stack_exchange::{Events, Site};
use understudy_learning::stages::Question;

/// The dump itself.
pub const POSTS_XML: &str = include_str!("../sample/Posts.xml");

/// Questions and answers in time order.
pub fn events() -> Result<Events<Cursor<&'static [u8]>>, SourceError> {
    Events::index(Cursor::new(POSTS_XML.as_bytes()), "the built-in sample", Site::named("sample"))
}

/// The questions in time order.
pub fn questions() -> Result<impl Iterator<Item = Result<Question, SourceError>> + Send, SourceError> {
    Ok(events()?.questions())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_question_can_be_read_and_says_how_open_it_is() {
        let questions: Vec<Question> = questions().unwrap().collect::<Result<_, _>>().unwrap();
        assert!(questions.len() >= 60, "{}", questions.len());
        let open = questions.iter().filter(|question| question.closedness == Some(0.1)).count();
        assert!(open >= 20 && questions.len() - open >= 20, "{open} of {} are open-ended", questions.len());
        for question in questions {
            assert!(!question.title.is_empty() && !question.body.is_empty(), "{question:?}");
            assert!(
                matches!(question.closedness, Some(p) if p == 0.1 || p == 0.9),
                "{}: {:?}",
                question.id,
                question.tags
            );
        }
    }
}
