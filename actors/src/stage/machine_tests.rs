//! The state machine against what must always hold, under anything that can come.

use proptest::prelude::*;

use super::*;

fn rules() -> Rules {
    let config = StageConfig { max_kl_per_sequence: Some(10.0), min_entropy: 0.5, ..StageConfig::default() };
    Rules { most_answers: 20, most_s: 100.0, ..config.rules(6.0) }
}

const GOOD: Measured = Measured { kl: 5.0, entropy: 1.0 };
const FAR: Measured = Measured { kl: 10.1, entropy: 1.0 };
const DULL: Measured = Measured { kl: 5.0, entropy: 0.4 };
const BROKEN: Measured = Measured { kl: f64::NAN, entropy: 1.0 };

/// A stage with the lead 0 and, measured so, version 1.
fn with(measured: Measured) -> (Stage, Vec<Change>) {
    let mut stage = Stage::new(Rules { keep: 8, ..rules() }, Standing::unmeasured(0));
    stage.published(1);
    let changes = stage.measured(1, measured, 0.0);
    (stage, changes)
}

fn tried(stage: &Stage) -> Option<u64> {
    stage.trial().map(|trial| trial.candidate.version)
}

/// One thing that can come.
#[derive(Debug, Clone)]
enum Step {
    Published,
    Measured(usize, Measured),
    Answered,
    Compared(f64),
    Tick(f64),
    Order(Order),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let figures = prop_oneof![4 => Just(GOOD), 1 => Just(FAR), 1 => Just(DULL), 1 => Just(BROKEN)];
    let version = prop::option::of(0..30u64);
    let order = prop_oneof![
        version.clone().prop_map(Order::Promote),
        version.prop_map(Order::Rollback),
        (0..30u64).prop_map(Order::Pin),
        Just(Order::Unpin),
    ];
    let step = prop_oneof![
        4 => Just(Step::Published),
        6 => (0..3usize, figures).prop_map(|(back, measured)| Step::Measured(back, measured)),
        4 => Just(Step::Answered),
        6 => prop_oneof![Just(0.0), Just(0.5), Just(1.0)].prop_map(Step::Compared),
        2 => (0.0..60.0f64).prop_map(Step::Tick),
        3 => order.prop_map(Step::Order),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #[test]
    fn whatever_comes_the_lead_is_within_bounds_and_a_pinned_one_never_moves(steps in steps()) {
        let mut stage = Stage::new(rules(), Standing::unmeasured(0));
        let (mut newest, mut now) = (0, 0.0);
        for step in steps {
            let before = (stage.lead().version, stage.is_pinned(), stage.past().to_vec(), tried(&stage));
            let order = if let Step::Order(order) = &step { Some(*order) } else { None };
            let mut refused = false;
            match step {
                Step::Published => {
                    newest += 1;
                    stage.published(newest);
                }
                // What is measured is measured once: 0 is what the stage began with.
                Step::Measured(back, measured) if newest > back as u64 => {
                    let version = newest - back as u64;
                    if stage.waiting().any(|one| one.version == version && one.measured.is_none()) {
                        stage.measured(version, measured, now);
                    }
                }
                Step::Measured(..) => {}
                Step::Answered => drop(stage.answered(now)),
                Step::Compared(x) => drop(stage.compared(x, now)),
                Step::Tick(later) => {
                    now += later;
                    stage.tick(now);
                }
                Step::Order(order) => refused = stage.follow(order, now).is_err(),
            }
            let (was, pinned, past, candidate) = before;
            let lead = stage.lead();
            let within = lead.measured.map_or(lead.version == 0, |seen| rules().breach(seen).is_none());
            prop_assert!(within, "{lead:?} leads");
            let candidates = stage.trial().map(|trial| trial.candidate.measured);
            prop_assert!(candidates.is_none_or(|seen| rules().breach(seen.expect("measured")).is_none()));
            if pinned {
                prop_assert_eq!(lead.version, was, "a pinned lead moved");
            }
            prop_assert!(!(stage.is_pinned() && tried(&stage).is_some()), "a trial beside a pinned lead");
            if order == Some(Order::Rollback(None)) && !refused {
                let wanted = if candidate.is_some() { was } else { past.last().expect("there was one").version };
                prop_assert_eq!(lead.version, wanted, "a rollback goes to the lead of before");
            }
            // All that can be named has its weights, in bounded memory, once.
            prop_assert!(stage.versions().iter().all(|version| stage.holds(*version)));
            prop_assert!(stage.versions().len() <= 2 * rules().keep + 2);
            prop_assert!(!stage.past().iter().any(|past| past.version == lead.version));
            let (again, changes) = Stage::resume(rules(), stage.kept());
            prop_assert_eq!((again.lead(), again.is_pinned(), changes.len()), (lead, stage.is_pinned(), 0));
        }
    }
}

#[test]
fn a_version_is_tried_only_when_it_was_measured_within_the_bounds() {
    let (stage, changes) = with(GOOD);
    assert_eq!((tried(&stage), changes), (Some(1), vec![Change::Canary { version: 1, lead: 0 }]));
    for (measured, wanted) in [(FAR, Reason::Kl), (DULL, Reason::Entropy), (BROKEN, Reason::NotFinite)] {
        let (mut stage, changes) = with(measured);
        assert!(
            matches!(&changes[..], [Change::Refused { version: 1, reason, .. }] if *reason == wanted),
            "{changes:?}"
        );
        assert_eq!(tried(&stage), None);
        let refused = stage.follow(Order::Promote(Some(1)), 0.0);
        assert!(matches!(refused, Err(StageRefusal::OutOfBounds { version: 1, .. })), "{refused:?}");
    }
    let mut stage = Stage::new(rules(), Standing::unmeasured(0));
    stage.published(1);
    assert_eq!(stage.follow(Order::Promote(Some(1)), 0.0), Err(StageRefusal::Unmeasured(1)));
    let kept = vec![0, 1];
    assert_eq!(stage.follow(Order::Pin(7), 0.0), Err(StageRefusal::NotKept { version: 7, kept }));
}

#[test]
fn comparisons_decide_and_where_they_do_not_time_and_answers_do() {
    let lead_after = |x: f64, count: usize| {
        let mut stage = with(GOOD).0;
        (0..count).for_each(|_| drop(stage.compared(x, 1.0)));
        (stage.lead().version, tried(&stage))
    };
    assert_eq!(lead_after(1.0, 20), (1, None), "better");
    assert_eq!(lead_after(0.0, 20), (0, None), "worse");
    assert_eq!(lead_after(0.0, 2), (0, Some(1)), "two tell nothing yet");
    // Nobody says anything: after so many answers, or so much time.
    let mut stage = with(GOOD).0;
    (0..19).for_each(|_| drop(stage.answered(1.0)));
    assert_eq!(stage.lead().version, 0);
    let changes = stage.answered(1.0);
    assert!(matches!(&changes[..], [Change::Promoted { version: 1, from: 0, .. }]), "{changes:?}");
    let mut stage = with(GOOD).0;
    [0.0, 0.0, 0.5].into_iter().for_each(|x| drop(stage.compared(x, 1.0)));
    let changes = stage.tick(100.0);
    let wanted =
        |change: &Change| matches!(change, Change::RolledBack { version: 1, to: 0, reason: Reason::Worse, .. });
    assert!(changes.iter().any(wanted), "{changes:?}");
}

#[test]
fn while_one_is_tried_others_wait_and_the_newest_that_may_comes_next() {
    let mut stage = with(GOOD).0;
    for (version, measured) in [(2, GOOD), (3, GOOD), (4, FAR)] {
        stage.published(version);
        stage.measured(version, measured, 1.0);
    }
    assert_eq!(tried(&stage), Some(1));
    while tried(&stage) == Some(1) {
        stage.compared(0.0, 2.0);
    }
    assert_eq!((stage.lead().version, tried(&stage)), (0, Some(3)));
    stage.published(5);
    stage.measured(5, GOOD, 2.0);
    // By hand: the candidate goes, and what was there by now is not tried again.
    stage.follow(Order::Rollback(None), 3.0).unwrap();
    assert!(stage.tick(4.0).is_empty() && tried(&stage).is_none());
    stage.follow(Order::Promote(Some(2)), 5.0).unwrap();
    stage.follow(Order::Promote(Some(3)), 5.0).unwrap();
    assert_eq!(stage.past().iter().map(|past| past.version).collect::<Vec<_>>(), [0, 2]);
    stage.follow(Order::Pin(3), 5.0).unwrap();
    assert_eq!(stage.follow(Order::Rollback(None), 5.0), Err(StageRefusal::Pinned(3)));
    stage.follow(Order::Unpin, 5.0).unwrap();
    stage.follow(Order::Rollback(None), 5.0).unwrap();
    assert_eq!(stage.lead().version, 2);
}

#[test]
fn a_lead_beyond_a_narrower_budget_gives_way_at_the_next_start_unless_it_is_pinned() {
    let lead = Standing { version: 5, measured: Some(Measured { kl: 8.0, entropy: 1.0 }) };
    let before = Some(Standing { version: 3, measured: Some(GOOD) });
    let narrow = Rules { kl_budget: Some(6.0), ..rules() };
    for (pinned, wanted) in [(false, 3), (true, 5)] {
        let (stage, changes) = Stage::resume(narrow.clone(), Kept { lead, before, pinned, tried: 5 });
        assert_eq!((stage.lead().version, changes.len()), (wanted, 1));
    }
}
