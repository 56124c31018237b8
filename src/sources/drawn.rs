//! A configured source as the source actor wants it: a question for each rising position.
//!
//! Invariant: held-out questions are never drawn; the same position gives the same question as long as the file stays. A
//! replay's question is not given before its moment, a feed's not before it was fetched; neither is ever waited for here.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use understudy_actors::source::{Draw, QuestionSource, SourceError as DrawError};
use understudy_learning::stages::Question;

use super::replayed::Moments;
use super::{Questions, SourceError, Split, open, split};
use crate::config::{Source, SourceKind};

/// How often a feed is looked at for what is new.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Draws training questions of the configured source, round and round if it repeats.
pub struct Drawn {
    source: Source,
    name: String,
    stream: Option<Questions>,
    /// Training questions taken from the stream.
    taken: u64,
    /// How many there are, once the end was seen.
    length: Option<u64>,
    /// When a replay's questions are due.
    moments: Option<Moments>,
    /// A question that is not due yet, and its position.
    early: Option<(u64, Arc<Question>)>,
}

impl Drawn {
    /// Opens the source, so that a wrong path is found at the start; `None` when there is none.
    pub fn open(source: &Source) -> Result<Option<Self>, SourceError> {
        let name = match source.kind {
            SourceKind::None => return Ok(None),
            SourceKind::Sample => "sample".to_owned(),
            SourceKind::StackExchange | SourceKind::Jsonl => super::shown(&source.path),
            SourceKind::Corpus if source.corpora.is_empty() => "corpora".to_owned(),
            SourceKind::Corpus => format!("corpora {}", source.corpora.join(", ")),
            // Where it begins decides what is at a position.
            SourceKind::Replay => format!("replay {} from '{}'", source.corpora.join(", "), source.from),
            SourceKind::Api => format!("api {}", source.site),
        };
        let stream = open(source)?;
        let moments = (source.kind == SourceKind::Replay && source.speed > 0.0).then(|| Moments::new(source.speed));
        Ok(Some(Self { source: source.clone(), name, stream, taken: 0, length: None, moments, early: None }))
    }

    fn next_training(&mut self) -> Result<Option<Question>, SourceError> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        for question in stream {
            let question = match question {
                Ok(question) => question,
                Err(error) => {
                    self.stream = None;
                    return Err(error);
                }
            };
            if split::of(&question.id, self.source.shares()) == Split::Train {
                self.taken += 1;
                return Ok(Some(question));
            }
        }
        // Of a feed this is where it is now.
        self.length = (!self.is_live()).then_some(self.taken);
        Ok(None)
    }

    /// Whether there may be more after the end.
    fn is_live(&self) -> bool {
        self.source.kind == SourceKind::Api
    }

    fn at(&mut self, position: u64) -> Result<Option<Question>, SourceError> {
        loop {
            let target = match (self.length, self.source.repeat) {
                (Some(0), _) => return Ok(None),
                (Some(length), true) => position % length,
                (Some(length), false) if position >= length => return Ok(None),
                _ => position,
            };
            // After an error it is read anew, so that the error comes again: what stands before a broken line is not all.
            if target < self.taken || self.stream.is_none() {
                (self.stream, self.taken) = (open(&self.source)?, 0);
            }
            // At the end of the stream the length is known, and the loop finds the target anew.
            while let Some(question) = self.next_training()? {
                if self.taken == target + 1 {
                    return Ok(Some(question));
                }
            }
            if self.is_live() {
                return Ok(None);
            }
        }
    }
}

impl QuestionSource for Drawn {
    fn name(&self) -> &str {
        &self.name
    }

    fn draw(&mut self, position: u64) -> Result<Draw, DrawError> {
        let question = match self.early.take().filter(|(at, _)| *at == position) {
            Some((_, question)) => question,
            None => match self.at(position) {
                Ok(Some(question)) => Arc::new(question),
                Ok(None) if self.is_live() => return Ok(Draw::NotYet(LOOK_AGAIN)),
                Ok(None) => return Ok(Draw::End),
                Err(error) => {
                    let (name, reason) = (self.name.clone(), error.to_string());
                    return Err(DrawError { name, position, reason });
                }
            },
        };
        let wait = self.moments.as_mut().and_then(|moments| moments.wait(position, question.asked_at, Instant::now()));
        Ok(match wait {
            Some(wait) => {
                self.early = Some((position, question));
                Draw::NotYet(wait)
            }
            None => Draw::Question(question),
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
        let title = |draw| match draw {
            Draw::Question(question) => Some(question.title.clone()),
            Draw::NotYet(wait) => panic!("nothing for {wait:?}"),
            Draw::End => None,
        };
        positions.map(|at| title(drawn.draw(at).unwrap())).collect()
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
    fn a_broken_line_is_an_error_each_time_and_never_taken_for_the_end() {
        let (folder, mut source) = drawn(10, true);
        let length = {
            titles(&mut source, 0..20);
            source.length.unwrap()
        };
        let path = folder.path().join("questions.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}{{\"titel\": 1}}\n")).unwrap();
        let mut again = Drawn::open(&source.source).unwrap().unwrap();
        for _ in 0..2 {
            let said = again.draw(length + 3).unwrap_err().to_string();
            assert!(said.contains("line 11"), "{said}");
        }
        std::fs::write(&path, text).unwrap();
        assert!(matches!(again.draw(length + 3), Ok(Draw::Question(_))), "a line that was mended is none any more");
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
