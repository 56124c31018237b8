//! An answer's text while it grows, up to a stop string.
//!
//! Invariant: what was given out is never taken back: the end of the text that could be the beginning of a stop string
//! is held until it cannot.

use crate::text::{TextCodec, TextStream};

/// Text of one answer.
#[derive(Debug)]
pub(crate) struct AnswerText {
    stream: TextStream,
    stop: Vec<String>,
    /// Given out.
    text: String,
    /// Certain, but perhaps the beginning of a stop string.
    held: String,
    stopped: bool,
}

impl AnswerText {
    pub(crate) fn new(codec: TextCodec, stop: Vec<String>) -> Self {
        Self { stream: TextStream::new(codec), stop, text: String::new(), held: String::new(), stopped: false }
    }

    /// Takes a token; gives the text that became certain.
    pub(crate) fn push(&mut self, token: i64) -> String {
        let piece = self.stream.push(token);
        self.add(&piece, false)
    }

    /// Ends the text; gives what was held back.
    pub(crate) fn finish(&mut self) -> String {
        let piece = self.stream.finish();
        self.add(&piece, true)
    }

    /// True once a stop string was met.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// All that was given out.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn add(&mut self, piece: &str, last: bool) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(piece);
        let met = self.stop.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        let certain = match met {
            Some(at) => {
                self.stopped = true;
                at
            }
            None if last => self.held.len(),
            None => self.held.len() - self.doubtful(),
        };
        let out = self.held[..certain].to_owned();
        self.held.drain(..certain);
        self.text.push_str(&out);
        out
    }

    /// Bytes at the end of what is held that begin a stop string.
    fn doubtful(&self) -> usize {
        let begins = |length: usize| {
            let start = self.held.len() - length;
            self.held.is_char_boundary(start) && self.stop.iter().any(|stop| stop.starts_with(&self.held[start..]))
        };
        let longest = self.stop.iter().map(String::len).max().unwrap_or(0).min(self.held.len());
        (1..=longest).rev().find(|&length| begins(length)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces given out for each byte of `text`, then what finishing gives, and whether it stopped.
    fn check(text: &str, stop: &[&str], expected: &[&str], stopped: bool) {
        let stop = stop.iter().map(|s| (*s).to_owned()).collect();
        let mut answer = AnswerText::new(TextCodec::bytes(), stop);
        let mut got: Vec<String> = text.bytes().map(|byte| answer.push(i64::from(byte))).collect();
        got.push(answer.finish());
        got.retain(|piece| !piece.is_empty());
        assert_eq!(got, expected, "{text}");
        assert_eq!(answer.stopped(), stopped, "{text}");
        assert_eq!(answer.into_text(), expected.concat());
    }

    #[test]
    fn text_before_a_stop_string_is_given_and_nothing_of_it_or_after_it() {
        check("ab", &[], &["a", "b"], false);
        check("abENDcd", &["END"], &["a", "b"], true);
        check("aEENDc", &["END"], &["a", "E"], true);
        check("aENc", &["END"], &["a", "ENc"], false);
        check("aEN", &["END"], &["a", "EN"], false);
        check("a12", &["2", "123"], &["a", "1"], true);
        check("\u{e4}x\u{e4}y", &["\u{e4}y"], &["\u{e4}x"], true);
    }
}
