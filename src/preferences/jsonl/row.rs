//! A row's parts as they are written and read.
//!
//! Invariant: what is written is read back as the same value.

use serde::{Deserialize, Serialize};
use understudy_learning::stages::Author;

use crate::preferences::{VotedAnswer, VotedQuestion};

/// A text, or the messages of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Text {
    /// As it is.
    Plain(String),
    /// In order.
    Messages(Vec<Message>),
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Message {
    /// `system`, `user` or `assistant`.
    pub(super) role: String,
    pub(super) content: String,
}

impl Text {
    pub(super) fn of(role: &str, text: &str, plain: bool) -> Self {
        match plain {
            true => Self::Plain(text.to_owned()),
            false => Self::Messages(vec![Message { role: role.to_owned(), content: text.to_owned() }]),
        }
    }
}

/// Where a text is from: what its licence asks to be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Credit {
    pub(super) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) author: Option<Author>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) licence: Option<String>,
    /// Milliseconds since the Unix epoch.
    #[serde(default)]
    pub(super) at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) score: Option<i64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) accepted: bool,
}

impl Credit {
    pub(super) fn of(answer: &VotedAnswer) -> Self {
        Self {
            id: answer.id.clone(),
            author: answer.author.clone(),
            url: answer.url.clone(),
            licence: Some(answer.licence.clone()),
            at: answer.at,
            score: Some(answer.score),
            accepted: answer.accepted,
        }
    }
}

/// Of a whole row.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Metadata {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) terms: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) split: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) changed: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) question: Option<Credit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) chosen: Option<Credit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rejected: Option<Credit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) completion: Option<Credit>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) completions: Vec<Credit>,
}

/// What CC BY-SA asks to be said of a text that was changed.
const CHANGED: &str = "HTML was converted to Markdown";

impl Metadata {
    /// Of a question; `score` is the question's own.
    pub(super) fn of(question: &VotedQuestion, terms: &str, score: i64, split: &str) -> Self {
        let asked = &question.question;
        let credit = Credit {
            id: asked.id.clone(),
            author: asked.author.clone(),
            url: asked.url.clone(),
            licence: asked.licence.clone(),
            at: asked.asked_at,
            score: Some(score),
            accepted: false,
        };
        Self {
            source: Some(asked.source.clone()),
            terms: Some(terms.to_owned()),
            split: Some(split.to_owned()),
            changed: Some(CHANGED.to_owned()),
            title: Some(asked.title.clone()),
            tags: asked.tags.clone(),
            question: Some(credit),
            ..Self::default()
        }
    }
}

/// Any row: which fields there are says which format it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) prompt: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) messages: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) chosen: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rejected: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) margin: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) p: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) confidence: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) completion: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) completions: Option<Vec<Text>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ranking: Option<Vec<Vec<usize>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scores: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rater: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<i64>,
    #[serde(default)]
    pub(super) metadata: Metadata,
}
