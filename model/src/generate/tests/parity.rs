//! What the engine samples and tells against full passes of the same weights, and against `transformers`.

use tch::{Device, Tensor};

use super::{answer, engine, greedy, request, run};
use crate::generate::{Engine, EngineConfig, Finish, SamplingParams};
use crate::logprobs::token_logprobs;
use crate::testing::reference::{max_difference, references};
use crate::testing::tiny_model;
use crate::text::TextCodec;
use crate::trunk::trunk_states;

#[test]
fn fixture_greedy_decode_of_every_family_is_exact_alone_and_in_a_ragged_batch() {
    for reference in references() {
        let expected = &reference.expected.greedy;
        let length = expected.continuation.len();
        let make = || {
            let (trunk, branch) = reference.build(1);
            let config = EngineConfig { prefill_chunk: 4, ..EngineConfig::default() };
            Engine::new(trunk, branch, TextCodec::bytes(), Vec::new(), config, Device::Cpu)
        };
        let mut alone = make();
        alone.submit(request(1, &expected.prompt, 1, greedy(length))).unwrap();
        assert_eq!(answer(&run(&mut alone), 1, 0).tokens, expected.continuation, "{} alone", reference.name);

        let mut batch = make();
        for (i, row) in reference.expected.rows.iter().enumerate() {
            let params = SamplingParams { temperature: 0.8, max_tokens: 7 * (i + 1), ..SamplingParams::default() };
            batch.submit(request(10 + i as u64, &row.tokens, 2, params)).unwrap();
        }
        batch.submit(request(1, &expected.prompt, 1, greedy(length))).unwrap();
        let outputs = run(&mut batch);
        assert_eq!(answer(&outputs, 1, 0).tokens, expected.continuation, "{} in a batch", reference.name);
    }
}

#[test]
fn fixture_logprobs_from_the_engine_equal_those_of_a_full_pass_in_every_family() {
    for reference in references() {
        let (trunk, branch) = reference.build(2);
        let config = EngineConfig { prefill_chunk: 3, ..EngineConfig::default() };
        let mut engine =
            Engine::new(trunk.shallow_clone(), branch.deep_copy(), TextCodec::bytes(), Vec::new(), config, Device::Cpu);
        let params = SamplingParams { temperature: 0.7, max_tokens: 30, seed: 4, ..SamplingParams::default() };
        for (i, row) in reference.expected.rows.iter().enumerate() {
            let mut request = request(i as u64, &row.tokens, 3, params.clone());
            request.capture_trunk = true;
            engine.submit(request).unwrap();
        }
        let outputs = run(&mut engine);
        for (i, row) in reference.expected.rows.iter().enumerate() {
            for sample in 0..3 {
                let output = answer(&outputs, i as u64, sample);
                let all = [row.tokens.as_slice(), &output.tokens].concat();
                let states = trunk_states(&trunk, std::slice::from_ref(&all));
                let (kept, width) = output.trunk.as_ref().unwrap();
                let kept = Tensor::from_slice(kept).reshape([1, all.len() as i64, *width as i64]);
                assert!(max_difference(&kept, &states) < 2e-5, "{}", reference.name);
                let (p, r) = (row.tokens.len() as i64, output.tokens.len() as i64);
                let hidden = branch.hidden(&states).get(0).narrow(0, p - 1, r);
                let scored = token_logprobs(&branch, &hidden, &Tensor::from_slice(&output.tokens), 0.7, 8);
                let told = Tensor::from_slice(&output.logprobs);
                let difference = max_difference(&told, &scored.logprobs);
                assert!(difference < 2e-5, "{}: {difference}", reference.name);
                assert!(output.kept_mass.iter().all(|&mass| mass == 1.0));
            }
        }
    }
}

#[test]
fn the_states_of_a_captured_answer_cover_every_token_also_when_it_ends_early() {
    let tiny = tiny_model(41);
    let mut engine = engine(&tiny, EngineConfig::default(), (0..128).collect());
    let mut asked = request(1, &[200, 201, 202], 4, SamplingParams::default());
    asked.capture_trunk = true;
    engine.submit(asked).unwrap();
    let outputs = run(&mut engine);
    for sample in 0..4 {
        let output = answer(&outputs, 1, sample);
        assert_eq!(output.finish, Finish::EndOfSequence);
        let all = [&[200, 201, 202], output.tokens.as_slice()].concat();
        let (kept, width) = output.trunk.as_ref().unwrap();
        let kept = Tensor::from_slice(kept).reshape([1, all.len() as i64, *width as i64]);
        assert!(max_difference(&kept, &trunk_states(&tiny.trunk, &[all])) < 1e-5);
    }
}

#[test]
fn fixture_default_model_equals_transformers() {
    // Two threads that wait for each other are slower than one wherever a core is busy with other tests.
    tch::set_num_threads(1);
    let loaded = crate::weights::load(&crate::testing::default_model()).unwrap();
    let path = crate::testing::fixtures().join("models/smollm2_expected.json");
    let expected: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (trunk, branch) = crate::build(&loaded.config, &loaded.weights, 4, Device::Cpu).unwrap();
    let ints = |value: &serde_json::Value| -> Vec<i64> {
        value.as_array().unwrap().iter().map(|v| v.as_i64().unwrap()).collect()
    };
    for chat in expected["chat"].as_array().unwrap() {
        let ids = ints(&chat["ids"]);
        let n = ids.len() as i64;
        let _guard = tch::no_grad_guard();
        let hidden = branch.hidden(&trunk_states(&trunk, std::slice::from_ref(&ids))).get(0);
        let (values, top) = branch.logits(&hidden.get(n - 1)).topk(10, 0, true, true);
        let top: Vec<i64> = (0..10).map(|i| top.int64_value(&[i])).collect();
        assert_eq!(top, ints(&chat["last_top10"]["ids"]));
        for (i, logit) in chat["last_top10"]["logits"].as_array().unwrap().iter().enumerate() {
            let difference = (values.double_value(&[i as i64]) - logit.as_f64().unwrap()).abs();
            assert!(difference < 2e-2, "logit {i} is off by {difference}");
        }
        let scored = token_logprobs(&branch, &hidden.narrow(0, 0, n - 1), &Tensor::from_slice(&ids[1..]), 1.0, 16);
        let sum = scored.logprobs.sum(tch::Kind::Double).double_value(&[]);
        // A sum over some 40 tokens of logits that are each within 2e-2.
        let wanted = chat["prompt_logprob_sum"].as_f64().unwrap();
        assert!((sum - wanted).abs() < 0.1, "{sum} against {wanted}");

        let config = EngineConfig { prefill_chunk: 16, ..EngineConfig::default() };
        let mut engine = Engine::new(
            trunk.shallow_clone(),
            branch.shallow_clone(),
            loaded.text.clone(),
            loaded.defaults.eos_tokens.clone(),
            config,
            Device::Cpu,
        );
        let greedy_ids = ints(&chat["greedy_24"]);
        engine.submit(request(1, &ids, 1, greedy(24))).unwrap();
        let outputs = run(&mut engine);
        let output = answer(&outputs, 1, 0);
        assert_eq!(output.tokens, greedy_ids[..output.tokens.len()]);
        assert!(output.tokens.len() == 24 || output.finish == Finish::EndOfSequence);
        // There the text shows its end token, ours leaves it out.
        let end = loaded.text.special().eos.clone().unwrap();
        let text = chat["greedy_text"].as_str().unwrap();
        assert_eq!(output.text, text.strip_suffix(end.as_str()).unwrap_or(text));
    }
}
