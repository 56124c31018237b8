//! A corpus as the stream of events that it once was: asked, answered, commented, voted, accepted, in time order.
//!
//! Invariant: the order is exact and depends on the corpus alone. An index of 24 bytes an event is in memory; texts are
//! read again from the file.

use std::fs::File;
use std::os::unix::fs::FileExt;

use serde::{Serialize, Serializer};

use super::{Comment, Corpus, CorpusError, Post, Thread, VoteKind, io};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moment {
    /// Milliseconds since the Unix epoch; votes have the midnight that ends their day, since they were cast before it.
    pub at: i64,
    /// The name that the operator gave the source.
    pub source: String,
    /// The terms under which the operator has it.
    pub terms: String,
    /// The thread's id.
    pub thread: String,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// Somebody asked. Neither answers nor votes nor comments are in it yet.
    Asked {
        /// The thread as it began.
        #[serde(rename = "question", serialize_with = "question")]
        thread: Box<Thread>,
    },
    /// Somebody answered; without votes and comments.
    Answered {
        /// The answer.
        answer: Box<Post>,
    },
    /// Somebody commented.
    Commented {
        /// Below this post.
        post: u64,
        /// What was said.
        comment: Comment,
    },
    /// Somebody voted, or the asker chose.
    Voted {
        /// On this post.
        post: u64,
        /// Which way.
        vote: VoteKind,
    },
}

/// As it is put before a model, with its attribution.
fn question<S: Serializer>(thread: &Thread, serializer: S) -> Result<S::Ok, S::Error> {
    thread.question().serialize(serializer)
}

/// One event of the index: 24 bytes.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: i64,
    thread: u32,
    /// Of the post within the thread: 0 is the question.
    post: u32,
    /// `What`, and which of the post's comments or votes.
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Post,
    Comment(u32),
    Vote(u32),
}

const DAY_MS: i64 = 86_400_000;

/// The events of one corpus in time order.
pub struct Replay {
    file: File,
    path: String,
    /// Where each thread's line begins; one more for the end.
    lines: Vec<u64>,
    places: Vec<Place>,
    next: usize,
    /// The thread that was read last: many events in a row are of one thread.
    held: Option<(u32, Thread)>,
}

impl Corpus {
    /// Reads the corpus once and sorts what happened.
    pub fn replay(&self) -> Result<Replay, CorpusError> {
        let path = self.file();
        let file = File::open(&path).map_err(io("read", &path))?;
        let (mut lines, mut places) = (vec![0], Vec::new());
        let mut threads = self.threads()?;
        while let Some(thread) = threads.next() {
            let (thread, number) = (thread?, lines.len() as u32 - 1);
            lines.push(lines[number as usize] + threads.length() as u64);
            for (post, said) in std::iter::once(&thread.question).chain(&thread.answers).enumerate() {
                let place = |at, kind| Place { at, thread: number, post: post as u32, kind };
                places.push(place(said.at, Kind::Post));
                let comments = said.comments.iter().zip(0..);
                places.extend(comments.map(|(comment, n)| place(comment.at, Kind::Comment(n))));
                let votes = said.votes.iter().zip(0..);
                places.extend(votes.map(|(vote, n)| place((vote.at + DAY_MS).max(said.at), Kind::Vote(n))));
            }
        }
        // Within one moment: by thread, then by post, and a post before what was said of it.
        places.sort_by_key(|place| (place.at, place.thread, place.post, place.kind));
        Ok(Replay { file, path: self.path().display().to_string(), lines, places, next: 0, held: None })
    }
}

impl Replay {
    /// Only the events from `from` to before `to` (milliseconds since the Unix epoch).
    #[must_use]
    pub fn between(mut self, from: i64, to: i64) -> Self {
        self.places.truncate(self.places.partition_point(|place| place.at < to));
        self.next = self.next.max(self.places.partition_point(|place| place.at < from));
        self
    }

    /// Events that are still to come.
    pub fn remaining(&self) -> usize {
        self.places.len().saturating_sub(self.next)
    }

    fn thread(&mut self, number: u32) -> Result<&Thread, CorpusError> {
        if self.held.as_ref().is_none_or(|(held, _)| *held != number) {
            let (start, end) = (self.lines[number as usize], self.lines[number as usize + 1]);
            let mut line = vec![0; (end - start) as usize];
            let read = self.file.read_exact_at(&mut line, start).map_err(|error| error.to_string());
            let thread = read.and_then(|()| serde_json::from_slice(&line).map_err(|error| error.to_string()));
            let thread = thread.map_err(|message| CorpusError::Damaged {
                path: self.path.clone(),
                place: format!("in line {} of threads.jsonl", number + 1),
                message,
            })?;
            self.held = Some((number, thread));
        }
        Ok(&self.held.as_ref().expect("just read").1)
    }

    fn moment(&mut self, place: Place) -> Result<Moment, CorpusError> {
        let thread = self.thread(place.thread)?;
        let bare = |post: &Post| Post { votes: Vec::new(), comments: Vec::new(), ..post.clone() };
        let post = match place.post {
            0 => &thread.question,
            n => &thread.answers[n as usize - 1],
        };
        let what = match place.kind {
            Kind::Post if place.post == 0 => {
                let (question, answers, accepted) = (bare(post), Vec::new(), None);
                What::Asked { thread: Box::new(Thread { question, answers, accepted, ..thread.clone() }) }
            }
            Kind::Post => What::Answered { answer: Box::new(bare(post)) },
            Kind::Comment(n) => What::Commented { post: post.id, comment: post.comments[n as usize].clone() },
            Kind::Vote(n) => What::Voted { post: post.id, vote: post.votes[n as usize].kind },
        };
        let (source, terms) = (thread.source.clone(), thread.terms.clone());
        Ok(Moment { at: place.at, source, terms, thread: thread.id.clone(), what })
    }
}

impl Iterator for Replay {
    type Item = Result<Moment, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        let place = *self.places.get(self.next)?;
        self.next += 1;
        Some(self.moment(place))
    }
}
