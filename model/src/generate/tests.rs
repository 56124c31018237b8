//! The engine's promises.

mod parity;
mod scheduling;

use std::collections::BTreeMap;

use tch::Device;

use super::{Engine, EngineConfig, Event, Output, Request, SamplingParams};
use crate::testing::TinyModel;

/// Finished answers by request and sample.
type Outputs = BTreeMap<(u64, usize), Output>;

fn engine(tiny: &TinyModel, config: EngineConfig, eos: Vec<i64>) -> Engine {
    let (trunk, branch) = (tiny.trunk.shallow_clone(), tiny.branch.shallow_clone());
    Engine::new(trunk, branch, tiny.text.clone(), eos, config, Device::Cpu)
}

fn request(id: u64, prompt: &[i64], samples: usize, params: SamplingParams) -> Request {
    Request { id, prompt: prompt.to_vec(), samples, params, capture_trunk: false }
}

fn greedy(max_tokens: usize) -> SamplingParams {
    SamplingParams { temperature: 0.0, max_tokens, ..SamplingParams::default() }
}

fn sampled(max_tokens: usize, seed: u64) -> SamplingParams {
    SamplingParams { max_tokens, seed, ..SamplingParams::default() }
}

/// Steps until idle, checking that token events and outputs tell the same.
fn run(engine: &mut Engine) -> Outputs {
    let mut outputs = Outputs::new();
    let mut told: BTreeMap<(u64, usize), (Vec<i64>, String)> = BTreeMap::new();
    while !engine.is_idle() {
        for event in engine.step().unwrap() {
            match event {
                Event::Token { request, sample, token, text, .. } => {
                    let entry = told.entry((request, sample)).or_default();
                    entry.0.push(token);
                    entry.1 += &text;
                }
                Event::Finished { request, sample, output } => {
                    // What was told before this run began is not known here.
                    if let Some((tokens, text)) = told.get(&(request, sample)) {
                        assert!(output.tokens.ends_with(tokens) && output.text.ends_with(text.as_str()));
                    }
                    assert!(outputs.insert((request, sample), output).is_none());
                }
            }
        }
    }
    outputs
}

fn answer(outputs: &Outputs, request: u64, sample: usize) -> &Output {
    outputs.get(&(request, sample)).expect("the answer has finished")
}
