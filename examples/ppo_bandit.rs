//! PPO without a language model: a slot machine with five arms, learned with the very functions that train the policy.
//!
//! Every pull is an answer of one token. Run with `cargo run --example ppo_bandit`; it takes a second.

use tch::{Kind, Tensor};
use understudy_learning::optimiser::{AdamConfig, AdamW};
use understudy_learning::ppo::advantage::generalised_advantages;
use understudy_learning::ppo::kl::{KlClamp, KlEstimator, estimate_kl};
use understudy_learning::ppo::loss::{PolicyClip, policy_loss, value_loss};
use understudy_learning::ppo::reward::{ScorePlacement, shape_rewards};
use understudy_learning::ppo::stats::RatioSums;
use understudy_learning::ppo::whiten::whiten;
use understudy_learning::rng::{Purpose, Stream};

/// Chance of each arm to pay 1.
const ARMS: [f64; 5] = [0.2, 0.5, 0.35, 0.8, 0.6];
const BEST: i64 = 3;
const PULLS: usize = 64;
const UPDATES: usize = 40;
const EPOCHS: usize = 4;
const KL_COEF: f64 = 0.02;
const CLIP: PolicyClip = PolicyClip { low: 0.2, high: 0.2, dual: None };

fn main() -> anyhow::Result<()> {
    tch::set_num_threads(1);
    let policy = Tensor::zeros([5], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
    let value = Tensor::zeros([1], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
    let config = AdamConfig::default();
    let mut policy_adam = AdamW::new(vec![("policy".into(), policy.shallow_clone())], config);
    let mut value_adam = AdamW::new(vec![("value".into(), value.shallow_clone())], config);
    let uniform = policy.detach().copy().log_softmax(-1, Kind::Float);

    println!("update  mean pay  P(best arm)  KL to start  clipped");
    let start = policy.softmax(-1, Kind::Float).double_value(&[BEST]);
    for update in 0..UPDATES {
        // Sample: all pulls of an update come from one policy.
        let before = policy.detach().log_softmax(-1, Kind::Float);
        let (arms, pay) = pull(&before, update as u64)?;
        let old_logprobs = before.index_select(0, &arms);
        let mean_pay = pay.mean(Kind::Float).double_value(&[]);

        // Rewards, advantages and returns, once for the whole batch. Tables are [pulls, 1 token].
        let kl = estimate_kl(&old_logprobs, &uniform.index_select(0, &arms), KlEstimator::K1, KlClamp::USUAL);
        let mask = Tensor::ones([PULLS as i64, 1], (Kind::Bool, tch::Device::Cpu));
        let lengths = Tensor::ones([PULLS as i64], (Kind::Int64, tch::Device::Cpu));
        let rewards = shape_rewards(&kl.unsqueeze(1), &pay, &lengths, KL_COEF, ScorePlacement::OnLast);
        let old_values = value.detach().copy().expand([PULLS as i64, 1], false);
        let ended = Tensor::zeros([PULLS as i64], (Kind::Float, tch::Device::Cpu));
        let found = generalised_advantages(&rewards, &old_values, &mask, &ended, 1.0, 0.95);
        let advantages = whiten(&found.advantages, &mask).squeeze_dim(1);

        let mut ratios = RatioSums::default();
        for _ in 0..EPOCHS {
            policy_adam.zero_grad();
            value_adam.zero_grad();
            let logprobs = policy.log_softmax(-1, Kind::Float).index_select(0, &arms);
            policy_loss(&logprobs, &old_logprobs, &advantages, CLIP).mean(Kind::Float).backward();
            let values = value.expand([PULLS as i64, 1], false);
            value_loss(&values, &old_values, &found.returns, 0.2).mean(Kind::Float).backward();
            ratios.add(&logprobs, &old_logprobs, &logprobs.zeros_like(), CLIP);
            policy_adam.step(0.05, 1.0)?;
            value_adam.step(0.05, 1.0)?;
        }

        if update % 5 == 4 || update == 0 {
            let now = policy.detach().log_softmax(-1, Kind::Float);
            let divergence = (now.exp() * (&now - &uniform)).sum(Kind::Float).double_value(&[]);
            let best = now.exp().double_value(&[BEST]);
            let clipped = ratios.stats().clipfrac * 100.0;
            println!("{:>6}  {mean_pay:>8.3}  {best:>11.3}  {divergence:>11.3}  {clipped:>6.1}%", update + 1);
        }
    }
    let end = policy.softmax(-1, Kind::Float).double_value(&[BEST]);
    println!(
        "the best arm's probability rose from {start:.3} to {end:.3}; the value is {:.3}",
        value.double_value(&[0])
    );
    anyhow::ensure!(end > 0.8, "the best arm should have been found, but its probability is {end:.3}");
    Ok(())
}

/// Pulls arms drawn from the policy: which, and what they paid.
fn pull(logprobs: &Tensor, update: u64) -> anyhow::Result<(Tensor, Tensor)> {
    let probabilities = Vec::<f32>::try_from(logprobs.exp())?;
    let mut stream = Stream::new(1, Purpose::Sampling, update);
    let (mut arms, mut pay) = (Vec::new(), Vec::new());
    for _ in 0..PULLS {
        let mut left = stream.uniform();
        let drawn = |p: &f32| {
            left -= f64::from(*p);
            left < 0.0
        };
        let arm = probabilities.iter().position(drawn).unwrap_or(ARMS.len() - 1);
        arms.push(arm as i64);
        pay.push(if stream.uniform() < ARMS[arm] { 1f32 } else { 0.0 });
    }
    Ok((Tensor::from_slice(&arms), Tensor::from_slice(&pay)))
}
