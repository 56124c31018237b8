//! The questions of corpora: site by site in turn, or in the order in which they were asked.
//!
//! Invariant: both orders depend on the corpora alone; one thread of each corpus is in memory.

use std::path::PathBuf;

use super::stack_exchange::date;
use super::{Questions, SourceError, shown};
use crate::config::{Source, SourceKind};
use crate::corpus::{self, Corpus, CorpusError, Thread};
use understudy_learning::stages::Question;

/// The folder of corpora.
pub(super) fn folder(source: &Source) -> PathBuf {
    source.data.join(corpus::FOLDER)
}

/// Those that are configured, or all.
fn configured(source: &Source) -> Result<Vec<Corpus>, SourceError> {
    let folder = folder(source);
    let corpora = match source.corpora.is_empty() {
        true => corpus::list(&folder)?,
        false => source.corpora.iter().map(|name| Corpus::open(&folder.join(name))).collect::<Result<_, _>>()?,
    };
    if corpora.is_empty() { Err(SourceError::NoCorpora(shown(&folder))) } else { Ok(corpora) }
}

/// Their questions, from `source.from` on where they are replayed.
pub(super) fn questions(source: &Source) -> Result<Questions, SourceError> {
    let mut streams = Vec::new();
    for corpus in configured(source)? {
        streams.push(Stream { threads: Box::new(corpus.threads()?), head: None });
    }
    let from = Some(source.from.as_str()).filter(|_| source.kind == SourceKind::Replay).and_then(date::parse);
    Ok(match source.kind {
        SourceKind::Replay => Box::new(InTime { streams, from: from.unwrap_or(i64::MIN) }),
        _ => Box::new(InTurn { streams, next: 0 }),
    })
}

/// One corpus, and its next thread where that was looked at.
struct Stream {
    threads: Box<dyn Iterator<Item = Result<Thread, CorpusError>> + Send>,
    head: Option<Thread>,
}

impl Stream {
    fn take(&mut self) -> Result<Option<Thread>, SourceError> {
        match self.head.take() {
            Some(thread) => Ok(Some(thread)),
            None => Ok(self.threads.next().transpose()?),
        }
    }

    /// When its next question was asked.
    fn next_at(&mut self) -> Result<Option<i64>, SourceError> {
        if self.head.is_none() {
            self.head = self.threads.next().transpose()?;
        }
        Ok(self.head.as_ref().map(|thread| thread.question.at))
    }
}

/// One question of each corpus, then the next of each: no site is learned long before another.
struct InTurn {
    streams: Vec<Stream>,
    next: usize,
}

impl Iterator for InTurn {
    type Item = Result<Question, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.streams.is_empty() {
            let at = self.next % self.streams.len();
            match self.streams[at].take() {
                Ok(Some(thread)) => {
                    self.next = at + 1;
                    return Some(Ok(thread.question()));
                }
                Ok(None) => {
                    self.streams.remove(at);
                    self.next = at;
                }
                Err(error) => {
                    self.streams.clear();
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// The one that was asked first.
struct InTime {
    streams: Vec<Stream>,
    from: i64,
}

impl InTime {
    fn earliest(&mut self) -> Result<Option<Thread>, SourceError> {
        let mut first: Option<(i64, usize)> = None;
        for (number, stream) in self.streams.iter_mut().enumerate() {
            // Of one moment the corpus whose name is first.
            if let Some(at) = stream.next_at()? {
                first = first.filter(|(before, _)| *before <= at).or(Some((at, number)));
            }
        }
        first.map_or(Ok(None), |(_, number)| self.streams[number].take())
    }
}

impl Iterator for InTime {
    type Item = Result<Question, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.earliest() {
                Ok(Some(thread)) if thread.question.at < self.from => {}
                Ok(thread) => return thread.map(|thread| Ok(thread.question())),
                Err(error) => {
                    self.streams.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}
