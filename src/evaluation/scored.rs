//! Log-probabilities of given answers under a speaker's model.
//!
//! Invariant: without gradients; one sequence is in memory, and its logits 256 positions at a time.

use anyhow::ensure;
use tch::Tensor;
use understudy_model::{token_logprobs, trunk_states};

use crate::speaker::Speaker;

/// Positions whose logits are alive at a time.
const CHUNK: usize = 256;

/// `[R]` log-probabilities in nats of the tokens of `answer` after `prompt`, at `temperature` (above 0).
pub fn logprobs(speaker: &Speaker, prompt: &[i64], answer: &[i64], temperature: f64) -> anyhow::Result<Vec<f64>> {
    let (tokens, vocabulary) = ([prompt, answer].concat(), speaker.trunk.vocab_size() as i64);
    ensure!(!prompt.is_empty(), "a prompt has no tokens");
    ensure!(
        tokens.len() <= speaker.trunk.max_position(),
        "prompt and answer have {} tokens, the model reads {}",
        tokens.len(),
        speaker.trunk.max_position()
    );
    if let Some(token) = tokens.iter().find(|token| !(0..vocabulary).contains(*token)) {
        anyhow::bail!("token {token} is not below {vocabulary}: the models do not share a vocabulary");
    }
    if answer.is_empty() {
        return Ok(Vec::new());
    }
    let _guard = tch::no_grad_guard();
    // The last token foretells nothing.
    let states = trunk_states(&speaker.trunk, &[tokens[..tokens.len() - 1].to_vec()]);
    let hidden = speaker.branch.hidden(&states).get(0).narrow(0, prompt.len() as i64 - 1, answer.len() as i64);
    let targets = Tensor::from_slice(answer).to_device(hidden.device());
    let scored = token_logprobs(&speaker.branch, &hidden, &targets, temperature, CHUNK).logprobs;
    Ok(Vec::<f64>::try_from(scored.to_kind(tch::Kind::Double).to_device(tch::Device::Cpu))?)
}

/// `[R]` tokens of a written answer, at most `most`, with the token that ends answers where it is whole; and whether it is.
pub fn written(speaker: &Speaker, text: &str, most: usize) -> anyhow::Result<(Vec<i64>, bool)> {
    let mut tokens = speaker.text().encode(text.trim(), false)?;
    let whole = tokens.len() < most;
    tokens.truncate(most);
    if whole {
        tokens.extend(speaker.loaded.defaults.eos_tokens.first());
    }
    Ok((tokens, whole))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::{Config, Layers};
    use crate::speaker::Which;
    use understudy_model::{GenerationDefaults, LoadedModel};

    /// A tiny random model that speaks, and its configuration.
    pub(in crate::evaluation) fn tiny(seed: u64) -> (Speaker, Config) {
        let tiny = understudy_model::testing::tiny_model(seed);
        let mut config = Layers::built_in().finish().unwrap().config;
        config.model.trainable_layers = 1;
        let defaults = GenerationDefaults { eos_tokens: tiny.config.eos_tokens.clone(), ..Default::default() };
        let loaded = LoadedModel {
            config: tiny.config,
            weights: tiny.weights,
            text: tiny.text,
            defaults,
            source: Default::default(),
        };
        (Speaker::of(loaded, &config, &Which::Base).unwrap(), config)
    }

    #[test]
    fn what_a_model_says_of_an_answer_are_the_log_probabilities_of_its_softmax() {
        let (speaker, _) = tiny(3);
        let (prompt, answer) = ([5i64, 90, 33], [12i64, 7, 255, 8]);
        let found = logprobs(&speaker, &prompt, &answer, 0.7).unwrap();
        let all = speaker.branch.hidden(&trunk_states(&speaker.trunk, &[[&prompt[..], &answer].concat()])).get(0);
        for (place, token) in answer.iter().enumerate() {
            let logits = speaker.branch.logits(&all.get(2 + place as i64)).to_kind(tch::Kind::Double) / 0.7;
            let wanted = logits.log_softmax(-1, tch::Kind::Double).double_value(&[*token]);
            // Single precision on both ways.
            assert!((found[place] - wanted).abs() < 1e-4, "{place}: {} and {wanted}", found[place]);
        }
        assert!(logprobs(&speaker, &prompt, &[], 1.0).unwrap().is_empty());
        assert!(logprobs(&speaker, &[], &answer, 1.0).is_err() && logprobs(&speaker, &prompt, &[99_999], 1.0).is_err());
    }
}
