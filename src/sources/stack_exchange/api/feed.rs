//! The questions that were fetched, on disk: one line each, in the order of their coming.
//!
//! Invariant: a line that was synced is never lost, never changed and never twice; the end of the file is the place in the
//! stream, so that there is no other state that could disagree with it.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use understudy_learning::stages::Question;

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
}

impl Feed {
    /// Opens the feed in `folder`, or begins it. A line that was cut off by a crash is cut away: it was not acknowledged.
    pub fn open(folder: &Path) -> Result<Self, SourceError> {
        let path = folder.join(FILE);
        let failed = |cause| SourceError::Read { file: shown(&path), cause };
        fs::create_dir_all(folder).map_err(failed)?;
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(failed)?;
        let mut feed = Self { file, path: path.clone(), recent: HashMap::new(), newest: i64::MIN, count: 0 };
        let mut input = BufReader::new(File::open(&path).map_err(failed)?);
        let (mut line, mut end) = (String::new(), 0);
        loop {
            line.clear();
            let length = input.read_line(&mut line).map_err(failed)?;
            if length == 0 || !line.ends_with('\n') {
                break;
            }
            let question: Question = serde_json::from_str(&line).map_err(|error| SourceError::Broken {
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
            if self.recent.contains_key(&question.id) {
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
        let mut line = String::new();
        loop {
            line.clear();
            let start = input.stream_position().map_err(failed)?;
            input.by_ref().take(64 << 20).read_line(&mut line).map_err(failed)?;
            if !line.ends_with('\n') {
                // Not written to its end: look again from its beginning.
                input.seek(SeekFrom::Start(start)).map_err(failed)?;
                return Ok(None);
            }
            self.at += 1;
            if self.at == position + 1 {
                let question = serde_json::from_str(&line).map_err(|error| SourceError::Broken {
                    file: shown(&path),
                    place: format!("in line {}", self.at),
                    message: error.to_string(),
                });
                return question.map(Some);
            }
        }
    }
}
