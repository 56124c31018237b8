//! Takes the tables of a dump in, in whichever order they come, and keeps what a corpus is made of.
//!
//! Invariant: texts go to a file, so that memory holds 48 bytes a post, 40 a comment and 24 a vote, and the names of those
//! who wrote; rows that are left out are counted by rule.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use serde::{Deserialize, Serialize};

use super::dump::Posts;
use super::html;
use super::row::{Owner, Post, PostKind};
use super::rows::{COMMENTS, HISTORY, Rows, Table, USERS, VOTES};
use super::tables::{self, CommentRow, VoteRow};
use crate::sources::SourceError;

/// Posts that go from the parser to the converter at a time, and batches that may wait.
const BATCH: usize = 64;
const WAITING: usize = 4;

/// A post as it waits in the file of notes: its text is Markdown already.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) title: String,
    pub(super) text: String,
    pub(super) tags: Vec<String>,
    pub(super) accepted: Option<u64>,
    pub(super) closed: bool,
    pub(super) score: i64,
    pub(super) owner: Option<i64>,
    pub(super) owner_name: Option<String>,
    pub(super) licence: Option<String>,
    pub(super) wiki: bool,
    pub(super) edited: Option<i64>,
}

/// A comment as it waits.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CommentNote {
    pub(super) text: String,
    pub(super) user: Option<i64>,
    pub(super) name: Option<String>,
    pub(super) licence: Option<String>,
}

/// Where something that waits lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    /// The thread's question for a post, the post for a comment.
    pub(super) below: u64,
    pub(super) id: u64,
    pub(super) at: i64,
    pub(super) start: u64,
    pub(super) length: u32,
    pub(super) is_question: bool,
}

/// A file of notes and where each lies in it.
pub(super) struct Notes {
    out: BufWriter<File>,
    end: u64,
    bytes: Vec<u8>,
    pub(super) places: Vec<At>,
}

impl Notes {
    pub(super) fn create(path: &Path) -> std::io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        Ok(Self { out: BufWriter::with_capacity(1 << 18, file), end: 0, bytes: Vec::new(), places: Vec::new() })
    }

    fn put(&mut self, place: At, note: &impl Serialize) -> std::io::Result<()> {
        self.bytes.clear();
        self.bytes = postcard::to_extend(note, std::mem::take(&mut self.bytes)).expect("plain values");
        let length = self.bytes.len() as u32;
        self.out.write_all(&self.bytes)?;
        self.places.push(At { start: self.end, length, ..place });
        self.end += u64::from(length);
        Ok(())
    }

    /// The file, everything in it.
    pub(super) fn into_parts(self) -> std::io::Result<(File, Vec<At>)> {
        Ok((self.out.into_inner().map_err(std::io::IntoInnerError::into_error)?, self.places))
    }
}

/// What was taken in.
pub(super) struct Gathered {
    host: Option<String>,
    pub(super) posts: Notes,
    pub(super) comments: Notes,
    pub(super) votes: Vec<VoteRow>,
    /// Names that users show.
    pub(super) names: HashMap<i64, String>,
    /// Posts with a history; `None` where the table is not there.
    pub(super) with_history: Option<HashSet<u64>>,
    pub(super) has_posts: bool,
    pub(super) has_votes: bool,
    pub(super) dropped: BTreeMap<String, u64>,
}

impl Gathered {
    /// Relative links in posts lead to `host`.
    pub(super) fn new(posts: &Path, comments: &Path, host: Option<String>) -> std::io::Result<Self> {
        Ok(Self {
            host,
            posts: Notes::create(posts)?,
            comments: Notes::create(comments)?,
            votes: Vec::new(),
            names: HashMap::new(),
            with_history: None,
            has_posts: false,
            has_votes: false,
            dropped: BTreeMap::new(),
        })
    }

    /// Takes a table in, by the name of its file; `false` where the table is not wanted.
    pub(super) fn take(&mut self, name: &str, input: impl BufRead, shown: &str) -> Result<bool, SourceError> {
        match wanted(name) {
            Some(VOTES) => self.take_votes(input, shown)?,
            Some(COMMENTS) => self.take_comments(input, shown)?,
            Some(USERS) => self.take_users(input, shown)?,
            Some(HISTORY) => self.take_history(input, shown)?,
            Some(_) => self.take_posts(input, shown)?,
            None => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn drop_row(&mut self, rule: &str) {
        *self.dropped.entry(rule.to_owned()).or_default() += 1;
    }

    /// One thread parses, another converts and writes.
    fn take_posts(&mut self, input: impl BufRead, shown: &str) -> Result<(), SourceError> {
        self.has_posts = true;
        let (notes, host) = (&mut self.posts, self.host.as_deref());
        let (give, take) = sync_channel::<Vec<Post>>(WAITING);
        let drops = thread::scope(|scope| {
            let written = scope.spawn(move || write_posts(take, notes, host));
            let mut posts = Posts::new(input, shown);
            let mut batch = Vec::with_capacity(BATCH);
            let parsed = loop {
                match posts.next().transpose() {
                    Ok(Some(post)) => batch.push(post),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
                // A writer that has failed says why below.
                if batch.len() == BATCH && give.send(std::mem::take(&mut batch)).is_err() {
                    break Ok(());
                }
            };
            let _ = give.send(batch);
            drop(give);
            let written = written.join().expect("the converter does not panic");
            parsed.and(written.map_err(|cause| disk(shown, cause)))?;
            Ok::<_, SourceError>(posts.drops().clone())
        })?;
        drops.iter().for_each(|(rule, count)| *self.dropped.entry(rule.name().to_owned()).or_default() += count);
        Ok(())
    }

    fn take_votes(&mut self, input: impl BufRead, shown: &str) -> Result<(), SourceError> {
        self.has_votes = true;
        let mut rows = Rows::new(input, shown, VOTES);
        while let Some(row) = rows.next(|row, _| tables::vote(row))? {
            match row {
                // Bounties, flags, closing and the like are not about quality.
                Some(vote) if vote.kind > 3 => {}
                Some(vote) => self.votes.push(vote),
                None => self.drop_row("incomplete_vote"),
            }
        }
        Ok(())
    }

    fn take_comments(&mut self, input: impl BufRead, shown: &str) -> Result<(), SourceError> {
        let mut rows = Rows::new(input, shown, COMMENTS);
        while let Some(row) = rows.next(|row, _| tables::comment(row))? {
            let Some(CommentRow { id, post, at, text, user, name, licence }) = row else {
                self.drop_row("incomplete_comment");
                continue;
            };
            let place = At { below: post, id, at, start: 0, length: 0, is_question: false };
            let put = self.comments.put(place, &CommentNote { text, user, name, licence });
            put.map_err(|cause| disk(shown, cause))?;
        }
        Ok(())
    }

    fn take_users(&mut self, input: impl BufRead, shown: &str) -> Result<(), SourceError> {
        let mut rows = Rows::new(input, shown, USERS);
        while let Some(row) = rows.next(|row, _| tables::user(row))? {
            if let Some(user) = row {
                self.names.insert(user.id, user.name);
            }
        }
        Ok(())
    }

    fn take_history(&mut self, input: impl BufRead, shown: &str) -> Result<(), SourceError> {
        let known = self.with_history.get_or_insert_default();
        let mut rows = Rows::new(input, shown, HISTORY);
        while let Some(row) = rows.next(|row, _| tables::post_of_history(row))? {
            known.extend(row);
        }
        Ok(())
    }
}

/// The table in a file of this name, if it is one that is read.
pub(super) fn wanted(name: &str) -> Option<Table> {
    let tables = [super::rows::POSTS, VOTES, COMMENTS, USERS, HISTORY];
    tables.into_iter().find(|table| table.file.eq_ignore_ascii_case(name))
}

fn write_posts(take: Receiver<Vec<Post>>, notes: &mut Notes, host: Option<&str>) -> std::io::Result<()> {
    for post in take.into_iter().flatten() {
        let text = html::to_markdown_of(&post.body, host);
        let Owner { id: owner, name: owner_name } = post.owner;
        let (below, title, tags, accepted, closed, is_question) = match post.kind {
            PostKind::Question { title, tags, accepted, closed } => (post.id, title, tags, accepted, closed, true),
            PostKind::Answer { parent } => (parent, String::new(), Vec::new(), None, false, false),
        };
        let Post { id, created: at, score, licence, community_owned: wiki, edited, .. } = post;
        let note = Note { title, text, tags, accepted, closed, score, owner, owner_name, licence, wiki, edited };
        notes.put(At { below, id, at, start: 0, length: 0, is_question }, &note)?;
    }
    Ok(())
}

fn disk(shown: &str, cause: std::io::Error) -> SourceError {
    let message = format!("what was read of it cannot be kept ({cause}); make room in the data directory");
    SourceError::Broken { file: shown.to_owned(), place: "at no fault of its own".to_owned(), message }
}
