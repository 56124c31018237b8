//! The monitor on planted states: collapsed, healthy, not yet fitted.

use super::super::losses::utility::{Dial, Utility};
use super::super::losses::weak_order::pairs_of_ranks;
use super::monitor::{HISTORY, Monitor, Probe, TrainProbe};
use super::optimum::optimum;
use crate::rng::{Purpose, Stream};

const COMMON: Utility = Utility::LogSigmoid { c: 4.0 };
const K: usize = 8;

fn dial(closed: bool) -> Utility {
    Dial::from_closedness(if closed { 0.95 } else { 0.05 }, (0.05, 0.95)).utility()
}

/// 16 closed and 16 open prompts at the optimum of `utility(closed)`, the rewards moved by `noise`.
fn probes(utility: impl Fn(bool) -> Utility, noise: f64, seed: u64) -> (Vec<TrainProbe>, Vec<Probe>) {
    let mut stream = Stream::new(seed, Purpose::Evaluation, 0);
    let mut probe = |i: usize| {
        let closed = i.is_multiple_of(2);
        let curve = optimum(&utility(closed), K).expect("sound").rewards;
        let rewards = curve.iter().map(|r| (r + noise * stream.normal()).clamp(0.0, 1.0)).collect();
        let ranks: Vec<i64> = (0..K as i64).collect();
        Probe { rewards, closedness: if closed { 0.95 } else { 0.05 }, pairs: pairs_of_ranks(&ranks), ratings: None }
    };
    let train = (0..32).map(|i| TrainProbe { probe: probe(i), utility: utility(i % 2 == 0) }).collect();
    (train, (0..32).map(&mut probe).collect())
}

fn report(utility: impl Fn(bool) -> Utility, noise: f64) -> super::CollapseReport {
    let (train, held_out) = probes(utility, noise, 1);
    Monitor::new(1).observe(7, &train, &held_out).expect("sound").expect("probes")
}

#[test]
fn a_common_loss_that_has_fitted_both_types_raises_the_alarm() {
    let seen = report(|_| COMMON, 0.004);
    assert!(seen.alarm, "{}", seen.line());
    assert!(seen.d_opt < 0.01 && seen.d_want == Some(0.0) && seen.index.is_none());
    assert!(seen.null.expect("two classes").p_value > 0.01, "no difference to see");
    // With ratings that know no types either, there is nothing to lose.
    let (mut train, held_out) = probes(|_| COMMON, 0.004, 1);
    train.iter_mut().for_each(|one| one.probe.ratings = Some((0..K).map(|i| i as f64 / 7.0).collect()));
    let seen = Monitor::new(1).observe(7, &train, &held_out).expect("sound").expect("probes");
    assert!(!seen.alarm && seen.d_rate == Some(0.0), "{}", seen.line());
}

#[test]
fn a_prompt_aware_loss_whose_types_stay_apart_does_not() {
    let seen = report(dial, 0.004);
    assert!(!seen.alarm && seen.d_opt < 0.01, "{}", seen.line());
    assert!(seen.index.expect("the dial asks for a separation").abs() < 0.1);
    assert!((seen.d_want.expect("two classes") - 0.2142).abs() < 5e-5, "as in the paper's recipe");
    assert!(seen.null.expect("two classes").p_value < 0.011);
    assert!(seen.train.rho_closed > seen.train.rho_open && seen.train.accuracy.expect("pairs") > 0.8);
}

#[test]
fn a_prompt_aware_loss_that_holds_on_training_probes_only_raises_the_alarm() {
    let (train, _) = probes(dial, 0.004, 1);
    let (_, held_out) = probes(|_| COMMON, 0.02, 2);
    let seen = Monitor::new(1).observe(7, &train, &held_out).expect("sound").expect("probes");
    assert!(seen.alarm && seen.index.expect("wanted") > 0.7, "{}", seen.line());
}

#[test]
fn early_training_is_no_collapse() {
    // Nothing is learned yet: all rewards near 1/2, the types alike.
    let (mut train, mut held_out) = probes(|_| COMMON, 0.0, 1);
    let flat = |probe: &mut Probe| probe.rewards.iter_mut().for_each(|r| *r = 0.5 + 0.02 * (*r - 0.5));
    train.iter_mut().for_each(|one| flat(&mut one.probe));
    held_out.iter_mut().for_each(flat);
    let mut monitor = Monitor::new(1);
    let seen = monitor.observe(0, &train, &held_out).expect("sound").expect("probes");
    assert!(!seen.alarm && seen.d_opt > 0.3, "{}", seen.line());
    // Fitted since: the smoothed distance needs some reports, 0.34 / 2^5 < 0.02.
    let (train, held_out) = probes(|_| COMMON, 0.001, 1);
    let mut alarms =
        (1..9).map(|update| monitor.observe(update, &train, &held_out).expect("sound").expect("probes").alarm);
    assert_eq!(alarms.position(|alarm| alarm), Some(4));
}

#[test]
fn a_restored_monitor_goes_on_bit_for_bit_and_its_history_is_bounded() {
    let (train, held_out) = probes(dial, 0.03, 3);
    let mut monitor = Monitor::new(5);
    for update in 0..3 {
        monitor.observe(update, &train, &held_out).expect("sound");
    }
    let text = monitor.state().to_string();
    let mut second = Monitor::new(5);
    second.restore(&serde_json::from_str(&text).expect("JSON")).expect("its own state");
    assert_eq!(second.history(), monitor.history());
    assert_eq!(
        second.observe(3, &train, &held_out).expect("sound"),
        monitor.observe(3, &train, &held_out).expect("sound")
    );
    assert!(second.restore(&serde_json::json!({ "made": 1, "history": [{}] })).is_err());
    assert_eq!(second.history().len(), 4, "as it was");

    let few = &train[..2];
    for update in 4..2000 {
        monitor.observe(update, few, &[]).expect("sound");
    }
    assert!(monitor.history().len() <= HISTORY && monitor.history().len() > HISTORY / 2);
    assert_eq!((monitor.history()[0].update, monitor.latest().expect("some").update), (0, 1999));
}

#[test]
fn probes_that_say_nothing_make_no_report_and_broken_ones_an_error() {
    let mut monitor = Monitor::new(1);
    let single = TrainProbe { probe: Probe { rewards: vec![0.5], ..Default::default() }, utility: Utility::X };
    assert_eq!(monitor.observe(1, std::slice::from_ref(&single), &[]).expect("sound"), None);
    let broken = Probe { rewards: vec![0.5, f64::NAN], ..Default::default() };
    assert!(monitor.observe(1, &[single], &[broken]).is_err());
    let strange = Probe { rewards: vec![0.5, 0.5], pairs: pairs_of_ranks(&[0, 1, 2]), ..Default::default() };
    assert!(monitor.observe(1, &[], &[strange]).is_err());
    assert!(monitor.history().is_empty());
}
