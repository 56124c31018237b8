//! Learning event by event, in random order and with a bounded memory, ends where learning from all of them at once
//! does.

use std::collections::BTreeSet;

use super::replay::ReplayIndex;
use super::tests::{answer, fast, learner, population, question, ratings};
use super::*;
use crate::annotators::PopulationConfig;
use crate::rng::{Purpose, Stream};
use crate::stages::Rollout;

const EVENTS: usize = 480;
/// New events in a minibatch, as when half a minibatch is learned for each event.
const FRESH: usize = 2;
const BATCH: usize = 8;
/// Less than the events, so that some are forgotten on the way.
const CAPACITY: usize = 320;
/// Questions with four answers each.
const HELD_OUT: usize = 150;

fn settings() -> RewardConfig {
    RewardConfig { learning_rate: 0.0, head_learning_rate: 3e-3, ..fast() }
}

/// Each minibatch holds two new events and six that were heard before.
fn incremental(events: &[RewardExample], seed: u64) -> RewardLearner {
    let mut learner = learner(settings());
    let mut memory = ReplayIndex::new(CAPACITY, 0.5);
    for (step, fresh) in events.chunks(FRESH).enumerate() {
        let mut stream = Stream::new(seed, Purpose::Replay, step as u64);
        for prediction in learner.predict_all(fresh).unwrap().into_iter().flatten() {
            learner.record(&prediction);
        }
        let drawn = memory.draw(BATCH - FRESH, &BTreeSet::new(), &mut stream);
        let again = drawn.into_iter().map(|place| events[place as usize].clone());
        learner.learn(&again.chain(fresh.iter().cloned()).collect::<Vec<_>>()).unwrap();
        for (at, event) in fresh.iter().enumerate() {
            memory.insert((step * FRESH + at) as u64, event.seq, 0, &mut stream);
        }
    }
    assert_eq!(memory.len(), CAPACITY);
    learner
}

/// As many steps of the same size, in epochs of shuffled minibatches.
fn all_at_once(events: &[RewardExample], seed: u64) -> RewardLearner {
    let mut learner = learner(settings());
    for epoch in 0..BATCH / FRESH {
        let order = Stream::new(seed, Purpose::Shuffle, epoch as u64).permutation(events.len());
        for places in order.chunks(BATCH) {
            learner.learn(&places.iter().map(|&place| events[place].clone()).collect::<Vec<_>>()).unwrap();
        }
    }
    learner
}

/// Share of the pairs of held-out answers of different worth (number of words) that are ordered rightly.
fn pair_accuracy(learner: &RewardLearner, held_out: &[Vec<Rollout>]) -> f64 {
    let (mut right, mut pairs) = (0.0, 0.0);
    for answers in held_out {
        let scores = learner.score(answers).unwrap();
        let worth = |i: usize| answers[i].text.split(' ').count();
        for (better, worse) in (0..16).map(|code| (code / 4, code % 4)).filter(|(a, b)| worth(*a) > worth(*b)) {
            right += f64::from(u8::from(scores[better].score > scores[worse].score));
            pairs += 1.0;
        }
    }
    assert!(pairs > 700.0, "{pairs}");
    right / pairs
}

#[test]
fn a_stream_in_random_order_teaches_what_all_events_at_once_teach() {
    // Matrices this small are slower on two threads.
    tch::set_num_threads(1);
    let good = population(PopulationConfig { good: 0.8, noisy: 0.2, hostile: 0.0, ..Default::default() });
    let mut stream = Stream::new(99, Purpose::Evaluation, 1);
    let group = |number: usize| {
        let asked = std::sync::Arc::new(question(1_000_000 + number));
        let id = 4 * (1_000_000 + number as u64);
        (0..4).map(|i| answer(id + i, &asked, &mut stream)).collect::<Vec<_>>()
    };
    let mut held_out: Vec<Vec<Rollout>> = (0..HELD_OUT).map(group).collect();
    let untrained = learner(settings());
    held_out.iter_mut().for_each(|answers| untrained.fill_states(answers).unwrap());
    let (mut online, mut batch) = (Vec::new(), Vec::new());
    for seed in 0..3 {
        let mut events = ratings(&good, 2 * EVENTS, 100 + seed);
        events.truncate(EVENTS);
        assert_eq!(events.len(), EVENTS);
        events.iter_mut().for_each(|event| untrained.fill_states(&mut event.answers).unwrap());
        let order = Stream::new(seed, Purpose::Arrival, 0).permutation(EVENTS);
        let streamed: Vec<RewardExample> = order.iter().map(|&place| events[place].clone()).collect();
        let (one, other) = (incremental(&streamed, seed), all_at_once(&events, seed));
        assert_eq!(
            (one.version(), other.version()),
            ((EVENTS / FRESH) as u64, (EVENTS / FRESH) as u64),
            "as many steps"
        );
        online.push(pair_accuracy(&one, &held_out));
        batch.push(pair_accuracy(&other, &held_out));
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let before = pair_accuracy(&untrained, &held_out);
    assert!(mean(&batch) > before + 0.15, "there is something to learn: {before} {batch:?}");
    assert!((mean(&online) - mean(&batch)).abs() < 0.02, "online {online:?} at once {batch:?}");
}
