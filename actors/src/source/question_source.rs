//! Where questions come from, as the program sees it.
//!
//! Invariant: a source is read at rising positions, and the same position gives the same question; so the position is
//! all that must survive.

use std::sync::Arc;

use understudy_learning::stages::Question;

/// Why a source could not give a question.
#[derive(Debug, thiserror::Error)]
#[error("source {name:?} at question {position}: {reason}")]
pub struct SourceError {
    /// The source.
    pub name: String,
    /// Where it was.
    pub position: u64,
    /// What went wrong and what to do about it.
    pub reason: String,
}

/// A stream of questions.
pub trait QuestionSource: Send {
    /// Its stable name: the position is kept under it.
    fn name(&self) -> &str;
    /// The question at `position`; `None` at the end. Positions rise by one, except after a restart.
    fn draw(&mut self, position: u64) -> Result<Option<Arc<Question>>, SourceError>;
}

/// A list of questions, once or round and round.
pub struct ListSource {
    name: String,
    questions: Vec<Arc<Question>>,
    repeat: bool,
}

impl ListSource {
    /// Draws `questions` in order; from the front again when they are over, if `repeat`.
    pub fn new(name: impl Into<String>, questions: Vec<Question>, repeat: bool) -> Self {
        Self { name: name.into(), questions: questions.into_iter().map(Arc::new).collect(), repeat }
    }
}

impl QuestionSource for ListSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn draw(&mut self, position: u64) -> Result<Option<Arc<Question>>, SourceError> {
        let length = self.questions.len() as u64;
        let at = if self.repeat { position.checked_rem(length) } else { Some(position).filter(|at| *at < length) };
        Ok(at.map(|at| self.questions[at as usize].clone()))
    }
}
