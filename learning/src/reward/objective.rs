//! The loss of a mixed batch, as a function of its answers' logits.
//!
//! Invariant: every event enters as −log P(what was said) at its speaker's weight; the utility and the centring are
//! additions whose weights the configuration names. An ignored speaker enters nowhere.

use tch::{Kind, Tensor};

use super::config::{RewardConfig, UtilityChoice};
use super::likelihood::{Scale, Speakers, event_nll};
use super::losses::prompt_aware::{Reduction, listwise_utility_loss};
use super::losses::utility::{DIAL_BOUNDS, Dial, Utility};
use super::reliability::{PARAMETERS, Voice};
use super::said::{Linked, Statements};

/// The parts of a batch's loss.
pub(super) struct Loss {
    pub(super) total: Tensor,
    pub(super) likelihood: f64,
    pub(super) utility: f64,
    pub(super) utility_questions: usize,
}

/// Mean of the events' negative log-likelihoods, each at its weight, + utility_weight · prompt-aware terms + centring.
/// `voices` by annotator of the statements.
pub(super) fn batch_loss(
    statements: &Statements,
    logits: &Tensor,
    scale: &Scale,
    voices: &[Voice],
    config: &RewardConfig,
) -> Loss {
    let speaking = statements.speaking();
    let events = speaking.len() as f64;
    let voice = |example: &usize| &voices[statements.by[*example]];
    let numbers = |of: &dyn Fn(&Voice) -> f64| tensor(speaking.iter().map(|example| of(voice(example))), logits);
    let speakers = Speakers {
        eta: numbers(&|voice| voice.eta_in_use),
        beta: numbers(&|voice| voice.parameters[1].exp()),
        shift: numbers(&|voice| voice.parameters[2]),
    };
    let nll = event_nll(statements, logits, scale, &speakers, config.margin);
    let likelihood = (nll * numbers(&Voice::influence)).sum(logits.kind()) / events;
    let linked = match config.utility_weight {
        0.0 => Vec::new(),
        _ => {
            let trust: Vec<f64> = (0..statements.said.len()).map(|example| voice(&example).trust()).collect();
            statements.linked(config.utility_answers, &trust)
        }
    };
    let mut utility = Tensor::zeros([], (logits.kind(), logits.device()));
    for Linked { pairs, closedness, trust } in &linked {
        // The mean over the pairs alone would forget how far they are trusted.
        utility += listwise_utility_loss(logits, pairs, |x| value(config, *closedness, x), Reduction::Mean) * *trust;
    }
    let mut centring = Tensor::zeros([], (logits.kind(), logits.device()));
    let questions = statements.by_question();
    for places in &questions {
        let places = Tensor::from_slice(places).to_device(logits.device());
        centring += logits.index_select(0, &places).mean(logits.kind()).square();
    }
    let total = &likelihood
        + &utility * (config.utility_weight / events)
        + centring * (config.centring / questions.len().max(1) as f64);
    Loss {
        total,
        likelihood: likelihood.double_value(&[]),
        utility: utility.double_value(&[]) / linked.len().max(1) as f64,
        utility_questions: linked.len(),
    }
}

/// U(x) of a question, scaled to U(1) − U(0) = 1, so that all utilities learn at like speed.
fn value(config: &RewardConfig, closedness: f64, x: &Tensor) -> Tensor {
    let scaled = |utility: Utility| utility.value(x) / (utility.value_f64(1.0) - utility.value_f64(0.0));
    match config.utility {
        UtilityChoice::Dial => Dial::from_closedness(closedness, DIAL_BOUNDS).value(x),
        UtilityChoice::Common { utility } => scaled(utility),
        UtilityChoice::Adaptive { closed, .. } if closedness > 0.5 => scaled(closed),
        UtilityChoice::Adaptive { open, .. } => scaled(open),
    }
}

/// What a batch says of one annotator: events, and the sums of −log P(said)'s gradient by event and of its squares.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Evidence {
    pub(super) events: f64,
    pub(super) gradient: [f64; PARAMETERS],
    pub(super) squares: [f64; PARAMETERS],
}

/// The evidence on each annotator of the statements, given fixed logits; none on those who are not learned about.
pub(super) fn evidence(
    statements: &Statements,
    logits: &Tensor,
    scale: &Scale,
    voices: &[Voice],
    config: &RewardConfig,
) -> Result<Vec<Evidence>, tch::TchError> {
    let speaking = statements.speaking();
    let mut evidence = vec![Evidence::default(); voices.len()];
    if speaking.iter().all(|example| !voices[statements.by[*example]].learned) {
        return Ok(evidence);
    }
    let logits = logits.detach();
    // Every event has its own copy of its speaker's parameters: so its gradient is its own.
    let leaf = |which: usize| {
        let own = speaking.iter().map(|example| voices[statements.by[*example]].parameters[which]);
        tensor(own, &logits).set_requires_grad(true)
    };
    let parameters: [Tensor; PARAMETERS] = std::array::from_fn(leaf);
    let [eta, beta, shift] = &parameters;
    let speakers = Speakers { eta: eta.sigmoid(), beta: beta.exp(), shift: shift.shallow_clone() };
    event_nll(statements, &logits, &scale.detached(), &speakers, config.margin).sum(logits.kind()).f_backward()?;
    for (which, parameter) in parameters.iter().enumerate() {
        let gradient = parameter.grad();
        if !gradient.defined() {
            continue;
        }
        let gradient = Vec::<f64>::try_from(gradient.to_device(tch::Device::Cpu).to_kind(Kind::Double))?;
        for (example, slope) in speaking.iter().zip(gradient) {
            let own = &mut evidence[statements.by[*example]];
            own.gradient[which] += slope;
            own.squares[which] += slope * slope;
        }
    }
    for example in speaking {
        evidence[statements.by[example]].events += 1.0;
    }
    evidence.iter_mut().zip(voices).filter(|(_, voice)| !voice.learned).for_each(|(own, _)| *own = Evidence::default());
    Ok(evidence)
}

fn tensor(values: impl Iterator<Item = f64>, like: &Tensor) -> Tensor {
    Tensor::from_slice(&values.collect::<Vec<f64>>()).to_kind(like.kind()).to_device(like.device())
}
