//! Puts what was gathered together: each question with its answers, their votes, comments and authors.
//!
//! Invariant: the result depends on the rows alone, not on the order of the tables; what belongs to nothing is dropped and
//! counted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use indicatif::ProgressBar;
use serde::de::DeserializeOwned;
use understudy_learning::stages::Author;

use super::gather::{At, CommentNote, Gathered, Note};
use super::row::Owner;
use super::site::{Site, closedness, licence_at};
use super::tables::VoteRow;
use crate::corpus::{Builder, Comment, CorpusError, Post, Thread, Vote, VoteKind, io};

/// Rows that were left out, by rule.
pub(super) type Dropped = BTreeMap<String, u64>;

/// Writes the threads of what was gathered; returns what was left out.
pub(super) fn assemble(
    gathered: Gathered,
    site: &Site,
    terms: &str,
    builder: &mut Builder,
    progress: &ProgressBar,
) -> Result<Dropped, CorpusError> {
    let folder = builder.notes("");
    let failed = || io("keep notes in", &folder);
    let Gathered { posts, comments, mut votes, names, with_history, mut dropped, .. } = gathered;
    let (post_file, mut posts) = posts.into_parts().map_err(failed())?;
    let (comment_file, mut comments) = comments.into_parts().map_err(failed())?;
    let mut drop = |rule: &str, count: usize| *dropped.entry(rule.to_owned()).or_default() += count as u64;
    if let Some(known) = with_history {
        let before = posts.len();
        posts.retain(|post| known.contains(&post.id));
        drop("no_history", before - posts.len());
    }
    let mut questions: Vec<At> = posts.iter().copied().filter(|post| post.is_question).collect();
    questions.sort_unstable_by_key(|post| (post.at, post.id, post.start));
    let mut answers: Vec<At> = posts.iter().copied().filter(|post| !post.is_question).collect();
    answers.sort_unstable_by_key(|post| (post.below, post.at, post.id, post.start));
    comments.sort_unstable_by_key(|comment| (comment.below, comment.at, comment.id, comment.start));
    votes.sort_unstable_by_key(|vote| (vote.post, vote.day, vote.kind));
    let (mut taken_comments, mut taken_votes, mut taken_answers) = (0, 0, 0);
    let mut seen = HashSet::new();
    let whole = Whole { post_file, comment_file, comments, votes, names, site };
    progress.set_length(questions.len() as u64);
    for question in &questions {
        progress.inc(1);
        if !seen.insert(question.id) {
            drop("duplicate_id", 1);
            continue;
        }
        let note: Note = read(&whole.post_file, question).map_err(failed())?;
        let (title, tags, closed, accepted) = (note.title.clone(), note.tags.clone(), note.closed, note.accepted);
        let asked = whole.post(question, note, "questions").map_err(failed())?;
        let mut below = Vec::new();
        for answer in range(&answers, question.id, |post| post.below) {
            taken_answers += 1;
            if !seen.insert(answer.id) {
                drop("duplicate_id", 1);
                continue;
            }
            let note: Note = read(&whole.post_file, answer).map_err(failed())?;
            below.push(whole.post(answer, note, "a").map_err(failed())?);
        }
        for post in std::iter::once(&asked).chain(&below) {
            (taken_comments, taken_votes) = (taken_comments + post.comments.len(), taken_votes + post.votes.len());
        }
        let thread = Thread {
            id: format!("{}/{}", site.name, question.id),
            source: site.name.clone(),
            terms: terms.to_owned(),
            title,
            closedness: closedness(&tags),
            tags,
            closed,
            accepted,
            question: asked,
            answers: below,
        };
        builder.add(&thread)?;
    }
    drop("answer_without_question", answers.len() - taken_answers);
    drop("comment_without_post", whole.comments.len() - taken_comments);
    drop("vote_without_post", whole.votes.len() - taken_votes);
    Ok(dropped)
}

struct Whole<'a> {
    post_file: File,
    comment_file: File,
    comments: Vec<At>,
    votes: Vec<VoteRow>,
    names: HashMap<i64, String>,
    site: &'a Site,
}

impl Whole<'_> {
    fn post(&self, at: &At, note: Note, kind: &str) -> std::io::Result<Post> {
        let Note { text, score, owner, owner_name, licence, wiki, edited, .. } = note;
        let votes = range(&self.votes, at.id, |vote| vote.post).iter().map(vote).collect();
        let comments = range(&self.comments, at.id, |comment| comment.below);
        Ok(Post {
            id: at.id,
            at: at.at,
            text,
            score,
            author: self.author(owner, owner_name),
            url: self.site.link(kind, at.id),
            licence: licence.unwrap_or_else(|| licence_at(at.at).to_owned()),
            edited_at: edited,
            wiki,
            votes,
            comments: comments.iter().map(|comment| self.comment(comment)).collect::<Result<_, _>>()?,
        })
    }

    fn comment(&self, at: &At) -> std::io::Result<Comment> {
        let CommentNote { text, user, name, licence } = read(&self.comment_file, at)?;
        let licence = licence.unwrap_or_else(|| licence_at(at.at).to_owned());
        Ok(Comment { id: at.id, at: at.at, text, author: self.author(user, name), licence })
    }

    fn author(&self, id: Option<i64>, name: Option<String>) -> Option<Author> {
        let known = id.and_then(|id| self.names.get(&id)).map(String::as_str);
        self.site.author(&Owner { id, name }, known)
    }
}

fn vote(row: &VoteRow) -> Vote {
    let kind = match row.kind {
        1 => VoteKind::Accept,
        2 => VoteKind::Up,
        _ => VoteKind::Down,
    };
    Vote { at: row.day, kind }
}

/// The run of `sorted` whose key is `wanted`.
fn range<T>(sorted: &[T], wanted: u64, key: impl Fn(&T) -> u64) -> &[T] {
    let start = sorted.partition_point(|one| key(one) < wanted);
    let length = sorted[start..].partition_point(|one| key(one) == wanted);
    &sorted[start..start + length]
}

fn read<T: DeserializeOwned>(file: &File, at: &At) -> std::io::Result<T> {
    let mut bytes = vec![0; at.length as usize];
    file.read_exact_at(&mut bytes, at.start)?;
    postcard::from_bytes(&bytes).map_err(std::io::Error::other)
}
