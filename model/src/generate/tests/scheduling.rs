//! Who runs when, and that it changes no answer.

use super::{Outputs, answer, engine, greedy, request, run, sampled};
use crate::generate::{EngineConfig, EngineError, Event, Finish, OnSwap, Output, SamplingParams};
use crate::testing::tiny_model;

fn slots(max_sequences: usize) -> EngineConfig {
    EngineConfig { max_sequences, prefill_chunk: 8, max_context: 256, ..EngineConfig::default() }
}

/// Equal but for rounding of the log-probabilities.
fn assert_same(a: &Output, b: &Output, what: &str) {
    assert_eq!(a.tokens, b.tokens, "{what}");
    assert_eq!((&a.text, &a.finish, &a.spans), (&b.text, &b.finish, &b.spans), "{what}");
    for (x, y) in a.logprobs.iter().zip(&b.logprobs) {
        assert!((x - y).abs() < 1e-4, "{what}: {x} {y}");
    }
}

/// Requests of different lengths, parameters and numbers of samples.
fn mixed() -> Vec<super::Request> {
    let penalised = SamplingParams { repetition_penalty: 1.3, temperature: 0.7, ..sampled(20, 3) };
    let nucleus = SamplingParams { top_p: 0.9, top_k: 50, ..sampled(33, 4) };
    vec![
        request(1, &[1, 2, 3], 1, sampled(40, 1)),
        request(2, &(0..50).collect::<Vec<_>>(), 3, sampled(9, 2)),
        request(3, &[7; 17], 2, penalised),
        request(4, &[200, 100], 1, nucleus),
        request(5, &[5], 1, greedy(25)),
        request(6, &[5, 6, 7, 8], 4, sampled(12, 5)),
    ]
}

#[test]
fn an_answer_does_not_depend_on_what_else_is_in_the_batch() {
    let tiny = tiny_model(51);
    // Some answers end early: an end token that is likely enough.
    let eos: Vec<i64> = (60..63).collect();
    let mut alone = Outputs::new();
    for request in mixed() {
        let mut engine = engine(&tiny, slots(8), eos.clone());
        engine.submit(request).unwrap();
        alone.append(&mut run(&mut engine));
    }
    // Four slots: requests wait, join and leave at different times.
    let mut together = engine(&tiny, slots(4), eos);
    for request in mixed() {
        together.submit(request).unwrap();
    }
    let together = run(&mut together);
    assert_eq!(alone.len(), 12);
    assert_eq!(together.len(), 12);
    for (key, output) in &alone {
        assert_same(output, &together[key], &format!("{key:?}"));
    }
}

#[test]
fn samples_that_share_a_prompts_pass_equal_samples_asked_one_by_one() {
    let tiny = tiny_model(52);
    let prompt: Vec<i64> = (10..40).collect();
    let mut engine = engine(&tiny, slots(4), Vec::new());
    engine.submit(request(1, &prompt, 4, sampled(15, 9))).unwrap();
    let together = run(&mut engine);
    let distinct: std::collections::BTreeSet<_> = together.values().map(|output| &output.tokens).collect();
    assert_eq!(distinct.len(), 4, "samples have streams of their own");
    // The first sample of a request with the same seed is the first of the group, whatever the number of samples.
    for samples in 1..4 {
        engine.submit(request(1, &prompt, samples, sampled(15, 9))).unwrap();
        let fewer = run(&mut engine);
        for sample in 0..samples {
            assert_same(answer(&fewer, 1, sample), answer(&together, 1, sample), "sample");
        }
    }
}

#[test]
fn a_finished_sequence_frees_its_slot_at_once_and_the_next_joins_the_running() {
    let tiny = tiny_model(53);
    let mut engine = engine(&tiny, slots(2), Vec::new());
    engine.submit(request(1, &[1], 1, sampled(3, 1))).unwrap();
    engine.submit(request(2, &[2], 1, sampled(9, 1))).unwrap();
    engine.submit(request(3, &[3], 1, sampled(3, 1))).unwrap();
    // A prompt's pass gives the first token and the same step's decoding the second.
    engine.step().unwrap();
    assert_eq!((engine.running(), engine.waiting()), (2, 1));
    let events = engine.step().unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::Finished { request: 1, .. })));
    assert_eq!((engine.running(), engine.waiting()), (1, 1));
    let events = engine.step().unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::Token { request: 3, .. })));
    assert_eq!((engine.running(), engine.waiting()), (2, 0));
}

#[test]
fn a_long_prompt_is_passed_in_pieces_while_others_go_on() {
    let tiny = tiny_model(54);
    let mut engine = engine(&tiny, slots(2), Vec::new());
    engine.submit(request(1, &[1], 1, sampled(100, 1))).unwrap();
    engine.step().unwrap();
    engine.submit(request(2, &[9; 30], 1, sampled(4, 1))).unwrap();
    // 30 tokens in chunks of 8: the fourth step ends it.
    for step in 0..4 {
        let events = engine.step().unwrap();
        let tokens = |id| events.iter().filter(|e| matches!(e, Event::Token { request, .. } if *request == id)).count();
        assert_eq!((tokens(1), tokens(2) > 0), (1, step == 3), "step {step}");
    }
}

#[test]
fn more_than_max_waiting_is_refused_and_so_is_what_cannot_run() {
    let tiny = tiny_model(55);
    let mut engine = engine(&tiny, EngineConfig { max_waiting: 2, ..slots(2) }, Vec::new());
    for id in 0..2 {
        engine.submit(request(id, &[1], 1, sampled(3, 1))).unwrap();
    }
    assert_eq!(engine.submit(request(9, &[1], 1, sampled(3, 1))), Err(EngineError::Full { waiting: 2 }));
    engine.step().unwrap();
    engine.submit(request(9, &[1], 1, sampled(3, 1))).unwrap();
    let refused = |engine: &mut crate::Engine, request| engine.submit(request).unwrap_err().to_string();
    assert!(refused(&mut engine, request(9, &[1], 1, sampled(3, 1))).contains("request 9"));
    assert!(refused(&mut engine, request(10, &[1], 3, sampled(3, 1))).contains("samples is 3"));
    assert!(refused(&mut engine, request(10, &[259], 1, sampled(3, 1))).contains("token 259"));
    assert!(refused(&mut engine, request(10, &[], 1, sampled(3, 1))).contains("empty"));
    assert!(refused(&mut engine, request(10, &[1; 256], 1, sampled(3, 1))).contains("256 tokens"));
    assert!(refused(&mut engine, request(10, &[1], 1, sampled(0, 1))).contains("max_tokens"));
    let odd = SamplingParams { top_p: f64::NAN, ..sampled(1, 1) };
    assert!(refused(&mut engine, request(10, &[1], 1, odd)).contains("top_p"));
}

#[test]
fn a_cancelled_request_vanishes_wherever_it_is_and_others_are_not_disturbed() {
    let tiny = tiny_model(56);
    let mut alone = engine(&tiny, slots(4), Vec::new());
    alone.submit(request(1, &[1, 2], 1, sampled(30, 7))).unwrap();
    let alone = run(&mut alone);

    let mut engine = engine(&tiny, slots(4), Vec::new());
    engine.submit(request(2, &[4, 5, 6], 3, sampled(50, 1))).unwrap();
    engine.submit(request(1, &[1, 2], 1, sampled(30, 7))).unwrap();
    for _ in 0..5 {
        engine.step().unwrap();
    }
    assert_eq!(engine.running(), 4);
    engine.cancel(2);
    assert_eq!(engine.running(), 1);
    engine.submit(request(3, &[8; 40], 1, sampled(5, 1))).unwrap();
    engine.step().unwrap();
    assert_eq!(engine.waiting(), 1);
    engine.cancel(3);
    engine.submit(request(4, &[8; 40], 4, sampled(5, 1))).unwrap();
    engine.cancel(4);
    assert_eq!((engine.running(), engine.waiting()), (1, 0));
    let outputs = run(&mut engine);
    assert_eq!(outputs.len(), 1);
    assert_same(answer(&outputs, 1, 0), answer(&alone, 1, 0), "survivor");
}

#[test]
fn a_stop_string_ends_the_answer_and_is_cut_off_its_text() {
    let tiny = tiny_model(57);
    let ask = |stop: &[&str]| {
        let stop = stop.iter().map(|s| (*s).to_owned()).collect();
        let mut engine = engine(&tiny, slots(1), Vec::new());
        engine.submit(request(1, &[65, 66], 1, SamplingParams { stop, temperature: 0.5, ..sampled(60, 11) })).unwrap();
        answer(&run(&mut engine), 1, 0).clone()
    };
    let free = ask(&[]);
    assert_eq!(free.finish, Finish::Length);
    let middle: Vec<(usize, char)> = free.text.char_indices().filter(|(_, c)| c.is_ascii()).skip(3).collect();
    let stop = middle[0].1.to_string();
    let stopped = ask(&["never in there", &stop]);
    assert_eq!(stopped.finish, Finish::StopString);
    let end = free.text.find(&stop).unwrap();
    assert_eq!(stopped.text, free.text[..end]);
    assert_eq!(stopped.tokens, free.tokens[..stopped.tokens.len()]);
    assert!(stopped.tokens.len() < free.tokens.len());
}

#[test]
fn the_longest_context_ends_an_answer() {
    let tiny = tiny_model(58);
    let mut engine = engine(&tiny, EngineConfig { max_context: 20, ..slots(2) }, Vec::new());
    engine.submit(request(1, &[3; 15], 2, sampled(100, 1))).unwrap();
    let outputs = run(&mut engine);
    for sample in 0..2 {
        assert_eq!((answer(&outputs, 1, sample).tokens.len(), answer(&outputs, 1, sample).finish), (5, Finish::Length));
    }
}

#[test]
fn a_swap_between_steps_is_recorded_in_the_spans_of_running_answers() {
    let (old, new) = (tiny_model(59), tiny_model(60));
    let mut engine = engine(&old, slots(2), Vec::new());
    engine.submit(request(1, &[1, 2, 3], 1, sampled(10, 1))).unwrap();
    engine.step().unwrap();
    engine.step().unwrap();
    engine.set_branch(new.branch.deep_copy(), 5);
    assert_eq!(engine.version(), 5);
    engine.set_branch(new.branch.deep_copy(), 6);
    let outputs = run(&mut engine);
    assert_eq!(answer(&outputs, 1, 0).spans, [(0, 0), (3, 6)]);
}

#[test]
fn after_a_swap_a_new_request_gets_what_a_fresh_engine_would_give_even_with_its_prompt_half_passed() {
    let (old, new) = (tiny_model(61), tiny_model(62));
    let prompt: Vec<i64> = (0..20).collect();
    let ask = |engine: &mut crate::Engine, id| engine.submit(request(id, &prompt, 2, sampled(10, 3))).unwrap();
    // Both have the old trunk.
    let mut cold = engine(&old, slots(2), Vec::new());
    cold.set_branch(new.branch.deep_copy(), 1);
    ask(&mut cold, 1);
    let cold = run(&mut cold);
    let mut warm = engine(&old, slots(2), Vec::new());
    ask(&mut warm, 1);
    let before = run(&mut warm);
    ask(&mut warm, 2);
    warm.step().unwrap();
    assert_eq!(warm.waiting(), 1, "the prompt is half passed");
    warm.set_branch(new.branch.deep_copy(), 1);
    let warm = run(&mut warm);
    for sample in 0..2 {
        assert_same(answer(&warm, 2, sample), answer(&cold, 1, sample), "warm against cold");
        assert_ne!(answer(&warm, 2, sample).tokens, answer(&before, 1, sample).tokens, "the weights differ");
    }
}

#[test]
fn finish_first_lets_running_answers_end_on_their_weights_and_starts_none_before_the_swap() {
    let (old, new) = (tiny_model(63), tiny_model(64));
    let config = EngineConfig { on_swap: OnSwap::FinishFirst, ..slots(2) };
    let mut engine = engine(&old, config, Vec::new());
    engine.submit(request(1, &[1, 2, 3], 1, sampled(6, 1))).unwrap();
    engine.step().unwrap();
    engine.set_branch(new.branch.deep_copy(), 4);
    engine.submit(request(2, &[1, 2, 3], 1, sampled(6, 1))).unwrap();
    engine.step().unwrap();
    assert_eq!((engine.version(), engine.running(), engine.waiting()), (0, 1, 1));
    let outputs = run(&mut engine);
    assert_eq!(engine.version(), 4);
    assert_eq!(answer(&outputs, 1, 0).spans, [(0, 0)]);
    assert_eq!(answer(&outputs, 2, 0).spans, [(0, 4)]);
}

#[test]
fn weights_that_are_not_finite_are_an_error_and_not_an_answer() {
    let tiny = tiny_model(65);
    let broken = tiny.branch.deep_copy();
    {
        let _guard = tch::no_grad_guard();
        let _same = broken.parameters()[0].1.shallow_clone().fill_(f64::NAN);
    }
    let mut engine = engine(&tiny, slots(2), Vec::new());
    engine.set_branch(broken, 3);
    engine.submit(request(1, &[1], 1, sampled(3, 1))).unwrap();
    assert!(engine.step().unwrap_err().to_string().contains("version 3"));
}
