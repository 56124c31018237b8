//! Streams the rows of one table of a dump, one at a time, whatever the file's size.
//!
//! Invariant: at most one element is in memory, and it is bounded; what is not `<row …/>` under the table's own root is
//! an error that names the place. A document type (the way to XML bombs) is one.

use std::io::BufRead;

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::bounded::Bounded;
use crate::sources::SourceError;

/// Longest element: Stack Exchange allows 30000 characters in a body, each at most 10 bytes when escaped. A body becomes
/// at most 33 times as long as text (code in eight quotes, all of it line ends), so a hostile row costs 35 MB.
const MOST_BYTES: usize = 1 << 20;

/// A table of a dump: the name of its file, and of the element that holds its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) file: &'static str,
    pub(super) root: &'static str,
}

/// Questions, answers, tag wikis.
pub(super) const POSTS: Table = Table { file: "Posts.xml", root: "posts" };
/// Who voted is not told, only when (to the day) and how.
pub(super) const VOTES: Table = Table { file: "Votes.xml", root: "votes" };
/// What was said below posts.
pub(super) const COMMENTS: Table = Table { file: "Comments.xml", root: "comments" };
/// Of these only the names are read.
pub(super) const USERS: Table = Table { file: "Users.xml", root: "users" };
/// What was written when; a post without a line here was never written on the site.
pub(super) const HISTORY: Table = Table { file: "PostHistory.xml", root: "posthistory" };

/// Where a row lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) length: u32,
}

/// The rows of a table, in the order of the file.
pub(super) struct Rows<R: BufRead> {
    reader: Reader<Bounded<R>>,
    buffer: Vec<u8>,
    file: String,
    table: Table,
    rooted: bool,
    done: bool,
}

impl<R: BufRead> Rows<R> {
    /// Reads from `input`, which is called `file` in errors.
    pub(super) fn new(input: R, file: &str, table: Table) -> Self {
        let mut reader = Reader::from_reader(Bounded::new(input, MOST_BYTES));
        reader.config_mut().check_comments = false;
        Self { reader, buffer: Vec::new(), file: file.to_owned(), table, rooted: false, done: false }
    }

    /// A reader of single rows: the root element was seen before.
    pub(super) fn rooted(input: R, file: &str, table: Table) -> Self {
        Self { rooted: true, ..Self::new(input, file, table) }
    }

    pub(super) fn into_inner(self) -> R {
        self.reader.into_inner().into_inner()
    }

    /// What `read` makes of the next row; `None` at the end. What it refuses is an error at the row's place.
    pub(super) fn next<T>(
        &mut self,
        read: impl FnOnce(&BytesStart<'_>, Span) -> Result<T, String>,
    ) -> Result<Option<T>, SourceError> {
        let found = self.next_row(read);
        // After an error there is no telling where the next row begins.
        self.done |= found.is_err();
        found
    }

    fn next_row<T>(
        &mut self,
        read: impl FnOnce(&BytesStart<'_>, Span) -> Result<T, String>,
    ) -> Result<Option<T>, SourceError> {
        let Table { file: wanted, root } = self.table;
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
                Event::Start(element) if !self.rooted && element.name().as_ref() == root => self.rooted = true,
                // A table without rows.
                Event::Empty(element) if !self.rooted && element.name().as_ref() == root => self.rooted = true,
                Event::Start(element) | Event::Empty(element) if !self.rooted => {
                    let name = element.name();
                    return fail(&format!("the root element is <{}>, not <{root}>; give a {wanted}", name.as_ref()));
                }
                Event::Empty(element) if element.name().as_ref() == "row" => {
                    // `<` and `/>` are not part of the element's own bytes.
                    let length = element.len() as u32 + 3;
                    let span = Span { start: end - u64::from(length), length };
                    return read(&element, span).map(Some).or_else(|message| fail(&message));
                }
                Event::Start(element) | Event::Empty(element) => {
                    return fail(&format!(
                        "unexpected element <{}>; a dump holds <row …/> only",
                        element.name().as_ref()
                    ));
                }
                Event::DocType(_) => return fail("a document type declaration; a dump has none"),
                Event::GeneralRef(_) => return fail("a reference to an entity between rows; a dump has none"),
                Event::Eof if !self.rooted => return fail(&format!("no <{root}> element; give a {wanted}")),
                Event::Eof => self.done = true,
                Event::End(_) | Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::Decl(_) => {}
                Event::PI(_) => {}
            }
        }
        Ok(None)
    }
}

fn broken(file: &str, at: u64, message: String) -> SourceError {
    SourceError::Broken { file: file.to_owned(), place: format!("near byte {at}"), message }
}
