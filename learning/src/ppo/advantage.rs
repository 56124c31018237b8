//! Generalised advantage estimation over ragged rows.
//!
//! Invariant: a masked position is skipped, never decayed: the advantage and value that stand behind it reach the token
//! before it unchanged.

use tch::Tensor;

/// What [`generalised_advantages`] found. Both tables are 0 where the mask is false.
#[derive(Debug)]
pub struct Advantages {
    /// `[B, T]` not whitened.
    pub advantages: Tensor,
    /// `[B, T]` `advantages + values`, from the advantages before any whitening: what the value model learns.
    pub returns: Tensor,
}

/// `δ_t = r_t + γ·V_{t+1} − V_t`, `A_t = δ_t + γλ·A_{t+1}`, from the end.
///
/// Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage Estimation" (2016), equation 16.
///
/// - `rewards`, `values`: `[B, T]`; `mask`: `[B, T]`, true = counts.
/// - `bootstrap`: `[B]`, the value of the state after the row's last counted position: the value model's where the
///   answer was cut off and what would have followed counts, 0 where the answer had ended.
pub fn generalised_advantages(
    rewards: &Tensor,
    values: &Tensor,
    mask: &Tensor,
    bootstrap: &Tensor,
    gamma: f64,
    lambda: f64,
) -> Advantages {
    let steps = rewards.size()[1];
    let mut next_value = bootstrap.shallow_clone();
    let mut next_advantage = bootstrap.zeros_like();
    let mut columns = Vec::with_capacity(steps as usize);
    for t in (0..steps).rev() {
        let (reward, value, counts) = (rewards.select(1, t), values.select(1, t), mask.select(1, t));
        let delta = reward + &next_value * gamma - &value;
        let advantage = delta + &next_advantage * (gamma * lambda);
        columns.push(advantage.masked_fill(&counts.logical_not(), 0.0));
        next_advantage = advantage.where_self(&counts, &next_advantage);
        next_value = value.where_self(&counts, &next_value);
    }
    columns.reverse();
    let advantages = Tensor::stack(&columns, 1);
    let returns = (&advantages + values).masked_fill(&mask.logical_not(), 0.0);
    Advantages { advantages, returns }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(numbers: &[f64]) -> Tensor {
        Tensor::from_slice(numbers).unsqueeze(0)
    }

    fn run(rewards: &[f64], values: &[f64], mask: &[bool], bootstrap: f64) -> (Vec<f64>, Vec<f64>) {
        let mask = Tensor::from_slice(mask).unsqueeze(0);
        let bootstrap = Tensor::from_slice(&[bootstrap]);
        let found = generalised_advantages(&row(rewards), &row(values), &mask, &bootstrap, 0.9, 0.5);
        let flat = |t: Tensor| Vec::<f64>::try_from(t.reshape([-1])).unwrap();
        (flat(found.advantages), flat(found.returns))
    }

    fn close(have: &[f64], want: &[f64]) {
        assert_eq!(have.len(), want.len());
        assert!(have.iter().zip(want).all(|(h, w)| (h - w).abs() < 1e-12), "{have:?} {want:?}");
    }

    #[test]
    fn three_steps_by_hand() {
        // Backwards: δ₂ = 1 − 0.5 = 0.5; δ₁ = 0 + 0.9·0.5 − 0.2 = 0.25, A₁ = 0.25 + 0.45·0.5 = 0.475;
        // δ₀ = −0.1 + 0.9·0.2 − 0.3 = −0.22, A₀ = −0.22 + 0.45·0.475 = −0.00625.
        let (advantages, returns) = run(&[-0.1, 0.0, 1.0], &[0.3, 0.2, 0.5], &[true; 3], 0.0);
        close(&advantages, &[-0.00625, 0.475, 0.5]);
        close(&returns, &[0.29375, 0.675, 1.0]);
    }

    #[test]
    fn masked_positions_inside_a_row_are_skipped_and_change_nothing() {
        let plain = run(&[-0.1, 0.0, 1.0], &[0.3, 0.2, 0.5], &[true; 3], 0.4).0;
        let mask = [true, false, true, false, true, false];
        let nan = f64::NAN;
        let holes = run(&[-0.1, nan, 0.0, 9.0, 1.0, nan], &[0.3, nan, 0.2, -7.0, 0.5, 3.0], &mask, 0.4).0;
        close(&holes, &[plain[0], 0.0, plain[1], 0.0, plain[2], 0.0]);
    }

    #[test]
    fn an_answer_cut_off_is_bootstrapped_and_one_that_ended_is_not() {
        let cut = run(&[0.0, 0.0], &[0.0, 0.0], &[true; 2], 2.0).0;
        let ended = run(&[0.0, 0.0], &[0.0, 0.0], &[true; 2], 0.0).0;
        close(&cut, &[0.45 * 1.8, 1.8]);
        close(&ended, &[0.0, 0.0]);
    }

    proptest::proptest! {
        /// A table with holes gives, at its true positions, what the rows without the holes give.
        #[test]
        fn any_holes_change_nothing(
            rows in proptest::collection::vec((-2.0f64..2.0, -2.0f64..2.0, proptest::bool::weighted(0.7)), 1..30),
            bootstrap in -2.0f64..2.0,
        ) {
            type Row = (f64, f64, bool);
            let column = |f: fn(&Row) -> f64, rows: &[Row]| -> Vec<f64> { rows.iter().map(f).collect() };
            let mask: Vec<bool> = rows.iter().map(|row| row.2).collect();
            let kept: Vec<_> = rows.iter().copied().filter(|row| row.2).collect();
            let holes = run(&column(|r| r.0, &rows), &column(|r| r.1, &rows), &mask, bootstrap);
            let holes: Vec<f64> = holes.0.iter().zip(&mask).filter(|(_, counts)| **counts).map(|(a, _)| *a).collect();
            // By the definition: A_t is the sum of (γλ)^k δ_{t+k}.
            let (rewards, values) = (column(|r| r.0, &kept), column(|r| r.1, &kept));
            let after = |t: usize| if t + 1 < values.len() { values[t + 1] } else { bootstrap };
            let delta = |t: usize| rewards[t] + 0.9 * after(t) - values[t];
            for (t, have) in holes.iter().enumerate() {
                let want: f64 = (t..kept.len()).map(|s| 0.45f64.powi((s - t) as i32) * delta(s)).sum();
                proptest::prop_assert!((have - want).abs() < 1e-12, "{} {}", have, want);
            }
        }
    }
}
