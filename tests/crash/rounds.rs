//! One data directory's life: start, look, load, end, damage, and again.
//!
//! Invariant: a run is looked at before it is loaded, and what it will go on from is read from the disk before it starts.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::child::Daemon;
use super::damage::{checkpoints, damage, newest};
use super::oracle::Oracle;
use super::people::{Crowd, Known, chat, inquest, locked};
use super::schedule::{Dice, End, Fault, Schedule, Step};
use super::{pause, verdict};
use crate::program::{PATIENCE, tiny, understudy};

/// Longest wait for the learning of what was said: a model is learned anew from the beginning when something was taken
/// back, and the tests' build is slow at it.
const CATCHING_UP: Duration = Duration::from_secs(300);

/// Counts of one round or of many.
#[derive(Debug, Default, Clone)]
pub(super) struct Tally {
    rounds: usize,
    kills: usize,
    drains: usize,
    damages: usize,
    starts: usize,
    slowest_start: Duration,
    acknowledged: usize,
    conflicts: usize,
    lost: usize,
    doubled: usize,
    faults: usize,
}

impl Tally {
    pub(super) fn add(&mut self, rig: &Rig) {
        let one = rig.counts();
        self.rounds += 1;
        self.kills += one.kills;
        self.drains += one.drains;
        self.damages += one.damages;
        self.starts += one.starts;
        self.slowest_start = self.slowest_start.max(one.slowest_start);
        self.acknowledged += one.acknowledged;
        self.conflicts += one.conflicts;
        self.lost += one.lost;
        self.doubled += one.doubled;
        self.faults += one.faults;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rounds,
            kills,
            drains,
            damages,
            starts,
            slowest_start,
            acknowledged,
            conflicts,
            lost,
            doubled,
            faults,
        } = self;
        write!(
            f,
            "rounds {rounds}, kills {kills}, drains {drains}, damages {damages}, starts {starts}, slowest start to a \
             chat's answer {:.1} s, events acknowledged {acknowledged}, conflicts refused {conflicts}, lost {lost}, \
             duplicated {doubled}, faults {faults}",
            slowest_start.as_secs_f64()
        )
    }
}

/// A data directory under the schedule.
pub(super) struct Rig {
    folder: tempfile::TempDir,
    model: String,
    known: Known,
    dice: Dice,
    seed: u64,
    runs: usize,
    /// Up to where acknowledged events were sent again after a start.
    looked_up_to: u64,
    /// Checkpoints that the rig damaged.
    damaged: BTreeSet<PathBuf>,
    counts: Tally,
}

type Went = Result<(), Vec<String>>;

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
            counts: Tally::default(),
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn counts(&self) -> Tally {
        let known = locked(&self.known);
        let (acknowledged, conflicts) = (known.acknowledged().count(), known.conflicts);
        let (lost, doubled, faults) = (known.lost, known.doubled, known.faults.len());
        Tally { rounds: 1, acknowledged, conflicts, lost, doubled, faults, ..self.counts.clone() }
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
        let mut missing = None;
        for step in &schedule.0 {
            missing = self.step(*step, missing)?;
        }
        let mut last = self.begin(missing)?;
        self.load(&mut last, Duration::from_millis(200), 0);
        self.catch_up();
        self.drain(last)?;
        let oracle = &mut *locked(&self.known);
        verdict::compare(&self.data(), oracle);
        went(oracle)
    }

    /// One run and the damage after it; what the next start has to say of that.
    fn step(&mut self, step: Step, damage_done: Option<&'static str>) -> Result<Option<&'static str>, Vec<String>> {
        let needed = step.fault.checkpoints();
        match step.end {
            End::KillStarting(after) => {
                let mut daemon = Daemon::start(&self.data(), &self.model);
                pause(after);
                daemon.kill();
                self.counts.kills += 1;
                println!("  killed {} ms after its start", after.as_millis());
                // It may have said it, or not yet: a start after a half one is told nothing.
                self.settle(&daemon)?;
            }
            End::Kill(after) => {
                let mut daemon = self.begin(damage_done)?;
                let crowd = self.load_on(&mut daemon, after, needed);
                daemon.kill();
                crowd.leave();
                self.counts.kills += 1;
                println!("  killed under load {} ms after it served", after.as_millis());
                self.settle(&daemon)?;
            }
            End::Drain(after) => {
                let mut daemon = self.begin(damage_done)?;
                self.load(&mut daemon, after, needed);
                self.drain(daemon)?;
            }
            End::KillDraining(after, then) => {
                let mut daemon = self.begin(damage_done)?;
                let crowd = self.load_on(&mut daemon, after, needed);
                daemon.terminate();
                pause(then);
                daemon.kill();
                crowd.leave();
                self.counts.kills += 1;
                println!("  killed {} ms after SIGTERM", then.as_millis());
                self.settle(&daemon)?;
            }
        }
        self.check_checkpoints()?;
        Ok(self.damage(step.fault))
    }

    /// Starts the daemon, waits until a chat is answered, and looks whether all that was acknowledged is there.
    fn begin(&mut self, damage_done: Option<&'static str>) -> Result<Daemon, Vec<String>> {
        let from = newest(&self.data());
        let mut daemon = Daemon::start(&self.data(), &self.model);
        daemon.ready().map_err(|why| vec![why])?;
        let line = daemon.line();
        {
            let oracle = &mut *locked(&self.known);
            let version = from.map_or(0, |newest| newest.step);
            oracle.run_begins(version);
            resumed(&daemon, version, oracle);
            if damage_done.is_some_and(|message| daemon.said(message).is_empty()) {
                oracle.fault(format!("the start after the damage does not say '{}'", damage_done.unwrap_or_default()));
            }
        }
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
    fn load_on(&mut self, daemon: &mut Daemon, time: Duration, needed: usize) -> Crowd {
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
    fn drain(&mut self, mut daemon: Daemon) -> Went {
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
    fn settle(&self, daemon: &Daemon) -> Went {
        let oracle = &mut *locked(&self.known);
        daemon.complaints().into_iter().for_each(|line| oracle.fault(format!("the daemon says {line}")));
        went(oracle)
    }

    /// `understudy checkpoints verify`: whole, but for what the rig damaged.
    fn check_checkpoints(&mut self) -> Went {
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

    /// Damages what the step says; the message of the log that must tell of it.
    fn damage(&mut self, fault: Fault) -> Option<&'static str> {
        let damaged = damage(&self.data(), fault, &mut self.dice)?;
        self.counts.damages += 1;
        println!("  {fault:?}: {}", name(&damaged));
        if fault == Fault::RemoveSled {
            return Some("the replay store is rebuilt from the journal");
        }
        self.damaged.insert(damaged);
        Some("a checkpoint was passed over")
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The log line in which a start says what it went on from, against what was on the disk and what is known.
fn resumed(daemon: &Daemon, version: u64, oracle: &mut Oracle) {
    let lines = daemon.said("the loop is running");
    let said = lines.first().and_then(|line| line["resumed"].as_str()).unwrap_or_default();
    let figure = |name: &str| -> u64 {
        let rest = said.split(&format!(" {name}: ")).nth(1).unwrap_or_default();
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
    };
    if figure("policy_version") != version {
        oracle.fault(format!("the newest whole checkpoint is of version {version}, and the start went on from {said}"));
    }
    if figure("highest_published") < oracle.highest_version || figure("highest_answer") < oracle.highest_answer {
        let (version, answer) = (oracle.highest_version, oracle.highest_answer);
        oracle.fault(format!("version {version} and answer {answer} were seen, and the start knows of less: {said}"));
    }
    if (figure("feedback") as usize) < oracle.acknowledged().count() {
        let count = oracle.acknowledged().count();
        oracle.fault(format!("{count} events were acknowledged, and the start knows of less: {said}"));
    }
}

fn went(oracle: &Oracle) -> Went {
    if oracle.faults.is_empty() { Ok(()) } else { Err(oracle.faults.clone()) }
}
