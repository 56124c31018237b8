//! The daemon behind the gateway.
//!
//! Invariant: words only are translated here; nothing is decided.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use understudy_actors::daemon::{ChatRequest as Chat, DaemonHandle};
use understudy_actors::messages::{ChatError, FeedbackRefusal, TokenEvent};
use understudy_actors::past::Past;
use understudy_actors::reward::Judged;
use understudy_actors::stage::{Order, StageRefusal, StageView};
use understudy_learning::stages::{AnswerId, Feedback, PolicyVersion, Rollout};
use understudy_model::Message;

use super::backend::{Ack, Backend, ChatEvent, ChatEvents, ChatRequest, Refusal, Waiting, unread};
use crate::clock;
use crate::config::{Http, Live};

/// How long a judgement may take, whatever the budget.
const JUDGE_PATIENCE: Duration = Duration::from_secs(60);

/// How long an order to the stage may take: it writes a version's weights.
const STAGE_PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon and the name under which it serves its model.
#[derive(Clone)]
pub struct Served {
    handle: DaemonHandle,
    model: String,
    http: Live<Http>,
}

impl Served {
    /// Serves `handle`'s daemon; ratings are waited for as long as `http` says when they come.
    pub fn new(handle: DaemonHandle, model: String, http: Live<Http>) -> Self {
        Self { handle, model, http }
    }
}

impl Backend for Served {
    fn chat(&self, request: ChatRequest) -> Result<ChatEvents, Refusal> {
        let room = request.samples * (request.sampling.max_tokens + 2) + 1;
        let asked = Chat {
            messages: request.messages.into_iter().map(|m| Message::new(m.role, m.content)).collect(),
            samples: request.samples,
            sampling: request.sampling,
            stop: request.stop,
            deadline: Instant::now() + Duration::from_secs_f64(request.timeout_s),
            asked_at: clock::now_ms(),
        };
        let mut stream = self.handle.chat(asked).map_err(refused)?;
        let (sender, receiver) = mpsc::channel(room);
        actix_rt::spawn(async move {
            loop {
                // A reader that went away ends the loop, which drops the stream, which cancels the request.
                let event = tokio::select! {
                    event = stream.next() => event,
                    () = sender.closed() => None,
                };
                let Some(event) = event else { break };
                if sender.send(translated(event)).await.is_err() {
                    break;
                }
            }
        });
        Ok(receiver)
    }

    fn feedback(&self, feedback: Feedback) -> Waiting<'_, Result<Ack, Refusal>> {
        let deadline = Instant::now() + Duration::from_secs_f64(self.http.now().feedback_timeout_s);
        Box::pin(async move {
            let ack = self.handle.submit_feedback(feedback, deadline).await.map_err(not_taken)?;
            Ok(Ack { seq: ack.seq, duplicate: ack.duplicate })
        })
    }

    fn past(&self) -> Option<Past> {
        Some(self.handle.past())
    }

    fn heard_up_to(&self) -> u64 {
        self.handle.reward().up_to
    }

    fn not_ready(&self) -> Vec<String> {
        self.handle.not_ready()
    }

    fn version(&self) -> PolicyVersion {
        self.handle.serving_version()
    }

    fn judge(&self, answers: Vec<AnswerId>) -> Waiting<'_, Option<Vec<Judged>>> {
        Box::pin(async move {
            let judged = self.handle.judge(&answers, Instant::now() + JUDGE_PATIENCE).await;
            judged.unwrap_or_else(|error| {
                tracing::warn!(%error, "an answer was given without the reward model's opinion");
                None
            })
        })
    }

    fn stage(&self) -> StageView {
        self.handle.stage()
    }

    fn direct(&self, order: Order) -> Waiting<'_, Result<StageView, StageRefusal>> {
        Box::pin(self.handle.direct(order, Instant::now() + STAGE_PATIENCE))
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn status(&self) -> serde_json::Value {
        let mut status = serde_json::to_value(self.handle.status()).expect("a status is plain data with text keys");
        let store = self.handle.store_stats();
        status["store"] = serde_json::json!({
            "last_seq": store.last_seq,
            "waiting_records": store.waiting_records,
            "journal_segments": store.journal_segments,
            "journal_bytes": store.journal_bytes,
            "lag_records": store.lag_records,
            "low_space": store.low_space,
        });
        status
    }

    fn answer(&self, id: AnswerId) -> Result<Option<Arc<Rollout>>, Refusal> {
        self.handle.answers().find(id).map_err(unread)
    }
}

fn translated(event: TokenEvent) -> ChatEvent {
    match event {
        TokenEvent::Token { sample, text, logprob, version, .. } => ChatEvent::Token { sample, text, logprob, version },
        TokenEvent::Finished { sample, answer, text, finish, prompt_tokens, tokens, version } => {
            ChatEvent::Finished { sample, answer, text, finish, prompt_tokens, tokens, version }
        }
        TokenEvent::Failed(error) => ChatEvent::Failed(refused(error)),
    }
}

fn refused(error: ChatError) -> Refusal {
    let message = error.to_string();
    match error {
        ChatError::Full => Refusal::Full(message),
        ChatError::Closed => Refusal::Closed(message),
        ChatError::Expired => Refusal::Expired(message),
        ChatError::Invalid(_) => Refusal::Invalid { field: None, message },
        ChatError::NoSpace(_) => Refusal::NoSpace(message),
        ChatError::Crashed(_) | ChatError::NotKept(_) => Refusal::Crashed(message),
    }
}

fn not_taken(refusal: FeedbackRefusal) -> Refusal {
    let message = refusal.to_string();
    match refusal {
        FeedbackRefusal::Invalid(error) => Refusal::Rating(error),
        FeedbackRefusal::UnknownAnswer(_) | FeedbackRefusal::UnknownFeedback(_) => Refusal::Unknown(message),
        FeedbackRefusal::DifferentQuestions(..) => Refusal::Invalid { field: None, message },
        FeedbackRefusal::NotYours(_) => Refusal::NotYours(message),
        FeedbackRefusal::Conflict(_) => Refusal::Conflict(message),
        FeedbackRefusal::Quarantined(_) => Refusal::Invalid { field: None, message },
        FeedbackRefusal::Full => Refusal::Full(message),
        FeedbackRefusal::Closed => Refusal::Closed(message),
        FeedbackRefusal::Expired => Refusal::Expired(message),
        FeedbackRefusal::NoSpace(_) => Refusal::NoSpace(message),
        FeedbackRefusal::Crashed | FeedbackRefusal::Store(_) => Refusal::Crashed(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::ApiError;

    #[test]
    fn what_another_annotator_said_is_theirs_to_take_back() {
        let error = ApiError::from(not_taken(FeedbackRefusal::NotYours("f".into())));
        assert_eq!((error.status.as_u16(), error.code, error.param.as_deref()), (403, "not_yours", Some("annotator")));
        assert!(error.message.contains("given by another annotator"), "{}", error.message);
    }

    #[test]
    fn a_full_disk_is_507_for_ratings_and_chats_and_a_broken_journal_is_not() {
        let status = |refusal: Refusal| ApiError::from(refusal).status.as_u16();
        let why = || "/data has 10 bytes free and 50 are kept as a reserve; free some space".to_owned();
        assert_eq!(status(not_taken(FeedbackRefusal::NoSpace(why()))), 507);
        assert_eq!(status(refused(ChatError::NoSpace(why()))), 507);
        assert_eq!(status(not_taken(FeedbackRefusal::Store(why()))), 502);
        assert_eq!(status(refused(ChatError::NotKept(why()))), 502);
    }
}
