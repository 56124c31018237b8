//! `understudy ppo`: the policy learns from a reward model, without people and without a daemon.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::phase::{self, Common, figure, object};
use super::{Global, Outcome};
use crate::phases::Places;
use crate::phases::folder::{About, write_model};
use crate::phases::ppo::PpoPhase;
use crate::phases::sft::policy_of;

/// Flags of `ppo`.
#[derive(Debug, Args)]
#[command(
    after_help = "Answers training questions, has the answers scored by the reward model, and learns from the scores ([phases.ppo],
[ppo], [generation]). The reward model stays as it is. The curve is DATA/ppo/curve.jsonl, the model DATA/models/policy.

Example:
  understudy ppo --model data/models/sft --minutes 15"
)]
pub struct Flags {
    #[command(flatten)]
    common: Common,
    /// The reward model's folder [default: DATA/models/reward]
    #[arg(long, value_name = "DIR")]
    reward: Option<PathBuf>,
}

/// Runs `understudy ppo`.
pub(super) fn run(global: &Global, flags: Flags) -> Outcome {
    let common = &flags.common;
    let mut begun = phase::begin(global, common)?;
    let data = begun.config.data.dir.clone();
    let folder = flags.reward.unwrap_or_else(|| data.join("models/reward"));
    let mut ppo = PpoPhase::new(&begun.config, &begun.corpora, &begun.speaker, &folder)?;
    let places = Places::of(&data, "ppo", "policy");
    let material = object(json!({
        "questions": ppo.size(),
        "held_out_questions": ppo.held_out(),
        "doubles_left_out": ppo.doubles,
    }));
    tracing::info!(questions = ppo.size(), held_out = ppo.held_out(), "the policy");
    let pace = begun.config.phases.ppo.clone();
    let settings = ppo.settings.clone();
    let learned = phase::learn(&mut ppo, (&pace, settings), &places, &begun, (global, common))?;
    let model = &begun.config.model.path;
    let about = About::of("ppo", &begun.speaker, model, &begun.corpora, &learned);
    write_model(&places.model, &mut begun.speaker, &policy_of(&learned.product), &about, &ppo.credits)?;
    let sentence = format!(
        "ppo: score of answers to held-out questions {:+.3} → {:+.3} ± {:.3} standard deviations, {:.2} nats an answer from \
         where it began ({} questions)",
        figure(&learned.before, "score"),
        figure(&learned.after, "score"),
        figure(&learned.after, "standard_error"),
        figure(&learned.after, "kl_per_sequence"),
        ppo.held_out()
    );
    phase::report(global, "ppo", &learned, &places.model, &material, &sentence)
}
