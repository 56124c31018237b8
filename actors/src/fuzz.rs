//! What the actors make of bytes that a disk or a client gave: arbitrary bytes go in, nothing panics, and what is taken
//! comes out again as it went in.
//!
//! Invariant: nothing here is stored. The fuzz targets call these, and so does a seeded loop in the tests.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use understudy_checkpoints::{NewRecord, RecordKind, Store, StoreConfig};
use understudy_learning::stages::{AnswerId, Feedback, Question, Rollout};

use crate::answers::{Answers, decode_answer, encode_answer};
use crate::feedback::check;
use crate::messages::FeedbackRefusal;
use crate::seams::{FeedbackLog, StoreLog, decode_feedback, encode_feedback};

/// The payload of a stored record, as every kind of record that the actors read.
pub fn payload(bytes: &[u8]) {
    if let Ok(event) = decode_feedback(1, bytes) {
        let _ = event.feedback.validate().map(|()| assert_kept(&event.feedback));
    }
    if let Ok(rollout) = decode_answer(bytes) {
        let length = rollout.tokens.len();
        assert_eq!((rollout.old_logprobs.len(), rollout.kept_mass.len()), (length, length));
        assert_eq!(rollout.all_tokens().len(), rollout.prompt.tokens.len() + length);
        let _ = (rollout.oldest_version(), rollout.prompt.question.text());
        let once = encode_answer(&rollout);
        let again = decode_answer(&once).expect("what was written is read");
        assert_eq!(encode_answer(&again), once, "an answer is not what was read");
    }
    if let Ok((name, position)) = postcard::from_bytes::<(String, u64)>(bytes) {
        let once = postcard::to_stdvec(&(&name, position)).expect("a name and a number");
        assert_eq!(postcard::from_bytes(&once), Ok((name, position)), "a cursor is not what was read");
    }
    if let Ok(question) = postcard::from_bytes::<Question>(bytes) {
        let once = postcard::to_stdvec(&question).expect("a question is plain data");
        assert!(postcard::from_bytes::<Question>(&once).is_ok(), "a question is not what was read");
    }
}

/// An event that was found good reads from the journal as it was, to the last bit: else the same event, sent again,
/// would be a conflict.
pub fn assert_kept(feedback: &Feedback) {
    let again = decode_feedback(1, &encode_feedback(feedback)).expect("what was written is read");
    assert_eq!(again.feedback, *feedback, "feedback is not what was written");
    assert!(feedback.grade().is_none_or(|(_, grade)| (0.0..=1.0).contains(&grade)), "{feedback:?}");
}

/// A store with answers 1 and 2 to one question, answer 3 to another, and one event, `f1` of `ana` on answer 1.
pub struct Kept {
    _store: Store,
    answers: Answers,
    log: StoreLog,
}

impl Kept {
    /// Opens the store in `dir`, which is empty.
    pub fn new(dir: &Path) -> Self {
        let (store, _) = Store::open(dir, StoreConfig::default()).expect("an empty directory can be opened");
        let handle = store.handle();
        let answers = Answers::new(handle.clone(), 8);
        [(1, 1), (2, 1), (3, 3)].iter().for_each(|(id, group)| answers.remember(Arc::new(rollout(*id, *group))));
        let event = json!({"id": "f1", "annotator": "ana", "at": 0, "kind": "thumb", "answer": 1, "up": true});
        let key = Some("feedback/f1".to_owned());
        let record = NewRecord { kind: RecordKind::Feedback, key, group: 1, bytes: event.to_string().into_bytes() };
        handle.append(record).expect("an empty store takes an event");
        Self { _store: store, answers, log: StoreLog(handle) }
    }

    /// What the feedback actor says of an event before it is written down.
    pub fn check(&self, feedback: &Feedback) -> Result<(), FeedbackRefusal> {
        assert!(self.log.find(&feedback.id).is_ok(), "every id can be looked up");
        check::check(feedback, &self.answers, &self.log)
    }
}

fn rollout(id: AnswerId, group: AnswerId) -> Rollout {
    let question =
        json!({ "id": format!("q{group}"), "source": "fuzz", "title": "Why?", "body": "", "tags": [], "asked_at": 0 });
    let sampling = json!({ "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0,
        "max_tokens": 2, "seed": 0 });
    let rollout = json!({ "id": id, "group": group, "prompt": { "question": question, "tokens": [1, 2] },
        "tokens": [3, 4], "text": "one\n\ntwo", "old_logprobs": [-1.0, -0.5], "kept_mass": [1.0, 1.0],
        "version_spans": [{ "start": 0, "version": 0 }], "sampling": sampling, "finish": "Length" });
    serde_json::from_value(rollout).expect("the fields above are those of a rollout")
}

#[cfg(test)]
#[path = "../../fuzz/smoke.rs"]
mod smoke;

#[cfg(test)]
mod tests {
    use super::smoke::{corpus, smoke};
    use super::*;
    use understudy_model::rng::{Purpose, Stream};

    #[test]
    fn fuzz_smoke_payload() {
        let mut stream = Stream::new(1, Purpose::Shuffle, 2);
        smoke("payload", 20_000, |n| stream.below(n), payload);
    }

    /// The corpus would be worthless if it were refused at the first byte.
    #[test]
    fn the_first_of_every_corpus_is_valid() {
        let corpus = corpus("payload");
        assert!(decode_answer(&corpus[0]).is_ok_and(|rollout| rollout.tokens.len() == 2));
        assert!(decode_feedback(1, &corpus[1]).is_ok_and(|event| event.feedback.validate().is_ok()));
    }

    #[test]
    fn an_answer_whose_parts_do_not_fit_each_other_is_refused() {
        let refused = |change: &dyn Fn(&mut Rollout), part: &str| {
            let mut rollout = rollout(7, 7);
            change(&mut rollout);
            let error = decode_answer(&encode_answer(&rollout)).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        refused(&|rollout| rollout.old_logprobs.truncate(1), "1 log-probabilities");
        refused(&|rollout| rollout.kept_mass.clear(), "0 masses");
        refused(&|rollout| rollout.old_logprobs[1] = f32::NAN, "not finite");
        refused(&|rollout| rollout.id = u64::MAX, "id");
        assert!(decode_answer(&encode_answer(&rollout(7, 7))).is_ok());
    }
}
