//! A dump as events in time order: questions and answers at the moment they were posted.
//!
//! Invariant: the order is exact (migrated posts have new ids and old dates, so the file's order is not it) and memory
//! is 24 bytes a post: an index of the file is sorted, the rows are read again one by one.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek, SeekFrom};
use std::path::Path;

use understudy_learning::stages::{Author, Question};

use super::dump::{Drops, Posts};
use super::html;
use super::row::{Post, PostKind};
use super::rows::Span;
use super::site::{Site, closedness, licence_at};
use crate::sources::{SourceError, shown};

/// A post at its moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// Somebody asked.
    Asked(Question),
    /// Somebody answered.
    Answered(Answer),
}

/// An answer of a person, with its attribution.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// `<site>/<id>`.
    pub id: String,
    /// The question's id in the same form.
    pub question: String,
    /// Markdown.
    pub text: String,
    /// Up minus down votes at the time of the dump.
    pub score: i64,
    /// Who wrote it.
    pub author: Option<Author>,
    /// Link to the original.
    pub url: Option<String>,
    /// Its licence.
    pub licence: String,
}

/// Events of one dump in time order.
pub struct Events<R> {
    input: R,
    file: String,
    site: Site,
    /// `(time, where)`, sorted.
    index: Vec<(i64, Span)>,
    next: usize,
    drops: Drops,
}

/// Indexes the dump at `path`.
pub fn events_of_file(path: &Path, site: Site) -> Result<Events<BufReader<File>>, SourceError> {
    let file = File::open(path).map_err(|cause| SourceError::Read { file: shown(path), cause })?;
    Events::index(BufReader::with_capacity(1 << 16, file), &shown(path), site)
}

impl<R: BufRead + Seek> Events<R> {
    /// Reads `input` once and notes where each post lies.
    pub fn index(mut input: R, file: &str, site: Site) -> Result<Self, SourceError> {
        let marked = bom_length(&mut input).map_err(|cause| SourceError::Read { file: file.to_owned(), cause })?;
        let mut posts = Posts::new(input, file);
        let mut index = Vec::new();
        while let Some((post, span)) = posts.next_post()? {
            index.push((post.created, Span { start: span.start + marked, ..span }));
        }
        // Posts of one moment stay in the order of the file.
        index.sort_by_key(|(at, span)| (*at, span.start));
        let drops = posts.drops().clone();
        Ok(Self { input: posts.into_inner(), file: file.to_owned(), site, index, next: 0, drops })
    }

    /// What was left out, by rule.
    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    /// When the newest post was written, in milliseconds since the Unix epoch; 0 without any.
    pub fn newest(&self) -> i64 {
        self.index.last().map_or(0, |(at, _)| *at)
    }

    /// Events that are still to come.
    pub fn remaining(&self) -> usize {
        self.index.len() - self.next
    }

    /// Only the questions.
    pub fn questions(self) -> impl Iterator<Item = Result<Question, SourceError>> {
        self.filter_map(|event| match event {
            Ok(Event { kind: EventKind::Asked(question), .. }) => Some(Ok(question)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    }

    fn read(&mut self, span: Span) -> Result<Post, SourceError> {
        let mut bytes = vec![0; span.length as usize];
        let read = self.input.seek(SeekFrom::Start(span.start)).and_then(|_| self.input.read_exact(&mut bytes));
        read.map_err(|cause| SourceError::Read { file: self.file.clone(), cause })?;
        let post = Posts::rooted(Cursor::new(bytes), &self.file).next().transpose()?;
        post.ok_or_else(|| SourceError::Broken {
            file: self.file.clone(),
            place: format!("near byte {}", span.start),
            message: "the file changed while it was read; start again".to_owned(),
        })
    }

    fn event(&self, post: Post) -> Event {
        let id = |number: u64| format!("{}/{number}", self.site.name);
        let author = self.site.author(&post.owner, None);
        let licence = post.licence.clone().unwrap_or_else(|| licence_at(post.created).to_owned());
        let kind = match post.kind {
            PostKind::Question { title, tags, .. } => {
                let closedness = closedness(&tags);
                EventKind::Asked(Question {
                    id: id(post.id),
                    source: self.site.name.clone(),
                    title,
                    body: html::to_markdown_of(&post.body, self.site.host.as_deref()),
                    tags,
                    author,
                    url: self.site.link("questions", post.id),
                    licence: Some(licence),
                    asked_at: post.created,
                    closedness,
                    terms: None,
                })
            }
            PostKind::Answer { parent } => EventKind::Answered(Answer {
                id: id(post.id),
                question: id(parent),
                text: html::to_markdown_of(&post.body, self.site.host.as_deref()),
                score: post.score,
                author,
                url: self.site.link("a", post.id),
                licence,
            }),
        };
        Event { at: post.created, kind }
    }
}

impl<R: BufRead + Seek> Iterator for Events<R> {
    type Item = Result<Event, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (_, span) = *self.index.get(self.next)?;
        self.next += 1;
        let post = self.read(span);
        Some(post.map(|post| self.event(post)))
    }
}

/// Takes byte order marks away and tells their length: the XML reader counts from behind it.
fn bom_length<R: BufRead>(input: &mut R) -> std::io::Result<u64> {
    let mut length = 0;
    while input.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        input.consume(3);
        length += 3;
    }
    Ok(length)
}
