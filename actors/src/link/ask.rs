//! Questions over a port: an envelope with a deadline, a reply, and the four ways to get none.
//!
//! Invariant: whoever asks gets exactly one outcome by the deadline, also when the actor dies with the question in hand
//! (the reply is dropped: `Crashed`) or never gets to it (`Expired`). The deadline is absolute, set once at the edge,
//! inherited downstream and looked at when the question is taken up.

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Span;

use super::port::{OfferError, Port};
use crate::metric;

/// Why a question got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The queue is full.
    #[error("too many requests are waiting; try again later")]
    Full,
    /// The daemon is shutting down, or the actor gave up.
    #[error("not taking requests: shutting down, or the actor behind gave up")]
    Closed,
    /// The deadline passed first.
    #[error("no answer before the deadline; ask for less or allow more time")]
    Expired,
    /// The actor died with the question in hand.
    #[error("the actor failed while it worked on this request; try again")]
    Crashed,
}

impl AskError {
    /// The HTTP status that says it: 429, 503, 504, 502.
    pub fn status(self) -> u16 {
        match self {
            Self::Full => 429,
            Self::Closed => 503,
            Self::Expired => 504,
            Self::Crashed => 502,
        }
    }
}

impl<T> From<OfferError<T>> for AskError {
    fn from(refused: OfferError<T>) -> Self {
        match refused {
            OfferError::Full(_) => Self::Full,
            OfferError::Closed(_) => Self::Closed,
        }
    }
}

/// A message with its deadline and the span it belongs to.
#[derive(Debug, Clone)]
pub struct Envelope<T> {
    /// What is sent.
    pub value: T,
    /// After this instant nobody waits for it any more.
    pub deadline: Instant,
    /// Where its work is accounted.
    pub span: Span,
}

impl<T> Envelope<T> {
    /// An envelope of the current span.
    pub fn new(value: T, deadline: Instant) -> Self {
        Self { value, deadline, span: Span::current() }
    }

    /// Another message that inherits deadline and span.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Envelope<U> {
        Envelope { value: change(self.value), deadline: self.deadline, span: self.span }
    }

    /// Whether the deadline has passed.
    pub fn is_expired(&self) -> bool {
        self.deadline <= Instant::now()
    }
}

/// A question and where its answer goes.
#[derive(Debug)]
pub struct Ask<T, R> {
    /// The question.
    pub value: T,
    /// Where the answer goes; dropping it unanswered means `Crashed`.
    pub reply: Reply<R>,
}

/// Where one answer goes.
#[derive(Debug)]
pub struct Reply<R>(oneshot::Sender<Result<R, AskError>>);

impl<R> Reply<R> {
    /// A reply and what awaits it, for askers that do not use [`ask`].
    pub fn channel() -> (Self, oneshot::Receiver<Result<R, AskError>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// Answers; `false` when nobody waits any more. Works on any thread.
    pub fn answer(self, answer: R) -> bool {
        self.0.send(Ok(answer)).is_ok()
    }

    /// Says why there will be no answer.
    pub fn refuse(self, why: AskError) -> bool {
        self.0.send(Err(why)).is_ok()
    }

    /// Whether nobody waits any more.
    pub fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }
}

impl<T, R> Envelope<Ask<T, R>> {
    /// Takes the question up, unless its time is over or nobody waits for it; then it is counted, answered `Expired` and
    /// dropped.
    pub fn accept(self) -> Option<Envelope<Ask<T, R>>> {
        if self.value.reply.is_abandoned() {
            metrics::counter!(metric::REQUEST_DROPPED, "reason" => "abandoned").increment(1);
            return None;
        }
        if self.is_expired() {
            metrics::counter!(metric::REQUEST_DROPPED, "reason" => "expired").increment(1);
            self.value.reply.refuse(AskError::Expired);
            return None;
        }
        Some(self)
    }
}

/// Offers a question and awaits its answer until the deadline.
pub async fn ask<T, R>(port: &Port<Envelope<Ask<T, R>>>, value: T, deadline: Instant) -> Result<R, AskError> {
    let (reply, answer) = Reply::channel();
    port.offer(Envelope::new(Ask { value, reply }, deadline))?;
    match tokio::time::timeout_at(deadline, answer).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_dropped)) => Err(AskError::Crashed),
        Err(_elapsed) => Err(AskError::Expired),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    type Questions = Port<Envelope<Ask<u32, u32>>>;

    fn in_seconds(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_comes_back_and_a_dropped_reply_is_a_crash() {
        let port = Questions::new("questions", 2);
        let inlet = port.inlet();
        let answerer = tokio::spawn(async move {
            let Ask { value, reply } = inlet.recv().await.unwrap().accept().unwrap().value;
            reply.answer(value + 1);
            drop(inlet.recv().await);
        });
        assert_eq!(ask(&port, 4, in_seconds(1)).await, Ok(5));
        assert_eq!(ask(&port, 4, in_seconds(1)).await, Err(AskError::Crashed));
        answerer.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn full_and_closed_are_told_at_the_edge() {
        let port = Questions::new("questions", 1);
        let first = tokio::spawn({
            let port = port.clone();
            async move { ask(&port, 1, in_seconds(5)).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(ask(&port, 2, in_seconds(5)).await, Err(AskError::Full));
        port.close();
        assert_eq!(ask(&port, 3, in_seconds(5)).await, Err(AskError::Closed));
        assert_eq!(port.abandon(), 1);
        assert_eq!(first.await.unwrap(), Err(AskError::Crashed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_past_its_deadline_is_not_taken_up() {
        let port = Questions::new("questions", 2);
        let began = Instant::now();
        assert_eq!(ask(&port, 1, in_seconds(3)).await, Err(AskError::Expired));
        assert_eq!(began.elapsed().as_secs(), 3, "the asker waits exactly until its deadline");

        let (reply, answer) = Reply::channel();
        port.offer(Envelope::new(Ask { value: 2, reply }, in_seconds(1))).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let inlet = port.inlet();
        assert!(inlet.recv().await.unwrap().accept().is_none(), "nobody waits for the first");
        assert!(inlet.recv().await.unwrap().accept().is_none(), "the second is too late");
        assert_eq!(answer.await.unwrap(), Err(AskError::Expired));
    }

    #[test]
    fn each_refusal_has_its_status() {
        let statuses = [AskError::Full, AskError::Closed, AskError::Expired, AskError::Crashed].map(AskError::status);
        assert_eq!(statuses, [429, 503, 504, 502]);
    }
}
