//! The engine: a batch that requests join and leave between steps.
//!
//! Invariant: the running sequences occupy the cache's slots `0..running` without a gap, so a step reads the cache in
//! place; the slot after the last is where the next prompt's keys and values are made.

use std::collections::VecDeque;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::penalty::penalise;
use super::request::{EngineConfig, EngineError, Event, OnSwap, Request};
use super::sampler::Distributions;
use super::sequence::Sequence;
use crate::branch::Branch;
use crate::error::ModelError;
use crate::kv_cache::KvCache;
use crate::text::TextCodec;
use crate::trunk::Trunk;

/// Generates answers to many requests at a time.
#[derive(Debug)]
pub struct Engine {
    trunk: Trunk,
    branch: Branch,
    version: u64,
    /// Weights that wait until the running answers have finished.
    pending: Option<(Branch, u64)>,
    text: TextCodec,
    eos: Vec<i64>,
    config: EngineConfig,
    device: Device,
    cache: KvCache,
    waiting: VecDeque<Request>,
    filling: Option<Filling>,
    running: Vec<Sequence>,
    distributions: Distributions,
}

/// A prompt on its way through the model.
#[derive(Debug)]
struct Filling {
    request: Request,
    /// Prompt tokens passed through.
    done: usize,
    /// Their trunk states, where wanted.
    states: Option<Vec<f32>>,
}

impl Filling {
    fn new(request: Request) -> Self {
        let states = request.capture_trunk.then(Vec::new);
        Self { request, done: 0, states }
    }
}

impl Engine {
    /// An idle engine at version 0. The branch is read only here: give it a snapshot that nobody trains.
    pub fn new(
        trunk: Trunk,
        branch: Branch,
        text: TextCodec,
        eos: Vec<i64>,
        config: EngineConfig,
        device: Device,
    ) -> Self {
        let config = EngineConfig {
            max_sequences: config.max_sequences.max(1),
            max_context: config.max_context.min(trunk.max_position()),
            prefill_chunk: config.prefill_chunk.max(1),
            ..config
        };
        let cache = KvCache::new(&trunk.stack.shape, config.max_sequences + 1, config.max_context);
        Self {
            branch: branch.detached(),
            trunk,
            version: 0,
            pending: None,
            text,
            eos,
            config,
            device,
            cache,
            waiting: VecDeque::new(),
            filling: None,
            running: Vec::new(),
            distributions: Distributions::default(),
        }
    }

    /// Takes a request in, or says why not. It starts in one of the next steps, in order of arrival.
    pub fn submit(&mut self, request: Request) -> Result<(), EngineError> {
        request.params.validate()?;
        let invalid = |reason: String| Err(EngineError::Invalid { reason });
        let slots = self.config.max_sequences;
        if request.samples == 0 || request.samples > slots {
            return invalid(format!("samples is {}: give 1 to {slots}, the engine's max_sequences", request.samples));
        }
        if request.prompt.is_empty() {
            return invalid("the prompt is empty: give at least one token".to_owned());
        }
        let vocabulary = self.trunk.vocab_size() as i64;
        if let Some(token) = request.prompt.iter().find(|&&t| t < 0 || t >= vocabulary) {
            return invalid(format!("the prompt holds token {token}, but token ids are 0 to {}", vocabulary - 1));
        }
        let limit = self.config.max_context - 1;
        if request.prompt.len() > limit {
            return Err(EngineError::PromptTooLong { length: request.prompt.len(), limit });
        }
        if self.knows(request.id) {
            return invalid(format!("request {} is still in the engine: ids are unique", request.id));
        }
        if self.waiting.len() >= self.config.max_waiting {
            return Err(EngineError::Full { waiting: self.waiting.len() });
        }
        self.waiting.push_back(request);
        Ok(())
    }

    fn knows(&self, id: u64) -> bool {
        self.waiting.iter().any(|r| r.id == id)
            || self.filling.iter().any(|f| f.request.id == id)
            || self.running.iter().any(|s| s.request == id)
    }

    /// Admits waiting prompts within the bound, then advances every running sequence by one token.
    ///
    /// An error (weights that give no finite logits) leaves the engine as it was before the failed sampling; the
    /// sequences in it should be cancelled.
    pub fn step(&mut self) -> Result<Vec<Event>, ModelError> {
        let _guard = tch::no_grad_guard();
        let mut events = Vec::new();
        self.settle();
        self.admit(&mut events)?;
        self.decode(&mut events)?;
        self.settle();
        Ok(events)
    }

    /// Forgets a request in whatever state it is; its slots are free at once. No event follows.
    pub fn cancel(&mut self, id: u64) {
        let _guard = tch::no_grad_guard();
        self.waiting.retain(|request| request.id != id);
        if self.filling.as_ref().is_some_and(|f| f.request.id == id) {
            self.filling = None;
        }
        for row in (0..self.running.len()).rev() {
            if self.running[row].request == id {
                self.take(row);
            }
        }
        self.settle();
    }

    /// True if there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.filling.is_none() && self.waiting.is_empty()
    }

    /// Sequences that occupy a slot.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Requests not yet answering.
    pub fn waiting(&self) -> usize {
        self.waiting.len() + usize::from(self.filling.is_some())
    }

    /// New weights, a snapshot that nobody trains: at once, or when the running answers have finished ([`OnSwap`]).
    pub fn set_branch(&mut self, branch: Branch, version: u64) {
        self.pending = Some((branch.detached(), version));
        self.settle();
    }

    /// The weights in use.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Applies waiting weights if it is time. A prompt on its way starts over: its keys belong to the old weights.
    fn settle(&mut self) {
        if self.config.on_swap == OnSwap::FinishFirst && !self.running.is_empty() {
            return;
        }
        if let Some((branch, version)) = self.pending.take() {
            self.branch = branch;
            self.version = version;
            if let Some(filling) = self.filling.take() {
                self.filling = Some(Filling::new(filling.request));
            }
        }
    }

    fn admit(&mut self, events: &mut Vec<Event>) -> Result<(), ModelError> {
        let mut budget = self.config.prefill_chunk;
        while budget > 0 && self.pending.is_none() {
            if self.filling.is_none() {
                let free = self.config.max_sequences - self.running.len();
                match self.waiting.front() {
                    Some(request) if request.samples <= free => {}
                    _ => break,
                }
                self.filling = self.waiting.pop_front().map(Filling::new);
            }
            let Some(mut filling) = self.filling.take() else { break };
            let time = budget.min(filling.request.prompt.len() - filling.done);
            budget -= time;
            let logits = self.fill(&mut filling, time);
            match logits {
                Some(logits) => self.place(filling, &logits, events)?,
                None => self.filling = Some(filling),
            }
        }
        Ok(())
    }

    /// Passes the next `time` tokens of a prompt through; at its end gives the last position's logits `[1, V]`.
    fn fill(&mut self, filling: &mut Filling, time: usize) -> Option<Tensor> {
        let (start, end) = (filling.done, filling.done + time);
        let tokens = Tensor::from_slice(&filling.request.prompt[start..end]).unsqueeze(0).to_device(self.device);
        let positions = Tensor::arange_start(start as i64, end as i64, (Kind::Int64, self.device));
        let rotary = self.trunk.stack.shape.rotary(&positions);
        let mut pass = self.cache.prefill(self.config.max_sequences, start, time);
        let states = self.trunk.stack.step(&self.trunk.embed(&tokens, &positions), rotary.as_ref(), &mut pass);
        if let Some(kept) = &mut filling.states {
            kept.extend(to_host(&states));
        }
        let top = self.branch.stack.step(&states, rotary.as_ref(), &mut pass);
        filling.done = end;
        if end < filling.request.prompt.len() {
            return None;
        }
        let last = self.branch.norm.forward(&top.narrow(1, time as i64 - 1, 1));
        Some(self.branch.logits(&last).squeeze_dim(1))
    }

    /// Gives every sample of a prompt its slot and its first token.
    fn place(&mut self, filling: Filling, logits: &Tensor, events: &mut Vec<Event>) -> Result<(), ModelError> {
        let Filling { request, states, .. } = filling;
        let params = Arc::new(request.params.clone());
        let first = self.running.len();
        for sample in 0..request.samples {
            self.cache.copy(self.config.max_sequences, first + sample, request.prompt.len());
            self.running.push(Sequence::new(&request, sample, &params, states.clone(), &self.text));
        }
        // All samples draw from the same row of logits.
        let rows: Vec<(usize, usize)> = (first..self.running.len()).map(|row| (row, 0)).collect();
        if let Err(error) = self.sample(logits, &rows, events) {
            self.running.truncate(first);
            return Err(error);
        }
        self.sweep(first, events);
        Ok(())
    }

    /// Passes every running sequence's last token through and samples the next ones.
    fn decode(&mut self, events: &mut Vec<Event>) -> Result<(), ModelError> {
        if self.running.is_empty() {
            return Ok(());
        }
        let tokens: Vec<i64> = self.running.iter().map(Sequence::last_token).collect();
        let positions: Vec<i64> = self.running.iter().map(|s| s.position() as i64).collect();
        let tokens = Tensor::from_slice(&tokens).unsqueeze(1).to_device(self.device);
        let mut pass = self.cache.decode(&positions);
        let positions = Tensor::from_slice(&positions).unsqueeze(1).to_device(self.device);
        let rotary = self.trunk.stack.shape.rotary(&positions);
        let states = self.trunk.stack.step(&self.trunk.embed(&tokens, &positions), rotary.as_ref(), &mut pass);
        // Complete sequences are here for their last token's state only.
        let alive = |sequence: &Sequence| sequence.finish.is_none();
        let logits = self.running.iter().any(alive).then(|| {
            let top = self.branch.stack.step(&states, rotary.as_ref(), &mut pass);
            self.branch.logits(&self.branch.norm.forward(&top)).squeeze_dim(1)
        });
        let rows: Vec<(usize, usize)> =
            (0..self.running.len()).filter(|&row| alive(&self.running[row])).map(|row| (row, row)).collect();
        self.record(&states);
        if let Some(logits) = logits {
            self.sample(&logits, &rows, events)?;
        }
        self.sweep(0, events);
        Ok(())
    }

    /// Keeps this step's trunk states `[n, 1, D]` for those that want them.
    fn record(&mut self, states: &Tensor) {
        if self.running.iter().all(|sequence| sequence.states.is_none()) {
            return;
        }
        let host = to_host(states);
        for (sequence, state) in self.running.iter_mut().zip(host.chunks(self.trunk.width())) {
            if let Some(kept) = &mut sequence.states {
                kept.extend_from_slice(state);
            }
        }
    }

    /// Samples a token for each `(running row, row of logits)`, which are in ascending order.
    fn sample(&mut self, logits: &Tensor, rows: &[(usize, usize)], events: &mut Vec<Event>) -> Result<(), ModelError> {
        let mut temperatures = vec![1.0; logits.size()[0] as usize];
        let mut penalised = None;
        for &(row, at) in rows {
            let sequence = &self.running[row];
            temperatures[at] = sequence.params.temperature;
            if let Some(seen) = &sequence.seen
                && penalised != Some(at)
            {
                penalise(&mut logits.get(at as i64), seen, sequence.params.repetition_penalty);
                penalised = Some(at);
            }
        }
        self.distributions.compute(logits, &temperatures);
        let mut drawn = Vec::with_capacity(rows.len());
        for &(row, at) in rows {
            let sequence = &mut self.running[row];
            let one = self.distributions.draw(at, &sequence.params, &mut sequence.stream);
            let name = || format!("logits of policy version {}", self.version);
            drawn.push(one.ok_or_else(|| ModelError::NonFinite { name: name() })?);
        }
        for (&(row, _), drawn) in rows.iter().zip(drawn) {
            events.push(self.running[row].accept(drawn, self.version, &self.eos, self.config.max_context));
        }
        Ok(())
    }

    /// Lets the complete sequences from row `first` on leave.
    fn sweep(&mut self, first: usize, events: &mut Vec<Event>) {
        let width = self.trunk.width();
        let mut finished = Vec::new();
        for row in (first..self.running.len()).rev() {
            if let Some(finish) = self.running[row].complete(width) {
                finished.push(self.take(row).finished(finish, width));
            }
        }
        events.extend(finished.into_iter().rev());
    }

    /// Takes the sequence out of `row` and moves the last one into its place.
    fn take(&mut self, row: usize) -> Sequence {
        let last = self.running.len() - 1;
        if row != last {
            self.cache.copy(last, row, self.running[last].position());
        }
        self.running.swap_remove(row)
    }
}

fn to_host(tensor: &Tensor) -> Vec<f32> {
    let numel = tensor.numel();
    let mut host = vec![0.0; numel];
    tensor.contiguous().copy_data(&mut host, numel);
    host
}
