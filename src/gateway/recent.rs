//! Which answers a stream's id stands for.
//!
//! Invariant: bounded; it forgets the oldest. A stream has to tell its id before its answers have theirs, and clients
//! that keep only that id must be able to rate.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use understudy_learning::stages::AnswerId;

/// Streams that are remembered.
const MOST: usize = 1024;

/// Streams of late.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    given: u64,
    streams: VecDeque<(String, Vec<AnswerId>)>,
}

impl Recent {
    /// A new stream's id.
    pub(crate) fn begin(&self, now_ms: i64) -> String {
        let mut inner = self.locked();
        inner.given += 1;
        let id = format!("chatcmpl-s{now_ms:x}-{:x}", inner.given);
        inner.streams.push_back((id.clone(), Vec::new()));
        if inner.streams.len() > MOST {
            inner.streams.pop_front();
        }
        id
    }

    /// One of the stream's answers has its name now.
    pub(crate) fn finished(&self, id: &str, answer: AnswerId) {
        if let Some((_, answers)) = self.locked().streams.iter_mut().rev().find(|(stream, _)| stream == id) {
            answers.push(answer);
        }
    }

    /// The stream's only answer, if it has exactly one.
    pub(crate) fn answer_of(&self, id: &str) -> Option<AnswerId> {
        let inner = self.locked();
        let (_, answers) = inner.streams.iter().rev().find(|(stream, _)| stream == id)?;
        (answers.len() == 1).then(|| answers[0])
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here can be torn by a panic: each change is one push.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
