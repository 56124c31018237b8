//! AdamW whose whole state can be seen, saved and put back.
//!
//! Invariant: a step either changes every parameter and moment or, when a gradient is not finite, not one bit of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::error::LearningError;
use crate::state::{check_tensors, load_tensors, put_tensors};

/// Where ε stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdamForm {
    /// `lr · m̂ / (√v̂ + ε)`, both corrected for their bias: Kingma and Ba (2015), algorithm 1, and PyTorch.
    #[default]
    Torch,
    /// `lr·√(1−β₂ᵗ)/(1−β₁ᵗ) · m / (√v + ε̂)`: the same paper's closing remark of section 2, and TensorFlow 1. The same
    /// ε damps small gradients far more in the first steps.
    Tf,
}

/// Settings of [`AdamW`]; the learning rate is given at each step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Keeps the divisor from 0.
    pub eps: f64,
    /// Share of each parameter taken away per unit of learning rate (decoupled: Loshchilov and Hutter, 2019).
    pub weight_decay: f64,
    /// Where ε stands.
    pub form: AdamForm,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-5, weight_decay: 0.0, form: AdamForm::Torch }
    }
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Global L2 norm of the gradients before clipping.
    pub grad_norm: f64,
}

struct Slot {
    name: String,
    parameter: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
}

/// Adam with decoupled weight decay over named parameters.
pub struct AdamW {
    slots: Vec<Slot>,
    config: AdamConfig,
    steps: u64,
}

impl AdamW {
    /// An optimiser at rest over `parameters` (shallow clones of the network's own).
    pub fn new(parameters: Vec<(String, Tensor)>, config: AdamConfig) -> Self {
        let slots = parameters.into_iter().map(|(name, parameter)| {
            let (exp_avg, exp_avg_sq) = (parameter.detach().zeros_like(), parameter.detach().zeros_like());
            Slot { name, parameter, exp_avg, exp_avg_sq }
        });
        Self { slots: slots.collect(), config, steps: 0 }
    }

    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Forgets all gradients.
    pub fn zero_grad(&self) {
        for slot in &self.slots {
            slot.parameter.shallow_clone().zero_grad();
        }
    }

    /// Global L2 norm of all gradients, summed in f64; NaN or infinite as soon as one of them is.
    pub fn grad_norm(&self) -> f64 {
        let _guard = tch::no_grad_guard();
        let norm = |slot: &Slot| {
            let grad = slot.parameter.grad();
            if grad.defined() { grad.norm().double_value(&[]) } else { 0.0 }
        };
        self.slots.iter().map(|slot| norm(slot).powi(2)).sum::<f64>().sqrt()
    }

    /// One step: gradients clipped to `max_grad_norm` together, then Adam at rate `lr`.
    ///
    /// A norm that is not finite is an error, and every parameter, moment and counter keeps its bits.
    pub fn step(&mut self, lr: f64, max_grad_norm: f64) -> Result<StepReport, LearningError> {
        let grad_norm = self.grad_norm();
        self.step_with_norm(lr, max_grad_norm, grad_norm)
    }

    /// As [`AdamW::step`] with the result of [`AdamW::grad_norm`], for whoever had to look at it before.
    pub fn step_with_norm(&mut self, lr: f64, max_grad_norm: f64, norm: f64) -> Result<StepReport, LearningError> {
        // Written so that NaN cannot hide: `f64::min` would ignore it.
        if !norm.is_finite() {
            return Err(LearningError::NonFinite { what: "the norm of the gradients", value: norm });
        }
        let _guard = tch::no_grad_guard();
        self.steps += 1;
        let scale = max_grad_norm / (norm + 1e-6);
        for slot in &mut self.slots {
            if !slot.parameter.requires_grad() {
                continue;
            }
            let mut grad = slot.parameter.grad();
            if !grad.defined() {
                // Nothing reached it since the start. Later a batch that does not reach it leaves zeros: the same step.
                grad = slot.parameter.zeros_like();
            }
            if scale < 1.0 {
                let _ = grad.g_mul_scalar_(scale);
            }
            update(slot, &grad, lr, &self.config, self.steps);
        }
        Ok(StepReport { grad_norm: norm })
    }

    /// Copies, on the CPU, of all moments, `<name>.exp_avg` and `<name>.exp_avg_sq`, and the step count as `steps`.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = Vec::new();
        put_tensors(&mut state, "", &self.moments());
        state.push(("steps".to_owned(), Tensor::from_slice(&[self.steps as i64])));
        state
    }

    /// Takes over what [`AdamW::state`] gave; a state of another shape is refused and changes nothing.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<(), LearningError> {
        let (moments, steps) = self.split_state(state)?;
        load_tensors(&self.moments(), &moments)?;
        self.steps = steps;
        Ok(())
    }

    /// Whether [`AdamW::load_state`] would take `state`.
    pub fn check_state(&self, state: &BTreeMap<String, Tensor>) -> Result<(), LearningError> {
        let (moments, _) = self.split_state(state)?;
        check_tensors(&self.moments(), &moments)
    }

    fn split_state(&self, state: &BTreeMap<String, Tensor>) -> Result<(BTreeMap<String, Tensor>, u64), LearningError> {
        let mut moments: BTreeMap<_, _> = state.iter().map(|(k, v)| (k.clone(), v.shallow_clone())).collect();
        let steps = moments.remove("steps").filter(|steps| steps.numel() == 1 && steps.kind() == Kind::Int64);
        let steps = steps.ok_or_else(|| LearningError::state("steps", "is missing or no whole number"))?;
        let steps = u64::try_from(steps.reshape([1]).int64_value(&[0]));
        Ok((moments, steps.map_err(|_| LearningError::state("steps", "is below 0"))?))
    }

    fn moments(&self) -> Vec<(String, Tensor)> {
        let both = |slot: &Slot| {
            [
                (format!("{}.exp_avg", slot.name), slot.exp_avg.shallow_clone()),
                (format!("{}.exp_avg_sq", slot.name), slot.exp_avg_sq.shallow_clone()),
            ]
        };
        self.slots.iter().flat_map(both).collect()
    }
}

/// Eight passes over one parameter's memory, without a temporary beyond one tensor at a time.
fn update(slot: &mut Slot, grad: &Tensor, lr: f64, config: &AdamConfig, step: u64) {
    let t = step.min(i32::MAX as u64) as i32;
    let (correction1, correction2) = (1.0 - config.beta1.powi(t), 1.0 - config.beta2.powi(t));
    let _ = slot.exp_avg.lerp_(grad, 1.0 - config.beta1);
    let _ = slot.exp_avg_sq.lerp_(&grad.square(), 1.0 - config.beta2);
    if lr == 0.0 {
        return;
    }
    if config.weight_decay != 0.0 {
        let _ = slot.parameter.g_mul_scalar_(1.0 - lr * config.weight_decay);
    }
    let mut divisor = slot.exp_avg_sq.sqrt();
    let rate = lr / correction1;
    let (spread, eps) = match config.form {
        AdamForm::Torch => (1.0 / (correction2.sqrt() * rate), config.eps / rate),
        AdamForm::Tf => (1.0 / (correction2.sqrt() * rate), config.eps / (correction2.sqrt() * rate)),
    };
    // parameter −= m / (√v·spread + eps): the rate is folded into the divisor.
    let _ = divisor.g_mul_scalar_(-spread);
    let _ = divisor.g_sub_scalar_(eps);
    let _ = slot.parameter.addcdiv_(&slot.exp_avg, &divisor);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_gradient(value: f32, gradient: f32) -> Tensor {
        let parameter = Tensor::from_slice(&[value]).set_requires_grad(true);
        (&parameter * gradient as f64).sum(Kind::Float).backward();
        parameter
    }

    fn first_move(gradient: f32, form: AdamForm) -> f64 {
        let parameter = with_gradient(0.0, gradient);
        let config = AdamConfig { form, ..AdamConfig::default() };
        AdamW::new(vec![("w".into(), parameter.shallow_clone())], config).step(1.0, 1e9).unwrap();
        -parameter.double_value(&[0])
    }

    #[test]
    fn the_first_step_on_a_small_gradient_tells_the_two_forms_apart() {
        // |g| = 1e-6, ε = 1e-5: 1e-6/(1e-6 + 1e-5) = 0.0909; TF: √0.001/0.1 · 1e-7/(√0.001·1e-6 + 1e-5) = 0.00315.
        assert!((first_move(1e-6, AdamForm::Torch) - 0.0909).abs() < 1e-4);
        assert!((first_move(1e-6, AdamForm::Tf) - 0.0032).abs() < 1e-4);
        assert!((first_move(1.0, AdamForm::Torch) - 1.0).abs() < 1e-4);
    }

    #[test]
    fn three_steps_equal_the_textbook_in_f64() {
        let parameter = Tensor::from_slice(&[1.0f64]).set_requires_grad(true);
        let config = AdamConfig { weight_decay: 0.1, ..AdamConfig::default() };
        let mut adam = AdamW::new(vec![("w".into(), parameter.shallow_clone())], config);
        let (mut w, mut m, mut v) = (1.0f64, 0.0f64, 0.0f64);
        for t in 1..=3 {
            adam.zero_grad();
            parameter.square().sum(Kind::Double).backward();
            adam.step(0.01, 1e9).unwrap();
            let g = 2.0 * w;
            (m, v) = (0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g);
            w *= 1.0 - 0.01 * 0.1;
            w -= 0.01 * (m / (1.0 - 0.9f64.powi(t))) / ((v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-5);
        }
        assert!((parameter.double_value(&[0]) - w).abs() < 1e-12);
    }

    #[test]
    fn the_norm_is_global_and_clipping_keeps_the_direction() {
        let (a, b) = (with_gradient(0.0, 3.0), with_gradient(0.0, 4.0));
        let parameters = vec![("a".into(), a.shallow_clone()), ("b".into(), b.shallow_clone())];
        let mut adam = AdamW::new(parameters, AdamConfig::default());
        assert!((adam.step(0.1, 1.0).unwrap().grad_norm - 5.0).abs() < 1e-6);
        assert!((a.grad().double_value(&[0]) - 0.6).abs() < 1e-5 && (b.grad().double_value(&[0]) - 0.8).abs() < 1e-5);
    }

    #[test]
    fn a_gradient_that_is_not_finite_leaves_every_bit_in_place() {
        for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (good, bad) = (with_gradient(0.5, 1.0), with_gradient(0.25, 1.0));
            let parameters = vec![("good".into(), good.shallow_clone()), ("bad".into(), bad.shallow_clone())];
            let mut adam = AdamW::new(parameters, AdamConfig::default());
            adam.step(0.1, 1.0).unwrap();
            let bits = |adam: &AdamW| {
                let moments =
                    adam.state().into_iter().map(|(_, t)| t.to_kind(Kind::Double).double_value(&[0]).to_bits());
                let weights = [&good, &bad].map(|t| t.double_value(&[0]).to_bits());
                moments.chain(weights).collect::<Vec<_>>()
            };
            let before = bits(&adam);
            let _ = bad.grad().fill_(f64::from(poison));
            assert!(matches!(adam.step(0.1, 1.0), Err(LearningError::NonFinite { .. })));
            assert_eq!(bits(&adam), before);
        }
    }

    #[test]
    fn a_parameter_that_a_batch_does_not_reach_moves_alike_before_and_after_a_restart() {
        let fresh = |value: f64| {
            let parameter = Tensor::from_slice(&[value as f32]).set_requires_grad(true);
            let adam = AdamW::new(vec![("w".into(), parameter.shallow_clone())], AdamConfig::default());
            (parameter, adam)
        };
        let (parameter, mut adam) = fresh(1.0);
        parameter.square().sum(Kind::Float).backward();
        adam.step(0.1, 1.0).unwrap();
        let (restored, mut again) = fresh(parameter.double_value(&[0]));
        again.load_state(&adam.state().into_iter().collect()).unwrap();
        adam.zero_grad();
        adam.step(0.1, 1.0).unwrap();
        again.step(0.1, 1.0).unwrap();
        assert_eq!(restored, parameter);
        assert!(restored.double_value(&[0]) < 0.9, "momentum goes on");
    }

    #[test]
    fn a_restored_optimiser_goes_on_bit_for_bit() {
        let run = |parameter: &Tensor, adam: &mut AdamW, steps: usize| {
            for _ in 0..steps {
                adam.zero_grad();
                (parameter.sin() * 0.7 + parameter.square()).sum(Kind::Float).backward();
                adam.step(0.01, 1.0).unwrap();
            }
        };
        let fresh = |values: &Tensor| {
            let parameter = values.detach().copy().set_requires_grad(true);
            let adam = AdamW::new(vec![("w".into(), parameter.shallow_clone())], AdamConfig::default());
            (parameter, adam)
        };
        let start = Tensor::from_slice(&[0.3f32, -1.0, 2.0]);
        let (whole, mut whole_adam) = fresh(&start);
        run(&whole, &mut whole_adam, 8);
        let (first, mut first_adam) = fresh(&start);
        run(&first, &mut first_adam, 5);
        let (second, mut second_adam) = fresh(&first);
        second_adam.load_state(&first_adam.state().into_iter().collect()).unwrap();
        run(&second, &mut second_adam, 3);
        assert!(second.equal(&whole) && second_adam.steps() == 8);
        assert!(second_adam.load_state(&BTreeMap::new()).is_err());
    }
}
