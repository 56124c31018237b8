//! Reads corpora back, a thread at a time.
//!
//! Invariant: one line is in memory, and it is bounded; a damaged line is an error that names it, never a panic and never
//! silence.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::manifest::FORMAT;
use super::{CorpusError, Manifest, Thread, io};

/// Longest line: a question with a thousand long answers.
const MOST_BYTES: u64 = 256 << 20;

/// One source.
#[derive(Debug, Clone)]
pub struct Corpus {
    path: PathBuf,
    manifest: Manifest,
}

impl Corpus {
    /// The corpus in this folder.
    pub fn open(path: &Path) -> Result<Self, CorpusError> {
        let file = path.join("manifest.json");
        let text = fs::read_to_string(&file).map_err(io("read", &file))?;
        let damaged = |message: String| CorpusError::Damaged {
            path: path.display().to_string(),
            place: "in manifest.json".to_owned(),
            message,
        };
        let manifest: Manifest = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if manifest.format != FORMAT {
            return Err(damaged(format!("its format is {}, this program reads {FORMAT}", manifest.format)));
        }
        let threads = path.join("threads.jsonl");
        let length = fs::metadata(&threads).map_err(io("read", &threads))?.len();
        if length != manifest.bytes {
            return Err(damaged(format!("threads.jsonl has {length} bytes, not {}", manifest.bytes)));
        }
        Ok(Self { path: path.to_owned(), manifest })
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file with the threads.
    pub(super) fn file(&self) -> PathBuf {
        self.path.join("threads.jsonl")
    }

    /// Its threads in the order in which they were asked.
    pub fn threads(&self) -> Result<Threads, CorpusError> {
        let path = self.file();
        let file = File::open(&path).map_err(io("read", &path))?;
        let input = BufReader::with_capacity(1 << 18, file);
        Ok(Threads { input, path: self.path.display().to_string(), line: 0, buffer: Vec::new(), done: false })
    }
}

/// All corpora of a folder of corpora, by name; none where there is no folder.
pub fn list(corpora: &Path) -> Result<Vec<Corpus>, CorpusError> {
    let mut paths = Vec::new();
    match fs::read_dir(corpora) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(io("read", corpora)(error)),
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(io("read", corpora))?;
                let hidden = entry.file_name().to_string_lossy().starts_with('.');
                if !hidden && entry.path().is_dir() {
                    paths.push(entry.path());
                }
            }
        }
    }
    paths.sort();
    paths.iter().map(|path| Corpus::open(path)).collect()
}

/// Threads of one corpus.
#[derive(Debug)]
pub struct Threads {
    input: BufReader<File>,
    path: String,
    line: u64,
    buffer: Vec<u8>,
    done: bool,
}

impl Threads {
    /// Bytes of the line of the thread that was given last.
    pub(super) fn length(&self) -> usize {
        self.buffer.len()
    }
}

impl Iterator for Threads {
    type Item = Result<Thread, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        self.buffer.clear();
        self.line += 1;
        let read = self.input.by_ref().take(MOST_BYTES).read_until(b'\n', &mut self.buffer);
        let thread = match read {
            Ok(0) => {
                self.done = true;
                return None;
            }
            Ok(_) => serde_json::from_slice(&self.buffer).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        self.done = thread.is_err();
        Some(thread.map_err(|message| CorpusError::Damaged {
            path: self.path.clone(),
            place: format!("in line {} of threads.jsonl", self.line),
            message,
        }))
    }
}
