//! Streams the posts of a `Posts.xml`, one at a time, whatever the file's size.
//!
//! Invariant: what is not a question or an answer of a person is dropped by a named rule and counted.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::row::{self, Parsed, Post};
use super::rows::{POSTS, Rows, Span};
use crate::sources::SourceError;

/// Rows that Stack Exchange put into the dumps of 2025 to recognise copies, wrong on purpose.
const FABRICATED: [u64; 2] = [1_000_000_001, 1_000_000_010];
/// Ids below this grow naturally on every site, so a jump proves nothing.
const NATURAL_IDS: u64 = 100_000_000;
/// OwnerUserId of generated answers.
const ANSWER_BOT: i64 = -2;

/// Why a row was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropRule {
    /// Tag wikis, nominations, placeholders: neither question nor answer.
    OtherKind,
    /// Written by the Answer Bot, that is: generated.
    AnswerBot,
    /// An id that no site gave: one of the known fabricated rows, or far above all before it.
    FabricatedId,
    /// No text.
    EmptyBody,
    /// Lacks an id, a date, a title or a parent.
    Incomplete,
}

impl DropRule {
    /// The rule's stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::OtherKind => "other_kind",
            Self::AnswerBot => "answer_bot",
            Self::FabricatedId => "fabricated_id",
            Self::EmptyBody => "empty_body",
            Self::Incomplete => "incomplete",
        }
    }
}

/// How many rows each rule left out.
pub type Drops = BTreeMap<DropRule, u64>;

/// The posts of a dump, in the order of the file.
pub struct Posts<R: BufRead> {
    rows: Rows<R>,
    drops: Drops,
    highest_id: u64,
}

impl<R: BufRead> Posts<R> {
    /// Reads from `input`, which is called `file` in errors.
    pub fn new(input: R, file: &str) -> Self {
        Self { rows: Rows::new(input, file, POSTS), drops: Drops::new(), highest_id: 0 }
    }

    /// A reader of single rows: the root element was seen before.
    pub(super) fn rooted(input: R, file: &str) -> Self {
        Self { rows: Rows::rooted(input, file, POSTS), drops: Drops::new(), highest_id: 0 }
    }

    /// What was left out so far.
    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    pub(super) fn into_inner(self) -> R {
        self.rows.into_inner()
    }

    /// The next post and where its row lies; `None` at the end.
    pub(super) fn next_post(&mut self) -> Result<Option<(Post, Span)>, SourceError> {
        while let Some((parsed, span)) = self.rows.next(|row, span| Ok((row::parse(row)?, span)))? {
            let rule = match parsed {
                Parsed::OtherKind => DropRule::OtherKind,
                Parsed::Incomplete => DropRule::Incomplete,
                Parsed::Post(post) => match dropped_by(&post, self.highest_id) {
                    Some(rule) => rule,
                    None => {
                        self.highest_id = self.highest_id.max(post.id);
                        return Ok(Some((*post, span)));
                    }
                },
            };
            *self.drops.entry(rule).or_default() += 1;
        }
        Ok(None)
    }
}

fn dropped_by(post: &Post, highest_id: u64) -> Option<DropRule> {
    let jumped = post.id >= NATURAL_IDS && highest_id > 0 && post.id / 10 > highest_id;
    if FABRICATED.contains(&post.id) || jumped {
        Some(DropRule::FabricatedId)
    } else if post.owner.id == Some(ANSWER_BOT) {
        Some(DropRule::AnswerBot)
    } else if post.body.trim().is_empty() {
        Some(DropRule::EmptyBody)
    } else {
        None
    }
}

impl<R: BufRead> Iterator for Posts<R> {
    type Item = Result<Post, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_post().transpose().map(|item| item.map(|(post, _)| post))
    }
}
