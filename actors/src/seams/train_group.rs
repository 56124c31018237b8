//! Learning in a group of processes.
//!
//! Invariant: every member calls the same operations in the same order; a member that cannot go on aborts the group.

/// Why a group operation did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// A member gave up.
    #[error("the training group was aborted: {0}; start its members again from the last checkpoint")]
    Aborted(String),
}

/// What data-parallel learners need of each other.
pub trait TrainGroup: Send {
    /// This member's number, from 0.
    fn rank(&self) -> usize;
    /// Members.
    fn size(&self) -> usize;
    /// Replaces each number by its sum over the members.
    fn all_reduce(&mut self, values: &mut [f64]) -> Result<(), GroupError>;
    /// Gives every member the root's bytes.
    fn broadcast(&mut self, root: usize, bytes: &mut Vec<u8>) -> Result<(), GroupError>;
    /// Returns when all members have come here.
    fn barrier(&mut self) -> Result<(), GroupError>;
    /// Ends the group: every operation from now on fails, at every member.
    fn abort(&mut self, reason: &str);

    /// Replaces each number by its mean over the members.
    fn all_mean(&mut self, values: &mut [f64]) -> Result<(), GroupError> {
        self.all_reduce(values)?;
        let size = self.size() as f64;
        values.iter_mut().for_each(|value| *value /= size);
        Ok(())
    }
}

/// A group of one: the in-process form.
#[derive(Debug, Default)]
pub struct Alone {
    aborted: Option<String>,
}

impl Alone {
    fn check(&self) -> Result<(), GroupError> {
        self.aborted.as_ref().map_or(Ok(()), |reason| Err(GroupError::Aborted(reason.clone())))
    }
}

impl TrainGroup for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_reduce(&mut self, _: &mut [f64]) -> Result<(), GroupError> {
        self.check()
    }

    fn broadcast(&mut self, _: usize, _: &mut Vec<u8>) -> Result<(), GroupError> {
        self.check()
    }

    fn barrier(&mut self) -> Result<(), GroupError> {
        self.check()
    }

    fn abort(&mut self, reason: &str) {
        self.aborted.get_or_insert_with(|| reason.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aborted_group_does_nothing_more_and_says_why_first() {
        let mut group = Alone::default();
        let mut values = [3.0, 4.0];
        group.all_mean(&mut values).unwrap();
        assert_eq!((values, group.barrier()), ([3.0, 4.0], Ok(())));
        group.abort("non-finite loss");
        group.abort("later");
        assert_eq!(group.barrier(), Err(GroupError::Aborted("non-finite loss".into())));
    }
}
