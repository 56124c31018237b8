//! A question and everything that was said below it: one line of a corpus.
//!
//! Invariant: whoever takes a post out of its thread still has its author, its link and its licence.

use serde::{Deserialize, Serialize};
use understudy_learning::stages::{Author, Question};

/// A question with its answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    /// `<source>/<id of the question>`.
    pub id: String,
    /// The name that the operator gave the source.
    pub source: String,
    /// The terms under which the operator has it, in the operator's words.
    pub terms: String,
    /// One line of plain text.
    pub title: String,
    /// Without brackets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Closed by the community: lower trust.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// The answer that the asker chose; it need not be among `answers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<u64>,
    /// P(the question is closed-ended), where the source declares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closedness: Option<f64>,
    /// What was asked.
    pub question: Post,
    /// Oldest first.
    pub answers: Vec<Post>,
}

/// A question's body or an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Post {
    /// Unique within the source.
    pub id: u64,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// Markdown.
    pub text: String,
    /// Up minus down votes, as the source states it.
    pub score: i64,
    /// Who wrote it; `None` where the source no longer says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// Link to the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// For instance `CC BY-SA 4.0`.
    pub licence: String,
    /// When it was last edited, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<i64>,
    /// Community wiki: lower trust.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wiki: bool,
    /// In time order; empty where the source does not tell single votes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub votes: Vec<Vote>,
    /// In time order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comments: Vec<Comment>,
}

/// How somebody voted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoteKind {
    /// The asker chose this answer.
    Accept,
    /// Up.
    Up,
    /// Down.
    Down,
}

/// One vote: nobody tells whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Vote {
    /// Midnight of its day, in milliseconds since the Unix epoch.
    pub at: i64,
    /// Which way.
    pub kind: VoteKind,
}

/// What was said below a post.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comment {
    /// Unique within the source.
    pub id: u64,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// Markdown of one line.
    pub text: String,
    /// Who said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// Its licence.
    pub licence: String,
}

impl Thread {
    /// What is put before the model.
    pub fn question(&self) -> Question {
        Question {
            id: self.id.clone(),
            source: self.source.clone(),
            title: self.title.clone(),
            body: self.question.text.clone(),
            tags: self.tags.clone(),
            author: self.question.author.clone(),
            url: self.question.url.clone(),
            licence: Some(self.question.licence.clone()),
            asked_at: self.question.at,
            closedness: self.closedness,
            terms: Some(self.terms.clone()),
        }
    }

    /// Two answers of different score make a pair: how many there are.
    pub fn pairs(&self) -> u64 {
        let n = self.answers.len();
        let unequal = |a: usize| (0..a).filter(|b| self.answers[a].score != self.answers[*b].score).count();
        (0..n).map(|a| unequal(a) as u64).sum()
    }
}

impl Post {
    /// Up minus down votes, counted; `None` where the source does not tell single votes.
    pub fn counted_score(&self) -> Option<i64> {
        let worth = |vote: &Vote| match vote.kind {
            VoteKind::Accept => 0,
            VoteKind::Up => 1,
            VoteKind::Down => -1,
        };
        (!self.votes.is_empty()).then(|| self.votes.iter().map(worth).sum())
    }
}
