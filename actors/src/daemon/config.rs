//! How the loop is run.
//!
//! Invariant: plain values with defaults; what is wrong with them is found by [`DaemonConfig::validate`] before anything
//! starts.

use std::time::Duration;

use understudy_checkpoints::checkpoint::Retention;
use understudy_learning::ppo::PpoConfig;
use understudy_learning::reward::RewardConfig;
use understudy_learning::reward::openness::OpennessConfig;
use understudy_learning::stages::Sampling;
use understudy_model::generate::EngineConfig;

use super::StartError;
use crate::bus::Capacities;
use crate::lockstep::Lockstep;
use crate::reward::HearingConfig;
use crate::source::AskingConfig;
use crate::stage::StageConfig;
use crate::supervision::RestartPolicy;

/// Where the compute actors run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// All on the caller's own system: for tests under simulated time.
    Inline,
    /// A thread each, with so many threads for one libtorch operation.
    Dedicated {
        /// Threads for one libtorch operation; 1 on few cores.
        intra_op: i32,
    },
}

/// Settings of the whole loop.
#[derive(Debug, Clone)]
pub struct DaemonConfig {
    /// Every random stream derives from it.
    pub seed: u64,
    /// The generator's bounds.
    pub engine: EngineConfig,
    /// Parallel answers that training requests never take.
    pub kept_for_chat: usize,
    /// How questions of the sources are asked. Its sampling temperature must be the learner's.
    pub asking: AskingConfig,
    /// The policy's learning.
    pub ppo: PpoConfig,
    /// When a new policy serves people.
    pub stage: StageConfig,
    /// The reward's learning.
    pub reward: RewardConfig,
    /// How the reward actor divides its work.
    pub hearing: HearingConfig,
    /// How closed-ended questions are held to be.
    pub openness: OpennessConfig,
    /// How much each link holds.
    pub capacities: Capacities,
    /// Answers kept in memory with their trunk states; older ones are read from the store.
    pub answers_in_memory: usize,
    /// Unrated answers put before the annotators again after a restart.
    pub unrated_again: usize,
    /// Updates between two checkpoints; 0 takes them only at the end and when asked.
    pub checkpoint_every: u64,
    /// Which checkpoints are kept.
    pub retention: Retention,
    /// When failed actors are started anew.
    pub restart: RestartPolicy,
    /// How long one unit of work may take without a sign of life.
    pub unit_budget: Duration,
    /// Where the compute actors run.
    pub threads: Threads,
    /// Whether the run is to repeat itself bit for bit; then nobody but its own raters may take part.
    pub lockstep: Option<Lockstep>,
}

impl Default for DaemonConfig {
    fn default() -> Self {
        let ppo = PpoConfig::default();
        let sampling = Sampling {
            temperature: ppo.temperature,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            max_tokens: 64,
            seed: 0,
        };
        let (samples, max_prompt) = (4, 256);
        let asking = AskingConfig { samples, sampling, stop: Vec::new(), system: None, max_prompt, rate: 0.0 };
        Self {
            seed: 0,
            engine: EngineConfig::default(),
            kept_for_chat: 2,
            asking,
            ppo,
            stage: StageConfig::default(),
            reward: RewardConfig::default(),
            hearing: HearingConfig::default(),
            openness: OpennessConfig::default(),
            capacities: Capacities::default(),
            answers_in_memory: 256,
            unrated_again: 64,
            checkpoint_every: 5,
            retention: Retention::default(),
            restart: RestartPolicy::default(),
            unit_budget: Duration::from_secs(300),
            threads: Threads::Dedicated { intra_op: 1 },
            lockstep: None,
        }
    }
}

impl DaemonConfig {
    /// Whether the values can work together; names the first that cannot.
    pub fn validate(&self) -> Result<(), StartError> {
        self.ppo.validate()?;
        self.reward.validate()?;
        self.openness.validate()?;
        self.hearing.drift.validate()?;
        self.stage.validate()?;
        let fail = |text: String| Err(StartError::Config(text));
        let (asked, learned) = (self.asking.sampling.temperature, self.ppo.temperature);
        if (asked - learned).abs() > 1e-9 {
            return fail(format!(
                "questions are asked at temperature {asked} but learned from at {learned}: set them to the same value"
            ));
        }
        if self.asking.sampling.repetition_penalty != 1.0 {
            let penalty = self.asking.sampling.repetition_penalty;
            return fail(format!("the sources' repetition_penalty is {penalty}: only 1 can be learned from"));
        }
        let most = (self.ppo.max_staleness as usize + 1) * self.ppo.batch_size;
        if self.asking.samples == 0 || self.asking.samples > most {
            let samples = self.asking.samples;
            return fail(format!("{samples} samples a question: give 1 to {most} (batch_size x (max_staleness + 1))"));
        }
        if self.lockstep.is_some() && self.stage.is_guarded() {
            let why = "in lockstep nobody but its own raters takes part, so there is nobody to guard: set stage.mode = \"direct\"";
            return fail(why.to_owned());
        }
        if self.lockstep.is_some() && !self.ppo.batch_size.is_multiple_of(self.asking.samples) {
            let (samples, batch) = (self.asking.samples, self.ppo.batch_size);
            return fail(format!(
                "in lockstep a round is one batch, and batches of {batch} are not made of whole groups of {samples}: set \
                 batch_size to a multiple of the samples a question"
            ));
        }
        let longest = self.asking.max_prompt + self.asking.sampling.max_tokens;
        if longest > self.engine.max_context {
            return fail(format!(
                "prompts of {} and answers of {} tokens do not fit a context of {}: lower max_tokens or raise max_context",
                self.asking.max_prompt, self.asking.sampling.max_tokens, self.engine.max_context
            ));
        }
        Ok(())
    }
}
