//! Questions from a file with one JSON object a line: `{id?, title?, body?, tags?, author?, url?, licence?, terms?}`.
//!
//! Invariant: a line is bounded; a wrong line is an error with its number; blank lines are nothing.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use understudy_learning::stages::{Author, Question};

use super::{SourceError, shown};

/// Longest line in bytes.
const MOST_BYTES: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: Option<String>,
    #[serde(default)]
    title: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    tags: Vec<String>,
    author: Option<AuthorForm>,
    url: Option<String>,
    licence: Option<String>,
    #[serde(default)]
    asked_at: i64,
    closedness: Option<f64>,
    terms: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AuthorForm {
    Name(String),
    Full { name: String, url: Option<String> },
}

/// Reads the questions of a file.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    file: String,
    source: String,
    line: u64,
    done: bool,
}

impl Reader<BufReader<File>> {
    /// Opens the file at `path`; the source is named after it.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let file = File::open(path).map_err(|cause| SourceError::Read { file: shown(path), cause })?;
        let source = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("jsonl");
        Ok(Self::new(BufReader::new(file), &shown(path), source))
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads from `input`, which is called `file` in errors; ids begin with `source`.
    pub fn new(input: R, file: &str, source: &str) -> Self {
        Self { input, file: file.to_owned(), source: source.to_owned(), line: 0, done: false }
    }

    fn broken(&self, message: String) -> SourceError {
        SourceError::Broken { file: self.file.clone(), place: format!("in line {}", self.line), message }
    }

    fn next_line(&mut self) -> Result<Option<String>, SourceError> {
        let mut bytes = Vec::new();
        self.line += 1;
        let read = (&mut self.input).take(MOST_BYTES + 1).read_until(b'\n', &mut bytes);
        match read {
            Err(cause) => Err(SourceError::Read { file: self.file.clone(), cause }),
            Ok(0) => Ok(None),
            Ok(n) if n as u64 > MOST_BYTES => Err(self.broken(format!("it is longer than {MOST_BYTES} bytes"))),
            Ok(_) => String::from_utf8(bytes).map(Some).map_err(|_| self.broken("it is not UTF-8".to_owned())),
        }
    }

    fn question(&self, text: &str) -> Result<Question, SourceError> {
        let line: Line = serde_json::from_str(text).map_err(|error| self.broken(error.to_string()))?;
        if line.title.trim().is_empty() && line.body.trim().is_empty() {
            return Err(self.broken("it has neither title nor body; give at least one".to_owned()));
        }
        if line.closedness.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Err(self.broken("closedness must be a number from 0 (open-ended) to 1".to_owned()));
        }
        let author = line.author.map(|author| match author {
            AuthorForm::Name(name) => Author { name, url: None },
            AuthorForm::Full { name, url } => Author { name, url },
        });
        Ok(Question {
            id: format!("{}/{}", self.source, line.id.unwrap_or_else(|| self.line.to_string())),
            source: self.source.clone(),
            title: line.title,
            body: line.body,
            tags: line.tags,
            author,
            url: line.url,
            licence: line.licence,
            asked_at: line.asked_at,
            closedness: line.closedness,
            terms: line.terms,
        })
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Question, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done {
            let item = match self.next_line() {
                Ok(None) => break,
                Ok(Some(line)) if line.trim().trim_start_matches('\u{feff}').is_empty() => continue,
                Ok(Some(line)) => self.question(line.trim().trim_start_matches('\u{feff}')),
                Err(error) => Err(error),
            };
            self.done = item.is_err();
            return Some(item);
        }
        self.done = true;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Result<Question, String>> {
        Reader::new(text.as_bytes(), "q.jsonl", "q").map(|item| item.map_err(|error| error.to_string())).collect()
    }

    #[test]
    fn a_question_needs_only_a_title_and_keeps_its_attribution() {
        let text = "\u{feff}{\"title\":\"Why?\"}\r\n\n{\"id\":\"x\",\"body\":\"How?\",\"author\":{\"name\":\"A\"},\"licence\":\"CC0\",\"terms\":\"own\"}";
        let questions = read(text);
        let first = questions[0].as_ref().unwrap();
        assert_eq!((first.id.as_str(), first.title.as_str()), ("q/1", "Why?"));
        let second = questions[1].as_ref().unwrap();
        assert_eq!((second.id.as_str(), second.licence.as_deref()), ("q/x", Some("CC0")));
        assert_eq!((first.terms.as_deref(), second.terms.as_deref()), (None, Some("own")));
        assert_eq!(second.author.as_ref().map(|author| author.name.as_str()), Some("A"));
        assert_eq!(questions.len(), 2);
    }

    #[test]
    fn a_wrong_line_ends_the_source_with_its_number() {
        let check = |text: &str, wanted: &str| {
            let last = read(text).pop().unwrap().unwrap_err();
            assert!(last.starts_with(wanted), "{last}");
        };
        check("{\"title\":\"a\"}\n{\"titel\":\"b\"}\n{}", "'q.jsonl' is broken in line 2: unknown field `titel`");
        check("{}", "'q.jsonl' is broken in line 1: it has neither title nor body");
        check(&"x".repeat(2 << 20), "'q.jsonl' is broken in line 1: it is longer than 1048576 bytes");
        check("{\"title\":\"a\",\"closedness\":2}", "'q.jsonl' is broken in line 1: closedness");
    }
}
