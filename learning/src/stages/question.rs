//! A question as its source gave it. Attribution stays attached to the end.

use serde::{Deserialize, Serialize};

use super::links::without_targets;

/// Who wrote a post; shown wherever the post is shown (CC BY-SA asks for name and link).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// Display name.
    pub name: String,
    /// Link to the profile, when the author still has one.
    pub url: Option<String>,
}

/// A question from any source (dump, API, JSONL, chat).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Unique within the daemon: `<source>/<id there>`.
    pub id: String,
    /// Name of the source it came from.
    pub source: String,
    /// One line; may be empty for chat requests.
    pub title: String,
    /// Plain text or Markdown; may be empty.
    pub body: String,
    /// Tags without brackets.
    pub tags: Vec<String>,
    /// Who asked, where known.
    pub author: Option<Author>,
    /// Link to the original, where there is one.
    pub url: Option<String>,
    /// Licence of the text, for instance `CC BY-SA 4.0`.
    pub licence: Option<String>,
    /// Milliseconds since the Unix epoch, as the source states it.
    pub asked_at: i64,
    /// P(the question is closed-ended) in `[0, 1]` where the source declares it; chooses the reward model's utility.
    pub closedness: Option<f64>,
    /// Under which terms the operator has it, in the operator's words; sources that state none have `None`.
    #[serde(default)]
    pub terms: Option<String>,
}

impl Question {
    /// The text that is put before the model: title, then body. Links keep their words and lose their targets: an address is
    /// many tokens that say little, a prompt is short, and a small model that sees addresses makes some up.
    pub fn text(&self) -> String {
        let body = without_targets(&self.body);
        match (self.title.trim(), body.trim()) {
            (title, "") => title.to_owned(),
            ("", body) => body.to_owned(),
            (title, body) => format!("{title}\n\n{body}"),
        }
    }
}
