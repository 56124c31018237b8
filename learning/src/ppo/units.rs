//! The units of an update: what the learner does between two looks at the world.
//!
//! Invariant: a step that is not finite changes no weight and no moment, and three in a row end the update.

use tch::{Kind, Tensor};
use understudy_model::{backward_from, backward_through_head, token_logprobs};

use super::experience::{Experience, Measured};
use super::kl::{KlClamp, straight_through_k3};
use super::learner::PpoLearner;
use super::loss::{policy_loss, value_loss};
use super::report::{Outcome, PpoReport};
use super::staleness::staleness;
use super::stats::RatioSums;
use super::update::{LossSums, Phase, Progress, Stage, Tally, Update, admit};
use crate::batches::{Cut, MicroBatch, groups_by_length, plan};
use crate::error::LearningError;
use crate::stages::{Finish, ScoredRollout, TrunkStates};
use crate::tensors::{answer_positions, pad_states, rollout_states, split_rows};

/// Steps in a row that may fail to be finite before the learner gives up.
const MAX_NOT_FINITE: u32 = 3;

impl PpoLearner {
    /// Starts an update: drops what cannot be learned from, keeps the rest. Runs no model.
    pub fn begin_update(&mut self, batch: Vec<ScoredRollout>) -> Result<Update, LearningError> {
        self.config.validate()?;
        let (trunk, version) = (&self.trunk, self.version);
        let limits = (trunk.width(), trunk.vocab_size(), trunk.max_position());
        let (batch, dropped) = admit(batch, version, &self.config, limits.0, limits.1, limits.2);
        let mut report = describe(&batch, version);
        report.dropped_stale = dropped.stale;
        report.dropped_sampling = dropped.sampling;
        report.dropped_invalid = dropped.invalid;
        report.kl_coef = self.controller.coefficient();
        report.next_kl_coef = report.kl_coef;
        let all: Vec<usize> = (0..batch.len()).collect();
        let groups = groups_by_length(&lengths(&batch), &all, self.config.micro_batch_size);
        let empty = || vec![Vec::new(); batch.len()];
        let measured = Measured { prox_logprobs: empty(), ref_logprobs: empty(), values: empty() };
        let states = all.iter().map(|_| Tensor::new()).collect();
        let stage = Stage::Measure { total: groups.len(), groups: groups.into(), measured };
        Ok(Update { version, batch, states, stage, tally: Tally { report, ..Tally::default() } })
    }

    /// Does one short unit: measures or learns one micro-batch, with the optimiser step at a minibatch's end.
    ///
    /// Three steps in a row that are not finite are [`LearningError::Diverged`]; the update is then over and the
    /// weights are those from before the first of them.
    pub fn next_unit(&mut self, update: &mut Update) -> Result<Progress, LearningError> {
        if update.version != self.version {
            let problem = format!("it began at version {}, the learner is at {}", update.version, self.version);
            return Err(LearningError::input("an update", problem + "; begin a new one"));
        }
        match std::mem::replace(&mut update.stage, Stage::Over) {
            Stage::Over => Err(LearningError::input("an update", "it is over; begin a new one")),
            Stage::Measure { mut groups, total, mut measured } => {
                let Some(rows) = groups.pop_front() else {
                    return Ok(Progress::Done(Box::new(std::mem::take(&mut update.tally.report))));
                };
                self.measure(update, &rows, &mut measured)?;
                let done = total - groups.len();
                update.stage = if groups.is_empty() {
                    self.prepare(update, &measured)
                } else {
                    Stage::Measure { groups, total, measured }
                };
                Ok(Progress::Working { phase: Phase::Measure, done, total })
            }
            Stage::Learn { experience, mut plan, total } => {
                if let Some(micro) = plan.pop_front() {
                    self.learn(update, &experience, &micro)?;
                    if micro.last_of_epoch && self.moved_enough(&mut update.tally) && !plan.is_empty() {
                        update.tally.report.stopped_early = true;
                        plan.clear();
                    }
                }
                if plan.is_empty() {
                    return Ok(Progress::Done(Box::new(self.finish(update))));
                }
                let done = total - plan.len();
                update.stage = Stage::Learn { experience, plan, total };
                Ok(Progress::Working { phase: Phase::Learn, done, total })
            }
        }
    }

    /// Log-probabilities of policy and reference and values of one group, before anything is learned.
    fn measure(&self, update: &mut Update, rows: &[usize], measured: &mut Measured) -> Result<(), LearningError> {
        let _guard = tch::no_grad_guard();
        for row in rows {
            let rollout = &mut update.batch[*row].rollout;
            update.states[*row] = rollout_states(&self.trunk, &[&*rollout])?.remove(0);
            // From here on the states are a tensor; the copy that came along would only hold memory.
            rollout.trunk = TrunkStates::Absent;
        }
        let states = pick(&update.states, rows);
        let answers = answers(&update.batch, rows);
        let before = index(&answer_positions(&answers, states.size()[1], false), &states);
        let with_last = index(&answer_positions(&answers, states.size()[1], true), &states);
        let targets = index(&tokens(&update.batch, rows), &states);
        let (temperature, chunk) = (self.config.temperature, self.config.logit_chunk);
        let lengths = || answers.iter().map(|(_, answer)| *answer);
        for (branch, table) in
            [(&self.policy, &mut measured.prox_logprobs), (&self.reference, &mut measured.ref_logprobs)]
        {
            let hidden = flat(&branch.hidden(&states)).index_select(0, &before);
            let logprobs = token_logprobs(branch, &hidden, &targets, temperature, chunk).logprobs;
            put(table, rows, split_rows(&logprobs, lengths())?);
        }
        let values = self.value.forward(&states).reshape([-1]).index_select(0, &with_last);
        put(&mut measured.values, rows, split_rows(&values, lengths().map(|length| length + 1))?);
        Ok(())
    }

    /// Turns what was measured into experience and a plan.
    fn prepare(&mut self, update: &mut Update, measured: &Measured) -> Stage {
        let _guard = tch::no_grad_guard();
        let (kl_coef, moments) = (self.controller.coefficient(), self.moments);
        let experience =
            Experience::build(&update.batch, measured, &self.config, kl_coef, self.version, &mut self.moments);
        let figures = experience.figures;
        self.keep_if_good(figures.kl_per_sequence, moments);
        let report = &mut update.tally.report;
        report.mean_score = figures.mean_score;
        report.mean_reward = figures.mean_reward;
        report.kl_per_sequence = figures.kl_per_sequence;
        report.explained_variance = figures.explained_variance;
        report.mean_weight = figures.mean_weight;
        report.max_logprob_gap = figures.max_logprob_gap;
        report.learning_rate = self.config.learning_rate * self.config.schedule.factor(self.version);
        let tokens: Vec<usize> = update.batch.iter().map(|scored| scored.rollout.tokens.len()).collect();
        let (epochs, minibatch) = (self.config.update_epochs, self.config.minibatch_size);
        let cut = Cut { epochs, minibatch, micro_batch: self.config.micro_batch_size };
        let plan = plan(&lengths(&update.batch), &tokens, cut, self.seed, self.version);
        Stage::Learn { experience: Box::new(experience), total: plan.len(), plan }
    }

    /// One micro-batch forward and backward; at a minibatch's end the optimiser step.
    fn learn(&mut self, update: &mut Update, experience: &Experience, micro: &MicroBatch) -> Result<(), LearningError> {
        let tally = &mut update.tally;
        tally.report.epochs = micro.epoch + 1;
        if micro.first_of_minibatch {
            self.policy_adam.zero_grad();
            self.value_adam.zero_grad();
            tally.minibatch = LossSums::default();
        }
        let states = pick(&update.states, &micro.rows);
        let answers = answers(&update.batch, &micro.rows);
        let targets = index(&tokens(&update.batch, &micro.rows), &states);
        let (policy, sums, first_gap) = self.policy_pass(experience, micro, &states, &answers, &targets);
        let value = self.value_pass(experience, micro, &states, &answers);
        tally.minibatch.policy += policy;
        tally.minibatch.value += value;
        if tally.report.steps == 0 && tally.report.skipped_steps == 0 {
            tally.report.first_ratio_gap = tally.report.first_ratio_gap.max(first_gap);
            tally.report.first_clipfrac = tally.report.first_clipfrac.max(sums.stats().clipfrac);
        }
        tally.epoch.merge(&sums);
        tally.all.merge(&sums);
        if micro.last_of_minibatch { self.step(tally) } else { Ok(()) }
    }

    /// Adds the policy's gradient of the micro-batch. Gives its loss, its ratios, and how far the farthest is from 1.
    fn policy_pass(
        &self,
        experience: &Experience,
        micro: &MicroBatch,
        states: &Tensor,
        answers: &[(usize, usize)],
        targets: &Tensor,
    ) -> (f64, RatioSums, f64) {
        let (config, device, rows) = (&self.config, states.device(), row_index(micro));
        let gather = |table: &Tensor| experience.gather(table, &experience.mask, &rows, device);
        let (prox, reference) = (gather(&experience.prox_logprobs), gather(&experience.ref_logprobs));
        let (advantages, weights) = (gather(&experience.advantages), gather(&experience.weights));
        let positions = index(&answer_positions(answers, states.size()[1], false), states);
        let hidden = flat(&self.policy.hidden(states)).index_select(0, &positions);
        let (mut total, mut sums, mut gap) = (0.0, RatioSums::default(), 0f64);
        let mut loss = |range: std::ops::Range<i64>, logprobs: &Tensor, entropy: &Tensor| {
            let cut = |table: &Tensor| table.narrow(0, range.start, range.end - range.start);
            let clip = config.clip();
            let mut terms = policy_loss(logprobs, &cut(&prox), &cut(&advantages), clip) * cut(&weights);
            if config.entropy_coef != 0.0 {
                terms -= entropy * config.entropy_coef;
            }
            if config.kl_loss_coef != 0.0 {
                terms += straight_through_k3(logprobs, &cut(&reference), KlClamp::USUAL) * config.kl_loss_coef;
            }
            let loss = terms.sum(Kind::Float) / micro.minibatch_tokens as f64;
            total += loss.double_value(&[]);
            sums.add(logprobs, &cut(&prox), entropy, clip);
            gap = gap.max((logprobs.detach() - cut(&prox)).expm1().abs().max().double_value(&[]));
            loss
        };
        let gradient =
            backward_through_head(&self.policy, &hidden, targets, config.temperature, config.logit_chunk, &mut loss);
        backward_from(&hidden, &gradient);
        (total, sums, gap)
    }

    /// Adds the value model's gradient of the micro-batch. Gives its loss.
    fn value_pass(
        &self,
        experience: &Experience,
        micro: &MicroBatch,
        states: &Tensor,
        answers: &[(usize, usize)],
    ) -> f64 {
        let (device, rows) = (states.device(), row_index(micro));
        let gather = |table: &Tensor| experience.gather(table, &experience.value_mask, &rows, device);
        let (old, returns) = (gather(&experience.values), gather(&experience.returns));
        let after_last = self.config.score_placement == super::reward::ScorePlacement::OnePastLast;
        let positions = index(&answer_positions(answers, states.size()[1], after_last), states);
        let values = self.value.forward(states).reshape([-1]).index_select(0, &positions);
        let terms = value_loss(&values, &old, &returns, self.config.value_clip);
        let loss = terms.sum(Kind::Float) / micro.minibatch_tokens as f64;
        (&loss * self.config.value_coef).backward();
        loss.double_value(&[])
    }

    /// Steps both optimisers, or neither.
    fn step(&mut self, tally: &mut Tally) -> Result<(), LearningError> {
        let (policy_norm, value_norm) = (self.policy_adam.grad_norm(), self.value_adam.grad_norm());
        let looked_at = [
            ("the policy loss", tally.minibatch.policy),
            ("the value loss", tally.minibatch.value),
            ("the policy's gradient", policy_norm),
            ("the value model's gradient", value_norm),
        ];
        if let Some((what, value)) = looked_at.into_iter().find(|(_, value)| !value.is_finite()) {
            tally.report.skipped_steps += 1;
            self.not_finite += 1;
            let times = self.not_finite;
            return if times < MAX_NOT_FINITE { Ok(()) } else { Err(LearningError::Diverged { times, what, value }) };
        }
        let (config, factor) = (&self.config, self.config.schedule.factor(self.version));
        self.policy_adam.step_with_norm(config.learning_rate * factor, config.max_grad_norm, policy_norm)?;
        self.value_adam.step_with_norm(config.value_learning_rate * factor, config.value_max_grad_norm, value_norm)?;
        self.not_finite = 0;
        tally.report.steps += 1;
        tally.losses.policy += tally.minibatch.policy;
        tally.losses.value += tally.minibatch.value;
        tally.grad_norms.0 += policy_norm;
        tally.grad_norms.1 += value_norm;
        Ok(())
    }

    /// Whether the epoch that just ended moved the policy so far that no other one should follow.
    fn moved_enough(&self, tally: &mut Tally) -> bool {
        let moved = std::mem::take(&mut tally.epoch).stats().approx_kl;
        self.config.stop_at_approx_kl.is_some_and(|limit| moved > limit)
    }

    /// Closes the books: the controller learns of the divergence, and the version goes up if there was a step.
    fn finish(&mut self, update: &mut Update) -> PpoReport {
        self.policy_adam.zero_grad();
        self.value_adam.zero_grad();
        let Tally { mut report, all, losses, grad_norms, .. } = std::mem::take(&mut update.tally);
        report.set_ratio(all.stats());
        let steps = report.steps.max(1) as f64;
        report.policy_loss = losses.policy / steps;
        report.value_loss = losses.value / steps;
        (report.grad_norm, report.value_grad_norm) = (grad_norms.0 / steps, grad_norms.1 / steps);
        self.controller.observe(report.kl_per_sequence, report.rollouts);
        report.next_kl_coef = self.controller.coefficient();
        if report.steps > 0 {
            self.version += 1;
            report.version = self.version;
            report.outcome = Outcome::Learned;
        }
        report
    }
}

/// What can be said of a batch without any model.
fn describe(batch: &[ScoredRollout], version: u64) -> PpoReport {
    let n = batch.len().max(1) as f64;
    let tokens: usize = batch.iter().map(|scored| scored.rollout.tokens.len()).sum();
    let cut = batch.iter().filter(|scored| scored.rollout.finish == Finish::Length).count();
    let age: u64 = batch.iter().map(|scored| staleness(version, scored.rollout.oldest_version())).sum();
    PpoReport {
        version,
        rollouts: batch.len(),
        tokens,
        mean_length: tokens as f64 / n,
        truncated: cut as f64 / n,
        staleness_mean: age as f64 / n,
        ..PpoReport::default()
    }
}

/// Tokens of prompt and answer together.
fn lengths(batch: &[ScoredRollout]) -> Vec<usize> {
    let length = |scored: &ScoredRollout| scored.rollout.prompt.tokens.len() + scored.rollout.tokens.len();
    batch.iter().map(length).collect()
}

fn pick(states: &[Tensor], rows: &[usize]) -> Tensor {
    pad_states(&rows.iter().map(|row| &states[*row]).collect::<Vec<_>>())
}

/// (prompt length, answer length) of each row.
fn answers(batch: &[ScoredRollout], rows: &[usize]) -> Vec<(usize, usize)> {
    let sizes = |row: &usize| (batch[*row].rollout.prompt.tokens.len(), batch[*row].rollout.tokens.len());
    rows.iter().map(sizes).collect()
}

/// The rows' answers, laid end to end.
fn tokens(batch: &[ScoredRollout], rows: &[usize]) -> Vec<i64> {
    rows.iter().flat_map(|row| batch[*row].rollout.tokens.iter().copied()).collect()
}

fn put(table: &mut [Vec<f32>], rows: &[usize], values: Vec<Vec<f32>>) {
    for (row, value) in rows.iter().zip(values) {
        table[*row] = value;
    }
}

/// `[B, T, D]` to `[B·T, D]`.
fn flat(hidden: &Tensor) -> Tensor {
    hidden.reshape([-1, hidden.size()[2]])
}

fn index(numbers: &[i64], beside: &Tensor) -> Tensor {
    Tensor::from_slice(numbers).to_device(beside.device())
}

fn row_index(micro: &MicroBatch) -> Tensor {
    Tensor::from_slice(&micro.rows.iter().map(|row| *row as i64).collect::<Vec<_>>())
}
