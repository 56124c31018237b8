//! The tables beside the posts, row by row: votes, comments, users' names, and which posts have a history.
//!
//! Invariant: only what is used is read; of users nothing but the name they show.

use quick_xml::escape::unescape;
use quick_xml::events::BytesStart;

use super::date;

/// A row of `Votes.xml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VoteRow {
    pub(super) post: u64,
    /// 1 accepted, 2 up, 3 down; others are not about quality.
    pub(super) kind: u8,
    /// Midnight of its day, in milliseconds since the Unix epoch: dumps tell no more.
    pub(super) day: i64,
}

/// A row of `Comments.xml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommentRow {
    pub(super) id: u64,
    pub(super) post: u64,
    pub(super) at: i64,
    pub(super) text: String,
    pub(super) user: Option<i64>,
    pub(super) name: Option<String>,
    pub(super) licence: Option<String>,
}

/// A row of `Users.xml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UserRow {
    pub(super) id: i64,
    pub(super) name: String,
}

/// `None` for a row without a post or a day.
pub(super) fn vote(row: &BytesStart<'_>) -> Result<Option<VoteRow>, String> {
    let (mut post, mut kind, mut day) = (None, None, None);
    columns(row, |name, value| match name {
        "PostId" => post = value.parse().ok(),
        "VoteTypeId" => kind = value.parse().ok(),
        "CreationDate" => day = date::parse(&value),
        _ => {}
    })?;
    Ok(post.zip(kind).zip(day).map(|((post, kind), day)| VoteRow { post, kind, day }))
}

/// `None` for a row without id, post, date or text.
pub(super) fn comment(row: &BytesStart<'_>) -> Result<Option<CommentRow>, String> {
    let (mut id, mut post, mut at, mut said) = (None, None, None, None);
    let (mut user, mut name, mut licence) = (None, None, None);
    columns(row, |column, value| match column {
        "Id" => id = value.parse().ok(),
        "PostId" => post = value.parse().ok(),
        "CreationDate" => at = date::parse(&value),
        "Text" => said = Some(value).filter(|text| !text.trim().is_empty()),
        "UserId" => user = value.parse().ok(),
        "UserDisplayName" => name = Some(value).filter(|name| !name.is_empty()),
        "ContentLicense" => licence = Some(value),
        _ => {}
    })?;
    let whole = id.zip(post).zip(at).zip(said);
    Ok(whole.map(|(((id, post), at), text)| CommentRow { id, post, at, text, user, name, licence }))
}

/// `None` for a row without id or name.
pub(super) fn user(row: &BytesStart<'_>) -> Result<Option<UserRow>, String> {
    let (mut id, mut name) = (None, None);
    columns(row, |column, value| match column {
        "Id" => id = value.parse().ok(),
        "DisplayName" => name = Some(value).filter(|name| !name.is_empty()),
        _ => {}
    })?;
    Ok(id.zip(name).map(|(id, name)| UserRow { id, name }))
}

/// The post that a row of the history is about.
pub(super) fn post_of_history(row: &BytesStart<'_>) -> Result<Option<u64>, String> {
    let mut post = None;
    columns(row, |column, value| {
        if column == "PostId" {
            post = value.parse().ok();
        }
    })?;
    Ok(post)
}

/// Most attributes of a row.
pub(super) const MOST_COLUMNS: usize = 64;

/// Calls `take` with each attribute; `Err` when they are not well-formed.
fn columns(row: &BytesStart<'_>, mut take: impl FnMut(&str, String)) -> Result<(), String> {
    for (number, attribute) in row.attributes().enumerate() {
        // Each is compared with all before it.
        if number == MOST_COLUMNS {
            return Err(format!("a row has more than {MOST_COLUMNS} attributes; a dump has about 20"));
        }
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value = unescape(&attribute.value).map_err(|error| error.to_string())?;
        take(attribute.key.as_ref(), value.into_owned());
    }
    Ok(())
}
