//! A learner that has gone bad.
//!
//! Invariant: what is put back is compared bit for bit with what was there when it was measured.

use super::*;
use crate::error::LearningError;

fn guarded(guard: GuardConfig) -> PpoConfig {
    PpoConfig { guard: GuardConfig { patience: 2, ..guard }, ..config() }
}

/// The scalars of the state, but for the version and the guard's own.
fn scalars(learner: &PpoLearner) -> serde_json::Value {
    let mut scalars = learner.state().scalars;
    let all = scalars.as_object_mut().unwrap();
    all.remove("version");
    all.remove("guard");
    scalars
}

/// One update on a fresh batch.
fn update(learner: &mut PpoLearner, seed: u64) -> PpoReport {
    let batch = batch(learner, 8, seed);
    run(learner, batch)
}

fn over_budget(report: &PpoReport) -> PpoReport {
    PpoReport { kl_per_sequence: 24.1, ..report.clone() }
}

#[test]
fn after_two_updates_over_the_budget_it_is_bit_for_bit_what_it_was_and_goes_on_as_that_would() {
    let mut learner = learner(guarded(GuardConfig::default()), 31);
    let mut report = update(&mut learner, 1);
    assert_eq!(learner.guard(&report).unwrap(), None);
    let (good, good_scalars) = (bits(&learner), scalars(&learner));
    // The next update finds these weights good, and makes others of them.
    report = update(&mut learner, 2);
    assert_eq!(learner.guard(&over_budget(&report)).unwrap(), None, "once is not enough");
    report = update(&mut learner, 3);
    assert_ne!(bits(&learner), good);
    let rollback = learner.guard(&over_budget(&report)).unwrap().expect("twice is");
    assert_eq!((rollback.reason, rollback.to), (GoneBad::Kl, 1), "the bad one's own measurement is not kept");
    assert!(rollback.why.contains("24.1") && rollback.why.contains("at most 24"), "{}", rollback.why);
    assert_eq!((bits(&learner), scalars(&learner)), (good, good_scalars));
    // Three updates, and two on, so that what version 3 sampled is too stale to be learned from.
    assert_eq!((rollback.version, learner.version()), (5, 5));

    let mut other = super::learner(learner.config().clone(), 31);
    other.restore(learner.state()).unwrap();
    let again = batch(&learner, 8, 4);
    let reports = [run(&mut learner, again.clone()), run(&mut other, again)];
    assert_eq!(reports[0], reports[1]);
    assert_eq!(bits(&learner), bits(&other));
}

#[test]
fn saved_between_two_bad_updates_it_is_put_back_by_the_second_as_if_it_had_not_been_saved() {
    let mut learner = learner(guarded(GuardConfig::default()), 37);
    let report = update(&mut learner, 1);
    assert_eq!(learner.guard(&report).unwrap(), None);
    let good = bits(&learner);
    let report = update(&mut learner, 2);
    assert_eq!(learner.guard(&over_budget(&report)).unwrap(), None);
    let mut other = super::learner(learner.config().clone(), 38);
    other.restore(learner.state()).unwrap();
    for learner in [&mut learner, &mut other] {
        let report = update(learner, 3);
        let rollback = learner.guard(&over_budget(&report)).unwrap().expect("the second in a row");
        assert_eq!((rollback.reason, rollback.to), (GoneBad::Kl, 1));
        assert_eq!(bits(learner), good);
    }
    assert_eq!(scalars(&learner), scalars(&other));
}

#[test]
fn a_good_update_between_two_bad_ones_takes_the_strike_back() {
    let mut learner = learner(guarded(GuardConfig::default()), 32);
    let report = update(&mut learner, 1);
    let before = bits(&learner);
    for report in [over_budget(&report), report.clone(), over_budget(&report)] {
        assert_eq!(learner.guard(&report).unwrap(), None);
    }
    assert_eq!(bits(&learner), before);
}

#[test]
fn an_entropy_under_the_floor_puts_it_back_to_the_beginning() {
    let mut learner = learner(guarded(GuardConfig { min_entropy: 100.0, ..GuardConfig::default() }), 33);
    let before = bits(&learner);
    let report = update(&mut learner, 1);
    assert_eq!(learner.guard(&report).unwrap(), None);
    let report = update(&mut learner, 2);
    let rollback = learner.guard(&report).unwrap().unwrap();
    assert_eq!((rollback.reason, rollback.to), (GoneBad::Entropy, 0));
    assert_eq!(bits(&learner), before);
}

#[test]
fn a_policy_that_really_runs_away_is_put_back_to_weights_that_were_near_the_reference() {
    let guard = GuardConfig { max_kl_per_sequence: Some(0.4), ..GuardConfig::default() };
    let mut learner = learner(
        PpoConfig {
            target_kl_per_sequence: 0.2,
            learning_rate: 2e-2,
            kl_coef: 0.0,
            kl_adaptive: false,
            ..guarded(guard)
        },
        34,
    );
    let (mut states, mut kls) = (Vec::new(), Vec::new());
    let rollback = loop {
        assert!(states.len() < 20, "the KL never left its budget: {kls:?}");
        states.push((learner.version(), bits(&learner)));
        let report = update(&mut learner, states.len() as u64);
        kls.push(report.kl_per_sequence);
        if let Some(rollback) = learner.guard(&report).unwrap() {
            break rollback;
        }
    };
    let last = kls.len() - 1;
    assert!(kls[last] > 0.4 && kls[last - 1] > 0.4, "{kls:?}");
    let kept = states.iter().position(|(version, _)| *version == rollback.to).unwrap();
    assert!(kls[kept] <= 0.2 && kls[kept + 1..].iter().all(|kl| *kl > 0.2), "the last that was well within: {kls:?}");
    assert_eq!(bits(&learner), states[kept].1);
}

#[test]
fn a_number_that_is_not_finite_is_not_waited_for() {
    let mut learner = learner(guarded(GuardConfig::default()), 35);
    let before = bits(&learner);
    let report = update(&mut learner, 1);
    let bad = PpoReport { value_loss: f64::NAN, ..report.clone() };
    assert_eq!(learner.guard(&bad).unwrap().unwrap().reason, GoneBad::NotFinite);
    assert_eq!(bits(&learner), before);
    let (_, weight) = learner.policy.parameters().remove(0);
    tch::no_grad(|| drop(weight.shallow_clone().g_mul_scalar_(f64::INFINITY)));
    let rollback = learner.guard(&report).unwrap().unwrap();
    assert!(rollback.why.contains("the policy's weights"), "{}", rollback.why);
    assert_eq!(bits(&learner), before);
}

#[test]
fn turned_off_it_keeps_nothing_and_stops_only_what_is_not_finite() {
    let off = GuardConfig { max_kl_per_sequence: Some(0.0), ..GuardConfig::default() };
    let mut learner = learner(guarded(off), 36);
    let report = update(&mut learner, 1);
    for _ in 0..3 {
        assert_eq!(learner.guard(&PpoReport { kl_per_sequence: 1e9, ..report.clone() }).unwrap(), None);
    }
    let error = learner.guard(&PpoReport { entropy: f64::NAN, ..report }).unwrap_err();
    assert!(matches!(error, LearningError::NonFinite { what: "the entropy", .. }), "{error}");
}

#[test]
fn a_guard_that_cannot_work_is_refused_by_name() {
    let wrong = [
        (
            GuardConfig { max_kl_per_sequence: Some(11.9), ..GuardConfig::default() },
            "guard.max_kl_per_sequence is 11.9",
        ),
        (GuardConfig { min_entropy: -1.0, ..GuardConfig::default() }, "guard.min_entropy is -1"),
        (GuardConfig { patience: 0, ..GuardConfig::default() }, "guard.patience is 0"),
    ];
    for (guard, text) in wrong {
        let error = PpoConfig { guard, ..config() }.validate().unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}
