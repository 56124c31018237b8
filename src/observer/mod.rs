//! The observer: sees every event of the loop once, keeps what charts need, and passes events on to readers.
//!
//! Invariant: it only watches. Nobody waits for a reader: one who falls behind by more than [`READER_ROOM`] events is
//! told so and let go, and memory is bounded whatever happens.

pub mod board;
#[cfg(test)]
mod board_tests;
pub mod chain;
pub mod opinions;
mod scores;
pub mod series;
pub mod told;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{gauge, histogram};
use tokio::sync::broadcast;
use tokio::time::Instant;
use understudy_actors::messages::LoopEvent;
use understudy_actors::reward::RewardView;
use understudy_learning::stages::{AnswerId, Feedback};

use crate::tasks::desk::{self, Desk, Rules, Skipped};
use crate::tasks::skips::{Skip, Skips};
use crate::tasks::task::{Task, TaskKind, TaskName};
use crate::telemetry::metrics::{EVENT_READERS, RATING_TO_ANSWER};
use board::{Board, History};
use chain::Chain;
use opinions::{Opinions, Score};
use told::{Ring, Told};

/// Events that a reader may be behind.
pub const READER_ROOM: usize = 256;

/// Sees what happens in one daemon. Clones are the same observer.
#[derive(Debug, Clone)]
pub struct Observer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started_ms: i64,
    /// The start on a clock that does not go back.
    began: Instant,
    state: Mutex<State>,
    /// Of its own: nobody waits for the disk to see an event.
    kept: Mutex<Kept>,
    readers: AtomicUsize,
}

/// What outlives the daemon beside the store, and skips from before the start until they are taken up.
#[derive(Debug, Default)]
struct Kept {
    dir: Option<PathBuf>,
    skips: Option<Skips>,
    skipped: Vec<Skip>,
}

#[derive(Debug)]
struct State {
    board: Board,
    chain: Chain,
    opinions: Opinions,
    desk: Desk,
    ring: Ring,
    /// `None` once the loop has ended.
    sender: Option<broadcast::Sender<Told>>,
}

impl State {
    /// Takes up a rating once; how far others agree with it, where somebody said something comparable.
    fn hear(&mut self, seq: u64, feedback: &Feedback) -> Option<f64> {
        self.opinions.hear(seq, feedback).then(|| self.desk.hear(feedback)).flatten()
    }
}

/// One reader's events. Its place is free again when it is dropped.
#[derive(Debug)]
pub struct Reader {
    /// What it missed while it was away, oldest first.
    pub missed: Vec<Told>,
    /// Whether that is all that it missed.
    pub whole: bool,
    /// What happens from now on.
    pub events: broadcast::Receiver<Told>,
    /// Counts it.
    pub place: Place,
}

/// A reader's place among the readers.
#[derive(Debug)]
pub struct Place(Arc<Inner>);

impl Drop for Place {
    fn drop(&mut self) {
        let before = self.0.readers.fetch_sub(1, Ordering::AcqRel);
        gauge!(EVENT_READERS).set(before.saturating_sub(1) as f64);
    }
}

/// Why nobody more may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoReader {
    /// So many read already.
    Full(usize),
    /// The loop has ended.
    Ended,
}

impl Observer {
    /// An observer of a daemon that started at `started_ms`; tasks follow `rules`.
    pub fn new(started_ms: i64, rules: Rules) -> Self {
        let (sender, _) = broadcast::channel(READER_ROOM);
        let first = u64::try_from(started_ms).unwrap_or(0).max(1);
        let (board, opinions, ring) = (Board::new(started_ms), Opinions::default(), Ring::new(first));
        let state =
            State { board, chain: Chain::default(), opinions, desk: Desk::new(rules), ring, sender: Some(sender) };
        Self(Arc::new(Inner {
            started_ms,
            began: Instant::now(),
            state: Mutex::new(state),
            kept: Mutex::default(),
            readers: AtomicUsize::new(0),
        }))
    }

    /// Keeps skips and scores in the data directory `dir`, and has those from before the start for
    /// [`Self::recall_scores`] and [`Self::recall_skips`]. Without it they last until the end only.
    pub fn keep(&self, dir: &Path) {
        let (skips, skipped) = match Skips::open(dir) {
            Ok((file, before)) => (Some(file), before),
            Err(error) => {
                tracing::warn!(%error, "skips.jsonl cannot be used: what is skipped is kept in memory only");
                (None, Vec::new())
            }
        };
        *self.kept() = Kept { dir: Some(dir.to_owned()), skips, skipped };
    }

    /// When the daemon started, in milliseconds since the Unix epoch.
    pub fn started_ms(&self) -> i64 {
        self.0.started_ms
    }

    /// Takes an event up and passes it on.
    pub fn take(&self, t_ms: i64, event: &LoopEvent) {
        let mut state = self.state();
        state.board.take(t_ms, event);
        state.chain.take(t_ms, event).into_iter().for_each(|seconds| histogram!(RATING_TO_ANSWER).record(seconds));
        match event {
            LoopEvent::Answered { answer, group, .. } => state.desk.answer(*group, *answer),
            LoopEvent::Scored { scores, version, .. } => {
                state.opinions.score(scores, *version);
                state.desk.score(scores);
            }
            LoopEvent::Rated { seq, feedback } => {
                let agreement = state.hear(*seq, feedback).unwrap_or(f64::NAN);
                let policy = state.board.policy();
                state.board.push("annotator_agreement", t_ms, policy, agreement);
            }
            _ => {}
        }
        let told = state.ring.push(t_ms, event);
        if let Some(sender) = &state.sender {
            let _ = sender.send(told); // an error says that nobody reads
        }
    }

    /// Takes up a rating from before the start; oldest first, and before any that comes.
    pub fn recall(&self, seq: u64, feedback: &Feedback) {
        self.state().hear(seq, feedback);
    }

    /// Takes up an answer from before the start.
    pub fn recall_answer(&self, group: AnswerId, answer: AnswerId) {
        self.state().desk.answer(group, answer);
    }

    /// What to ask this annotator next; see [`Desk::next`].
    pub fn next_task(&self, annotator: &str, wanted: Option<TaskKind>) -> Option<Task> {
        let now_ms = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.state().desk.next(annotator, wanted, now_ms)
    }

    /// Somebody does not want a task; `false` where it is none. On disk when it returns, unless the disk refuses: then it
    /// lasts until the end only. May wait for the disk.
    pub fn skip(&self, annotator: &str, task: &TaskName) -> bool {
        let skipped = self.state().desk.skip(annotator, task);
        if skipped == Skipped::New
            && let Some(file) = &mut self.kept().skips
            && let Err(error) = file.add(&Skip { by: desk::print(annotator), task: task.clone() })
        {
            tracing::warn!(%error, "a skip could not be written down: it lasts until the end only");
        }
        skipped != Skipped::Unknown
    }

    /// Takes up the skips from before the start; after the answers and ratings.
    pub fn recall_skips(&self) {
        let before = std::mem::take(&mut self.kept().skipped);
        let mut state = self.state();
        before.iter().for_each(|skip| {
            state.desk.skip_by(skip.by, &skip.task);
        });
    }

    /// Takes up the scores from before the start, where none came since; after the answers.
    pub fn recall_scores(&self) {
        let Some(dir) = self.kept().dir.clone() else { return };
        let before = scores::read(&dir);
        let mut state = self.state();
        for (answer, one) in before {
            if state.opinions.score_of(answer).is_none() {
                state.opinions.score(&[(answer, one.score, one.std)], one.version);
                state.desk.score(&[(answer, one.score, one.std)]);
            }
        }
        state.opinions.changed();
    }

    /// Writes the scores down where there are new ones since the last time. Waits for the disk.
    pub fn keep_scores(&self) {
        let Some(dir) = self.kept().dir.clone() else { return };
        let Some(all) = self.state().opinions.changed() else { return };
        if let Err(error) = scores::write(&dir, &all) {
            tracing::warn!(%error, "scores could not be written down: they last until the end only");
        }
    }

    /// An answer is no longer kept.
    pub fn lose(&self, answer: AnswerId) {
        self.state().desk.lose(answer);
    }

    /// The reward model's newest score of an answer, and the journal sequences of the ratings that speak of it.
    pub fn opinion(&self, answer: AnswerId) -> (Option<Score>, Vec<u64>) {
        let state = self.state();
        (state.opinions.score_of(answer), state.opinions.ratings_of(answer).to_vec())
    }

    /// A regular look at what events do not tell.
    pub fn beat(&self, t_ms: i64, view: &RewardView) {
        self.state().board.beat(t_ms, view);
    }

    /// Adds to the list of happenings.
    pub fn mark(&self, t_ms: i64, kind: &'static str, text: &str) {
        self.state().board.mark(t_ms, kind, text);
    }

    /// Figures and happenings so far.
    pub fn history(&self) -> History {
        self.state().board.history()
    }

    /// A reader of what happens from now on and, where it names the last event that it saw, of what came after that.
    /// At most `most` at a time.
    pub fn read(&self, last: Option<u64>, most: usize) -> Result<Reader, NoReader> {
        let readers = self.0.readers.fetch_add(1, Ordering::AcqRel) + 1;
        let place = Place(self.0.clone());
        if readers > most {
            return Err(NoReader::Full(most));
        }
        gauge!(EVENT_READERS).set(readers as f64);
        // Under one lock: no event is between what was missed and what comes.
        let state = self.state();
        let (missed, whole) = last.map_or((Vec::new(), true), |last| state.ring.since(last));
        let events = state.sender.as_ref().ok_or(NoReader::Ended)?.subscribe();
        drop(state);
        Ok(Reader { missed, whole, events, place })
    }

    /// Ends all readers once they have read what was told.
    pub fn end(&self) {
        self.state().sender = None;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
