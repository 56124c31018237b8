//! Taking away what somebody wrote, and whole corpora.
//!
//! Invariant: what is taken away does not come back with the next ingest of the same source; whoever reads meanwhile finds
//! the old corpus or the new one, whole.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;
use understudy_checkpoints::whole::{self, replace_file};
use understudy_learning::stages::Author;

use super::{Builder, Corpus, CorpusError, Manifest, Thread, check_name, io};

/// What was taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Forgotten {
    /// Questions, and with each what others had said below it.
    pub questions: u64,
    /// Answers of theirs to questions of others.
    pub answers: u64,
    /// Comments of theirs below posts of others.
    pub comments: u64,
}

impl Forgotten {
    pub(super) fn all(&self) -> u64 {
        self.questions + self.answers + self.comments
    }
}

/// Whether `author` is one of `who`: a number of a user, or a name as it is shown.
pub(crate) fn is_one_of(author: Option<&Author>, who: &BTreeSet<String>) -> bool {
    let Some(Author { name, url }) = author else { return false };
    // A source without links has names only; that of a user without a name is made of the number.
    let number = url.as_deref().and_then(|url| url.split("/users/").nth(1)).and_then(|rest| rest.split('/').next());
    let number = number.or_else(|| name.strip_prefix("user "));
    who.contains(name) || number.is_some_and(|number| who.contains(number))
}

/// `thread` without what those in `who` said; `None` when they asked it.
pub(super) fn without(thread: &Thread, who: &BTreeSet<String>, gone: &mut Forgotten) -> Option<Thread> {
    if is_one_of(thread.question.author.as_ref(), who) {
        gone.questions += 1;
        return None;
    }
    let mut thread = thread.clone();
    let answers = thread.answers.len();
    thread.answers.retain(|answer| !is_one_of(answer.author.as_ref(), who));
    gone.answers += (answers - thread.answers.len()) as u64;
    for post in std::iter::once(&mut thread.question).chain(&mut thread.answers) {
        let comments = post.comments.len();
        post.comments.retain(|comment| !is_one_of(comment.author.as_ref(), who));
        gone.comments += (comments - post.comments.len()) as u64;
    }
    Some(thread)
}

/// The names of those who are forgotten lie beside the corpus, so that one that is damaged or taken away brings nobody back.
fn names(corpora: &Path, source: &str) -> PathBuf {
    corpora.join(format!(".{source}.forgotten.json"))
}

/// Whose words are left out of `source` for good: users' numbers and shown names.
pub fn forgotten(corpora: &Path, source: &str) -> Result<BTreeSet<String>, CorpusError> {
    let path = names(corpora, source);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        read => read.map_err(io("read", &path))?,
    };
    let reason =
        |error| format!("'{}' is no list of names ({error}); write one like [\"Ana\", \"17\"]", path.display());
    serde_json::from_slice(&bytes).map_err(|error| CorpusError::Refused(reason(error)))
}

/// Keeps in mind that `who` (a user's number or shown name) is left out of `source` for good. What is there stays until
/// [`forget_author`], or the next ingest.
pub fn remember_to_forget(corpora: &Path, source: &str, who: &str) -> Result<(), CorpusError> {
    check_name(source).map_err(CorpusError::Refused)?;
    fs::create_dir_all(corpora).map_err(io("make", corpora))?;
    let _alone = alone(corpora)?;
    remember(corpora, source, who)
}

fn remember(corpora: &Path, source: &str, who: &str) -> Result<(), CorpusError> {
    if who.trim().is_empty() {
        return Err(CorpusError::Refused("nobody is named; give a user's number or shown name".to_owned()));
    }
    let mut all = forgotten(corpora, source)?;
    if all.insert(who.to_owned()) {
        let path = names(corpora, source);
        replace_file(&path, json!(all).to_string().as_bytes()).map_err(io("write", &path))?;
    }
    Ok(())
}

/// The right to change what is in the folder of corpora, until it is dropped.
pub(super) fn alone(corpora: &Path) -> Result<File, CorpusError> {
    let shown = corpora.display();
    let busy = || format!("another process is changing what is in '{shown}'; wait for it, or end it");
    whole::alone(corpora).map_err(io("lock", corpora))?.ok_or_else(|| CorpusError::Refused(busy()))
}

/// Takes away what `who` (a user's number or shown name) wrote in `source`, for good.
pub fn forget_author(corpora: &Path, source: &str, who: &str) -> Result<(Manifest, Forgotten), CorpusError> {
    check_name(source).map_err(CorpusError::Refused)?;
    let path = corpora.join(source);
    Corpus::open(&path)?;
    let alone = alone(corpora)?;
    let old = Corpus::open(&path)?;
    remember(corpora, source, who)?;
    let Manifest { terms, site, dropped, counts, .. } = old.manifest().clone();
    let mut builder = Builder::begin_alone(alone, corpora, source, &terms, site)?;
    if counts.votes > 0 {
        builder.votes_are_known();
    }
    for thread in old.threads()? {
        builder.add(&thread?)?;
    }
    let gone = builder.forgotten();
    Ok((builder.commit(dropped, &[])?, gone))
}

/// Takes a whole corpus away; whom it was to forget stays forgotten.
pub fn remove(corpora: &Path, source: &str) -> Result<(), CorpusError> {
    check_name(source).map_err(CorpusError::Refused)?;
    let (path, away) = (corpora.join(source), corpora.join(format!(".{source}.gone")));
    if !path.exists() {
        return Err(CorpusError::Refused(format!(
            "there is no corpus '{source}'; 'understudy corpora list' shows them"
        )));
    }
    let _alone = alone(corpora)?;
    if away.exists() {
        fs::remove_dir_all(&away).map_err(io("remove", &away))?;
    }
    // In one step, so that nobody finds half of it.
    fs::rename(&path, &away).map_err(io("remove", &path))?;
    fs::remove_dir_all(&away).map_err(io("remove", &away))
}
