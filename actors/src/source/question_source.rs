//! Where questions come from, as the program sees it.
//!
//! Invariant: a source is read at rising positions, and the same position gives the same question; so the position is
//! all that must survive. A source that has nothing *yet* says so and is asked again: it never blocks.

use std::sync::Arc;
use std::time::Duration;

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

/// What a source gives at a position.
#[derive(Debug, Clone, PartialEq)]
pub enum Draw {
    /// This.
    Question(Arc<Question>),
    /// Nothing yet: ask for the same position again, after this long or earlier.
    NotYet(Duration),
    /// Nothing any more.
    End,
}

/// A stream of questions.
pub trait QuestionSource: Send {
    /// Its stable name: the position is kept under it.
    fn name(&self) -> &str;
    /// What is at `position`. Positions rise by one, except after a restart and while there is nothing yet. It does not
    /// wait: whoever draws may have other things to hear.
    fn draw(&mut self, position: u64) -> Result<Draw, SourceError>;
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

    fn draw(&mut self, position: u64) -> Result<Draw, SourceError> {
        let length = self.questions.len() as u64;
        let at = if self.repeat { position.checked_rem(length) } else { Some(position).filter(|at| *at < length) };
        Ok(at.map_or(Draw::End, |at| Draw::Question(self.questions[at as usize].clone())))
    }
}
