//! `understudy reward`: a reward model learns from votes.

use clap::Args;
use serde_json::json;

use super::phase::{self, Common, figure, object};
use super::{Global, Outcome};
use crate::phases::Places;
use crate::phases::folder::{About, write_reward};
use crate::phases::reward::RewardPhase;
use crate::sources::Split;

/// Flags of `reward`.
#[derive(Debug, Args)]
#[command(
    after_help = "Learns which answers of a training question people voted up ([phases], [phases.reward], [reward]) and tells how
many pairs of held-out questions it orders as they did, beside what the longer and the older answer would give. The curve is
DATA/reward/curve.jsonl, the reward model DATA/models/reward.

A judge of what was learned should know votes that nothing else learned from: with --held-back they come from the questions
that source.held_back keeps for it, and the folders are DATA/gold and DATA/models/gold.

Examples:
  understudy reward --model data/models/sft
  understudy reward --held-back --set source.held_back=0.4
  understudy serve --model data/models/sft --set reward.start=data/models/reward"
)]
pub struct Flags {
    /// Learn from the questions that are held back for a judge (source.held_back), and write DATA/models/gold
    #[arg(long)]
    held_back: bool,
    #[command(flatten)]
    common: Common,
}

/// Runs `understudy reward`.
pub(super) fn run(global: &Global, flags: Flags) -> Outcome {
    let common = &flags.common;
    let begun = phase::begin(global, common)?;
    let (part, name) = if flags.held_back { (Split::HeldBack, "gold") } else { (Split::Train, "reward") };
    let mut reward = RewardPhase::new(&begun.config, &begun.corpora, &begun.speaker, part)?;
    let places = Places::of(&begun.config.data.dir, name, name);
    let (questions, pairs) = reward.size();
    let material = object(json!({
        "questions": questions,
        "pairs": pairs,
        "held_out_questions": reward.held_out(),
        "doubles_left_out": reward.doubles,
    }));
    tracing::info!(questions, pairs, held_out = reward.held_out(), "votes");
    let pace = begun.config.phases.reward.clone();
    let settings = reward.settings.clone();
    let learned = phase::learn(&mut reward, (&pace, settings), &places, &begun, (global, common))?;
    let model = &begun.config.model.path;
    let about = About::of("reward", &begun.speaker, model, &begun.corpora, &learned);
    let state = reward.normalised(&learned.product, &begun.speaker, &begun.config)?;
    write_reward(&places.model, &state, &reward.config, &about, &reward.credits)?;
    let share = |name: &str| 100.0 * figure(&learned.after, name);
    let sentence = format!(
        "reward: {:.1} ± {:.1} % of held-out pairs ordered as people did ({} questions); the longer answer {:.1} ± {:.1} %, the \
         older {:.1} ± {:.1} %",
        share("accuracy"),
        share("standard_error"),
        reward.held_out(),
        share("accuracy_of_the_longer"),
        share("standard_error_of_the_longer"),
        share("accuracy_of_the_older"),
        share("standard_error_of_the_older"),
    );
    phase::report(global, "reward", &learned, &places.model, &material, &sentence)
}
