//! The site that a dump came from: links, authors, licences.
//!
//! Invariant: an author is never dropped because the profile is gone; a name is kept as the dump states it.

use std::path::Path;

use understudy_learning::stages::Author;

use super::row::Owner;

/// Tags by which a question declares how open it is, with P(closed-ended).
const CLOSEDNESS: [(&str, f64); 2] = [("open-ended", 0.1), ("closed-ended", 0.9)];
/// First moments (2011-04-08, 2018-05-02) of the licences 3.0 and 4.0 for posts without a stated one.
const LICENCE_3: i64 = 1_302_220_800_000;
const LICENCE_4: i64 = 1_525_219_200_000;

/// The site that a dump came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Names the source in ids and metrics.
    pub name: String,
    /// Host for links, for instance `beer.stackexchange.com`; without it there are no links.
    pub host: Option<String>,
}

impl Site {
    /// A site without links.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), host: None }
    }

    /// The site with this host; when that is empty, the name of the file's folder stands for it.
    pub fn new(host: &str, file: &Path) -> Self {
        let folder = || file.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        match host {
            "" => Self::named(folder().unwrap_or("dump")),
            host => Self { name: host.to_owned(), host: Some(host.to_owned()) },
        }
    }

    pub(super) fn link(&self, kind: &str, id: u64) -> Option<String> {
        self.host.as_ref().map(|host| format!("https://{host}/{kind}/{id}"))
    }

    /// Who an owner is; `known` is the name from the table of users.
    pub(super) fn author(&self, owner: &Owner, known: Option<&str>) -> Option<Author> {
        let profile = owner.id.filter(|id| *id > 0).and_then(|id| self.link("users", id as u64));
        let name = match (&owner.name, known, owner.id) {
            (_, Some(name), _) => name.to_owned(),
            (Some(name), None, _) => name.clone(),
            (None, None, Some(-1)) => "Community".to_owned(),
            (None, None, Some(id)) => format!("user {id}"),
            (None, None, None) => return None,
        };
        Some(Author { name, url: profile })
    }
}

/// P(closed-ended) where the tags declare it.
pub(super) fn closedness(tags: &[String]) -> Option<f64> {
    CLOSEDNESS.iter().find(|(tag, _)| tags.iter().any(|t| t == tag)).map(|(_, p)| *p)
}

/// The licence of a post that does not state one, by when it was written.
pub(super) fn licence_at(created: i64) -> &'static str {
    match created {
        at if at < LICENCE_3 => "CC BY-SA 2.5",
        at if at < LICENCE_4 => "CC BY-SA 3.0",
        _ => "CC BY-SA 4.0",
    }
}
