//! The configuration, parsed once and checked against itself: the rest of the program sees only [`Config`].
//!
//! Invariant: every key stands in `config/default.toml`, which is also the schema that user files are checked against;
//! nothing here has a second default in code.

mod check;
mod error;
mod layers;
mod live;
mod phases;
mod reload;
mod schema;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use understudy_actors::reward::HearingConfig;
use understudy_actors::stage::StageConfig;
use understudy_learning::annotators::PopulationConfig;
use understudy_learning::ppo::PpoConfig;
use understudy_learning::reward::openness::OpennessConfig;

use crate::resources;
use crate::sources::Shares;

pub use error::ConfigError;
pub use layers::{Layers, Loaded, Origin};
pub use live::Live;
pub use phases::{Pace, Phases, Reward, Sft};
pub use reload::{Load, RELOADABLE, Reloaded, Reloader};
pub use schema::{DEFAULT_TOML, Schema};

/// Everything that can be configured.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Seed of every random stream.
    pub seed: u64,
    /// Where state lives.
    pub data: Data,
    /// What speaks.
    pub model: Model,
    /// How it speaks.
    pub generation: Generation,
    /// How the policy learns.
    pub ppo: PpoConfig,
    /// How the reward model learns.
    pub reward: Reward,
    /// How the reward actor divides its work.
    pub hearing: HearingConfig,
    /// How closed-ended questions are held to be.
    pub openness: OpennessConfig,
    /// What the three phases learn from, and how long.
    pub phases: Phases,
    /// When a new policy serves people.
    pub stage: StageConfig,
    /// Where questions come from.
    pub source: Source,
    /// Simulated people.
    pub annotators: Annotators,
    /// The HTTP face.
    pub http: Http,
    /// What annotators are asked to rate.
    pub tasks: Tasks,
    /// What is written when.
    pub checkpoint: Checkpoint,
    /// Replay buffers and journal.
    pub store: Store,
    /// What is logged.
    pub log: Log,
    /// Files for others' tools.
    pub telemetry: Telemetry,
    /// Threads of libtorch.
    pub threads: Threads,
    /// What happens when an actor fails, or does not stop.
    pub supervision: Supervision,
}

/// `[data]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The data directory.
    pub dir: PathBuf,
}

/// `[model]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Folder or GGUF file.
    pub path: PathBuf,
    /// Upper layers that learn.
    pub trainable_layers: usize,
    /// Where tensors live.
    pub device: DeviceChoice,
}

/// Which device to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceChoice {
    /// CUDA when present, else CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The first GPU, or an error.
    Cuda,
}

/// `[generation]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// Answers decoded at the same time.
    pub max_sequences: usize,
    /// Tokens of prompt and answer together.
    pub max_context: usize,
    /// Tokens of a training prompt.
    pub max_prompt: usize,
    /// Answers at the same time kept for chat.
    pub kept_for_chat: usize,
    /// Requests that may wait.
    pub max_waiting: usize,
    /// Prompt tokens between two decode steps.
    pub prefill_chunk: usize,
    /// Softmax temperature.
    pub temperature: f64,
    /// Nucleus.
    pub top_p: f64,
    /// Longest answer.
    pub max_tokens: usize,
    /// Answers drawn for one that is asked for whole; 1 is no choice.
    pub best_of: usize,
    /// Milliseconds for drawing them.
    pub best_of_budget_ms: u64,
    /// Score below which an answer is kept back; none when left out.
    pub abstain_below: Option<f64>,
    /// Standard error of the score above which it is kept back; none when left out.
    pub abstain_std_above: Option<f64>,
    /// Answers to a training question.
    pub samples_per_prompt: usize,
    /// What running answers do at a publication.
    pub on_swap: OnSwap,
    /// System message, or empty.
    pub system: String,
}

/// What a running answer does when new weights arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnSwap {
    /// Go on with the new weights, spans recorded.
    Continue,
    /// New weights wait until the running answers are done.
    FinishFirst,
}

/// `[source]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Which kind.
    pub kind: SourceKind,
    /// Its file.
    pub path: PathBuf,
    /// Host of the dump or of the API's site, or empty.
    pub site: String,
    /// Corpora by name; all when empty.
    pub corpora: Vec<String>,
    /// A replay's seconds to one of ours; 0 is without waiting.
    pub speed: f64,
    /// Where a replay or the API begins; empty is the beginning, or now.
    pub from: String,
    /// The operator's words, or empty.
    pub terms: String,
    /// The operator's word that training is allowed.
    pub may_train: bool,
    /// Tags that the API is asked for; all when empty.
    pub tags: Vec<String>,
    /// File with the API's key, or empty.
    pub key_file: PathBuf,
    /// Seconds between two looks.
    pub every_s: u64,
    /// Requests a second at most.
    pub requests_per_s: f64,
    /// Requests of a day that are left to others.
    pub reserve: u64,
    /// The API's URL.
    pub api: String,
    /// The data directory, where corpora and feeds lie: `data.dir` as it was loaded, not a key of its own.
    #[serde(skip)]
    pub data: PathBuf,
    /// Whether the body is put before the model after the title.
    pub bodies: bool,
    /// Questions a second at most; 0 is unlimited.
    pub rate: f64,
    /// Begin again at the end.
    pub repeat: bool,
    /// Share never trained on.
    pub held_out: f64,
    /// Share that only a judge learns from.
    pub held_back: f64,
}

impl Source {
    /// Which shares are not trained on.
    pub fn shares(&self) -> Shares {
        Shares { held_out: self.held_out, held_back: self.held_back }
    }
}

/// Kinds of question source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Only what people ask over HTTP.
    None,
    /// The built-in questions.
    Sample,
    /// A `Posts.xml`.
    StackExchange,
    /// One JSON object a line.
    Jsonl,
    /// What was ingested.
    Corpus,
    /// The same in time order, at its pace.
    Replay,
    /// The Stack Exchange API.
    Api,
}

/// `[annotators]`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Annotators {
    /// Of how many people a question's answers get a rating, on average; 0 is none.
    pub attention: f64,
    /// Their seconds to one of ours.
    pub speed: f64,
    /// Folder of the reward model that they go by; empty is the taste.
    pub judge: PathBuf,
    /// Who they are.
    #[serde(flatten)]
    pub population: PopulationConfig,
}

/// `[http]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address to listen on.
    pub bind: SocketAddr,
    /// Names in `Host` beside loopback's and addresses.
    pub hosts: Vec<String>,
    /// Tokens for writes on loopback too.
    pub tokens_always: bool,
    /// Tokens for reads as well, where writes need them.
    pub tokens_for_reads: bool,
    /// Writes a second of one peer; 0 is unlimited.
    pub writes_per_s: f64,
    /// Writes of one peer at once.
    pub write_burst: f64,
    /// Seconds for a request's head to arrive.
    pub head_timeout_s: f64,
    /// Largest body.
    pub max_body_bytes: usize,
    /// Seconds for a body to arrive.
    pub body_timeout_s: f64,
    /// Seconds for a chat answer.
    pub chat_timeout_s: f64,
    /// Seconds for an acknowledgement.
    pub feedback_timeout_s: f64,
    /// Seconds that what is sent may lie unread.
    pub write_timeout_s: f64,
    /// Connections at once.
    pub max_connections: usize,
    /// Seconds between keep-alive comments.
    pub keep_alive_s: f64,
    /// Readers of the events at once.
    pub max_event_streams: usize,
}

/// `[tasks]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tasks {
    /// Newest questions that can be asked about.
    pub candidates: usize,
    /// Share of tasks whose answer is known.
    pub gold_share: f64,
    /// Seconds for which a task is given to one annotator only; 0 is none.
    pub lease_s: f64,
}

/// `[checkpoint]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Updates between two checkpoints.
    pub every_updates: u64,
    /// Newest to keep.
    pub keep_last: usize,
    /// Every k-th is kept for good; 0 none.
    pub keep_every: u64,
    /// The best by a metric, see [`understudy_checkpoints::checkpoint::Best`]; none when left out.
    pub keep_best: Option<String>,
    /// Those younger than this, such as `36h`; no such rule when left out.
    pub keep_for: Option<String>,
}

/// `[store]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// Most answers in the replay buffer.
    pub max_answers: u64,
    /// Most bytes of answers.
    pub max_answer_bytes: u64,
    /// Most feedback events in the replay buffer.
    pub max_feedback: u64,
    /// Most bytes of feedback events.
    pub max_feedback_bytes: u64,
    /// Waiting writes.
    pub queue: usize,
    /// Free bytes below which nothing more is written.
    pub min_free_bytes: u64,
    /// Answers in memory with their trunk states.
    pub answers_in_memory: usize,
    /// Unrated answers shown again after a restart.
    pub unrated_again: usize,
}

/// `[log]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// A tracing filter.
    pub filter: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Readable on a terminal, else JSON.
    Auto,
    /// Readable.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// `[telemetry]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Where TensorBoard's event files go; empty is nowhere.
    pub tensorboard_dir: PathBuf,
    /// Most bytes of them.
    pub tensorboard_max_bytes: u64,
}

/// `[threads]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threads {
    /// Threads of one libtorch operation.
    pub intra_op: i32,
    /// The same of a command that computes alone; 0 is one for each core.
    pub alone: i32,
}

impl Config {
    /// The settings of a command that computes alone.
    pub fn alone(mut self) -> Self {
        let cores = || resources::machine().cores.try_into().unwrap_or(1);
        self.threads.intra_op = if self.threads.alone == 0 { cores() } else { self.threads.alone };
        self
    }
}

/// `[supervision]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supervision {
    /// Restarts within the window.
    pub max_restarts: usize,
    /// The window.
    pub within_s: f64,
    /// Seconds without a sign of life.
    pub unit_budget_s: f64,
    /// Seconds that a stop may take.
    pub drain_s: f64,
}
