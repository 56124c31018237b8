//! Scores on demand: what the reward model thinks of answers that somebody waits for.
//!
//! Invariant: nothing is learned, remembered or sent on because of it; a model that has learned from too few ratings says
//! nothing, so that nobody chooses by chance.

use understudy_learning::stages::{AnswerId, Rollout};

use super::job::Hearing;
use crate::link::{Ask, Envelope};

/// What the reward model thinks of one answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Which.
    pub answer: AnswerId,
    /// Normalised: mean 0 and variance 1 over the reference answers.
    pub score: f64,
    /// Its standard error, 0 where it is not known.
    pub std: f64,
}

/// Answers to be judged; `None` where too few ratings were learned from (`hearing.ratings_before_scores`).
pub type JudgeRequest = Envelope<Ask<Vec<Rollout>, Option<Vec<Judged>>>>;

impl Hearing {
    /// Judges whatever waits to be judged.
    pub(super) fn judge_waiting(&mut self) -> Result<bool, String> {
        let mut worked = false;
        while let Some(request) = self.job.judgements.try_recv() {
            self.judge(request)?;
            worked = true;
        }
        Ok(worked)
    }

    /// Judges the answers of one request.
    pub(super) fn judge(&mut self, request: JudgeRequest) -> Result<(), String> {
        let Some(request) = request.accept() else { return Ok(()) };
        let _unit = self.desk.lifeline.begin("judge");
        let Ask { value: answers, reply } = request.value;
        let mind = &self.job.mind;
        let judged = match mind.is_ignorant() {
            true => None,
            false => {
                let scores = mind.judge(&answers).map_err(|error| error.to_string())?;
                let one = |(answer, score): (&Rollout, (f64, f64))| Judged {
                    answer: answer.id,
                    score: score.0,
                    std: score.1,
                };
                Some(answers.iter().zip(scores).map(one).collect())
            }
        };
        // Who asked may have given up waiting.
        let _ = reply.answer(judged);
        Ok(())
    }
}
