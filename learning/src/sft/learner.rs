//! The learner of completions, over trunk states, in short units.
//!
//! Invariant: a step that is not finite changes no weight and no moment, and three in a row end the update.

use std::collections::VecDeque;

use tch::{Kind, Tensor};
use understudy_model::{Branch, Trunk, backward_from, backward_through_head, token_logprobs};

use super::{SftConfig, SftExample, SftReport};
use crate::batches::{Cut, MicroBatch, plan};
use crate::error::LearningError;
use crate::optimiser::AdamW;
use crate::state::{LearnerState, check_tensors, get_u64, load_tensors, put_tensors, with_prefix};
use crate::tensors::{answer_positions, pad_states, sequence_states};

/// Steps in a row that may fail to be finite before the learner gives up.
const MAX_NOT_FINITE: u32 = 3;

/// Learns a policy from prompts and completions by maximum likelihood.
pub struct SftLearner {
    trunk: Trunk,
    policy: Branch,
    adam: AdamW,
    config: SftConfig,
    seed: u64,
    updates: u64,
    not_finite: u32,
}

/// An update under way. Dropping it abandons what it has not yet done.
#[derive(Debug)]
pub struct SftUpdate {
    examples: Vec<SftExample>,
    /// `[P + R, D]`, undefined until first used.
    states: Vec<Tensor>,
    plan: VecDeque<MicroBatch>,
    total: usize,
    minibatch_loss: f64,
    report: SftReport,
}

/// Where an update stands after a unit.
#[derive(Debug)]
pub enum SftProgress {
    /// There is more to do.
    Working {
        /// Units done.
        done: usize,
        /// Units in all.
        total: usize,
    },
    /// The update is over.
    Done(SftReport),
}

impl SftLearner {
    /// A learner of a copy of `policy`. An invalid `config` is reported by the first update.
    pub fn new(trunk: Trunk, policy: Branch, config: SftConfig, seed: u64) -> Self {
        let policy = policy.deep_copy();
        policy.set_trainable(true);
        let adam = AdamW::new(policy.parameters(), config.adam);
        Self { trunk, policy, adam, config, seed, updates: 0, not_finite: 0 }
    }

    /// Starts an update over `examples`: as many passes as configured, each in a fresh order.
    pub fn begin_update(&mut self, examples: Vec<SftExample>) -> Result<SftUpdate, LearningError> {
        self.config.validate()?;
        let given = examples.len();
        let examples: Vec<_> = examples.into_iter().filter(|example| self.sound(example)).collect();
        let lengths: Vec<_> = examples.iter().map(|e| e.prompt.len() + e.completion.len()).collect();
        let tokens: Vec<_> = examples.iter().map(|e| e.completion.len()).collect();
        let (epochs, minibatch) = (self.config.epochs, self.config.minibatch_size);
        let cut = Cut { epochs, minibatch, micro_batch: self.config.micro_batch_size };
        let plan = plan(&lengths, &tokens, cut, self.seed, self.updates);
        self.updates += 1;
        let report = SftReport {
            examples: examples.len(),
            dropped: given - examples.len(),
            tokens: tokens.iter().sum(),
            ..SftReport::default()
        };
        let states = examples.iter().map(|_| Tensor::new()).collect();
        Ok(SftUpdate { examples, states, total: plan.len(), plan, minibatch_loss: 0.0, report })
    }

    /// Does one micro-batch, with the optimiser step at a minibatch's end.
    pub fn next_unit(&mut self, update: &mut SftUpdate) -> Result<SftProgress, LearningError> {
        if let Some(micro) = update.plan.pop_front() {
            self.learn(update, &micro)?;
        }
        if !update.plan.is_empty() {
            return Ok(SftProgress::Working { done: update.total - update.plan.len(), total: update.total });
        }
        self.adam.zero_grad();
        let mut report = update.report;
        report.loss /= report.steps.max(1) as f64;
        report.grad_norm /= report.steps.max(1) as f64;
        Ok(SftProgress::Done(report))
    }

    /// Mean loss over the completions' tokens, in nats a token, without learning; 0 without a token.
    pub fn evaluate(&self, examples: &[SftExample]) -> Result<f64, LearningError> {
        let _guard = tch::no_grad_guard();
        let (mut sum, mut tokens) = (0.0, 0);
        for example in examples {
            let states = self.states(example)?.unsqueeze(0);
            let (hidden, targets) = self.hidden(&states, std::slice::from_ref(example), &[0]);
            let logprobs = token_logprobs(&self.policy, &hidden, &targets, 1.0, self.config.logit_chunk).logprobs;
            sum -= logprobs.sum(Kind::Double).double_value(&[]);
            tokens += example.completion.len();
        }
        Ok(sum / tokens.max(1) as f64)
    }

    /// A deep copy of the policy; later steps do not reach it.
    pub fn policy_snapshot(&self) -> Branch {
        self.policy.deep_copy()
    }

    /// Optimiser steps done.
    pub fn steps(&self) -> u64 {
        self.adam.steps()
    }

    /// Everything that a run needs to go on bit for bit. Take it between updates.
    pub fn state(&self) -> LearnerState {
        let mut tensors = Vec::new();
        put_tensors(&mut tensors, "policy/", &self.policy.parameters());
        tensors.extend(self.adam.state().into_iter().map(|(name, tensor)| (format!("adam/{name}"), tensor)));
        LearnerState { tensors, scalars: serde_json::json!({ "updates": self.updates, "seed": self.seed }) }
    }

    /// Takes over what [`SftLearner::state`] gave. A state that does not fit is refused and changes nothing.
    pub fn restore(&mut self, state: LearnerState) -> Result<(), LearningError> {
        let (updates, seed) = (get_u64(&state.scalars, "updates")?, get_u64(&state.scalars, "seed")?);
        let (weights, moments) = (with_prefix(&state.tensors, "policy/"), with_prefix(&state.tensors, "adam/"));
        check_tensors(&self.policy.parameters(), &weights)?;
        self.adam.load_state(&moments)?;
        load_tensors(&self.policy.parameters(), &weights)?;
        (self.updates, self.seed, self.not_finite) = (updates, seed, 0);
        Ok(())
    }

    fn sound(&self, example: &SftExample) -> bool {
        let vocabulary = self.trunk.vocab_size() as i64;
        let (prompt, completion) = (&example.prompt, &example.completion);
        !prompt.is_empty()
            && !completion.is_empty()
            && prompt.len() + completion.len() <= self.trunk.max_position()
            && prompt.iter().chain(completion).all(|token| (0..vocabulary).contains(token))
    }

    fn states(&self, example: &SftExample) -> Result<Tensor, LearningError> {
        sequence_states(&self.trunk, &[example.prompt.as_slice(), &example.completion].concat())
    }

    /// `[N, D]` states before each completion token of `rows`, and the `[N]` tokens.
    fn hidden(&self, states: &Tensor, examples: &[SftExample], rows: &[usize]) -> (Tensor, Tensor) {
        let sizes: Vec<_> = rows.iter().map(|r| (examples[*r].prompt.len(), examples[*r].completion.len())).collect();
        let targets: Vec<i64> = rows.iter().flat_map(|r| examples[*r].completion.iter().copied()).collect();
        let positions = answer_positions(&sizes, states.size()[1], false);
        let positions = Tensor::from_slice(&positions).to_device(states.device());
        let hidden = self.policy.hidden(states);
        let hidden = hidden.reshape([-1, hidden.size()[2]]).index_select(0, &positions);
        (hidden, Tensor::from_slice(&targets).to_device(states.device()))
    }

    fn learn(&mut self, update: &mut SftUpdate, micro: &MicroBatch) -> Result<(), LearningError> {
        if micro.first_of_minibatch {
            self.adam.zero_grad();
            update.minibatch_loss = 0.0;
        }
        for row in &micro.rows {
            if !update.states[*row].defined() {
                update.states[*row] = self.states(&update.examples[*row])?;
            }
        }
        let states = pad_states(&micro.rows.iter().map(|row| &update.states[*row]).collect::<Vec<_>>());
        let (hidden, targets) = self.hidden(&states, &update.examples, &micro.rows);
        let mut total = 0.0;
        let mut loss = |_: std::ops::Range<i64>, logprobs: &Tensor, _: &Tensor| {
            let loss = -logprobs.sum(Kind::Float) / micro.minibatch_tokens as f64;
            total += loss.double_value(&[]);
            loss
        };
        let gradient = backward_through_head(&self.policy, &hidden, &targets, 1.0, self.config.logit_chunk, &mut loss);
        backward_from(&hidden, &gradient);
        update.minibatch_loss += total;
        if micro.last_of_minibatch { self.step(update) } else { Ok(()) }
    }

    fn step(&mut self, update: &mut SftUpdate) -> Result<(), LearningError> {
        let norm = self.adam.grad_norm();
        let looked_at = [("the loss", update.minibatch_loss), ("the norm of the gradient", norm)];
        if let Some((what, value)) = looked_at.into_iter().find(|(_, value)| !value.is_finite()) {
            update.report.skipped_steps += 1;
            self.not_finite += 1;
            let times = self.not_finite;
            return if times < MAX_NOT_FINITE { Ok(()) } else { Err(LearningError::Diverged { times, what, value }) };
        }
        let rate = self.config.learning_rate * self.config.schedule.factor(self.adam.steps());
        self.adam.step_with_norm(rate, self.config.max_grad_norm, norm)?;
        self.not_finite = 0;
        update.report.steps += 1;
        update.report.loss += update.minibatch_loss;
        update.report.grad_norm += norm;
        update.report.learning_rate = rate;
        Ok(())
    }
}
