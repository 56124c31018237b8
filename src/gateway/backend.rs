//! What the gateway needs of the daemon, and nothing more.
//!
//! Invariant: taking a request never waits (it is admitted or refused at once); only an acknowledgement is waited for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use understudy_actors::past::Past;
use understudy_actors::reward::Judged;
use understudy_actors::stage::{Order, StageRefusal, StageView};
use understudy_learning::stages::{AnswerId, Feedback, FeedbackError, Finish, PolicyVersion, Rollout, Sampling};

/// A chat request after validation.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// Role and content, in order.
    pub messages: Vec<ChatMessage>,
    /// Answers wanted.
    pub samples: usize,
    /// How to sample.
    pub sampling: Sampling,
    /// Where to stop.
    pub stop: Vec<String>,
    /// Seconds until the asker gives up.
    pub timeout_s: f64,
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// What happens to a chat request once it is taken.
#[derive(Debug, Clone, PartialEq)]
pub enum ChatEvent {
    /// One more token of one of the answers.
    Token {
        /// Which answer, from 0.
        sample: usize,
        /// Text that is now certain; may be empty.
        text: String,
        /// At the sampling temperature.
        logprob: f32,
        /// The policy that sampled it.
        version: PolicyVersion,
    },
    /// An answer is whole and durable.
    Finished {
        /// Which answer, from 0.
        sample: usize,
        /// Its name, for ratings.
        answer: AnswerId,
        /// The whole text.
        text: String,
        /// Why it ended.
        finish: Finish,
        /// Tokens in the prompt.
        prompt_tokens: usize,
        /// Tokens in the answer.
        tokens: usize,
        /// The newest policy that took part.
        version: PolicyVersion,
    },
    /// It was given up; nothing follows.
    Failed(Refusal),
}

/// Events of one request; dropping it cancels the request.
pub type ChatEvents = mpsc::Receiver<ChatEvent>;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be done as it is: the field and the sentence.
    #[error("{message}")]
    Invalid {
        /// The request's field, where one is to blame.
        field: Option<&'static str>,
        /// What is wrong, with the value and the remedy.
        message: String,
    },
    /// A field of a rating is wrong.
    #[error("{0}")]
    Rating(#[from] FeedbackError),
    /// It speaks of something that is not here.
    #[error("{0}")]
    Unknown(String),
    /// It takes back what somebody else said.
    #[error("{0}")]
    NotYours(String),
    /// It contradicts what was said before under the same id.
    #[error("{0}")]
    Conflict(String),
    /// Too much waits already: come back.
    #[error("{0}")]
    Full(String),
    /// Shutting down.
    #[error("{0}")]
    Closed(String),
    /// Too late.
    #[error("{0}")]
    Expired(String),
    /// The disk is nearly full: come back when there is room.
    #[error("{0}")]
    NoSpace(String),
    /// A part failed with it in hand.
    #[error("{0}")]
    Crashed(String),
}

/// A rating that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Its place in the journal.
    pub seq: u64,
    /// It had been taken before.
    pub duplicate: bool,
}

/// A future that a backend returns.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The daemon as the gateway sees it.
pub trait Backend: Send + Sync {
    /// Takes a chat request, or refuses it at once.
    fn chat(&self, request: ChatRequest) -> Result<ChatEvents, Refusal>;
    /// Takes a rating; ready when it is durable or refused.
    fn feedback(&self, feedback: Feedback) -> Waiting<'_, Result<Ack, Refusal>>;
    /// What was answered and said before, where it is kept.
    fn past(&self) -> Option<Past>;
    /// The journal sequence up to which the reward model has heard feedback.
    fn heard_up_to(&self) -> u64;
    /// Empty when ready to serve, else the reasons why not.
    fn not_ready(&self) -> Vec<String>;
    /// The policy that serves now.
    fn version(&self) -> PolicyVersion;
    /// The served model's name.
    fn model(&self) -> &str;
    /// What the reward model thinks of answers; `None` where it knows too little, or does not say.
    fn judge(&self, _answers: Vec<AnswerId>) -> Waiting<'_, Option<Vec<Judged>>> {
        Box::pin(std::future::ready(None))
    }
    /// Who serves people, and who may.
    fn stage(&self) -> StageView {
        StageView::direct(self.version())
    }
    /// Tells the stage what to do; ready when it is done, on disk, or refused.
    fn direct(&self, _order: Order) -> Waiting<'_, Result<StageView, StageRefusal>> {
        Box::pin(std::future::ready(Err(StageRefusal::Direct)))
    }
    /// How the loop is doing: an object.
    fn status(&self) -> serde_json::Value {
        serde_json::json!({"policy_version": self.version(), "not_ready": self.not_ready()})
    }
    /// An answer that is still kept. May read the disk, as all that follows.
    fn answer(&self, id: AnswerId) -> Result<Option<Arc<Rollout>>, Refusal> {
        let found = self.past().map_or(Ok(None), |past| past.answer(id)).map_err(unread)?;
        Ok(found.map(|(_, answer)| Arc::new(answer)))
    }
    /// The lowest and the highest id of the answers that are kept.
    fn answer_ids(&self) -> Result<Option<(AnswerId, AnswerId)>, Refusal> {
        self.past().map_or(Ok(None), |past| past.answer_ids()).map_err(unread)
    }
    /// The events of feedback in these journal records, with their places; what is no longer kept is left out.
    fn said(&self, seqs: &[u64]) -> Result<Vec<(u64, Feedback)>, Refusal> {
        let Some(past) = self.past() else { return Ok(Vec::new()) };
        let one = |seq: &u64| past.feedback_at(*seq).map_err(unread).transpose();
        seqs.iter().filter_map(one).map(|said| said.map(|said| (said.seq, said.feedback))).collect()
    }
}

/// What a client is told of a disk that cannot be read; the log has the rest.
pub(super) fn unread(error: impl std::fmt::Display) -> Refusal {
    tracing::error!(%error, "the store could not be read");
    Refusal::Crashed("the store could not be read; see the daemon's log, and run `understudy doctor`".to_owned())
}
