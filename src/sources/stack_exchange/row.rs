//! One `<row …/>` of `Posts.xml` as a typed value.
//!
//! Invariant: a column that the dump leaves out stays `None`; nothing is guessed.

use quick_xml::escape::unescape;
use quick_xml::events::BytesStart;

use super::date;
use super::tables::MOST_COLUMNS;

/// Who wrote a post.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owner {
    /// Absent for deleted users; −1 is Community, −2 the Answer Bot.
    pub id: Option<i64>,
    /// Given for deleted users and in some dumps.
    pub name: Option<String>,
}

/// What a post is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostKind {
    /// PostTypeId 1.
    Question {
        /// One line of plain text.
        title: String,
        /// Without brackets.
        tags: Vec<String>,
        /// The answer that the asker chose.
        accepted: Option<u64>,
        /// Closed by the community: lower trust.
        closed: bool,
    },
    /// PostTypeId 2.
    Answer {
        /// The question's id.
        parent: u64,
    },
}

/// A question or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Unique within the site.
    pub id: u64,
    /// Question or answer.
    pub kind: PostKind,
    /// Milliseconds since the Unix epoch.
    pub created: i64,
    /// Up minus down votes.
    pub score: i64,
    /// HTML.
    pub body: String,
    /// Who wrote it.
    pub owner: Owner,
    /// Only since about 2020.
    pub licence: Option<String>,
    /// Community wiki: lower trust.
    pub community_owned: bool,
    /// When it was last edited, in milliseconds since the Unix epoch.
    pub edited: Option<i64>,
}

/// A row that is well-formed XML.
pub(super) enum Parsed {
    /// A question or an answer.
    Post(Box<Post>),
    /// Tag wiki, nomination and the like.
    OtherKind,
    /// A question or answer that lacks what every one has (id, date, parent or title, body).
    Incomplete,
}

/// Reads the attributes of a row; `Err` when they are not well-formed.
pub(super) fn parse(row: &BytesStart<'_>) -> Result<Parsed, String> {
    let mut columns = Columns::default();
    for (number, attribute) in row.attributes().enumerate() {
        // Each is compared with all before it.
        if number == MOST_COLUMNS {
            return Err(format!("a row has more than {MOST_COLUMNS} attributes; a dump has about 20"));
        }
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value = || unescape(&attribute.value).map(std::borrow::Cow::into_owned).map_err(|error| error.to_string());
        match attribute.key.as_ref() {
            "Id" => columns.id = value()?.parse().ok(),
            "PostTypeId" => columns.kind = value()?.parse().ok(),
            "ParentId" => columns.parent = value()?.parse().ok(),
            "AcceptedAnswerId" => columns.accepted = value()?.parse().ok(),
            "CreationDate" => columns.created = date::parse(&value()?),
            "Score" => columns.score = value()?.parse().unwrap_or(0),
            "Title" => columns.title = Some(value()?),
            "Tags" => columns.tags = tags(&value()?),
            "Body" => columns.body = Some(value()?),
            "OwnerUserId" => columns.owner.id = value()?.parse().ok(),
            "OwnerDisplayName" => columns.owner.name = Some(value()?).filter(|name| !name.is_empty()),
            "ContentLicense" => columns.licence = Some(value()?),
            "ClosedDate" => columns.closed = true,
            "LastEditDate" => columns.edited = date::parse(&value()?),
            "CommunityOwnedDate" => columns.community_owned = true,
            _ => {}
        }
    }
    Ok(columns.into_post())
}

#[derive(Default)]
struct Columns {
    id: Option<u64>,
    kind: Option<u8>,
    parent: Option<u64>,
    accepted: Option<u64>,
    created: Option<i64>,
    score: i64,
    title: Option<String>,
    tags: Vec<String>,
    body: Option<String>,
    owner: Owner,
    licence: Option<String>,
    closed: bool,
    community_owned: bool,
    edited: Option<i64>,
}

impl Columns {
    fn into_post(self) -> Parsed {
        let kind = match (self.kind, self.title, self.parent) {
            (Some(1), Some(title), _) => {
                PostKind::Question { title, tags: self.tags, accepted: self.accepted, closed: self.closed }
            }
            (Some(2), _, Some(parent)) => PostKind::Answer { parent },
            (Some(1 | 2) | None, _, _) => return Parsed::Incomplete,
            (Some(_), _, _) => return Parsed::OtherKind,
        };
        let (Some(id), Some(created), Some(body)) = (self.id, self.created, self.body) else {
            return Parsed::Incomplete;
        };
        Parsed::Post(Box::new(Post {
            id,
            kind,
            created,
            score: self.score,
            body,
            owner: self.owner,
            licence: self.licence,
            community_owned: self.community_owned,
            edited: self.edited,
        }))
    }
}

/// `<rust><tch>` (until 2023) or `|rust|tch|` (since).
fn tags(text: &str) -> Vec<String> {
    text.split(['<', '>', '|']).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_forms_of_tags_are_read() {
        assert_eq!(super::tags("<a><b-c>"), ["a", "b-c"]);
        assert_eq!(super::tags("|a|b-c|"), ["a", "b-c"]);
        assert!(super::tags("").is_empty());
    }
}
