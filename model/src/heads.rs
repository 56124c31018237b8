//! One number a token instead of a distribution: value and reward models.
//!
//! Invariant: a scalar branch starts from a policy branch's blocks and shares nothing with it afterwards.

use tch::{Device, Kind, Tensor};

use crate::branch::{Branch, set_trainable};
use crate::layers::linear::{Named, fresh};
use crate::layers::norm::Norm;
use crate::layers::stack::Stack;
use crate::rng::Stream;

/// A linear map from a state to one number.
#[derive(Debug)]
pub struct ScalarHead {
    /// `[1, D]`.
    pub weight: Tensor,
    /// `[1]`.
    pub bias: Tensor,
}

/// How a fresh head begins. The bias is 0.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "made once for a model")]
pub enum HeadInit {
    /// All zeros: a value model that says 0 everywhere.
    Zero,
    /// Normal with standard deviation `1 / sqrt(D + 1)`, drawn from the stream: a reward model (Stiennon et al. 2020).
    Normal(Stream),
}

impl ScalarHead {
    /// A fresh head on states of width `width`.
    pub fn new(width: usize, init: HeadInit, device: Device) -> Self {
        let weight = match init {
            HeadInit::Zero => Tensor::zeros([1, width as i64], (Kind::Float, device)),
            HeadInit::Normal(mut stream) => {
                let deviation = 1.0 / ((width + 1) as f64).sqrt();
                let values: Vec<f32> = (0..width).map(|_| (deviation * stream.normal()) as f32).collect();
                Tensor::from_slice(&values).reshape([1, width as i64]).to_device(device)
            }
        };
        Self { weight, bias: Tensor::zeros([1], (Kind::Float, device)) }
    }

    /// `[.., D]` to `[..]`.
    pub fn forward(&self, hidden: &Tensor) -> Tensor {
        hidden.linear(&self.weight, Some(&self.bias)).squeeze_dim(-1)
    }

    fn map(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
        Self { weight: f(&self.weight), bias: f(&self.bias) }
    }
}

/// A value or reward model: a branch whose head gives one number a token.
#[derive(Debug)]
pub struct ScalarBranch {
    stack: Stack,
    norm: Norm,
    /// The last map.
    pub head: ScalarHead,
}

impl ScalarBranch {
    /// A copy of the branch's blocks and norm under a fresh head; it requires no gradient until told to.
    pub fn from_branch(branch: &Branch, init: HeadInit) -> Self {
        let head = ScalarHead::new(branch.width(), init, branch.device());
        Self { stack: branch.stack.copied(), norm: branch.norm.copied(), head }
    }

    /// `[B, T, D]` trunk states to `[B, T]` numbers.
    pub fn forward(&self, trunk_states: &Tensor) -> Tensor {
        self.head.forward(&self.hidden(trunk_states))
    }

    /// `[B, T, D]` trunk states to `[B, T, D]` states after the final norm.
    pub fn hidden(&self, trunk_states: &Tensor) -> Tensor {
        self.norm.forward(&self.stack.forward(trunk_states))
    }

    /// Everything that can be trained, head included, in a stable order; they share the model's storage.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        let mut named = Named::new();
        self.stack.parameters(&mut named);
        self.norm.parameters(&mut named);
        named.push(("score.weight".to_owned(), self.head.weight.shallow_clone()));
        named.push(("score.bias".to_owned(), self.head.bias.shallow_clone()));
        named
    }

    /// Fresh storage; requires no gradient.
    pub fn deep_copy(&self) -> Self {
        Self { stack: self.stack.copied(), norm: self.norm.copied(), head: self.head.map(fresh) }
    }

    /// The same tensors under another owner.
    pub fn shallow_clone(&self) -> Self {
        Self { stack: self.stack.shared(), norm: self.norm.shared(), head: self.head.map(Tensor::shallow_clone) }
    }

    /// Whether the parameters collect gradients.
    pub fn set_trainable(&self, trainable: bool) {
        set_trainable(&self.parameters(), trainable);
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.stack.shape.device
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Purpose;
    use crate::testing::tiny_model;
    use crate::trunk::trunk_states;

    #[test]
    fn a_zero_head_says_zero_everywhere_and_a_normal_one_has_the_stated_deviation() {
        let tiny = tiny_model(71);
        let states = trunk_states(&tiny.trunk, &[vec![1, 2, 3], vec![4]]);
        let value = ScalarBranch::from_branch(&tiny.branch, HeadInit::Zero);
        let said = value.forward(&states);
        assert_eq!(said.size(), [2, 3]);
        assert_eq!(said.abs().max().double_value(&[]), 0.0);

        let stream = Stream::new(1, Purpose::Init, 3);
        let head = ScalarHead::new(9999, HeadInit::Normal(stream), Device::Cpu);
        let deviation = head.weight.std(true).double_value(&[]);
        // 1 / sqrt(D + 1) = 0.01 with a standard error of 0.01 / sqrt(2 D) = 7e-5; five of them.
        assert!((deviation - 0.01).abs() < 3.6e-4, "{deviation}");
        assert_eq!(head.bias.double_value(&[0]), 0.0);
    }

    #[test]
    fn a_scalar_branch_reads_the_states_of_the_branch_it_came_from_and_trains_apart_from_it() {
        let tiny = tiny_model(72);
        let states = trunk_states(&tiny.trunk, &[vec![9, 8, 7]]);
        let init = HeadInit::Normal(Stream::new(2, Purpose::Init, 0));
        let reward = ScalarBranch::from_branch(&tiny.branch, init);
        assert!(reward.hidden(&states) == tiny.branch.hidden(&states));
        reward.set_trainable(true);
        reward.forward(&states).sum(Kind::Float).backward();
        for (name, parameter) in reward.parameters() {
            assert!(parameter.grad().defined(), "{name} has a gradient");
        }
        assert!(tiny.branch.parameters().iter().all(|(_, p)| !p.requires_grad() && !p.grad().defined()));
        let copy = reward.deep_copy();
        assert!(copy.parameters().iter().all(|(_, p)| !p.requires_grad()));
        let before = copy.forward(&states);
        {
            let _guard = tch::no_grad_guard();
            let _same = reward.parameters()[0].1.shallow_clone().zero_();
        }
        assert!(copy.forward(&states) == before);
        assert!(reward.forward(&states) != before);
    }

    #[test]
    fn a_model_of_the_lower_layers_reads_the_states_after_them() {
        let tiny = tiny_model(73);
        let (trunk, branch) = crate::build(&tiny.config, &tiny.weights, 2, Device::Cpu).unwrap();
        let states = trunk_states(&trunk, &[vec![5, 6, 7]]);
        let short = ScalarBranch::from_branch(&branch.lower(1), HeadInit::Zero);
        // The tiny model's own split leaves one block to the trunk: the same states from the other side.
        let after_one_block = trunk_states(&tiny.trunk, &[vec![5, 6, 7]]);
        assert!(short.hidden(&states) == branch.norm.forward(&after_one_block));
        assert!(short.hidden(&states) != branch.hidden(&states));
        assert_eq!(branch.lower(99).layers(), 2);
    }

    #[test]
    fn what_learners_and_the_engine_own_can_move_to_another_thread() {
        fn movable<T: Send>() {}
        movable::<crate::Trunk>();
        movable::<Branch>();
        movable::<ScalarBranch>();
        movable::<crate::Engine>();
    }
}
