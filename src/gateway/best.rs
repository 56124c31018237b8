//! The best of several answers within a budget of time, and no answer where the reward model is not sure of it.
//!
//! Invariant: the answers that are whole within `generation.best_of_budget_ms` (one at least) are compared by the reward model's
//! score; where that takes as long again, or the model knows too little, the first whole answer is taken. An answer that is kept back is never kept
//! back in silence: the choice says `abstained`, with score, standard error and bound. Streams are answered as they come.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use understudy_actors::reward::Judged;
use understudy_learning::stages::{AnswerId, Finish};

use super::backend::{ChatEvent, ChatEvents, Refusal};
use super::chat::Whole;
use super::choice::Told;
use super::wire::Form;
use super::{ApiError, Shared};
use crate::config::Generation;

/// What is said in place of an answer that is kept back.
const NOT_SURE: &str = "I am not sure enough of an answer to this.";

/// How answers are judged before they are given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Judging {
    /// Answers drawn.
    pub(super) draws: usize,
    budget: Duration,
    below: Option<f64>,
    std_above: Option<f64>,
}

impl Judging {
    /// `None` where answers are given as they come: streams, more than one answer, or nothing set.
    pub(super) fn of(generation: &Generation, form: Form, samples: usize) -> Option<Self> {
        let Generation { best_of, best_of_budget_ms, abstain_below, abstain_std_above, .. } = generation;
        let wanted = *best_of > 1 || abstain_below.is_some() || abstain_std_above.is_some();
        (wanted && !form.stream && samples == 1).then_some(Self {
            draws: (*best_of).max(1),
            budget: Duration::from_millis(*best_of_budget_ms),
            below: *abstain_below,
            std_above: *abstain_std_above,
        })
    }

    /// Why an answer so judged is kept back, if it is.
    fn doubt(&self, judged: Judged) -> Option<String> {
        let Judged { score, std, .. } = judged;
        let low = self.below.filter(|bound| score < *bound);
        let unsure = self.std_above.filter(|bound| std > *bound);
        match (low, unsure) {
            (Some(bound), _) => Some(format!("its score is {score:.3}, below generation.abstain_below = {bound}")),
            (None, Some(bound)) => {
                Some(format!("its score's standard error is {std:.3}, above generation.abstain_std_above = {bound}"))
            }
            (None, None) => None,
        }
    }
}

/// An answer that is whole.
struct Done {
    sample: usize,
    answer: AnswerId,
    text: String,
    finish: Finish,
    prompt_tokens: usize,
    tokens: usize,
    version: u64,
}

/// Draws, judges and chooses. Tokens of all that was drawn are counted in the usage.
pub(super) async fn choose(
    shared: &Shared,
    mut receiver: ChatEvents,
    judging: Judging,
    form: Form,
) -> Result<Whole, ApiError> {
    let over = Instant::now() + judging.budget;
    let mut told: Vec<Told> = vec![Told::default(); judging.draws];
    let mut done: Vec<Done> = Vec::new();
    while done.len() < judging.draws {
        let event = tokio::select! {
            event = receiver.recv() => event,
            // There is always one answer, however long it takes.
            () = tokio::time::sleep_until(over), if !done.is_empty() => break,
        };
        let lost = || Refusal::Crashed("the request was lost while it was answered; send it again".to_owned());
        match event.ok_or_else(lost)? {
            ChatEvent::Token { sample, text, logprob, version } => {
                if let Some(told) = told.get_mut(sample) {
                    told.token(text, logprob, version, form);
                }
            }
            ChatEvent::Finished { sample, answer, text, finish, prompt_tokens, tokens, version } => {
                done.push(Done { sample, answer, text, finish, prompt_tokens, tokens, version });
            }
            ChatEvent::Failed(refusal) if done.is_empty() => return Err(refusal.into()),
            ChatEvent::Failed(_) => break,
        }
    }
    let ids = done.iter().map(|one| one.answer).collect();
    let judged = tokio::time::timeout(judging.budget, shared.backend.judge(ids)).await.ok().flatten();
    let best = judged.as_ref().and_then(|all| all.iter().max_by(|a, b| a.score.total_cmp(&b.score))).copied();
    let at = best.and_then(|best| done.iter().position(|one| one.answer == best.answer)).unwrap_or(0);
    let drawn = done.len();
    let tokens = done.iter().map(|one| one.tokens).sum();
    let Done { sample, answer, text, finish, prompt_tokens, version, .. } = done.swap_remove(at);
    let doubt = best.and_then(|best| judging.doubt(best));
    let said = if doubt.is_some() { NOT_SURE } else { text.as_str() };
    let told = std::mem::take(&mut told[sample]);
    let logprobs = (form.logprobs && doubt.is_none()).then(|| told.logprobs(form.shape));
    let mut choice = form.shape.choice(0, Some(said), logprobs);
    told.close(&mut choice, answer, finish);
    choice["abstained"] = json!(doubt.is_some());
    choice["judged"] = match best {
        Some(best) => json!({"best_of": drawn, "score": best.score, "std": best.std, "why": doubt}),
        None => Value::Null,
    };
    Ok(Whole { choices: vec![choice], first_answer: answer, version, prompt_tokens, tokens })
}
