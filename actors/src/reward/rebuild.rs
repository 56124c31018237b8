//! A reward model that never heard what was taken back, learned from the journal beside the one that serves.
//!
//! Invariant: what comes out is a function of where it began, the order of the events in the journal and which of them
//! were taken back: minibatches follow counts of events and never time, and trunk states are always computed anew. So an
//! event that was given and taken back leaves no trace: the outcome is, bit for bit, that of the same rebuilding from a
//! journal without the two.

use tokio::time::Instant;
use understudy_learning::LearnerState;

use super::custody::Custody;
use super::journal::{Reader, Retractions};
use super::mind::{Mind, MindError};
use super::saved::Recall;
use crate::seams::FeedbackLog;

/// What a saved state says of itself before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnchorMarks {
    /// It heard the journal up to here.
    pub up_to: u64,
    /// It left out everything that was taken back up to here.
    pub clean_up_to: u64,
}

/// Saved states of the reward model from which a rebuilding can begin.
pub trait Anchors {
    /// The newest state whose marks are `usable`; `None` begins with nothing heard. States that do not read are passed
    /// over.
    fn newest(&self, usable: &dyn Fn(AnchorMarks) -> bool) -> Option<LearnerState>;
}

/// What one step of a rebuilding did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Remembered, heard or learned a little.
    Worked,
    /// Nothing is left up to where the serving model is.
    CaughtUp,
}

/// A rebuilding under way.
pub(super) struct Rebuild {
    mind: Mind,
    recall: Option<Recall>,
    reader: Reader,
    custody: Custody,
    began: Instant,
}

impl Rebuild {
    /// Begins at the newest anchor that heard nothing of what was taken back.
    pub(super) fn begin(
        serving: &Mind,
        anchors: &dyn Anchors,
        retractions: &Retractions,
        custody: Custody,
    ) -> Result<Self, MindError> {
        let clean = |marks: AnchorMarks| retractions.spoiling(marks.clean_up_to, marks.up_to).is_empty();
        let mut mind = serving.beginning()?;
        let recall = match anchors.newest(&clean) {
            Some(state) => Some(mind.restore(state)?),
            None => None,
        };
        mind.suspect(custody.suspects());
        let reader = Reader::after(mind.up_to());
        tracing::info!(
            from = mind.up_to(),
            to = serving.up_to(),
            "the reward model is learned anew without what was taken back"
        );
        Ok(Self { mind, recall, reader, custody, began: Instant::now() })
    }

    /// The sequence up to which events were heard.
    pub(super) fn up_to(&self) -> u64 {
        self.mind.up_to()
    }

    /// Seconds since it began.
    pub(super) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// One short unit: some events remembered, one heard, or one minibatch.
    pub(super) fn step(
        &mut self,
        up_to: u64,
        log: &dyn FeedbackLog,
        retractions: &mut Retractions,
    ) -> Result<Step, MindError> {
        if let Some(recall) = &mut self.recall {
            if !recall.page(&mut self.mind, log)? {
                self.recall = None;
                self.custody.lost().into_iter().for_each(|seq| self.mind.leave_out(seq));
            }
            return Ok(Step::Worked);
        }
        if self.mind.owes() {
            self.learn(retractions)?;
            return Ok(Step::Worked);
        }
        if let Some(event) = self.reader.next(log, up_to)? {
            let taken_back = retractions.holds(&event);
            let (seq, said) = (event.seq, event.feedback.clone());
            self.custody.hear(seq, &said, || self.mind.hear(event, taken_back))?;
            return Ok(Step::Worked);
        }
        if self.mind.has_fresh() {
            self.learn(retractions)?;
            return Ok(Step::Worked);
        }
        Ok(Step::CaughtUp)
    }

    fn learn(&mut self, retractions: &mut Retractions) -> Result<(), MindError> {
        let Some(chosen) = self.mind.choose() else { return Ok(()) };
        let (_, guilty) = self.custody.learn(chosen, |chosen| self.mind.learn_from(chosen))?;
        if let Some(seq) = guilty {
            self.mind.leave_out(seq);
            retractions.leave_out(seq);
        }
        Ok(())
    }

    /// The rebuilt model in place of the one that served.
    pub(super) fn finish(self, served: &mut Mind) -> Result<Mind, MindError> {
        self.mind.succeed(served)
    }
}
