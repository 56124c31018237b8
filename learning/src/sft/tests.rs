//! SFT on a tiny model.
//!
//! Invariant: a function of the seeds.

use tch::Tensor;
use understudy_model::testing::{TinyModel, tiny_model};

use super::*;

fn examples() -> Vec<SftExample> {
    let prompt = |i: i64| vec![10 + i, 60, 70];
    (0..6).map(|i| SftExample { prompt: prompt(i), completion: vec![100 + i, 30, 40 + i, 258] }).collect()
}

fn learner(micro_batch_size: usize) -> SftLearner {
    let TinyModel { trunk, branch, .. } = tiny_model(5);
    let config = SftConfig { minibatch_size: 3, micro_batch_size, learning_rate: 3e-3, ..SftConfig::default() };
    SftLearner::new(trunk, branch, config, 1)
}

fn run(learner: &mut SftLearner, examples: Vec<SftExample>) -> SftReport {
    let mut update = learner.begin_update(examples).unwrap();
    loop {
        if let SftProgress::Done(report) = learner.next_unit(&mut update).unwrap() {
            return report;
        }
    }
}

#[test]
fn the_loss_falls_and_the_report_tells_it_before_each_step() {
    let mut learner = learner(2);
    let before = learner.evaluate(&examples()).unwrap();
    let first = run(&mut learner, examples());
    for _ in 0..14 {
        run(&mut learner, examples());
    }
    let after = learner.evaluate(&examples()).unwrap();
    assert!(after < before - 1.0, "{before} -> {after}");
    assert!((first.loss - before).abs() < 1.0 && first.steps == 2 && first.tokens == 24);
}

#[test]
fn only_completion_tokens_count() {
    let logprobs = Tensor::from_slice(&[-9f64, -1.0, -3.0, -9.0]).reshape([2, 2]);
    let mask = Tensor::from_slice(&[false, true, true, false]).reshape([2, 2]);
    assert_eq!(completion_loss(&logprobs, &mask).double_value(&[]), 2.0);
    // The same in the learner: its loss is the mean over the four completion tokens, computed here from all logits.
    let (learner, example) = (learner(1), examples().remove(0));
    let TinyModel { trunk, branch, .. } = tiny_model(5);
    let tokens = [example.prompt.as_slice(), &example.completion].concat();
    let hidden = branch.hidden(&understudy_model::trunk_states(&trunk, std::slice::from_ref(&tokens)));
    let all = branch.logits(&hidden).get(0).log_softmax(-1, tch::Kind::Double);
    let taken = |i: usize| all.double_value(&[i as i64 - 1, tokens[i]]);
    let wanted = -(3..7).map(taken).sum::<f64>() / 4.0;
    assert!((learner.evaluate(&[example]).unwrap() - wanted).abs() < 1e-5);
}

#[test]
fn the_micro_batch_size_does_not_change_what_is_learned() {
    let weights = |micro| {
        let mut learner = learner(micro);
        run(&mut learner, examples());
        learner.policy_snapshot().parameters()
    };
    for ((name, one), (_, three)) in weights(1).iter().zip(&weights(3)) {
        let gap = (one - three).abs().max().double_value(&[]);
        // Rates of 3e-3: the cut may move a weight by rounding, never by a visible part of a step.
        assert!(gap < 1e-5, "{name} {gap}");
    }
}

#[test]
fn a_saved_run_goes_on_bit_for_bit_and_what_makes_no_sense_is_dropped() {
    let (mut whole, mut half) = (learner(2), learner(2));
    for learner in [&mut whole, &mut half] {
        run(learner, examples());
    }
    let mut resumed = learner(2);
    resumed.restore(half.state()).unwrap();
    run(&mut whole, examples());
    run(&mut resumed, examples());
    for ((name, a), (_, b)) in whole.policy_snapshot().parameters().iter().zip(&resumed.policy_snapshot().parameters())
    {
        assert!(a.equal(b), "{name}");
    }
    let bad = vec![
        SftExample { prompt: vec![], completion: vec![1] },
        SftExample { prompt: vec![1], completion: vec![] },
        SftExample { prompt: vec![1; 600], completion: vec![1] },
        SftExample { prompt: vec![1], completion: vec![-1] },
    ];
    let report = run(&mut whole, bad);
    assert_eq!((report.dropped, report.examples, report.steps), (4, 0, 0));
}
