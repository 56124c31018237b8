//! From a dump (a folder, an official `.7z`, or a `Posts.xml` alone) to a corpus.
//!
//! Invariant: the corpus changes in one step at the end or not at all; the same dump gives the same bytes.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;

use super::assemble::assemble;
use super::clause::{self, Clause};
use super::gather::Gathered;
use super::rows::{COMMENTS, HISTORY, POSTS, USERS, VOTES};
use super::{Site, archive};
use crate::corpus::{Builder, CorpusError, Manifest, io as disk};
use crate::sources::{SourceError, shown};

/// Files of notes while a corpus is made.
const POST_NOTES: &str = "posts.notes";
const COMMENT_NOTES: &str = "comments.notes";

/// What the operator says of a dump.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// Names the source: its folder, its ids.
    pub source: String,
    /// Under which terms the operator has it.
    pub terms: String,
    /// The site's host, for links.
    pub site: Option<String>,
    /// The operator's word that training on it is allowed, which newer dumps need.
    pub may_train: bool,
}

/// Why nothing was brought in.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The dump is not right.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The corpus cannot be written.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// It has no posts.
    #[error("'{0}' holds no Posts.xml; give a dump's folder, its .7z, or a Posts.xml")]
    NoPosts(String),
    /// Its terms need a word of the operator.
    #[error(transparent)]
    Clause(#[from] Clause),
}

/// Bytes that reading `path` will take, for a progress bar.
pub fn length(path: &Path) -> u64 {
    match Place::of(path) {
        Place::Folder(files) => files.iter().filter_map(|(_, path)| path.metadata().ok()).map(|data| data.len()).sum(),
        Place::Archive => archive::length(path),
    }
}

/// Brings the dump at `path` into the folder of corpora. `reading` counts bytes, `writing` questions.
pub fn ingest(
    path: &Path,
    corpora: &Path,
    provenance: &Provenance,
    reading: &ProgressBar,
    writing: &ProgressBar,
) -> Result<Manifest, IngestError> {
    let host = provenance.site.clone();
    let mut builder = Builder::begin(corpora, &provenance.source, &provenance.terms, host.clone())?;
    let notes = [POST_NOTES, COMMENT_NOTES].map(|name| builder.notes(name));
    let gathered = Gathered::new(&notes[0], &notes[1], host.clone());
    let mut gathered = gathered.map_err(disk("keep notes in", corpora))?;
    match Place::of(path) {
        Place::Archive => archive::take(path, &mut gathered, reading)?,
        Place::Folder(files) => {
            for (table, path) in files {
                let file = File::open(&path).map_err(|cause| SourceError::Read { file: shown(&path), cause })?;
                let input = BufReader::with_capacity(1 << 18, reading.wrap_read(file));
                gathered.take(table, input, &shown(&path))?;
            }
        }
    }
    if !gathered.has_posts {
        return Err(IngestError::NoPosts(shown(path)));
    }
    if gathered.has_votes {
        builder.votes_are_known();
    }
    let site = Site { name: provenance.source.clone(), host };
    let dropped = assemble(gathered, &site, &provenance.terms, &mut builder, writing)?;
    let newest = builder.counts().newest;
    clause::allowed(newest, provenance.may_train, "--may-train")?;
    Ok(builder.commit(dropped, &[POST_NOTES, COMMENT_NOTES])?)
}

enum Place {
    /// Tables by name, and their files.
    Folder(Vec<(&'static str, PathBuf)>),
    Archive,
}

impl Place {
    fn of(path: &Path) -> Self {
        if path.is_dir() {
            let tables = [HISTORY, POSTS, VOTES, COMMENTS, USERS].map(|table| (table.file, path.join(table.file)));
            return Self::Folder(tables.into_iter().filter(|(_, path)| path.is_file()).collect());
        }
        match path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("7z")) {
            true => Self::Archive,
            false => Self::Folder(vec![(POSTS.file, path.to_owned())]),
        }
    }
}
