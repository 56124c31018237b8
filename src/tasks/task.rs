//! A task: which answers, asked how, and its name.
//!
//! Invariant: a task's name says its kind and its answers and nothing else, so that it can be told from no other task of
//! that kind; a name can be read back.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use understudy_learning::stages::AnswerId;

use super::group::MOST_ANSWERS;

/// How somebody is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// One answer, one to five stars.
    Stars,
    /// One answer, up or down.
    Thumb,
    /// Which of two is better.
    Pair,
    /// Several from best to worst.
    Ranking,
}

impl TaskKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Stars, Self::Thumb, Self::Pair, Self::Ranking];

    /// Its word in the API, as that of the feedback it asks for.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stars => "stars",
            Self::Thumb => "thumb",
            Self::Pair => "pair",
            Self::Ranking => "ranking",
        }
    }

    /// Least number of answers.
    pub fn least(self) -> usize {
        match self {
            Self::Stars | Self::Thumb => 1,
            Self::Pair | Self::Ranking => 2,
        }
    }
}

/// A task for one annotator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// How it is asked.
    pub kind: TaskKind,
    /// What is shown, in the order in which it is shown.
    pub answers: Vec<AnswerId>,
    /// Candidates that wait for this annotator, this one included.
    pub waiting: usize,
}

/// A task's name: its kind and its answers in the order of their ids, as in `pair-12-15`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskName {
    /// How it is asked.
    pub kind: TaskKind,
    /// Ascending.
    pub answers: Vec<AnswerId>,
}

impl Task {
    /// Its name.
    pub fn name(&self) -> TaskName {
        let mut answers = self.answers.clone();
        answers.sort_unstable();
        TaskName { kind: self.kind, answers }
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.word())?;
        self.answers.iter().try_for_each(|answer| write!(f, "-{answer}"))
    }
}

impl FromStr for TaskName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let word = parts.next().ok_or(())?;
        let kind = TaskKind::ALL.into_iter().find(|kind| kind.word() == word).ok_or(())?;
        let answers: Vec<AnswerId> = parts.map(str::parse).collect::<Result<_, _>>().map_err(drop)?;
        let fits = (kind.least()..=MOST_ANSWERS).contains(&answers.len()) && answers.is_sorted_by(|a, b| a < b);
        if fits { Ok(Self { kind, answers }) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_nothing_else_is_a_name() {
        let task = Task { kind: TaskKind::Pair, answers: vec![15, 12], waiting: 3 };
        assert_eq!(task.name().to_string(), "pair-12-15");
        assert_eq!("pair-12-15".parse(), Ok(task.name()));
        for wrong in ["", "pair", "pair-1", "pair-2-1", "pair-1-1", "pear-1-2", "stars-x", "stars-1-", "../etc"] {
            assert_eq!(wrong.parse::<TaskName>(), Err(()), "{wrong}");
        }
    }
}
