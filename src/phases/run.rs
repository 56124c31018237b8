//! When a phase learns, looks at held-out questions, is saved and ends.
//!
//! Invariant: a run that was stopped, killed or bounded and then started again does the same steps and looks as one that
//! was not, and keeps the same best; a look outside the rhythm, at a bound, decides only what is written this time.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use indicatif::{HumanDuration, ProgressBar};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use understudy_checkpoints::whole;
use understudy_learning::LearnerState;

use super::saved::{self, BestLook, Position, Saved};
use super::{Look, Phase, Settings};
use crate::bell::Bell;
use crate::config::Pace;
use crate::failure::Failure;

/// What is asked of a run.
#[derive(Debug, Clone)]
pub struct Orders<'a> {
    /// Where checkpoints and the curve lie.
    pub work: &'a Path,
    /// How long, and when it is enough.
    pub pace: &'a Pace,
    /// Most time of this start.
    pub limit: Option<Duration>,
    /// What must not change on the way.
    pub settings: Settings,
    /// Forget what was learned before.
    pub anew: bool,
}

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// All steps are done.
    Steps,
    /// There was no gain for too long.
    NoGain,
    /// The time is over.
    Time,
}

/// What came of it.
#[derive(Debug)]
pub struct Learned {
    /// Why it ended.
    pub ending: Ending,
    /// Steps done, over all starts.
    pub steps: u64,
    /// The step that it went on from; 0 from the beginning.
    pub resumed: u64,
    /// Seconds of learning, over all starts.
    pub seconds: f64,
    /// Held-out figures before the first step.
    pub before: Map<String, Value>,
    /// The step of the best look.
    pub best_step: u64,
    /// Its held-out figures.
    pub after: Map<String, Value>,
    /// What the phase had learned by then.
    pub product: LearnerState,
}

/// Runs `phase` until its end, going on from what lies in `orders.work`; `bar` counts steps.
///
/// A signal ends it with a checkpoint and an error that says so.
pub fn run(phase: &mut dyn Phase, orders: &Orders<'_>, stop: &Bell, bar: &ProgressBar) -> Result<Learned, Failure> {
    let work = orders.work;
    fs::create_dir_all(work).with_context(|| format!("cannot make the folder '{}'", work.display()))?;
    let _lock = lock(work)?;
    if orders.anew {
        clear(work)?;
    }
    let position = Position::new(orders.settings.clone());
    let mut run = Run { orders, position, best: None, saved: None, carried: 0.0, begun: Instant::now() };
    if let Some(Saved { position, learner, best }) = saved::read(work)? {
        same_settings(&position.settings, &orders.settings, work)?;
        phase.restore(learner).with_context(|| format!("the state in '{}'", work.display()))?;
        (run.saved, run.carried) = (Some(position.step), position.seconds);
        (run.position, run.best) = (position, best);
    }
    let resumed = run.position.step;
    run.rewrite_curve()?;
    bar.set_length(orders.pace.steps);
    bar.set_position(resumed);
    bar.reset_eta();
    let ending = loop {
        let step = run.position.step;
        if step.is_multiple_of(orders.pace.evaluate_every) && run.position.looked != Some(step) {
            let Some(look) = phase.look(stop)? else { return Err(run.told_to_end(phase)?) };
            run.take(&look, phase)?;
        }
        if step > 0 && step.is_multiple_of(orders.pace.save_every) {
            run.save(phase)?;
        }
        run.tell(bar);
        if run.position.enough {
            break Ending::NoGain;
        }
        if step >= orders.pace.steps {
            break Ending::Steps;
        }
        if orders.limit.is_some_and(|limit| run.begun.elapsed() >= limit) {
            break Ending::Time;
        }
        if stop.is_rung() {
            return Err(run.told_to_end(phase)?);
        }
        let Some(figures) = phase.step(step, stop)? else { return Err(run.told_to_end(phase)?) };
        run.position.last = figures;
        run.position.step += 1;
        bar.inc(1);
    };
    run.save(phase)?;
    let Some(last_look) = run.beyond(phase, stop)? else { return Err(run.told_to_end(phase)?) };
    bar.finish_and_clear();
    let seconds = run.seconds();
    let Run { position, best, .. } = run;
    let (Some(at), Some(best)) = (position.best, best) else {
        return Err(anyhow::anyhow!("there was no look at held-out questions").into());
    };
    let (best_step, after, product) = match last_look {
        Some(look) if look.loss < f64::from_bits(at.loss) => (position.step, look.figures, phase.product()),
        _ => (at.step, at.figures, best),
    };
    let before = position.first;
    Ok(Learned { ending, steps: position.step, resumed, seconds, before, best_step, after, product })
}

struct Run<'a> {
    orders: &'a Orders<'a>,
    position: Position,
    best: Option<LearnerState>,
    /// The step of the newest checkpoint.
    saved: Option<u64>,
    /// Seconds of the starts before this one.
    carried: f64,
    begun: Instant,
}

impl Run<'_> {
    fn seconds(&self) -> f64 {
        self.carried + self.begun.elapsed().as_secs_f64()
    }

    /// Takes up a look: the curve, the best, and whether there is still a gain.
    fn take(&mut self, look: &Look, phase: &dyn Phase) -> Result<(), Failure> {
        let step = self.position.step;
        if !look.loss.is_finite() {
            let remedy = "lower the learning rate and begin anew with --anew";
            return Err(anyhow::anyhow!("the held-out loss at step {step} is {}; {remedy}", look.loss).into());
        }
        let line = json!({
            "step": step,
            "loss": look.loss,
            "held_out": look.figures,
            "learned": self.position.last,
            "seconds": self.seconds(),
        });
        let position = &mut self.position;
        position.looked = Some(step);
        if position.curve.is_empty() {
            position.first.clone_from(&look.figures);
        }
        tracing::info!(step, loss = look.loss, "held-out questions");
        if position.best.as_ref().is_none_or(|best| look.loss < f64::from_bits(best.loss)) {
            position.best = Some(BestLook { step, loss: look.loss.to_bits(), figures: look.figures.clone() });
            self.best = Some(phase.product());
        }
        let gain = position.to_beat.is_none_or(|loss| look.loss < f64::from_bits(loss) - self.orders.pace.min_delta);
        if gain {
            (position.to_beat, position.without_gain) = (Some(look.loss.to_bits()), 0);
        } else {
            position.without_gain += 1;
            let patience = self.orders.pace.patience;
            position.enough = patience > 0 && position.without_gain >= patience;
        }
        let path = self.orders.work.join(CURVE);
        let file = File::options().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| writeln!(file, "{line}"));
        written.with_context(|| format!("cannot write '{}'", path.display()))?;
        position.curve.push(line);
        Ok(())
    }

    /// A look at the end, where the rhythm has none; nothing of it is kept. `None` where a signal came first.
    fn beyond(&self, phase: &mut dyn Phase, stop: &Bell) -> Result<Option<Option<Look>>, Failure> {
        if self.position.looked == Some(self.position.step) {
            return Ok(Some(None));
        }
        Ok(phase.look(stop)?.map(Some))
    }

    fn save(&mut self, phase: &dyn Phase) -> Result<(), Failure> {
        if self.saved == Some(self.position.step) {
            return Ok(());
        }
        self.position.seconds = self.seconds();
        saved::write(self.orders.work, &self.position, &phase.state(), self.best.as_ref())?;
        self.saved = Some(self.position.step);
        Ok(())
    }

    fn told_to_end(&mut self, phase: &dyn Phase) -> Result<Failure, Failure> {
        self.save(phase)?;
        let (step, steps) = (self.position.step, self.orders.pace.steps);
        let sentence = format!("told to end after step {step} of {steps}: saved; the same command goes on");
        Ok(Failure::Ended { code: 130, sentence })
    }

    fn tell(&self, bar: &ProgressBar) {
        let last = self.position.last.get("loss").and_then(Value::as_f64);
        let held_out = self.position.best.as_ref().map(|best| f64::from_bits(best.loss));
        let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
        let left = HumanDuration(bar.eta());
        bar.set_message(format!("loss {}, best held out {}, {left} left", number(last), number(held_out)));
    }

    fn rewrite_curve(&self) -> Result<(), Failure> {
        let lines = self.position.curve.iter().fold(String::new(), |text, line| format!("{text}{line}\n"));
        let path = self.orders.work.join(CURVE);
        fs::write(&path, lines).with_context(|| format!("cannot write '{}'", path.display()))?;
        Ok(())
    }
}

/// A line a look, in the phase's folder.
pub const CURVE: &str = "curve.jsonl";

/// One process at a time.
fn lock(work: &Path) -> Result<File, Failure> {
    let held = whole::alone(work).with_context(|| format!("cannot lock '{}'", work.display()))?;
    held.ok_or_else(|| {
        Failure::NotReady(format!("another process learns in '{}'; wait for it, or end it", work.display()))
    })
}

fn clear(work: &Path) -> Result<(), Failure> {
    let failed = || format!("cannot clear '{}'", work.display());
    for entry in fs::read_dir(work).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("step-") {
            fs::remove_dir_all(&path).with_context(failed)?;
        }
    }
    Ok(())
}

fn same_settings(before: &Settings, now: &Settings, work: &Path) -> Result<(), Failure> {
    let nothing = Value::Null;
    for key in before.keys().chain(now.keys()) {
        let (was, is) = (before.get(key).unwrap_or(&nothing), now.get(key).unwrap_or(&nothing));
        if was != is {
            return Err(Failure::Usage(format!(
                "{key} is {is}, but the run in '{}' began with {was}; set it back to go on, or begin again with --anew",
                work.display()
            )));
        }
    }
    Ok(())
}
