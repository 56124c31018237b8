//! What an update must be equal to.
//!
//! Invariant: every comparison is with the same update done another way, or with a number computed by hand.

use super::*;
use crate::ppo::correction::Correction;
use crate::ppo::reward::ScorePlacement;
use crate::ppo::score::MissingEos;

#[test]
fn before_the_first_step_every_ratio_is_one_and_the_server_agrees_with_the_learner() {
    let mut learner = learner(config(), 3);
    let batch = batch(&learner, 8, 1);
    let report = run(&mut learner, batch);
    assert!(report.first_ratio_gap < 1e-5, "{}", report.first_ratio_gap);
    assert_eq!(report.first_clipfrac, 0.0);
    assert!(report.max_logprob_gap.unwrap() < 1e-4, "{:?}", report.max_logprob_gap);
    assert!((report.mean_weight - 1.0).abs() < 1e-4);
    assert!(report.kl_per_sequence.abs() < 1e-4, "the policy is still the reference");
    // After the first step it moved: later ratios are not all 1.
    assert!(report.ratio_max > 1.0 + 1e-5 && report.approx_kl > 0.0);
    assert_eq!((report.outcome, report.version, report.steps, report.epochs), (Outcome::Learned, 1, 4, 2));
    assert!(report.mean_length > 1.0 && report.grad_norm > 0.0 && report.value_grad_norm > 0.0);
}

#[test]
fn a_cut_support_leaves_the_weights_at_one_and_forgetting_it_would_not() {
    let mut learner = learner(config(), 4);
    let mut rollouts = sample(learner.trunk(), &learner.policy_snapshot(), 0, 8, 2, 20);
    let mass: f32 = rollouts.iter().flat_map(|r| &r.kept_mass).sum::<f32>()
        / rollouts.iter().map(|r| r.kept_mass.len()).sum::<usize>() as f32;
    assert!(mass < 0.95, "the sampler cut something away: {mass}");
    let scored = |rollouts: &[Rollout]| rollouts.iter().map(|r| score(r.clone(), |_| 1.0)).collect::<Vec<_>>();
    let report = run(&mut learner, scored(&rollouts));
    assert!((report.mean_weight - 1.0).abs() < 1e-4 && report.max_logprob_gap.unwrap() < 1e-4);
    // The control: without the kept mass the mean weight is the mean kept mass.
    let mut learner = super::learner(config(), 4);
    rollouts.iter_mut().for_each(|r| r.kept_mass.fill(1.0));
    let report = run(&mut learner, scored(&rollouts));
    assert!((report.mean_weight - f64::from(mass)).abs() < 1e-3, "{} {mass}", report.mean_weight);
}

#[test]
fn values_are_zero_at_step_zero_and_two_passes_agree() {
    let learner = learner(config(), 5);
    let states = trunk_states(learner.trunk(), &[vec![1, 2, 3], vec![9, 8, 7]]);
    assert_eq!(learner.value_model().forward(&states).abs().max().double_value(&[]), 0.0);
    // No dropout anywhere: the same input twice gives the same bits.
    assert!(learner.policy.hidden(&states).equal(&learner.policy.hidden(&states)));
    let width = learner.trunk().width() as i64;
    assert_eq!(learner.policy.hidden(&states).size(), [2, 3, width]);
}

#[test]
fn what_is_learned_does_not_depend_on_the_micro_batch_size() {
    let moments = |micro_batch_size, placement| {
        let config = PpoConfig {
            minibatch_size: 8,
            micro_batch_size,
            update_epochs: 1,
            entropy_coef: 0.01,
            kl_loss_coef: 0.01,
            score_placement: placement,
            ..config()
        };
        let mut learner = learner(config, 6);
        let batch = batch(&learner, 8, 3);
        let report = run(&mut learner, batch);
        // The first moments are a tenth of the clipped gradients; the weights' own step would hide their size.
        (learner.state().tensors.into_iter().filter(|(name, _)| name.ends_with("exp_avg")).collect::<Vec<_>>(), report)
    };
    for placement in [ScorePlacement::OnLast, ScorePlacement::OnePastLast] {
        let (one, report) = moments(1, placement);
        assert!(report.truncated < 1.0 && report.mean_length < 6.0, "ragged, so that a per-row mean would differ");
        for size in [2, 4, 8] {
            let (other, _) = moments(size, placement);
            for ((name, a), (_, b)) in one.iter().zip(&other) {
                let gap = (a - b).abs().max().double_value(&[]);
                assert!(gap < 1e-6, "{placement:?} {size} {name}: {gap:e}");
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_one_others() {
    let trained = |seed| {
        let TinyModel { trunk, branch, .. } = tiny_model(7);
        let mut learner = PpoLearner::new(trunk, branch, config(), seed);
        let batch = batch(&learner, 8, 1);
        run(&mut learner, batch);
        bits(&learner)
    };
    assert_eq!(trained(1), trained(1));
    assert_ne!(trained(1), trained(2));
}

#[test]
fn a_run_saved_and_restored_in_a_fresh_learner_goes_on_bit_for_bit() {
    let config = || PpoConfig { scale_scores: true, target_kl_per_sequence: 0.001, learning_rate: 1e-3, ..config() };
    let step = |learner: &mut PpoLearner, i: u64| {
        let batch = batch(learner, 8, i);
        run(learner, batch)
    };
    let mut whole = learner(config(), 8);
    let wanted: Vec<PpoReport> = (0..5).map(|i| step(&mut whole, i)).collect();
    let mut first = learner(config(), 8);
    for i in 0..3 {
        step(&mut first, i);
    }
    let state = first.state();
    // Through text, as a checkpoint does it.
    let scalars = serde_json::from_str(&serde_json::to_string(&state.scalars).unwrap()).unwrap();
    // Another seed and another model: everything must come from the state, but for the frozen trunk.
    let TinyModel { trunk, .. } = tiny_model(8);
    let mut second = PpoLearner::new(trunk, tied_branch(8), config(), 99);
    second.restore(crate::state::LearnerState { tensors: state.tensors, scalars }).unwrap();
    let resumed: Vec<PpoReport> = (3..5).map(|i| step(&mut second, i)).collect();
    assert_eq!(resumed, wanted[3..]);
    assert_eq!(bits(&second), bits(&whole));
    assert_eq!(second.kl_coef().to_bits(), whole.kl_coef().to_bits());
    assert_eq!(second.moments, whole.moments);
    assert_ne!(whole.kl_coef(), config().kl_coef, "the controller did move");
}

/// The tiny model's branch with other weights above the split: its head is the trunk's embedding all the same.
fn tied_branch(seed: u64) -> Branch {
    let TinyModel { branch, .. } = tiny_model(seed);
    let branch = branch.deep_copy();
    for (_, parameter) in branch.parameters() {
        let _ = parameter.shallow_clone().g_mul_scalar_(0.5);
    }
    branch
}

#[test]
fn a_published_snapshot_never_changes() {
    let mut learner = learner(config(), 9);
    let snapshot = learner.policy_snapshot();
    let copy = snapshot.deep_copy();
    let batch = batch(&learner, 8, 1);
    run(&mut learner, batch);
    let same = |a: &Branch, b: &Branch| a.parameters().iter().zip(b.parameters()).all(|((_, a), (_, b))| a.equal(&b));
    assert!(same(&snapshot, &copy));
    assert!(!same(&snapshot, &learner.policy_snapshot()));
    assert!(same(&copy, learner.reference()));
    assert!(snapshot.parameters().iter().all(|(_, parameter)| !parameter.requires_grad()));
}

#[test]
fn being_cut_off_is_bootstrapped_only_where_it_is_asked_for_and_missing_ends_cost_what_is_configured() {
    let rewards = |missing_eos, truncation_bootstrap| {
        let config =
            PpoConfig { missing_eos, truncation_bootstrap, whiten_advantages: false, gae_lambda: 0.95, ..config() };
        let mut learner = learner(config, 10);
        // A value model that says something.
        let bias = learner.value.head.bias.shallow_clone();
        tch::no_grad(|| drop(bias.shallow_clone().fill_(2.0)));
        let batch = batch(&learner, 8, 5);
        let cut = batch.iter().filter(|scored| scored.rollout.finish == Finish::Length).count();
        assert!((1..8).contains(&cut), "some ended and some did not");
        let mut update = learner.begin_update(batch).unwrap();
        while let Progress::Working { phase: Phase::Measure, .. } = learner.next_unit(&mut update).unwrap() {
            if let crate::ppo::update::Stage::Learn { experience, .. } = &update.stage {
                return (experience.figures.mean_reward, experience.returns.sum(Kind::Double).double_value(&[]), cut);
            }
        }
        unreachable!("measuring ends in learning");
    };
    let (keep, plain, cut) = rewards(MissingEos::Keep, false);
    let (less, _, _) = rewards(MissingEos::Subtract { penalty: 0.8 }, false);
    assert!((keep - less - 0.8 * cut as f64 / 8.0).abs() < 1e-5);
    let (same, bootstrapped, _) = rewards(MissingEos::Keep, true);
    assert_eq!(same, keep, "a bootstrap is no reward");
    // γ = 1, λ = 0.95: the value 2 after a cut of R tokens adds 2·0.95^k to the return k tokens before the end.
    let six: f64 = (0..6).map(|k| 2.0 * 0.95f64.powi(k)).sum();
    assert!((bootstrapped - plain - cut as f64 * six).abs() < 1e-3, "{bootstrapped} {plain}");
}

#[test]
fn stale_tokens_weigh_what_the_correction_says() {
    let weight = |correction| {
        let config = PpoConfig { learning_rate: 2e-2, correction, ..config() };
        let mut learner = learner(config, 11);
        let old = batch(&learner, 8, 1);
        run(&mut learner, old.clone());
        let report = run(&mut learner, old);
        assert_eq!((report.staleness_mean, report.max_logprob_gap), (1.0, None));
        report.mean_weight
    };
    assert_eq!(weight(Correction::None), 1.0);
    let truncated = weight(Correction::Truncate { low: 0.0, high: 1.0 });
    assert!(truncated < 0.99 && truncated > 0.1, "{truncated}");
    assert!(weight(Correction::MaskSequences { low: 1.0, high: 1.0 + 1e-9 }) < 0.01);
}
