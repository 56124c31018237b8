//! What the program makes of bytes from outside: a request's body, a file of questions, a dump. Arbitrary bytes go in,
//! nothing panics, what is refused is refused in a clear and bounded sentence, and what is taken holds finite numbers.
//!
//! Invariant: nothing here is stored or sent. The fuzz targets call these, and so does a seeded loop in the tests.

use std::io::Cursor;
use std::path::Path;

use understudy_actors::fuzz::{Kept, assert_kept};
use understudy_learning::stages::Question;

use crate::config::{Config, Layers};
use crate::gateway::recent::Recent;
use crate::gateway::{ApiError, feedback, wire};
use crate::sources::{SourceError, jsonl, stack_exchange};

/// A moment, in milliseconds since the Unix epoch, that stands for the present.
const NOW: i64 = 1_700_000_000_000;

/// Everything that a request's body is held against: the built-in configuration, and a store with a few answers.
pub struct Gateway {
    config: Config,
    recent: Recent,
    kept: Kept,
}

impl Gateway {
    /// Puts its store into `scratch`, which is empty.
    pub fn new(scratch: &Path) -> Self {
        let config = Layers::built_in().finish().expect("the built-in configuration is valid").config;
        Self { config, recent: Recent::default(), kept: Kept::new(scratch) }
    }

    /// A request's body: as a rating, up to the point where it would be written down, and as a chat request.
    pub fn body(&self, bytes: &[u8]) {
        match feedback::read(bytes, None, NOW, &self.recent) {
            Ok(feedback) => {
                assert_kept(&feedback);
                if let Err(refusal) = self.kept.check(&feedback) {
                    assert!(!refusal.to_string().is_empty());
                }
            }
            Err(error) => assert_clear(&error),
        }
        let (generation, http) = (&self.config.generation, &self.config.http);
        match wire::Body::from_json(bytes).and_then(|body| body.into_request(generation, http, "tiny", 7)) {
            Ok((request, _)) => {
                let sampling = &request.sampling;
                let numbers = [sampling.temperature, sampling.top_p, sampling.min_p, sampling.repetition_penalty];
                assert!(numbers.iter().all(|number| number.is_finite() && *number >= 0.0), "{request:?}");
                assert!((1..generation.max_context).contains(&sampling.max_tokens), "{request:?}");
                assert!(!request.messages.is_empty() && request.samples >= 1, "{request:?}");
            }
            Err(error) => assert_clear(&error),
        }
    }
}

fn assert_clear(error: &ApiError) {
    assert!((400..500).contains(&error.status.as_u16()), "{error:?}");
    assert!(!error.message.is_empty() && error.message.len() < 4096, "{error:?}");
}

/// A file of questions, one JSON object a line.
pub fn questions_jsonl(bytes: &[u8]) {
    let mut reader = jsonl::Reader::new(bytes, "fuzz.jsonl", "fuzz");
    let lines = bytes.split(|byte| *byte == b'\n').count();
    let read: Vec<_> = reader.by_ref().collect();
    assert!(reader.next().is_none() && read.len() <= lines, "{} items in {lines} lines", read.len());
    read.iter().for_each(assert_question);
    assert!(read.iter().rev().skip(1).all(Result::is_ok), "a broken line ends the source");
}

fn assert_question(question: &Result<Question, SourceError>) {
    match question {
        Ok(question) => {
            assert!(!question.id.is_empty() && !question.text().is_empty(), "{question:?}");
            assert!(question.closedness.is_none_or(|p| (0.0..=1.0).contains(&p)), "{question:?}");
        }
        Err(error) => assert!(matches!(error, SourceError::Broken { .. }) && error.to_string().len() < 4096, "{error}"),
    }
}

/// A Stack Exchange dump: as posts, as events in time order, and, where it is text, as the HTML of one post.
pub fn stack_exchange_dump(bytes: &[u8]) {
    let mut posts = stack_exchange::Posts::new(bytes, "fuzz.xml");
    let read: Vec<_> = posts.by_ref().collect();
    assert!(read.iter().rev().skip(1).all(Result::is_ok), "nothing follows an error");
    let site = stack_exchange::Site::new("fuzz.stackexchange.com", Path::new("Posts.xml"));
    match stack_exchange::Events::index(Cursor::new(bytes), "fuzz.xml", site) {
        Ok(events) => {
            assert_eq!(events.remaining(), read.len(), "every post is an event");
            let events: Vec<_> = events.map(|event| event.expect("what was indexed is read again")).collect();
            assert!(events.is_sorted_by_key(|event| event.at), "events are in time order");
        }
        Err(error) => assert!(read.last().is_some_and(Result::is_err), "only the index fails: {error}"),
    }
    if let Ok(html) = std::str::from_utf8(bytes) {
        let text = stack_exchange::html::to_markdown(html);
        assert!(text.len() <= 40 * html.len() + 64, "{} bytes from {}", text.len(), html.len());
    }
}

#[cfg(test)]
#[path = "../fuzz/smoke.rs"]
mod smoke;

#[cfg(test)]
mod tests {
    use super::smoke::{corpus, smoke};
    use super::*;
    use understudy_model::rng::{Purpose, Stream};

    #[test]
    fn fuzz_smoke_feedback_json() {
        let scratch = tempfile::tempdir().unwrap();
        let gateway = Gateway::new(scratch.path());
        let mut stream = Stream::new(1, Purpose::Shuffle, 3);
        smoke("feedback_json", 20_000, |n| stream.below(n), |bytes| gateway.body(bytes));
    }

    #[test]
    fn hostile_bodies_are_refused_in_a_clear_sentence_or_hold_finite_numbers() {
        let recent = Recent::default();
        let read = |body: &[u8]| feedback::read(body, None, NOW, &recent).map_err(|error| error.message);
        let score =
            |value: &str| read(format!(r#"{{"kind":"score","answer":1,"value":{value},"min":-1,"max":1}}"#).as_bytes());
        for (number, part) in [
            ("1e39", "value is 1e39"),
            ("1e400", "number out of range"),
            ("18446744073709551616", "value is 1.8446744073709552e19"),
            ("NaN", "is not JSON"),
            ("Infinity", "is not JSON"),
            ("\"1\"", "expected f64"),
            ("null", "expected f64"),
        ] {
            let message = score(number).unwrap_err();
            assert!(message.contains(part), "{number}: {message}");
        }
        for (number, value) in [("-0.0", 0.0), ("5e-324", 5e-324), ("1e-400", 0.0), ("0.5", 0.5)] {
            let grade = score(number).unwrap().grade().unwrap().1;
            assert_eq!(grade, (value + 1.0) / 2.0, "{number}");
        }
        let long = "x".repeat(10 << 20);
        let deep = [&br#"{"kind":"ranking","levels":"#[..], &[b'['; 100_000]].concat();
        for (body, part) in [
            (format!(r#"{{"kind":"edit","answer":1,"text":"{long}"}}"#).into_bytes(), "text is 10485760 bytes long"),
            (format!(r#"{{"kind":"{long}"}}"#).into_bytes(), "kind is 'xxx"),
            (format!(r#"{{"kind":"thumb","answer":1,"up":true,"id":"{long}"}}"#).into_bytes(), "id is "),
            (format!(r#"{{"kind":"thumb","{long}":1}}"#).into_bytes(), "'xxx"),
            (deep, "recursion limit"),
            (br#"{"kind":"stars","answer":1,"stars":1,"stars":5}"#.to_vec(), "'stars' stands twice"),
            (b"{\"kind\":\"flag\",\"answer\":1,\"reason\":\"\xff\"}".to_vec(), "is not JSON"),
            (br#"{"kind":"flag","answer":1,"reason":"\ud800"}"#.to_vec(), "is not JSON"),
            (br#"{"kind":"stars","answer":-1,"stars":1}"#.to_vec(), "invalid value"),
            (br#"{"kind":"stars","answer":1,"stars":256}"#.to_vec(), "invalid value"),
            (br#"{"kind":"score","answer":1,"value":0,"min":-1e308,"max":1e308}"#.to_vec(), "min is -1e308"),
            (b"".to_vec(), "is not JSON"),
        ] {
            let message = read(&body).unwrap_err();
            assert!(message.contains(part) && message.chars().count() <= 501, "{part}: {message}");
        }
    }

    #[test]
    fn fuzz_smoke_questions_jsonl() {
        let mut stream = Stream::new(1, Purpose::Shuffle, 4);
        smoke("questions_jsonl", 20_000, |n| stream.below(n), questions_jsonl);
    }

    #[test]
    fn fuzz_smoke_stack_exchange_dump() {
        let mut stream = Stream::new(1, Purpose::Shuffle, 5);
        smoke("stack_exchange_dump", 10_000, |n| stream.below(n), stack_exchange_dump);
    }

    /// The corpus would be worthless if it were refused at the first byte.
    #[test]
    fn the_first_of_every_corpus_is_valid() {
        let scratch = tempfile::tempdir().unwrap();
        let gateway = Gateway::new(scratch.path());
        let taken: Vec<_> = corpus("feedback_json")
            .iter()
            .filter_map(|body| feedback::read(body, None, NOW, &gateway.recent).ok())
            .filter(|feedback| gateway.kept.check(feedback).is_ok())
            .map(|feedback| feedback.kind_name())
            .collect();
        for kind in ["stars", "thumb", "score", "pair", "ranking", "edit", "flag", "steps", "retract"] {
            assert!(taken.contains(&kind), "no {kind} is taken, only {taken:?}");
        }
        let (file, dump) = (corpus("questions_jsonl").swap_remove(0), corpus("stack_exchange_dump").swap_remove(0));
        let questions = jsonl::Reader::new(&file[..], "0", "fuzz");
        assert!(questions.filter(Result::is_ok).count() > 2);
        let posts = stack_exchange::Posts::new(&dump[..], "0");
        assert!(posts.filter(Result::is_ok).count() > 2);
    }
}
