//! Prefill and decode, at a batch size.

use serde_json::{Value, json};
use understudy_model::{Engine, EngineConfig, Event, Request, SamplingParams};

use super::meter::Meter;
use crate::config::Config;
use crate::speaker::{Speaker, engine_config, sampling};

/// Rounds of prefill; the first is a warm-up and not counted.
const ROUNDS: usize = 3;

/// Measures both with `batch` answers at the same time.
pub(super) fn measure(
    speaker: &Speaker,
    config: &Config,
    batch: usize,
    prompt: usize,
    tokens: usize,
) -> anyhow::Result<Value> {
    let bounds = EngineConfig {
        max_sequences: batch,
        max_context: prompt + tokens + 1,
        max_waiting: batch,
        ..engine_config(&config.generation)
    };
    // No token ends an answer: all run to the same length.
    let (trunk, branch) = (speaker.trunk.shallow_clone(), speaker.branch.shallow_clone());
    let mut engine = Engine::new(trunk, branch, speaker.loaded.text.clone(), Vec::new(), bounds, speaker.device());
    let words = speaker.loaded.text.vocab_size() as i64;
    let submit = |engine: &mut Engine, round: usize, length: usize, max_tokens: usize| -> anyhow::Result<()> {
        for row in 0..batch {
            let salt = (round * batch + row) as i64;
            let tokens = (0..length as i64).map(|at| (salt * 7919 + at * 104_729 + 17) % words).collect();
            let params = SamplingParams { max_tokens, ..sampling(&config.generation, salt as u64) };
            engine.submit(Request { id: salt as u64, prompt: tokens, samples: 1, params, capture_trunk: true })?;
        }
        Ok(())
    };
    let mut prefill = super::meter::Spent::default();
    for round in 0..ROUNDS {
        submit(&mut engine, round, prompt, 1)?;
        let meter = Meter::start();
        while !engine.is_idle() {
            engine.step()?;
        }
        if round > 0 {
            prefill.add(meter.spent());
        }
    }
    submit(&mut engine, ROUNDS, 8, tokens)?;
    while engine.running() < batch {
        engine.step()?;
    }
    let meter = Meter::start();
    let mut decoded = 0;
    while !engine.is_idle() {
        decoded += engine.step()?.iter().filter(|event| matches!(event, Event::Token { .. })).count();
    }
    let decode = meter.spent();
    Ok(json!({
        "batch": batch,
        "prefill": prefill.rate((ROUNDS - 1) * batch * prompt),
        "decode": decode.rate(decoded),
    }))
}
