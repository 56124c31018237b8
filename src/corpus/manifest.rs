//! What a corpus says of itself.
//!
//! Invariant: nothing in it depends on when or where it was made, so that the same dump gives the same manifest.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Thread;

/// The format of manifest and threads; another one is refused.
pub(super) const FORMAT: u32 = 1;

/// Of one corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format.
    pub format: u32,
    /// The name that the operator gave the source.
    pub source: String,
    /// The terms under which the operator has it.
    pub terms: String,
    /// The site's host, where links lead to.
    pub site: Option<String>,
    /// What is in it.
    #[serde(flatten)]
    pub counts: Counts,
    /// Rows that were left out, by rule.
    pub dropped: BTreeMap<String, u64>,
    /// Whose words are left out for good: users' numbers or shown names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub forgotten: BTreeSet<String>,
    /// Length of `threads.jsonl`.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Questions.
    pub questions: u64,
    /// Answers to them.
    pub answers: u64,
    /// Questions whose asker chose an answer.
    pub accepted: u64,
    /// Pairs of answers to one question with different scores.
    pub pairs: u64,
    /// Questions with such a pair.
    pub questions_with_pairs: u64,
    /// Single votes for, against and of acceptance.
    pub votes: u64,
    /// Posts whose votes, counted, are not their score; only of sources that tell single votes.
    pub scores_not_reproduced: u64,
    /// Comments.
    pub comments: u64,
    /// Moment of the newest post, in milliseconds since the Unix epoch.
    pub newest: i64,
}

impl Counts {
    /// Counts one thread; `votes_known`: whether the source tells single votes.
    pub(super) fn add(&mut self, thread: &Thread, votes_known: bool) {
        let pairs = thread.pairs();
        self.questions += 1;
        self.answers += thread.answers.len() as u64;
        self.accepted += u64::from(thread.accepted.is_some());
        self.pairs += pairs;
        self.questions_with_pairs += u64::from(pairs > 0);
        for post in std::iter::once(&thread.question).chain(&thread.answers) {
            self.votes += post.votes.len() as u64;
            self.comments += post.comments.len() as u64;
            self.newest = self.newest.max(post.at);
            let counted = post.counted_score().unwrap_or(0);
            self.scores_not_reproduced += u64::from(votes_known && counted != post.score);
        }
    }
}

/// A source's name is a folder's: what could lead elsewhere, or cannot be read, is refused.
pub fn check_name(name: &str) -> Result<(), String> {
    let odd = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':');
    if name.is_empty() || name.len() > 64 || name.starts_with('.') || name.trim() != name || name.contains(odd) {
        return Err(format!(
            "the source's name is '{}'; give 1 to 64 bytes without / \\ : and without a dot or blank at an end",
            name.escape_debug()
        ));
    }
    Ok(())
}
