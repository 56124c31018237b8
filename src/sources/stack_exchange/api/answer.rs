//! What the API answers: a wrapper around questions, or an error.
//!
//! Invariant: an answer that is not understood is an error to try again after, never a question that is lost.

use serde::Deserialize;
use understudy_learning::stages::{Author, Question};

use crate::sources::stack_exchange::html;
use crate::sources::stack_exchange::site::{closedness, licence_at};

/// The wrapper of every answer.
#[derive(Debug, Deserialize)]
pub(super) struct Wrapper {
    #[serde(default)]
    pub(super) items: Vec<Item>,
    #[serde(default)]
    pub(super) has_more: bool,
    /// Seconds in which the same method is not to be called again.
    pub(super) backoff: Option<u64>,
    pub(super) quota_remaining: Option<u64>,
    pub(super) error_id: Option<u32>,
    pub(super) error_name: Option<String>,
    pub(super) error_message: Option<String>,
}

/// A question as the API gives it; its filter has to include `body`.
#[derive(Debug, Deserialize)]
pub(super) struct Item {
    pub(super) question_id: u64,
    /// Seconds since the Unix epoch.
    pub(super) creation_date: i64,
    title: String,
    body: Option<String>,
    body_markdown: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    link: Option<String>,
    content_license: Option<String>,
    owner: Option<Owner>,
}

#[derive(Debug, Deserialize)]
struct Owner {
    display_name: Option<String>,
    link: Option<String>,
    user_id: Option<i64>,
}

impl Item {
    /// As the program knows questions; `source` names it in ids, `terms` are the operator's words.
    pub(super) fn question(self, source: &str, terms: &str) -> Question {
        let at = self.creation_date * 1000;
        let host = self.link.as_deref().and_then(|link| link.split("://").nth(1)?.split('/').next());
        let body = self.body.map(|body| html::to_markdown_of(&body, host));
        let author = self.owner.and_then(|owner| {
            let name = owner.display_name.map(|name| html::plain(&name));
            let name = name.or_else(|| owner.user_id.map(|id| format!("user {id}")))?;
            Some(Author { name, url: owner.link })
        });
        Question {
            id: format!("{source}/{}", self.question_id),
            source: source.to_owned(),
            title: html::plain(&self.title),
            // Of a filter that gives Markdown, its characters are still escaped.
            body: body.or_else(|| self.body_markdown.map(|text| html::plain(&text))).unwrap_or_default(),
            closedness: closedness(&self.tags),
            tags: self.tags,
            author,
            url: self.link,
            licence: Some(self.content_license.unwrap_or_else(|| licence_at(at).to_owned())),
            asked_at: at,
            terms: Some(terms.to_owned()),
        }
    }
}

/// What to make of an error of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Not before so many seconds.
    Throttled(u64),
    /// Try again later, each time later.
    Passing(String),
    /// Trying again will not help: the settings are wrong.
    Lasting(String),
}

/// Of a wrapper with an `error_id`. The numbers are those of the API's documentation.
pub(super) fn trouble(wrapper: &Wrapper) -> Option<Trouble> {
    let id = wrapper.error_id?;
    let name = wrapper.error_name.as_deref().unwrap_or("error");
    let message = wrapper.error_message.as_deref().unwrap_or("without a word");
    let told = format!("{name} ({id}): {}", message.chars().take(200).collect::<String>());
    Some(match id {
        // throttle_violation: "… more requests available in N seconds".
        502 => Trouble::Throttled(seconds(message).unwrap_or(60)),
        500 | 503 => Trouble::Passing(told),
        _ => Trouble::Lasting(told),
    })
}

/// The number before "second(s)".
fn seconds(message: &str) -> Option<u64> {
    let words: Vec<&str> = message.split_whitespace().collect();
    let at = words.iter().position(|word| word.starts_with("second"))?;
    words.get(at.checked_sub(1)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapper(text: &str) -> Wrapper {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_throttle_names_its_seconds() {
        let told = "{\"error_id\":502,\"error_message\":\"too many requests from this IP, more requests available in 67194 seconds\",\"error_name\":\"throttle_violation\"}";
        assert_eq!(trouble(&wrapper(told)), Some(Trouble::Throttled(67_194)));
        assert_eq!(trouble(&wrapper("{\"error_id\":502}")), Some(Trouble::Throttled(60)));
    }

    #[test]
    fn errors_pass_or_last() {
        assert!(matches!(trouble(&wrapper("{\"error_id\":503}")), Some(Trouble::Passing(_))));
        assert!(matches!(trouble(&wrapper("{\"error_id\":500}")), Some(Trouble::Passing(_))));
        assert!(matches!(trouble(&wrapper("{\"error_id\":400}")), Some(Trouble::Lasting(_))));
        assert_eq!(trouble(&wrapper("{\"items\":[]}")), None);
    }

    #[test]
    fn a_question_keeps_its_attribution_and_its_characters() {
        let item: Item = serde_json::from_str(
            "{\"question_id\":7,\"creation_date\":1600000000,\"title\":\"Is 1 &lt; 2 &amp; why?\",\"body\":\"<p>Say <code>x</code></p>\",\
             \"tags\":[\"a\"],\"link\":\"https://s.example/questions/7/t\",\"content_license\":\"CC BY-SA 4.0\",\
             \"owner\":{\"user_type\":\"registered\",\"display_name\":\"O&#39;Neil\",\"link\":\"https://s.example/users/1\"}}",
        )
        .unwrap();
        let question = item.question("s.example", "own-site");
        assert_eq!((question.id.as_str(), question.title.as_str()), ("s.example/7", "Is 1 < 2 & why?"));
        assert_eq!(question.author.as_ref().map(|author| author.name.as_str()), Some("O'Neil"));
        assert_eq!((question.asked_at, question.licence.as_deref()), (1_600_000_000_000, Some("CC BY-SA 4.0")));
        assert_eq!(question.terms.as_deref(), Some("own-site"));
        let gone: Item = serde_json::from_str(
            "{\"question_id\":8,\"creation_date\":1,\"title\":\"t\",\"owner\":{\"user_type\":\"does_not_exist\"}}",
        )
        .unwrap();
        let question = gone.question("s", "own-site");
        assert_eq!((question.author, question.licence.as_deref()), (None, Some("CC BY-SA 2.5")));
    }
}
