//! A configured source as the source actor wants it: a question for each rising position.
//!
//! Invariant: held-out questions are never drawn; the same position gives the same question as long as the file stays.

use std::sync::Arc;

use understudy_actors::source::{QuestionSource, SourceError as DrawError};
use understudy_learning::stages::Question;

use super::{Questions, SourceError, Split, open, split};
use crate::config::{Source, SourceKind};

/// Draws training questions of the configured source, round and round if it repeats.
pub struct Drawn {
    source: Source,
    name: String,
    stream: Option<Questions>,
    /// Training questions taken from the stream.
    taken: u64,
    /// How many there are, once the end was seen.
    length: Option<u64>,
}

impl Drawn {
    /// Opens the source, so that a wrong path is found at the start; `None` when there is none.
    pub fn open(source: &Source) -> Result<Option<Self>, SourceError> {
        let name = match source.kind {
            SourceKind::None => return Ok(None),
            SourceKind::Sample => "sample".to_owned(),
            SourceKind::StackExchange | SourceKind::Jsonl => super::shown(&source.path),
        };
        let stream = open(source)?;
        Ok(Some(Self { source: source.clone(), name, stream, taken: 0, length: None }))
    }

    fn next_training(&mut self) -> Result<Option<Question>, SourceError> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        for question in stream {
            let question = question?;
            if split::of(&question.id, self.source.held_out) == Split::Train {
                self.taken += 1;
                return Ok(Some(question));
            }
        }
        self.length = Some(self.taken);
        Ok(None)
    }

    fn at(&mut self, position: u64) -> Result<Option<Question>, SourceError> {
        loop {
            let target = match (self.length, self.source.repeat) {
                (Some(0), _) => return Ok(None),
                (Some(length), true) => position % length,
                (Some(length), false) if position >= length => return Ok(None),
                _ => position,
            };
            if target < self.taken {
                (self.stream, self.taken) = (open(&self.source)?, 0);
            }
            // At the end of the stream the length is known, and the loop finds the target anew.
            while let Some(question) = self.next_training()? {
                if self.taken == target + 1 {
                    return Ok(Some(question));
                }
            }
        }
    }
}

impl QuestionSource for Drawn {
    fn name(&self) -> &str {
        &self.name
    }

    fn draw(&mut self, position: u64) -> Result<Option<Arc<Question>>, DrawError> {
        let drawn = self.at(position);
        drawn.map(|question| question.map(Arc::new)).map_err(|error| DrawError {
            name: self.name.clone(),
            position,
            reason: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    fn drawn(lines: usize, repeat: bool) -> (tempfile::TempDir, Drawn) {
        let folder = tempfile::tempdir().unwrap();
        // The same name each time: ids begin with it, and the split goes by the id.
        let path = folder.path().join("questions.jsonl");
        let text: String = (0..lines).map(|line| format!("{{\"id\":\"{line}\",\"title\":\"T{line}\"}}\n")).collect();
        std::fs::write(&path, text).unwrap();
        let mut source = Layers::built_in().finish().unwrap().config.source;
        (source.kind, source.path, source.repeat) = (SourceKind::Jsonl, path, repeat);
        source.held_out = 0.3;
        (folder, Drawn::open(&source).unwrap().unwrap())
    }

    fn titles(drawn: &mut Drawn, positions: impl Iterator<Item = u64>) -> Vec<Option<String>> {
        positions.map(|at| drawn.draw(at).unwrap().map(|question| question.title.clone())).collect()
    }

    #[test]
    fn positions_go_round_and_a_restart_finds_the_same_questions() {
        let (_file, mut source) = drawn(10, true);
        let first = titles(&mut source, 0..20);
        let length = source.length.unwrap() as usize;
        assert!((1..10).contains(&length) && first[..20 - length] == first[length..], "{first:?}");
        let (_file, mut again) = drawn(10, true);
        assert_eq!(titles(&mut again, 0..3), first[..3]);
        let (_file, mut later) = drawn(10, true);
        assert_eq!(titles(&mut later, 17..20), first[17..]);
    }

    #[test]
    fn without_bodies_a_question_is_its_title_unless_it_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("questions.jsonl");
        std::fs::write(&path, "{\"title\":\"Why?\",\"body\":\"Long.\"}\n{\"body\":\"No title.\"}\n").unwrap();
        let mut source = Layers::built_in().finish().unwrap().config.source;
        (source.kind, source.path, source.held_out) = (SourceKind::Jsonl, path, 0.0);
        let texts = |source: &Source| -> Vec<String> {
            open(source).unwrap().unwrap().map(|question| question.unwrap().text()).collect()
        };
        assert_eq!(texts(&source), ["Why?\n\nLong.", "No title."]);
        source.bodies = false;
        assert_eq!(texts(&source), ["Why?", "No title."]);
    }

    #[test]
    fn a_source_without_repeat_ends_and_an_empty_one_has_nothing() {
        let (_file, mut source) = drawn(10, false);
        let all = titles(&mut source, 0..12);
        assert!(all[0].is_some() && all[11].is_none());
        assert_eq!(titles(&mut source, 3..4), all[3..4], "going back is allowed");
        let (_file, mut empty) = drawn(0, true);
        assert_eq!(titles(&mut empty, 0..2), [None, None]);
    }
}
