//! Writes a corpus: into a folder beside the final one, which then takes its place in one step.
//!
//! Invariant: whoever opens the corpus finds the old one or the new one, whole; a builder that is dropped leaves nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use understudy_checkpoints::checkpoint::hex;
use understudy_checkpoints::whole::{self, replace_folder};

use super::forget::{self, Forgotten};
use super::manifest::FORMAT;
use super::{CorpusError, Counts, Manifest, Thread, check_name, io};

/// A corpus in the making.
pub struct Builder {
    target: PathBuf,
    work: PathBuf,
    out: Option<BufWriter<File>>,
    line: Vec<u8>,
    digest: Sha256,
    bytes: u64,
    counts: Counts,
    votes_known: bool,
    gone: Forgotten,
    manifest: Manifest,
    /// Nobody else builds in the folder of corpora meanwhile.
    _alone: File,
}

impl Builder {
    /// Begins the corpus of `source` in the folder of corpora. `votes_known`: whether the source tells single votes.
    pub fn begin(corpora: &Path, source: &str, terms: &str, site: Option<String>) -> Result<Self, CorpusError> {
        check_name(source).map_err(CorpusError::Refused)?;
        if terms.trim().is_empty() {
            let sentence = "the terms are empty; say under which terms you have the data, for instance cc-by-sa-4.0";
            return Err(CorpusError::Refused(sentence.to_owned()));
        }
        fs::create_dir_all(corpora).map_err(io("make", corpora))?;
        Self::begin_alone(forget::alone(corpora)?, corpora, source, terms, site)
    }

    /// The same for who has the right to change what is in the folder.
    pub(super) fn begin_alone(
        alone: File,
        corpora: &Path,
        source: &str,
        terms: &str,
        site: Option<String>,
    ) -> Result<Self, CorpusError> {
        let (target, work) = (corpora.join(source), corpora.join(format!(".{source}.tmp")));
        // What an interrupted run left.
        remove(&work)?;
        fs::create_dir(&work).map_err(io("make", &work))?;
        let path = work.join("threads.jsonl");
        let out = BufWriter::with_capacity(1 << 20, File::create_new(&path).map_err(io("write", &path))?);
        let forgotten = forget::forgotten(corpora, source)?;
        let manifest = Manifest {
            format: FORMAT,
            source: source.to_owned(),
            terms: terms.to_owned(),
            site,
            counts: Counts::default(),
            dropped: Default::default(),
            forgotten,
            bytes: 0,
            sha256: String::new(),
        };
        let (line, digest) = (Vec::new(), Sha256::new());
        Ok(Self {
            target,
            work,
            out: Some(out),
            line,
            digest,
            bytes: 0,
            counts: Counts::default(),
            votes_known: false,
            gone: Forgotten::default(),
            manifest,
            _alone: alone,
        })
    }

    /// A place for a file of notes; [`Builder::commit`] removes those that it is told of.
    pub fn notes(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// The source tells single votes, so that scores can be checked against them.
    pub fn votes_are_known(&mut self) {
        self.votes_known = true;
    }

    /// What was written so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What was left out of those who are forgotten.
    pub fn forgotten(&self) -> Forgotten {
        self.gone
    }

    /// Adds a thread.
    pub fn add(&mut self, thread: &Thread) -> Result<(), CorpusError> {
        let left;
        let thread = match self.manifest.forgotten.is_empty() {
            true => thread,
            false => match forget::without(thread, &self.manifest.forgotten, &mut self.gone) {
                Some(without) => {
                    left = without;
                    &left
                }
                None => return Ok(()),
            },
        };
        self.counts.add(thread, self.votes_known);
        self.line.clear();
        serde_json::to_writer(&mut self.line, thread).expect("a thread has no maps with odd keys");
        self.line.push(b'\n');
        self.digest.update(&self.line);
        self.bytes += self.line.len() as u64;
        let out = self.out.as_mut().expect("open until the commit");
        out.write_all(&self.line).map_err(io("write", &self.work))
    }

    /// Puts the corpus in its place; `dropped` counts the rows that were left out, by rule.
    pub fn commit(
        mut self,
        dropped: impl IntoIterator<Item = (String, u64)>,
        notes: &[&str],
    ) -> Result<Manifest, CorpusError> {
        let Self { counts, bytes, gone, .. } = self;
        let mut dropped: BTreeMap<String, u64> = dropped.into_iter().collect();
        *dropped.entry("forgotten_author".to_owned()).or_default() += gone.all();
        let manifest = Manifest {
            counts,
            bytes,
            dropped: dropped.into_iter().filter(|(_, count)| *count > 0).collect(),
            sha256: hex(&std::mem::take(&mut self.digest).finalize()),
            ..self.manifest.clone()
        };
        let out = self.out.take().expect("open until the commit");
        let written = out.into_inner().map_err(|error| io("write", &self.work)(error.into_error()))?;
        written.sync_all().map_err(io("write", &self.work))?;
        for note in notes {
            remove(&self.work.join(note))?;
        }
        let path = self.work.join("manifest.json");
        let mut text = serde_json::to_string_pretty(&manifest).expect("plain values");
        text.push('\n');
        let mut file = File::create_new(&path).map_err(io("write", &path))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io("write", &path))?;
        // In one step, so that there is never no corpus.
        replace_folder(&self.work, &self.target).map_err(io("put in its place", &self.target))?;
        Ok(manifest)
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        if self.out.is_some() {
            let _ = remove(&self.work);
        }
    }
}

fn remove(path: &Path) -> Result<(), CorpusError> {
    whole::remove(path).map_err(io("remove", path))
}
