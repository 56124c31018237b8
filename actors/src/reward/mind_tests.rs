//! What the reward actor knows, frees and tells, apart from what was taken back.

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::watch;
use understudy_learning::stages::{FeedbackKind, Prompt, Question, Rollout};

use super::hearing::HearingConfig;
use super::job::RewardJob;
use super::mind::Mind;
use super::rebuild_tests::{Bench, Journal, journal, nothing_kept, ratings, said};
use super::{RewardActor, RewardView};
use crate::cancel::Cancel;
use crate::failpoint::Failpoints;
use crate::link::{Feed, Pace, Port};
use crate::messages::{LoopEvent, RolloutGroup};
use crate::seams::DurableFeedback;
use crate::supervision::Supervision;
use crate::testkit::{running, ticket};
use crate::worker::Worker;

fn hearing() -> HearingConfig {
    HearingConfig { replay: 10, cached: 3, normalise_every: 2, ..HearingConfig::default() }
}

/// The four answers from `first` on, to a question of this closedness.
fn group(bench: &Bench, first: u64, closedness: Option<f64>) -> RolloutGroup {
    let answer = |id| {
        let answer = Rollout::clone(&bench.answers.find(id).unwrap().unwrap());
        let question = Question { closedness, ..Question::clone(&answer.prompt.question) };
        let answer = Rollout { prompt: Prompt { question: Arc::new(question), ..answer.prompt.clone() }, ..answer };
        bench.answers.remember(Arc::new(answer.clone()));
        answer
    };
    RolloutGroup { rollouts: (first..first + 4).map(answer).collect(), ticket: ticket(4) }
}

fn hear(mind: &mut Mind, seq: u64, kind: FeedbackKind) {
    assert!(mind.hear(DurableFeedback { seq, feedback: said(&format!("e{seq}"), kind) }, false).unwrap());
}

fn ranking(first: u64) -> FeedbackKind {
    FeedbackKind::Ranking { levels: (first..first + 4).map(|id| vec![id]).collect() }
}

#[test]
fn a_rating_that_waits_is_in_the_minibatch_that_its_place_in_line_says() {
    let bench = Bench::new();
    let mut mind = bench.mind();
    let mut waiting = journal(ratings(), 1).0.into_iter();
    let mut held_by = Vec::new();
    for minibatch in 0..4 {
        // As the actor does: new events before extra learning.
        while !mind.is_full()
            && let Some(event) = waiting.next()
        {
            mind.hear(event, false).unwrap();
        }
        let learned = mind.learn().unwrap().unwrap();
        held_by.extend(learned.fresh.into_iter().map(|seq| (seq, minibatch)));
    }
    // Minibatches of 4: the event behind n others is in minibatch n / 4, from 0.
    assert_eq!(held_by, (1..=14).map(|seq| (seq, (seq as i32 - 1) / 4)).collect::<Vec<_>>());
    assert!(mind.owes(), "extra learning waited");
}

#[test]
fn closedness_is_frozen_with_each_rating_and_comes_back_as_it_was() {
    let bench = Bench::new();
    (0..3).for_each(|at| drop(group(&bench, 1 + 4 * at, None)));
    let mut mind = bench.mind();
    let mut all = Vec::new();
    // Two people grade four answers of one question: all good or all bad, so it comes out as closed-ended.
    for seq in 1..=8 {
        let (answer, stars) = (1 + (seq - 1) % 4, if seq % 2 == 0 { 5 } else { 1 });
        all.push(said(&format!("e{seq}"), FeedbackKind::Stars { answer, stars }));
    }
    all.push(said("e9", ranking(1)));
    let log = journal(all, 1);
    for event in &log.0 {
        mind.hear(event.clone(), false).unwrap();
    }
    let frozen = |mind: &Mind| mind.replay.examples().map(|one| (one.seq, one.closedness)).collect::<Vec<_>>();
    let before = frozen(&mind);
    let (first, last) = (before[0].1, before.last().unwrap().1);
    assert!(first == 0.5 && last > 0.6, "nothing was known at first, later the grades told: {before:?}");
    let mut again = bench.mind();
    let mut recall = again.restore(mind.state()).unwrap();
    while recall.page(&mut again, &log).unwrap() {}
    assert_eq!(frozen(&again), before);
    assert_eq!(again.state().scalars, mind.state().scalars);
}

#[test]
fn an_edit_is_learned_as_better_than_what_it_edits() {
    let bench = Bench::new();
    let mut mind = bench.mind();
    hear(&mut mind, 1, FeedbackKind::Edit { answer: 3, text: "much better".into() });
    let (original, edited) = {
        let example = mind.replay.examples().next().unwrap();
        (example.answers[0].clone(), example.answers[1].clone())
    };
    (0..20).for_each(|_| drop(mind.learn().unwrap()));
    let rewards = mind.learner.rewards(&[original, edited]).unwrap();
    assert!(rewards[1] > rewards[0] + 0.05, "{rewards:?}");
}

#[test]
fn marks_of_lines_that_an_answer_does_not_have_are_left_out() {
    let bench = Bench::new();
    let mut mind = bench.mind();
    let marks = vec![None, None, None, Some(true)];
    let event = DurableFeedback { seq: 1, feedback: said("e1", FeedbackKind::Steps { answer: 2, marks }) };
    assert!(!mind.hear(event, false).unwrap() && !mind.has_fresh());
}

#[test]
fn held_out_probes_leave_with_the_first_rating_of_their_question() {
    let bench = Bench::new();
    let mut mind = bench.mind_with(HearingConfig { monitor_every: 1, ..hearing() });
    for (first, closedness) in [(1, 0.9), (5, 0.1), (9, 0.9)] {
        mind.score(group(&bench, first, Some(closedness))).unwrap();
    }
    let mut look = |seq, first| {
        hear(&mut mind, seq, ranking(first));
        mind.learn().unwrap();
        assert!(mind.has_probes());
        loop {
            if let Some(report) = mind.probe().unwrap() {
                break report;
            }
        }
    };
    let first = look(1, 1);
    assert_eq!((first.train.probes, first.held_out.probes), (1, 2), "the rated one is no probe of what is unrated");
    assert!(first.d_types.is_some(), "a closed-ended and an open-ended one are left");
    let second = look(2, 5);
    assert_eq!((second.train.probes, second.held_out.probes), (2, 1));
    assert!(second.d_want.is_some_and(|want| want > 0.05), "{second:?}");
    let mut again = bench.mind();
    again.restore(mind.state()).unwrap();
    assert_eq!(again.probes.state(), mind.probes.state(), "the history and what is held out outlive a restart");
    assert_eq!(again.probes.held_out_len(), 1);
    again.score(group(&bench, 1, Some(0.9))).unwrap();
    assert_eq!(again.probes.held_out_len(), 1, "and what was rated before it is never held out");
}

#[test]
fn scores_are_held_back_until_enough_was_learned() {
    let bench = Bench::new();
    let mut mind = bench.mind_with(HearingConfig { ratings_before_scores: 3, ..hearing() });
    let mut was = Vec::new();
    for seq in 1..=4 {
        was.push(mind.is_ignorant());
        hear(&mut mind, seq, ranking(1));
        mind.learn().unwrap();
    }
    assert_eq!(was, [true, true, true, false]);
    assert!(!bench.mind_with(HearingConfig { ratings_before_scores: 0, ..hearing() }).is_ignorant());
}

/// What an actor does that starts with events in the journal, while groups wait to be scored.
fn course(held_back: u64) -> (Vec<&'static str>, RewardView, usize, u64) {
    let bench = Bench::new();
    let (rollouts, ratings_port, scored) =
        (Port::new("rollouts", 16), Port::new("ratings", 16), Port::new("scored", 16));
    let (view, seen) = watch::channel(RewardView::default());
    let (drained, events, pace) = (Cancel::new(), Feed::new("events", 256), Pace::new(4, 0, 0));
    running(async {
        let mut watched = events.subscribe();
        for at in 0..6 {
            let mut group = group(&bench, 1 + 4 * (at % 3), None);
            if at == 0 {
                group.ticket = pace.try_admit(4).unwrap();
            }
            rollouts.offer(group).ok().unwrap();
        }
        let config = HearingConfig { ratings_before_scores: held_back, groups_before_feedback: 2, ..hearing() };
        let parts = bench.parts_with(config.clone());
        let (inlets, port) = ((rollouts.inlet(), ratings_port.inlet()), scored.clone());
        let (told, fired) = (events.clone(), drained.clone());
        let build = move |lifeline| -> Result<RewardActor, String> {
            let job = RewardJob {
                rollouts: inlets.0.clone(),
                ratings: inlets.1.clone(),
                judgements: crate::link::Port::new("judgements", 1).inlet(),
                scored: port.clone(),
                events: told.clone(),
                log: Box::new(Journal(journal(ratings(), 1).0)),
                mind: Mind::new(parts.clone()).map_err(|error| error.to_string())?,
                recall: None,
                anchors: Box::new(nothing_kept()),
                config: config.clone(),
                view: view.clone(),
                fences: None,
                drained: fired.clone(),
                failpoints: Failpoints::off(),
            };
            Ok(Worker::new(job, lifeline))
        };
        let (actor, control) = Supervision::new("reward").start(build);
        actor.ready().await.unwrap();
        while seen.borrow().up_to < 14 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let mut order = Vec::new();
        while let Some(Some(event)) = futures_util::FutureExt::now_or_never(watched.next()) {
            match event {
                LoopEvent::Scored { .. } => order.push("scored"),
                LoopEvent::RewardUpdate { .. } => order.push("learned"),
                _ => {}
            }
        }
        rollouts.close();
        ratings_port.close();
        drained.cancelled().await;
        let _ = control.tell(crate::worker::Finish);
        actor.verdict().await;
        let view = *seen.borrow();
        (order, view, scored.len(), pace.room())
    })
}

#[test]
fn after_a_restart_scoring_goes_on_beside_what_is_still_to_be_heard() {
    let (order, view, passed_on, _) = course(0);
    assert_eq!(order[..2], ["scored", "scored"], "scoring waits for nothing: {order:?}");
    assert!(order.iter().rposition(|what| *what == "learned") > order.iter().rposition(|what| *what == "scored"));
    assert_eq!((view.heard, view.up_to, passed_on), (14, 14, 6), "each event once");
}

#[test]
fn held_back_scores_give_their_places_back() {
    let (_, _, passed_on, room) = course(1000);
    assert_eq!((passed_on, room), (0, 4));
}
