//! `understudy sft`: the model learns to say what people wrote.

use clap::Args;
use serde_json::json;

use super::phase::{self, Common, figure, object};
use super::{Global, Outcome};
use crate::phases::Places;
use crate::phases::folder::{About, write_model};
use crate::phases::sft::{SftPhase, policy_of};

/// Flags of `sft`.
#[derive(Debug, Args)]
#[command(
    after_help = "Learns the accepted and best-scored answers to the training questions of what 'understudy ingest' brought in
([phases], [phases.sft]); questions held out (source.held_out) are only looked at. Stopped by a signal or a bound, the same
command goes on. The curve is DATA/sft/curve.jsonl, the model DATA/models/sft.

Examples:
  understudy sft && understudy ask 'Why is beer bitter?' --model data/models/sft
  understudy sft --corpus beer.stackexchange.com --minutes 10 --json"
)]
pub struct Flags {
    #[command(flatten)]
    common: Common,
}

/// Runs `understudy sft`.
pub(super) fn run(global: &Global, flags: Flags) -> Outcome {
    let common = &flags.common;
    let mut begun = phase::begin(global, common)?;
    let mut sft = SftPhase::new(&begun.config, &begun.corpora, &begun.speaker)?;
    let places = Places::of(&begun.config.data.dir, "sft", "sft");
    let (examples, tokens) = sft.size();
    let pace = begun.config.phases.sft.pace.clone();
    let material = object(json!({
        "examples": examples,
        "answer_tokens": tokens,
        "held_out_questions": sft.held_out(),
        "doubles_left_out": sft.doubles,
        "padding": sft.padding(begun.config.phases.sft.micro_batch_size),
    }));
    tracing::info!(examples, tokens, held_out = sft.held_out(), "imitation");
    let settings = sft.settings.clone();
    let learned = phase::learn(&mut sft, (&pace, settings), &places, &begun, (global, common))?;
    let model = &begun.config.model.path;
    let about = About::of("sft", &begun.speaker, model, &begun.corpora, &learned);
    write_model(&places.model, &mut begun.speaker, &policy_of(&learned.product), &about, &sft.credits)?;
    let perplexity = |figures| figure(figures, "perplexity");
    let sentence = format!(
        "sft: perplexity of held-out answers {:.3} → {:.3} ({} questions; {examples} examples learned from)",
        perplexity(&learned.before),
        perplexity(&learned.after),
        sft.held_out()
    );
    phase::report(global, "sft", &learned, &places.model, &material, &sentence)
}
