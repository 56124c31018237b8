//! What travels on the Bus.
//!
//! Invariant: messages are plain values. No tensor is among them; the only handles are a reply's channel and a ticket,
//! whose drop gives its places back.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::mpsc;
use understudy_learning::ppo::PpoReport;
use understudy_learning::reward::RewardReport;
use understudy_learning::stages::{
    AnswerId, Feedback, FeedbackError, Finish, PolicyVersion, Prompt, Question, RewardVersion, Rollout, Sampling,
    ScoredRollout,
};

use crate::link::Ticket;
use crate::stage::Change;

/// A question on its way to the policy.
#[derive(Debug)]
pub struct PromptRequest {
    /// What is asked.
    pub prompt: Prompt,
    /// Answers wanted.
    pub samples: usize,
    /// How to sample.
    pub sampling: Sampling,
    /// An answer ends before the first of these.
    pub stop: Vec<String>,
    /// Who asks.
    pub asker: Asker,
}

/// Who waits for an answer.
#[derive(Debug)]
pub enum Asker {
    /// Somebody reads the tokens as they come.
    Chat(TokenSink),
    /// Nobody: it is asked only to learn, within the pace.
    Training(Ticket),
}

/// Where a chat request's tokens go. It has room for everything that one request can say, so a slow reader never makes
/// the policy wait; a reader that went away cancels the request.
pub type TokenSink = mpsc::Sender<TokenEvent>;

/// What a chat client sees.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenEvent {
    /// One more token.
    Token {
        /// Which of the request's answers, from 0.
        sample: usize,
        /// The token.
        token: i64,
        /// Text that is now certain; may be empty.
        text: String,
        /// At the sampling temperature.
        logprob: f32,
        /// The policy that sampled it.
        version: PolicyVersion,
    },
    /// An answer is whole and durable: it can be rated under its id.
    Finished {
        /// Which of the request's answers, from 0.
        sample: usize,
        /// Its name from now on.
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
    /// The request was given up; nothing follows.
    Failed(ChatError),
}

/// Why a chat request is not (further) answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// Too many requests wait already.
    #[error("too many requests are waiting; try again in a moment")]
    Full,
    /// The daemon is shutting down.
    #[error("the daemon is shutting down and takes no new requests")]
    Closed,
    /// The request's deadline passed.
    #[error("the request's deadline passed before its answer was whole; allow more time or ask for fewer tokens")]
    Expired,
    /// The actor that held the request failed.
    #[error("the request was lost in a failure of the {0}; send it again")]
    Crashed(&'static str),
    /// The disk is nearly full, so the answer could not be kept. Generation itself goes on.
    #[error("the answer could not be kept: {0}")]
    NoSpace(String),
    /// The answer could not be written to disk, so it cannot be rated.
    #[error("the answer could not be kept: {0}")]
    NotKept(String),
    /// The request cannot be served as it is.
    #[error("{0}")]
    Invalid(String),
}

/// All answers to one request, in order of their ids.
#[derive(Debug)]
pub struct RolloutGroup {
    /// The answers.
    pub rollouts: Vec<Rollout>,
    /// Their places at the pace; given back when the group is lost on the way.
    pub ticket: Ticket,
}

/// All answers to one request with their scores.
#[derive(Debug)]
pub struct ScoredGroup {
    /// The scored answers.
    pub rollouts: Vec<ScoredRollout>,
    /// Their places at the pace, spent when the learner has learned from them.
    pub ticket: Ticket,
}

/// Durable answers to one request, shown to whoever rates. Without trunk states.
#[derive(Debug, Clone, PartialEq)]
pub struct AnsweredQuestion {
    /// What was asked.
    pub question: Arc<Question>,
    /// The answers, in order of their ids.
    pub answers: Arc<Vec<Rollout>>,
}

/// An event was taken: it is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FeedbackAck {
    /// Its place in the journal.
    pub seq: u64,
    /// The same event had been taken before.
    pub duplicate: bool,
}

/// Why an event was not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FeedbackRefusal {
    /// A field is wrong.
    #[error("{0}")]
    Invalid(#[from] FeedbackError),
    /// No such answer.
    #[error("answer {0} is unknown here; rate an answer id that this daemon gave out and still keeps")]
    UnknownAnswer(AnswerId),
    /// The answers belong to different questions.
    #[error("answers {0} and {1} answer different questions; compare answers to one question")]
    DifferentQuestions(AnswerId, AnswerId),
    /// No such event to take back.
    #[error("feedback {0:?} is unknown here; name an event that was acknowledged")]
    UnknownFeedback(String),
    /// The event to take back was somebody else's.
    #[error("feedback {0:?} was given by another annotator; only its author can take it back")]
    NotYours(String),
    /// The id was used for another event.
    #[error("feedback {0:?} was already given with other content; use a new id for a new event")]
    Conflict(String),
    /// Too many events wait already.
    #[error("too many ratings are waiting; try again in a moment")]
    Full,
    /// The daemon is shutting down.
    #[error("the daemon is shutting down and takes no ratings")]
    Closed,
    /// It was not durable in time; it may or may not be: send it again under the same id.
    #[error("the rating was not on disk in time; send it again under the same id")]
    Expired,
    /// The actor failed with it in hand; send it again under the same id.
    #[error("the rating was lost in a failure of the feedback actor; send it again under the same id")]
    Crashed,
    /// It made the feedback actor fail twice.
    #[error("feedback {0:?} failed its check twice and is in quarantine; report the file, and rate otherwise")]
    Quarantined(String),
    /// The disk is nearly full: nothing more is taken until there is room again.
    #[error("the rating was not taken: {0}, then send it again under the same id")]
    NoSpace(String),
    /// The journal cannot write.
    #[error("the rating could not be written: {0}")]
    Store(String),
}

impl FeedbackRefusal {
    /// The word in metrics and in the API.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::UnknownAnswer(_) => "unknown_answer",
            Self::DifferentQuestions(..) => "different_questions",
            Self::UnknownFeedback(_) => "unknown_feedback",
            Self::NotYours(_) => "not_yours",
            Self::Conflict(_) => "conflict",
            Self::Full => "full",
            Self::Closed => "closed",
            Self::Expired => "expired",
            Self::Crashed => "crashed",
            Self::Quarantined(_) => "quarantined",
            Self::NoSpace(_) => "no_space",
            Self::Store(_) => "store",
        }
    }
}

/// What happens in the loop, for whoever watches.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum LoopEvent {
    /// An answer is durable.
    Answered {
        /// The answer.
        answer: AnswerId,
        /// Answers to the same request share it.
        group: AnswerId,
        /// What was asked.
        question: String,
        /// The answer's text.
        text: String,
        /// The newest policy that took part.
        version: PolicyVersion,
        /// Tokens in the answer.
        tokens: usize,
        /// Whether somebody waited for it.
        chat: bool,
    },
    /// The first token that a newly published policy sampled.
    FirstToken {
        /// The policy.
        version: PolicyVersion,
        /// From its publication.
        seconds: f64,
    },
    /// An event of feedback is durable.
    Rated {
        /// Its place in the journal.
        seq: u64,
        /// The event.
        feedback: Feedback,
    },
    /// Answers were scored.
    Scored {
        /// The answers' group.
        group: AnswerId,
        /// Mean normalised score.
        mean_score: f64,
        /// Each answer with its normalised score and that score's standard error, 0 where it is not known; as many as
        /// the group has answers.
        scores: Vec<(AnswerId, f64, f64)>,
        /// The reward model that scored.
        version: RewardVersion,
    },
    /// The reward model learned.
    RewardUpdate {
        /// The reward model after it.
        version: RewardVersion,
        /// Of the minibatch.
        report: RewardReport,
        /// Recent share of two-way questions that it foretold rightly.
        prequential_accuracy: Option<f64>,
        /// Recent log-loss of the same predictions.
        prequential_log_loss: Option<f64>,
        /// Journal sequences of the ratings that no minibatch had held before.
        learned: Vec<u64>,
        /// Events in its replay.
        replay: usize,
        /// Wall time of the unit.
        seconds: f64,
    },
    /// The reward model was learned anew without what was taken back, and serves now.
    RewardRebuilt {
        /// The reward model.
        version: RewardVersion,
        /// The journal sequence up to which feedback is in it.
        up_to: u64,
        /// From its beginning, scoring and learning between its units included.
        seconds: f64,
    },
    /// An alarm on the reward model was raised or is over.
    RewardAlarm {
        /// `collapse` or `drift`.
        alarm: &'static str,
        /// Whether it was raised.
        on: bool,
        /// The reward model.
        version: RewardVersion,
        /// The figures behind it, in words.
        why: String,
    },
    /// The policy learned.
    PolicyUpdate {
        /// The policy after it, as published.
        version: PolicyVersion,
        /// The oldest reward model that scored any of its answers: what that one had learned is in the update.
        scored_by: RewardVersion,
        /// Of the update.
        report: Box<PpoReport>,
        /// Wall time of all its units.
        seconds: f64,
    },
    /// The policy had gone bad and was put back to weights that it had before.
    PolicyRollback {
        /// The version under which those weights serve now.
        version: PolicyVersion,
        /// The version under which they served before.
        weights_of: PolicyVersion,
        /// `not_finite`, `kl` or `entropy`.
        reason: &'static str,
        /// The figure behind it, in words.
        why: String,
    },
    /// Who serves people has changed, or who may.
    Stage {
        /// What happened.
        #[serde(flatten, serialize_with = "told")]
        change: Change,
    },
    /// The hidden taste's opinion of an answer (simulated people only; never shown to the learners).
    Gold {
        /// The answer.
        answer: AnswerId,
        /// The newest policy that took part.
        version: PolicyVersion,
        /// By the population's common taste.
        gold: f64,
    },
    /// A checkpoint is committed.
    Checkpoint {
        /// Its step.
        step: u64,
        /// The policy in it.
        policy_version: PolicyVersion,
        /// The reward model in it.
        reward_version: RewardVersion,
        /// Collecting and writing.
        seconds: f64,
    },
    /// Something failed and was handled.
    Trouble {
        /// Where.
        actor: &'static str,
        /// What.
        what: String,
    },
}

/// A change with its own fields, and as a sentence.
fn told<S: serde::Serializer>(change: &Change, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Told<'a> {
        #[serde(flatten)]
        change: &'a Change,
        text: String,
    }
    Told { change, text: change.to_string() }.serialize(to)
}
