//! From ragged rollouts to padded tensors and back.
//!
//! Invariant: sequences are padded on the right only, and a state at or past a row's end is never selected, so that
//! padding cannot reach a number that counts.

use tch::{Kind, Tensor};
use understudy_model::Trunk;

use crate::error::LearningError;
use crate::stages::{Rollout, TrunkStates};

/// `[L, D]` trunk states of each rollout's prompt and answer: those that travelled with it, else computed anew.
pub fn rollout_states(trunk: &Trunk, rollouts: &[&Rollout]) -> Result<Vec<Tensor>, LearningError> {
    rollouts.iter().map(|rollout| states_of(trunk, rollout)).collect()
}

fn states_of(trunk: &Trunk, rollout: &Rollout) -> Result<Tensor, LearningError> {
    let length = rollout.prompt.tokens.len() + rollout.tokens.len();
    let TrunkStates::Present { values, width } = &rollout.trunk else {
        return sequence_states(trunk, &rollout.all_tokens());
    };
    if *width != trunk.width() || values.len() != length * width {
        let problem = format!(
            "{} trunk states of width {width} for {length} tokens and width {}; send Absent to have them recomputed",
            values.len() / width.max(&1),
            trunk.width()
        );
        return Err(LearningError::input(format!("answer {}", rollout.id), problem));
    }
    Ok(Tensor::from_slice(values).reshape([length as i64, *width as i64]).to_device(trunk.device()))
}

/// `[L, D]` trunk states of one sequence, computed alone so that they do not depend on what else is in a batch.
pub fn sequence_states(trunk: &Trunk, tokens: &[i64]) -> Result<Tensor, LearningError> {
    let vocabulary = trunk.vocab_size() as i64;
    if tokens.is_empty() || tokens.len() > trunk.max_position() {
        let problem = format!("{} tokens; give 1 to {}", tokens.len(), trunk.max_position());
        return Err(LearningError::input("a sequence", problem));
    }
    if let Some(token) = tokens.iter().find(|token| !(0..vocabulary).contains(*token)) {
        return Err(LearningError::input("a sequence", format!("token {token} is not below {vocabulary}")));
    }
    Ok(understudy_model::trunk_states(trunk, &[tokens.to_vec()]).get(0))
}

/// Rows `[L_i, D]` to `[B, T, D]` with zeros after each row's end; `T` is the longest row.
pub fn pad_states(rows: &[&Tensor]) -> Tensor {
    let longest = rows.iter().map(|row| row.size()[0]).max().unwrap_or(0);
    let padded = rows.iter().map(|row| row.constant_pad_nd([0, 0, 0, longest - row.size()[0]]));
    Tensor::stack(&padded.collect::<Vec<_>>(), 0)
}

/// Where the states of `answers` stand in a `[B·T]` flat table: for each row the state BEFORE each answer token, and
/// with `after_last` also the state after the last one. `answers` holds (prompt length, answer length) of each row.
pub fn answer_positions(answers: &[(usize, usize)], width: i64, after_last: bool) -> Vec<i64> {
    let mut positions = Vec::new();
    for (row, (prompt, answer)) in answers.iter().enumerate() {
        let first = row as i64 * width + *prompt as i64 - 1;
        positions.extend(first..first + *answer as i64 + i64::from(after_last));
    }
    positions
}

/// Rows of different lengths to `[B, width]` f32 with zeros after each row's end. No row is longer than `width`.
pub fn pad_rows(rows: &[Vec<f32>], width: usize) -> Tensor {
    let mut flat = Vec::with_capacity(rows.len() * width);
    for row in rows {
        debug_assert!(row.len() <= width);
        flat.extend_from_slice(row);
        flat.resize(flat.len() + width - row.len(), 0.0);
    }
    Tensor::from_slice(&flat).reshape([rows.len() as i64, width as i64])
}

/// Numbers laid end to end, cut into rows of the given lengths.
pub fn split_rows(flat: &Tensor, lengths: impl Iterator<Item = usize>) -> Result<Vec<Vec<f32>>, LearningError> {
    let numbers = Vec::<f32>::try_from(flat.to_kind(Kind::Float).to_device(tch::Device::Cpu).contiguous())?;
    let mut rest = numbers.as_slice();
    let mut rows = Vec::new();
    for length in lengths {
        let (row, after) = rest.split_at_checked(length).ok_or_else(|| {
            LearningError::input("a table of rows", format!("{length} numbers wanted, {} left", rest.len()))
        })?;
        rows.push(row.to_vec());
        rest = after;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn positions_are_those_before_each_token_and_after_the_last_where_asked() {
        assert_eq!(answer_positions(&[(2, 3), (4, 1)], 10, false), [1, 2, 3, 13]);
        assert_eq!(answer_positions(&[(2, 3), (4, 1)], 10, true), [1, 2, 3, 4, 13, 14]);
    }

    #[test]
    fn padding_is_on_the_right_and_rows_come_back() {
        let states: Vec<Tensor> = [2i64, 3].map(|n| Tensor::ones([n, 4], (Kind::Float, Device::Cpu))).into();
        let padded = pad_states(&states.iter().collect::<Vec<_>>());
        assert_eq!(padded.size(), [2, 3, 4]);
        assert_eq!(padded.sum(Kind::Float).double_value(&[]), 20.0);
        assert_eq!(padded.get(0).get(2).sum(Kind::Float).double_value(&[]), 0.0);
        let rows = vec![vec![1.0, 2.0], vec![3.0]];
        assert_eq!(Vec::<f32>::try_from(pad_rows(&rows, 3).reshape([-1])).unwrap(), [1.0, 2.0, 0.0, 3.0, 0.0, 0.0]);
        let flat = Tensor::from_slice(&[1f32, 2.0, 3.0]);
        assert_eq!(split_rows(&flat, [2, 1].into_iter()).unwrap(), rows);
        assert!(split_rows(&flat, [2, 2].into_iter()).is_err());
    }
}
