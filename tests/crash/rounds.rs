//! One data directory's life: start, look, load, end, damage, and again.
//!
//! Invariant: a run is looked at before it is loaded, and what it will go on from is read from the disk before it starts.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::child::Daemon;
use super::damage::{Done, REBUILT, checkpoints, damage, manifests, newest};
use super::oracle::Oracle;
use super::people::{Crowd, Known, chat, inquest, locked};
use super::process::at_work;
use super::resumed::{self, From};
use super::schedule::{Dice, End, Fault, Schedule, Step};
use super::tally::{Met, Tally};
use super::{pause, verdict};
use crate::program::{PATIENCE, tiny, understudy};

/// Longest wait for the learning of what was said: a model is learned anew from the beginning when something was taken
/// back, and the tests' build is slow at it.
const CATCHING_UP: Duration = Duration::from_secs(300);

/// Settings of a round's last run: little to do but to learn anew, so that nobody waits for it long.
const CALM: [&str; 3] = ["source.rate=1", "annotators.attention=0", "hearing.minibatches_per_event=0"];

/// A data directory under the schedule.
pub(super) struct Rig {
    folder: tempfile::TempDir,
    model: String,
    /// What the outside knows.
    pub(super) known: Known,
    dice: Dice,
    seed: u64,
    runs: usize,
    /// Up to where acknowledged events were sent again after a start.
    looked_up_to: u64,
    /// Checkpoints that the rig damaged.
    damaged: BTreeSet<PathBuf>,
    /// What the run under way went on from.
    from: From,
    /// Half-written checkpoints that were there when it began.
    old: BTreeSet<PathBuf>,
    /// A page of sled was spoiled and sled was not rebuilt before it began: then sled may complain.
    spoiled: bool,
    counts: Tally,
}

/// Nothing contradicts what is known, or what does.
pub(super) type Went = Result<(), Vec<String>>;

impl Rig {
    pub(super) fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let model = tiny(folder.path());
        Self {
            folder,
            model,
            known: Known::default(),
            dice: Dice(!seed),
            seed,
            runs: 0,
            looked_up_to: 0,
            damaged: BTreeSet::new(),
            from: From::default(),
            old: BTreeSet::new(),
            spoiled: false,
            counts: Tally::default(),
        }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(super) fn counts(&self) -> Tally {
        let known = locked(&self.known);
        let (acknowledged, conflicts) = (known.acknowledged().count(), known.conflicts);
        let (lost, doubled, faults) = (known.lost, known.doubled, known.faults.len());
        Tally { rounds: 1, acknowledged, conflicts, lost, doubled, faults, ..self.counts.clone() }
    }

    /// Whether anything contradicts what is known.
    pub(super) fn went(&self) -> Went {
        went(&locked(&self.known))
    }

    pub(super) fn summary(&self) -> String {
        self.counts().to_string()
    }

    /// Leaves the data where it is and tells where.
    pub(super) fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    /// Plays the schedule, drains, and compares; the faults that were found.
    pub(super) fn play(&mut self, schedule: &Schedule) -> Went {
        let mut done = None;
        for step in &schedule.0 {
            done = self.step(*step, done)?;
        }
        let mut last = self.begin_with(done, &CALM)?;
        self.load(&mut last, Duration::from_millis(200), 0);
        self.catch_up();
        self.drain(last)?;
        let oracle = &mut *locked(&self.known);
        verdict::compare(&self.data(), oracle);
        went(oracle)
    }

    /// One run and the damage after it.
    fn step(&mut self, step: Step, done: Option<Done>) -> Result<Option<Done>, Vec<String>> {
        let needed = step.fault.checkpoints();
        let mut daemon = match step.end {
            End::KillStarting(_) => Daemon::start(&self.data(), &self.model),
            _ => self.begin(done)?,
        };
        let mut met = Met::default();
        match step.end {
            End::KillStarting(after) => {
                pause(after);
                met.starting = usize::from(daemon.said("ready").is_empty());
                // What it had to say of damage it may have said, or not yet: the next start is told nothing.
                self.kill(&mut daemon, met)?;
                println!("  killed {} ms after its start", after.as_millis());
            }
            End::Kill(after) | End::KillSaving(after) | End::KillSwapping(after) => {
                let crowd = self.load_on(&mut daemon, after, needed);
                met.load = 1;
                match step.end {
                    End::KillSaving(_) => self.until(|rig| !rig.half_written().is_empty()),
                    End::KillSwapping(_) => met.swapping = usize::from(self.swapped(&daemon)),
                    _ => {}
                }
                let killed = self.kill(&mut daemon, met);
                crowd.leave();
                println!("  killed under load {} ms after it served: {:?}", after.as_millis(), step.end);
                killed?;
            }
            End::Drain(after) => {
                self.load(&mut daemon, after, needed);
                self.drain(daemon)?;
            }
            End::KillDraining(after, then) => {
                let crowd = self.load_on(&mut daemon, after, needed);
                daemon.terminate();
                pause(then);
                met.draining = 1;
                let killed = self.kill(&mut daemon, met);
                crowd.leave();
                println!("  killed {} ms after SIGTERM", then.as_millis());
                killed?;
            }
        }
        self.check_checkpoints()?;
        Ok(self.damage(step.fault))
    }

    /// SIGKILL, and a look at what it met.
    pub(super) fn kill(&mut self, daemon: &mut Daemon, mut met: Met) -> Went {
        let work = at_work(daemon.process());
        daemon.kill();
        let begun = daemon.said("the reward model is learned anew without what was taken back").len();
        let over = daemon.said("the reward model was learned anew without what was taken back").len();
        let (policy, reward) = (work.iter().any(|name| name == "ppo"), work.iter().any(|name| name == "reward"));
        met.policy = usize::from(policy);
        met.reward = usize::from(reward);
        met.anew = usize::from(reward && begun > over);
        met.saving = usize::from(!self.half_written().is_empty());
        self.counts.met.add(met);
        self.counts.kills += 1;
        self.settle(daemon)
    }

    /// Waits until something is so, as long as patience lasts.
    fn until(&self, mut is: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is(self) && Instant::now() < end {
            pause(Duration::from_micros(200));
        }
    }

    /// Waits until new weights are taken up; whether that came.
    fn swapped(&self, daemon: &Daemon) -> bool {
        let version = || daemon.line().call("GET", "/readyz", &Value::Null)?.1["policy_version"].as_u64();
        let before = version();
        let mut after = before;
        self.until(|_| {
            after = version();
            after != before
        });
        after.is_some() && after != before
    }

    /// Checkpoints that this run is writing, or that its kill left half written: the next one that is begun removes it.
    fn half_written(&self) -> BTreeSet<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.data().join("checkpoints")) else { return BTreeSet::new() };
        let paths = entries.flatten().map(|entry| entry.path());
        paths.filter(|path| path.extension().is_some_and(|end| end == "tmp") && !self.old.contains(path)).collect()
    }

    /// Starts the daemon, waits until a chat is answered, and looks whether all that was acknowledged is there.
    fn begin(&mut self, done: Option<Done>) -> Result<Daemon, Vec<String>> {
        self.begin_with(done, &[])
    }

    pub(super) fn begin_with(&mut self, done: Option<Done>, settings: &[&str]) -> Result<Daemon, Vec<String>> {
        let from = newest(&self.data());
        self.old.clear();
        self.old = self.half_written();
        let mut daemon = Daemon::start_with(&self.data(), &self.model, settings);
        daemon.ready().map_err(|why| vec![format!("{why}; before it {done:?}")])?;
        let line = daemon.line();
        {
            let oracle = &mut *locked(&self.known);
            oracle.run_begins(from.as_ref().map_or(0, |newest| newest.step));
            self.from = resumed::check(&daemon, from.as_ref(), oracle);
            self.counts.resumed += usize::from(from.is_some() && oracle.faults.is_empty());
            if let Some(done) = done {
                self.counts.pages.1 += usize::from(done.fault == Fault::SledPage && !daemon.said(REBUILT).is_empty());
                noticed(&daemon, &done, oracle);
            }
        }
        self.from.before = checkpoints(&self.data());
        while !chat(&line, &self.known, 1, self.highest_answer()) {
            went(&locked(&self.known))?;
            if daemon.began.elapsed() > PATIENCE {
                return Err(vec![format!("no chat was answered within {} s of the start", PATIENCE.as_secs())]);
            }
        }
        let took = daemon.began.elapsed();
        self.counts.starts += 1;
        self.counts.slowest_start = self.counts.slowest_start.max(took);
        inquest(&line, &self.known, self.looked_up_to, &mut self.dice);
        self.looked_up_to = locked(&self.known).highest_seq();
        self.runs += 1;
        println!("  start {} answered after {:.1} s", self.runs, took.as_secs_f64());
        went(&locked(&self.known)).map(|()| daemon)
    }

    fn highest_answer(&self) -> u64 {
        locked(&self.known).highest_answer
    }

    /// People for so long, and until there are so many checkpoints.
    pub(super) fn load_on(&mut self, daemon: &mut Daemon, time: Duration, needed: usize) -> Crowd {
        let crowd = Crowd::gather(&daemon.line(), &self.known, self.seed, self.runs);
        pause(time);
        let end = Instant::now() + PATIENCE;
        while self.undamaged() < needed && Instant::now() < end {
            pause(Duration::from_millis(10));
        }
        if let Some(ready) = daemon.line().call("GET", "/readyz", &Value::Null)
            && let Some(version) = ready.1["policy_version"].as_u64()
        {
            locked(&self.known).saw_version(version);
        }
        crowd
    }

    fn undamaged(&self) -> usize {
        checkpoints(&self.data()).iter().filter(|path| !self.damaged.contains(*path)).count()
    }

    fn load(&mut self, daemon: &mut Daemon, time: Duration, needed: usize) {
        self.load_on(daemon, time, needed).leave();
    }

    /// Waits until a checkpoint has learned from all that was acknowledged, and from nothing that was taken back.
    fn catch_up(&mut self) {
        let began = Instant::now();
        let goal = locked(&self.known).highest_seq();
        let mut marks = [None; 2];
        while marks.iter().any(|mark| *mark < Some(goal)) {
            if began.elapsed() > CATCHING_UP {
                let sentence = format!("after minutes without load learned and cleaned up to {marks:?} of {goal}");
                return locked(&self.known).fault(sentence);
            }
            pause(Duration::from_millis(50));
            let extra = newest(&self.data()).map(|newest| newest.manifest.extra).unwrap_or_default();
            marks = ["feedback_up_to", "feedback_clean_up_to"].map(|mark| extra[mark].as_u64());
        }
        println!("  learned from all of it after {:.1} s", began.elapsed().as_secs_f64());
    }

    /// SIGTERM; it ends by itself, in time and with 0.
    pub(super) fn drain(&mut self, mut daemon: Daemon) -> Went {
        let began = Instant::now();
        daemon.terminate();
        match daemon.ended() {
            Some(status) if status.success() => {}
            status => return Err(vec![format!("SIGTERM ended with {status:?}: {:?}", daemon.complaints())]),
        }
        self.counts.drains += 1;
        println!("  drained in {:.1} s", began.elapsed().as_secs_f64());
        self.settle(&daemon)?;
        self.check_checkpoints()
    }

    /// After an end: nothing that the daemon said was an error, and nothing contradicts what is known.
    fn settle(&mut self, daemon: &Daemon) -> Went {
        let oracle = &mut *locked(&self.known);
        // sled itself complains of a page that it cannot read, before it is rebuilt.
        let mut wrong = daemon.complaints();
        wrong.retain(|line| !(self.spoiled && line.contains("sled")));
        self.spoiled &= daemon.said(REBUILT).is_empty();
        wrong.into_iter().for_each(|line| oracle.fault(format!("the daemon says {line}")));
        went(oracle)
    }

    /// `understudy checkpoints verify`: whole, but for what the rig damaged.
    pub(super) fn check_checkpoints(&mut self) -> Went {
        resumed::count_on(&self.from, &manifests(&self.data()), &mut locked(&self.known));
        let mut command = understudy();
        command.args(["checkpoints", "verify", "--json", "--data-dir"]).arg(self.data());
        let output = command.output().expect("the binary runs");
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout).map_err(|error| {
            vec![format!("checkpoints verify: {error}: {}", String::from_utf8_lossy(&output.stderr))]
        })?;
        let path = |row: &Value| PathBuf::from(row["path"].as_str().unwrap_or_default());
        self.damaged.retain(|damaged| rows.iter().any(|row| path(row) == **damaged));
        let wrong = rows.iter().filter(|row| (row["whole"] == true) == self.damaged.contains(&path(row)));
        wrong.for_each(|row| locked(&self.known).fault(format!("checkpoints verify: {row}")));
        went(&locked(&self.known))
    }

    /// Damages what the step says.
    fn damage(&mut self, fault: Fault) -> Option<Done> {
        let done = damage(&self.data(), fault, &locked(&self.known), &mut self.dice)?;
        self.counts.damages += 1;
        self.counts.torn += usize::from(done.cut_at.is_some());
        self.counts.pages.0 += usize::from(fault == Fault::SledPage);
        self.spoiled |= fault == Fault::SledPage;
        println!("  {fault:?}: {}", done.what);
        self.damaged.extend(done.checkpoint.clone());
        Some(done)
    }
}

/// The start after a damage says of it what it must.
fn noticed(daemon: &Daemon, done: &Done, oracle: &mut Oracle) {
    let says = done.says.unwrap_or_default();
    let lines = daemon.said(says);
    if done.says.is_some() && lines.is_empty() {
        oracle.fault(format!("the start after '{}' does not say '{says}'", done.what));
    }
    if done.cut_at.is_some_and(|at| lines.iter().all(|line| line["offset"].as_u64() != Some(at))) {
        oracle.fault(format!(
            "the journal was to be cut at {:?} ({}), and the start says {lines:?}",
            done.cut_at, done.what
        ));
    }
}

fn went(oracle: &Oracle) -> Went {
    if oracle.faults.is_empty() { Ok(()) } else { Err(oracle.faults.clone()) }
}
