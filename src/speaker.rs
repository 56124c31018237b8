//! The model outside the daemon: for asking, evaluating, exporting and measuring.
//!
//! Invariant: nothing is learned and nothing is written here; checkpoints are only read, so a running daemon is not
//! disturbed.

use std::path::{Path, PathBuf};

use tch::{Cuda, Device, Tensor};
use understudy_checkpoints::checkpoint::{self, Checkpoint};
use understudy_learning::stages::Question;
use understudy_model::weights::tensors_from_bytes;
use understudy_model::{
    Branch, Engine, EngineConfig, Event, LoadedModel, Message, Output, Request, SamplingParams, TextCodec, Trunk,
    digest_of,
};

use crate::config::{Config, DeviceChoice, Generation, OnSwap};
use crate::cuda;
use crate::failure::Failure;

/// Prefix of the policy's tensors in a checkpoint's `ppo.safetensors`.
const POLICY: &str = "policy/";
/// The part of a checkpoint that holds the policy.
const POLICY_PART: &str = "ppo.safetensors";

/// A model that can speak.
pub struct Speaker {
    /// As it stands on disk.
    pub loaded: LoadedModel,
    /// Frozen lower layers.
    pub trunk: Trunk,
    /// Upper layers: the base model's, or a checkpoint's.
    pub branch: Branch,
    /// Which policy speaks; 0 is the base model.
    pub version: u64,
    /// Names the weights as they stand on disk.
    base: String,
    device: Device,
}

/// Which weights to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The model as it was before any learning.
    Base,
    /// The newest checkpoint of the data directory; the base model when there is none.
    Newest,
    /// This checkpoint's directory.
    At(PathBuf),
}

/// Where checkpoints lie.
pub fn checkpoints_dir(config: &Config) -> PathBuf {
    config.data.dir.join("checkpoints")
}

/// The configured device.
pub fn device(choice: DeviceChoice) -> Result<Device, Failure> {
    let not_ready = |reason: &str| {
        Failure::NotReady(format!(
            "model.device is \"cuda\", but {reason}; set it to \"auto\" or \"cpu\", or run 'understudy doctor'"
        ))
    };
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Auto if !cuda::has_driver() => Ok(Device::Cpu),
        DeviceChoice::Auto => {
            if let Err(error) = cuda::load() {
                tracing::warn!(%error, "there is a GPU, but libtorch's CUDA part was not loaded; the CPU is used");
            }
            Ok(Device::cuda_if_available())
        }
        DeviceChoice::Cuda => {
            cuda::load().map_err(|error| not_ready(&format!("libtorch_cuda.so cannot be loaded ({error})")))?;
            Cuda::is_available().then_some(Device::Cuda(0)).ok_or_else(|| not_ready("libtorch sees no GPU"))
        }
    }
}

/// Reads the configured model from disk.
pub fn load_model(config: &Config) -> Result<LoadedModel, Failure> {
    let path = &config.model.path;
    if !path.exists() {
        return Err(Failure::NotReady(format!(
            "the model '{}' (model.path) is not there; run scripts/setup.sh, or name another folder or GGUF file",
            path.display()
        )));
    }
    understudy_model::load(path).map_err(|error| Failure::Failed(error.into()))
}

/// The number of a model's parameters; a head that is tied to the embedding is the same numbers again.
pub fn parameter_count(loaded: &LoadedModel) -> usize {
    let tied = loaded.config.tie_word_embeddings;
    let again = |name: &str| tied && name == "lm_head.weight";
    loaded.weights.iter().filter(|(name, _)| !again(name)).map(|(_, tensor)| tensor.numel()).sum()
}

impl Speaker {
    /// Loads the configured model with the weights of `which`.
    pub fn load(config: &Config, which: &Which) -> Result<Self, Failure> {
        tch::set_num_threads(config.threads.intra_op);
        let loaded = load_model(config)?;
        Self::of(loaded, config, which)
    }

    /// The same with a model that was read before.
    pub fn of(loaded: LoadedModel, config: &Config, which: &Which) -> Result<Self, Failure> {
        let device = device(config.model.device)?;
        let built = understudy_model::build(&loaded.config, &loaded.weights, config.model.trainable_layers, device);
        let (trunk, branch) = built.map_err(|error| Failure::Failed(error.into()))?;
        let base = digest_of(&trunk, &branch);
        let mut speaker = Self { loaded, trunk, branch, version: 0, base, device };
        let checkpoint = match which {
            Which::Base => None,
            Which::Newest => {
                checkpoint::recover(&checkpoints_dir(config)).map_err(|error| Failure::Failed(error.into()))?.checkpoint
            }
            Which::At(path) => Some(checkpoint::load(path).map_err(|error| Failure::Failed(error.into()))?),
        };
        if let Some(checkpoint) = checkpoint {
            speaker.take_policy(&checkpoint)?;
        }
        Ok(speaker)
    }

    /// Tokenizer and chat template.
    pub fn text(&self) -> &TextCodec {
        &self.loaded.text
    }

    /// The device that it speaks on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The model's name: what its file says, or the file's own.
    pub fn name(&self, path: &Path) -> String {
        let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        self.loaded.source.name.clone().or_else(stem).unwrap_or_else(|| "model".to_owned())
    }

    /// A generator with these weights.
    pub fn engine(&self, config: EngineConfig) -> Engine {
        let (trunk, branch) = (self.trunk.shallow_clone(), self.branch.shallow_clone());
        let eos = self.loaded.defaults.eos_tokens.clone();
        Engine::new(trunk, branch, self.loaded.text.clone(), eos, config, self.device)
    }

    /// The prompt of a question: the system message if there is one, then the question as the user's, cut at its end
    /// until the prompt has at most `limit` tokens.
    pub fn prompt(&self, system: &str, question: &Question, limit: usize) -> anyhow::Result<Vec<i64>> {
        let whole: Vec<char> = question.text().chars().collect();
        let mut length = whole.len();
        loop {
            let cut: String = whole[..length].iter().collect();
            let tokens = chat_prompt(&self.loaded.text, system, &cut)?;
            if tokens.len() <= limit || length == 0 {
                return Ok(tokens);
            }
            length = (length * limit / tokens.len()).min(length - 1);
        }
    }

    /// Whether a checkpoint was learned from this model, as far as it tells.
    pub fn stands_under(&self, checkpoint: &Checkpoint) -> Result<(), Failure> {
        let began_with = checkpoint.manifest.extra.get("base").and_then(serde_json::Value::as_str);
        match began_with.is_some_and(|base| base != self.base) {
            true => Err(Failure::Failed(anyhow::anyhow!(
                "the checkpoint '{}' was learned from another model; name that one (model.path), or another checkpoint \
                 ('--checkpoint base' is none)",
                checkpoint.path.display()
            ))),
            false => Ok(()),
        }
    }

    /// Speaks with a checkpoint's policy from now on.
    pub fn take_policy(&mut self, checkpoint: &Checkpoint) -> Result<(), Failure> {
        let broken = |what: String| {
            let path = checkpoint.path.display();
            Failure::Failed(anyhow::anyhow!(
                "the checkpoint '{path}' does not fit this model: {what}; name another model.path, or another checkpoint"
            ))
        };
        self.stands_under(checkpoint)?;
        let bytes = checkpoint.read(POLICY_PART).map_err(|error| Failure::Failed(error.into()))?;
        let tensors = tensors_from_bytes(&bytes).map_err(|error| broken(error.to_string()))?;
        let _guard = tch::no_grad_guard();
        for (name, parameter) in self.branch.parameters() {
            let saved: &Tensor =
                tensors.get(&format!("{POLICY}{name}")).ok_or_else(|| broken(format!("'{name}' is missing")))?;
            if saved.size() != parameter.size() {
                return Err(broken(format!("'{name}' is {:?} where {:?} is wanted", saved.size(), parameter.size())));
            }
            parameter.shallow_clone().copy_(saved);
        }
        let version = checkpoint.manifest.extra.get("policy_version").and_then(serde_json::Value::as_u64);
        self.version = version.unwrap_or(checkpoint.step);
        Ok(())
    }
}

/// The engine's bounds as configured.
pub fn engine_config(generation: &Generation) -> EngineConfig {
    EngineConfig {
        max_sequences: generation.max_sequences,
        max_context: generation.max_context,
        max_waiting: generation.max_waiting,
        prefill_chunk: generation.prefill_chunk,
        on_swap: match generation.on_swap {
            OnSwap::Continue => understudy_model::OnSwap::Continue,
            OnSwap::FinishFirst => understudy_model::OnSwap::FinishFirst,
        },
    }
}

/// The configured sampling with this seed.
pub fn sampling(generation: &Generation, seed: u64) -> SamplingParams {
    SamplingParams {
        temperature: generation.temperature,
        top_k: 0,
        top_p: generation.top_p,
        min_p: 0.0,
        repetition_penalty: 1.0,
        max_tokens: generation.max_tokens,
        stop: Vec::new(),
        seed,
    }
}

/// Answers all `requests` with as many at a time as the engine has room for, in their order; `told` hears each answer
/// as it ends.
pub fn answer_all(
    engine: &mut Engine,
    requests: Vec<Request>,
    mut told: impl FnMut(&Output),
) -> anyhow::Result<Vec<Vec<Output>>> {
    let mut answers: Vec<Vec<Option<Output>>> = requests.iter().map(|request| vec![None; request.samples]).collect();
    let mut waiting =
        requests.into_iter().enumerate().map(|(at, request)| Request { id: at as u64, ..request }).peekable();
    while waiting.peek().is_some() || !engine.is_idle() {
        while engine.waiting() == 0 {
            let Some(request) = waiting.next() else { break };
            engine.submit(request)?;
        }
        for event in engine.step()? {
            if let Event::Finished { request, sample, output } = event {
                told(&output);
                answers[request as usize][sample] = Some(output);
            }
        }
    }
    Ok(answers.into_iter().map(|group| group.into_iter().flatten().collect()).collect())
}

/// A chat's prompt.
pub fn chat_prompt(text: &TextCodec, system: &str, question: &str) -> anyhow::Result<Vec<i64>> {
    let mut messages = Vec::new();
    if !system.is_empty() {
        messages.push(Message::new("system", system));
    }
    messages.push(Message::user(question));
    Ok(text.encode_chat(&messages, true)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use understudy_actors::checkpoint::encode;
    use understudy_model::testing::tiny_model;

    use super::*;
    use crate::config::Layers;

    fn tiny(seed: u64) -> Speaker {
        let tiny = tiny_model(seed);
        let (defaults, source) = Default::default();
        let loaded = LoadedModel { config: tiny.config, weights: tiny.weights, text: tiny.text, defaults, source };
        let mut config = Layers::built_in().finish().unwrap().config;
        config.model.trainable_layers = 1;
        Speaker::of(loaded, &config, &Which::Base).unwrap()
    }

    #[test]
    fn a_checkpoint_speaks_through_the_model_that_it_was_learned_from_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (mut own, mut other, learned) = (tiny(3), tiny(4), tiny(5));
        let named = |(name, tensor): (String, Tensor)| (format!("{POLICY}{name}"), tensor);
        let policy = encode(&learned.branch.parameters().into_iter().map(named).collect::<Vec<_>>()).unwrap();
        let about = json!({"base": own.base, "policy_version": 9});
        checkpoint::commit(folder.path(), 9, &[(POLICY_PART, &policy)], about).unwrap();
        let saved = checkpoint::recover(folder.path()).unwrap().checkpoint.unwrap();
        let refused = other.take_policy(&saved).unwrap_err().to_string();
        assert!(refused.contains("was learned from another model"), "{refused}");
        own.take_policy(&saved).unwrap();
        // What it says now is not what it stands on: it takes the next one of the same run too.
        own.take_policy(&saved).unwrap();
        let same = |(a, b): (&(String, Tensor), &(String, Tensor))| a.1.equal(&b.1);
        assert!(own.branch.parameters().iter().zip(&learned.branch.parameters()).all(same) && own.version == 9);
    }
}
