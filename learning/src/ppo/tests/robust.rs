//! What an update must survive.
//!
//! Invariant: whatever is thrown in, the learner answers with a report or an error and keeps its bits.

use super::*;
use crate::error::LearningError;

#[test]
fn rollouts_that_cannot_be_learned_from_are_dropped_and_counted_by_reason() {
    let mut learner = learner(PpoConfig { max_staleness: 1, ..config() }, 12);
    let mut rollouts = batch(&learner, 10, 1);
    learner.advance_version_to(2);
    rollouts.iter_mut().for_each(|scored| scored.rollout.version_spans[0].version = 2);
    let rollout =
        |i: usize, rollouts: &mut Vec<ScoredRollout>, change: fn(&mut ScoredRollout)| change(&mut rollouts[i]);
    rollout(0, &mut rollouts, |s| s.rollout.version_spans[0].version = 0);
    rollout(1, &mut rollouts, |s| s.rollout.sampling.temperature = 1.0);
    rollout(2, &mut rollouts, |s| s.rollout.sampling.repetition_penalty = 1.1);
    rollout(3, &mut rollouts, |s| s.score = f64::NAN);
    rollout(4, &mut rollouts, |s| s.rollout.old_logprobs.clear());
    rollout(5, &mut rollouts, |s| s.rollout.kept_mass[0] = 0.0);
    rollout(6, &mut rollouts, |s| s.rollout.tokens[0] = 1 << 40);
    rollout(7, &mut rollouts, |s| s.rollout.trunk = TrunkStates::Present { values: Arc::new(vec![0.0; 5]), width: 5 });
    rollout(8, &mut rollouts, |s| s.rollout.version_spans[0].version = 1);
    let report = run(&mut learner, rollouts);
    assert_eq!((report.dropped_stale, report.dropped_sampling, report.dropped_invalid), (1, 2, 5));
    assert_eq!((report.rollouts, report.outcome, report.staleness_mean), (2, Outcome::Learned, 0.5));
}

#[test]
fn a_batch_without_anything_to_learn_is_an_outcome_and_changes_nothing() {
    let mut learner = learner(config(), 13);
    let before = bits(&learner);
    for batch in [Vec::new(), vec![ScoredRollout { score: f64::INFINITY, ..batch(&learner, 1, 1).remove(0) }]] {
        let dropped = batch.len();
        let report = run(&mut learner, batch);
        assert_eq!((report.outcome, report.dropped_invalid, report.version), (Outcome::NothingToLearn, dropped, 0));
    }
    assert_eq!(bits(&learner), before);
}

#[test]
fn a_single_answer_of_a_single_token_is_enough() {
    let mut learner = learner(config(), 14);
    let mut one = batch(&learner, 1, 1).remove(0);
    let rollout = &mut one.rollout;
    rollout.tokens.truncate(1);
    rollout.old_logprobs.truncate(1);
    rollout.kept_mass.truncate(1);
    rollout.trunk = TrunkStates::Absent;
    let report = run(&mut learner, vec![one]);
    assert_eq!((report.outcome, report.tokens, report.steps), (Outcome::Learned, 1, 2));
    assert!(report.policy_loss.is_finite() && report.grad_norm.is_finite());
}

/// Runs to the end of measuring, then puts `poison` among the advantages.
fn poisoned(learner: &mut PpoLearner, poison: f64) -> Update {
    let batch = batch(learner, 8, 2);
    let mut update = learner.begin_update(batch).unwrap();
    loop {
        if let crate::ppo::update::Stage::Learn { experience, .. } = &mut update.stage {
            let _ = experience.advantages.fill_(poison);
            return update;
        }
        learner.next_unit(&mut update).unwrap();
    }
}

#[test]
fn a_loss_that_is_not_finite_is_skipped_counted_and_leaves_every_bit() {
    for poison in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let config = PpoConfig { minibatch_size: 4, update_epochs: 1, ..config() };
        let mut learner = learner(config, 15);
        let before = bits(&learner);
        let mut update = poisoned(&mut learner, poison);
        let report = finish(&mut learner, &mut update);
        assert_eq!((report.skipped_steps, report.steps, report.outcome), (2, 0, Outcome::NothingToLearn));
        assert_eq!(bits(&learner), before);
        // The third in a row, in another update, is the end.
        let mut update = poisoned(&mut learner, poison);
        let error = loop {
            if let Err(error) = learner.next_unit(&mut update) {
                break error;
            }
        };
        assert!(matches!(error, LearningError::Diverged { times: 3, .. }), "{error}");
        assert_eq!(bits(&learner), before);
        assert!(learner.next_unit(&mut update).is_err(), "an update that failed is over");
    }
}

/// Where a number that is not finite may come from, by the name under which it is told.
#[derive(Debug, Clone, Copy)]
enum Source {
    PolicyLoss,
    ValueLoss,
    PolicyGradient,
    ValueGradient,
}

/// Puts `poison` there: among what the losses are made of, or, for a gradient, into one of a minibatch's gradients after
/// its first micro-batch (the losses stay finite).
fn poison(learner: &mut PpoLearner, update: &mut Update, source: Source, poison: f64) {
    let crate::ppo::update::Stage::Learn { experience, .. } = &mut update.stage else {
        panic!("it does not learn yet")
    };
    let spoil = |(_, parameter): (String, Tensor)| drop(parameter.grad().fill_(poison));
    match source {
        Source::PolicyLoss => drop(experience.advantages.fill_(poison)),
        Source::ValueLoss => drop(experience.returns.fill_(poison)),
        Source::PolicyGradient => spoil(learner.policy.parameters().remove(0)),
        Source::ValueGradient => spoil(learner.value.parameters().remove(0)),
    }
}

#[test]
fn wherever_it_comes_from_a_number_that_is_not_finite_touches_neither_model_and_the_third_calls_learning_off() {
    let sources = [
        (Source::PolicyLoss, "the policy loss"),
        (Source::ValueLoss, "the value loss"),
        (Source::PolicyGradient, "the policy's gradient"),
        (Source::ValueGradient, "the value model's gradient"),
    ];
    for ((source, name), bad) in sources.into_iter().flat_map(|s| [(s, f64::NAN), (s, f64::INFINITY)]) {
        let config = PpoConfig { minibatch_size: 4, micro_batch_size: 2, update_epochs: 1, ..config() };
        let mut learner = learner(config, 21);
        let good = batch(&learner, 8, 5);
        run(&mut learner, good);
        let before = bits(&learner);
        for times in 1..=3 {
            let batch = batch(&learner, 4, 6);
            let mut update = learner.begin_update(batch).unwrap();
            while !matches!(&update.stage, crate::ppo::update::Stage::Learn { .. }) {
                learner.next_unit(&mut update).unwrap();
            }
            if matches!(source, Source::PolicyGradient | Source::ValueGradient) {
                learner.next_unit(&mut update).unwrap();
            }
            poison(&mut learner, &mut update, source, bad);
            if times < 3 {
                let report = finish(&mut learner, &mut update);
                assert_eq!((report.skipped_steps, report.outcome), (1, Outcome::NothingToLearn), "{source:?} {bad}");
            } else {
                let error = std::iter::repeat_with(|| learner.next_unit(&mut update)).find_map(Result::err).unwrap();
                let named = matches!(error, LearningError::Diverged { times: 3, what, .. } if what == name);
                assert!(named, "{source:?} {bad}: {error}");
            }
            assert_eq!(bits(&learner), before, "{source:?} {bad}, {times} in a row");
        }
    }
}

#[test]
fn a_good_step_forgets_the_bad_ones_and_a_huge_score_is_clipped() {
    let config = PpoConfig { minibatch_size: 8, update_epochs: 2, ..config() };
    let mut learner = learner(config, 16);
    for _ in 0..3 {
        let mut update = poisoned(&mut learner, f64::NAN);
        // Only the first epoch is poisoned.
        learner.next_unit(&mut update).unwrap();
        while !matches!(&update.stage, crate::ppo::update::Stage::Learn { plan, .. } if plan[0].epoch == 1) {
            learner.next_unit(&mut update).unwrap();
        }
        if let crate::ppo::update::Stage::Learn { experience, .. } = &mut update.stage {
            let _ = experience.advantages.fill_(0.5);
        }
        let report = finish(&mut learner, &mut update);
        assert_eq!((report.skipped_steps, report.steps), (1, 1));
    }
    let mut huge = batch(&learner, 8, 3);
    huge[0].score = 1e39;
    huge[1].score = -1e308;
    let report = run(&mut learner, huge);
    assert_eq!((report.skipped_steps, report.outcome), (0, Outcome::Learned));
    assert!(report.mean_reward.abs() < 10.0);
}

#[test]
fn epochs_stop_when_the_policy_has_moved_far_enough() {
    let config = PpoConfig { update_epochs: 6, learning_rate: 1e-2, stop_at_approx_kl: Some(1e-4), ..config() };
    let mut learner = learner(config, 17);
    let batch = batch(&learner, 8, 1);
    let report = run(&mut learner, batch);
    assert!(report.stopped_early && report.epochs < 6, "{} epochs", report.epochs);
}

#[test]
fn an_update_from_before_another_one_and_a_wrong_configuration_are_refused() {
    let mut learner = learner(config(), 18);
    let (old, new) = (batch(&learner, 4, 1), batch(&learner, 4, 2));
    let mut old = learner.begin_update(old).unwrap();
    run(&mut learner, new);
    assert!(learner.next_unit(&mut old).unwrap_err().to_string().contains("version 0"));
    let mut wrong = super::learner(PpoConfig { gamma: 2.0, ..config() }, 1);
    assert!(wrong.begin_update(Vec::new()).unwrap_err().to_string().contains("gamma is 2"));
}

#[test]
fn a_foreign_state_is_refused_and_changes_nothing() {
    let mut learner = learner(config(), 19);
    let before = bits(&learner);
    let mut state = learner.state();
    state.tensors.retain(|(name, _)| name != "value/score.bias");
    assert!(learner.restore(state).unwrap_err().to_string().contains("score.bias"));
    let mut state = learner.state();
    state.tensors.iter_mut().for_each(|(_, tensor)| *tensor = &*tensor * f64::NAN);
    assert!(learner.restore(state).is_err());
    let mut state = learner.state();
    state.scalars = serde_json::json!({});
    assert!(learner.restore(state).is_err());
    assert_eq!(bits(&learner), before);
}
