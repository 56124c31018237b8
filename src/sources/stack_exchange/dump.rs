//! Streams the posts of a `Posts.xml`, one at a time, whatever the file's size.
//!
//! Invariant: at most one element is in memory, and it is bounded; what is not a question or an answer of a person is
//! dropped by a named rule and counted. A document type (the way to XML bombs) is an error.

use std::collections::BTreeMap;
use std::io::BufRead;

use quick_xml::events::Event;
use quick_xml::reader::Reader;

use super::bounded::Bounded;
use super::row::{self, Parsed, Post};
use crate::sources::SourceError;

/// Longest element: Stack Exchange allows 30000 characters in a body, each at most 10 bytes when escaped. A body becomes
/// at most 33 times as long as text (code in eight quotes, all of it line ends), so a hostile row costs 35 MB.
const MOST_BYTES: usize = 1 << 20;
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
    reader: Reader<Bounded<R>>,
    buffer: Vec<u8>,
    file: String,
    drops: Drops,
    highest_id: u64,
    rooted: bool,
    done: bool,
}

/// Where a row lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) length: u32,
}

impl<R: BufRead> Posts<R> {
    /// Reads from `input`, which is called `file` in errors.
    pub fn new(input: R, file: &str) -> Self {
        let mut reader = Reader::from_reader(Bounded::new(input, MOST_BYTES));
        reader.config_mut().check_comments = false;
        let (drops, buffer) = (Drops::new(), Vec::new());
        Self { reader, buffer, file: file.to_owned(), drops, highest_id: 0, rooted: false, done: false }
    }

    /// A reader of single rows: the root element was seen before.
    pub(super) fn rooted(input: R, file: &str) -> Self {
        Self { rooted: true, ..Self::new(input, file) }
    }

    /// What was left out so far.
    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    pub(super) fn into_inner(self) -> R {
        self.reader.into_inner().into_inner()
    }

    /// The next post and where its row lies; `None` at the end.
    pub(super) fn next_post(&mut self) -> Result<Option<(Post, Span)>, SourceError> {
        while !self.done {
            self.buffer.clear();
            self.reader.get_mut().reset();
            let event = match self.reader.read_event_into(&mut self.buffer) {
                Ok(event) => event,
                Err(error) => return Err(broken(&self.file, self.reader.error_position(), error.to_string())),
            };
            let end = self.reader.buffer_position();
            let fail = |message: &str| Err(broken(&self.file, end, message.to_owned()));
            match event {
                Event::Start(element) if !self.rooted && element.name().as_ref() == "posts" => self.rooted = true,
                Event::Start(element) | Event::Empty(element) if !self.rooted => {
                    let name = element.name();
                    return fail(&format!("the root element is <{}>, not <posts>; give a Posts.xml", name.as_ref()));
                }
                Event::Empty(element) if element.name().as_ref() == "row" => {
                    // `<` and `/>` are not part of the element's own bytes.
                    let length = element.len() as u32 + 3;
                    let span = Span { start: end - u64::from(length), length };
                    match row::parse(&element) {
                        Err(message) => return fail(&message),
                        Ok(Parsed::OtherKind) => *self.drops.entry(DropRule::OtherKind).or_default() += 1,
                        Ok(Parsed::Incomplete) => *self.drops.entry(DropRule::Incomplete).or_default() += 1,
                        Ok(Parsed::Post(post)) => match dropped_by(&post, self.highest_id) {
                            Some(rule) => *self.drops.entry(rule).or_default() += 1,
                            None => {
                                self.highest_id = self.highest_id.max(post.id);
                                return Ok(Some((*post, span)));
                            }
                        },
                    }
                }
                Event::Start(element) | Event::Empty(element) => {
                    return fail(&format!(
                        "unexpected element <{}>; a dump holds <row …/> only",
                        element.name().as_ref()
                    ));
                }
                Event::DocType(_) => return fail("a document type declaration; a dump has none"),
                Event::GeneralRef(_) => return fail("a reference to an entity between rows; a dump has none"),
                Event::Eof if !self.rooted => return fail("no <posts> element; give a Posts.xml"),
                Event::Eof => self.done = true,
                Event::End(_) | Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::Decl(_) => {}
                Event::PI(_) => {}
            }
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

fn broken(file: &str, at: u64, message: String) -> SourceError {
    SourceError::Broken { file: file.to_owned(), place: format!("near byte {at}"), message }
}

impl<R: BufRead> Iterator for Posts<R> {
    type Item = Result<Post, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_post();
        // After an error there is no telling where the next row begins.
        self.done |= next.is_err();
        next.transpose().map(|item| item.map(|(post, _)| post))
    }
}
