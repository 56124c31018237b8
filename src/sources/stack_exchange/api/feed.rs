//! The questions that were fetched, on disk: one line each, in the order of their coming.
//!
//! Invariant: a line that was synced is never lost, never changed and never twice, unless its author is forgotten; the end of
//! the file is the place in the stream, so that there is no other state that could disagree with it. One writes at a time.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use understudy_checkpoints::whole::{self, write_file};
use understudy_learning::stages::Question;

use crate::corpus::is_one_of;
use crate::sources::{SourceError, shown};

/// The file of questions in a feed's folder.
const FILE: &str = "questions.jsonl";
/// How far back of the newest question each round begins: what is older is not asked for again, and need not be remembered.
pub(super) const OVERLAP_MS: i64 = 24 * 3600 * 1000;

/// The writing end.
pub struct Feed {
    file: File,
    path: PathBuf,
    /// Ids of the last day, and when they were asked.
    recent: HashMap<String, i64>,
    newest: i64,
    count: u64,
    forgotten: BTreeSet<String>,
    _alone: File,
}

impl Feed {
    /// Opens the feed in `folder`, or begins it, and leaves out what those in `forgotten` (numbers and shown names) ask from now
    /// on. A line that was cut off by a crash is cut away: it was not acknowledged.
    pub fn open(folder: &Path, forgotten: BTreeSet<String>) -> Result<Self, SourceError> {
        let path = folder.join(FILE);
        let failed = |cause| SourceError::Read { file: shown(&path), cause };
        fs::create_dir_all(folder).map_err(failed)?;
        let alone = alone(folder)?;
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(failed)?;
        let recent = HashMap::new();
        let mut feed = Self { file, path: path.clone(), recent, newest: i64::MIN, count: 0, forgotten, _alone: alone };
        let mut input = BufReader::new(File::open(&path).map_err(failed)?);
        let (mut line, mut end) = (Vec::new(), 0);
        loop {
            line.clear();
            // Bytes, since a crash may have cut a letter in two.
            let length = input.read_until(b'\n', &mut line).map_err(failed)?;
            if !line.ends_with(b"\n") {
                break;
            }
            let question: Question = serde_json::from_slice(&line).map_err(|error| SourceError::Broken {
                file: shown(&path),
                place: format!("in line {}", feed.count + 1),
                message: format!("{error}; remove the file, and questions are fetched anew"),
            })?;
            feed.remember(&question);
            end += length as u64;
        }
        feed.file.set_len(end).map_err(failed)?;
        Ok(feed)
    }

    /// Appends those of `questions` that are new, durably; how many were.
    pub fn append(&mut self, questions: Vec<Question>) -> Result<usize, SourceError> {
        let mut lines = Vec::new();
        let mut new = 0;
        for question in questions {
            if self.recent.contains_key(&question.id) || is_one_of(question.author.as_ref(), &self.forgotten) {
                continue;
            }
            serde_json::to_writer(&mut lines, &question).expect("a question has no maps with odd keys");
            lines.push(b'\n');
            self.remember(&question);
            new += 1;
        }
        if new > 0 {
            let written = self.file.write_all(&lines).and_then(|()| self.file.sync_data());
            written.map_err(|cause| SourceError::Read { file: shown(&self.path), cause })?;
        }
        Ok(new)
    }

    /// When the newest question was asked, in milliseconds since the Unix epoch; `None` without any.
    pub fn newest(&self) -> Option<i64> {
        (self.count > 0).then_some(self.newest)
    }

    /// Questions on disk.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn remember(&mut self, question: &Question) {
        self.count += 1;
        self.recent.insert(question.id.clone(), question.asked_at);
        if question.asked_at > self.newest {
            self.newest = question.asked_at;
            // Now and then, so that it costs little.
            if self.count.is_multiple_of(1024) {
                let keep = self.newest - 2 * OVERLAP_MS;
                self.recent.retain(|_, at| *at >= keep);
            }
        }
    }
}

/// Takes away what those in `forgotten` (numbers and shown names) asked; how many questions that were. Those behind move up.
pub fn forget_authors(folder: &Path, forgotten: &BTreeSet<String>) -> Result<usize, SourceError> {
    let _alone = alone(folder)?;
    let (path, mut reader, mut gone) = (folder.join(FILE), FeedReader::new(folder), 0);
    write_file(&path, |file| {
        let mut kept = BufWriter::new(file);
        for position in 0.. {
            let Some(question) = reader.at(position)? else { break };
            if is_one_of(question.author.as_ref(), forgotten) {
                gone += 1;
                continue;
            }
            serde_json::to_writer(&mut kept, &question)?;
            kept.write_all(b"\n")?;
        }
        Ok(kept.flush()?)
    })
    .map_err(|cause: anyhow::Error| match cause.downcast::<SourceError>() {
        Ok(error) => error,
        Err(cause) => SourceError::Read { file: shown(&path), cause: std::io::Error::other(cause) },
    })?;
    Ok(gone)
}

/// The right to write in the feed's folder, until it is dropped.
fn alone(folder: &Path) -> Result<File, SourceError> {
    let held = whole::alone(folder).map_err(|cause| SourceError::Read { file: shown(folder), cause })?;
    held.ok_or_else(|| SourceError::InUse(shown(folder)))
}

/// The reading end: any position, while another appends.
pub struct FeedReader {
    path: PathBuf,
    input: Option<BufReader<File>>,
    /// The next line's number.
    at: u64,
}

impl FeedReader {
    /// Of the feed in `folder`, which need not be there yet.
    pub fn new(folder: &Path) -> Self {
        Self { path: folder.join(FILE), input: None, at: 0 }
    }

    /// The question at `position`; `None` when it has not come yet.
    pub fn at(&mut self, position: u64) -> Result<Option<Question>, SourceError> {
        let path = self.path.clone();
        let failed = |cause| SourceError::Read { file: shown(&path), cause };
        if position < self.at {
            self.input = None;
        }
        if self.input.is_none() {
            if !path.exists() {
                return Ok(None);
            }
            (self.input, self.at) = (Some(BufReader::new(File::open(&path).map_err(failed)?)), 0);
        }
        let input = self.input.as_mut().expect("just opened");
        let mut line = Vec::new();
        loop {
            line.clear();
            let start = input.stream_position().map_err(failed)?;
            input.by_ref().take(64 << 20).read_until(b'\n', &mut line).map_err(failed)?;
            if !line.ends_with(b"\n") {
                // Not written to its end: look again from its beginning.
                input.seek(SeekFrom::Start(start)).map_err(failed)?;
                return Ok(None);
            }
            self.at += 1;
            if self.at == position + 1 {
                let question = serde_json::from_slice(&line).map_err(|error| SourceError::Broken {
                    file: shown(&path),
                    place: format!("in line {}", self.at),
                    message: error.to_string(),
                });
                return question.map(Some);
            }
        }
    }
}
