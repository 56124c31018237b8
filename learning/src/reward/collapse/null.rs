//! How far apart two classes would seem if the labels meant nothing.
//!
//! Invariant: the labels are shuffled, the curves never; the same stream gives the same null.

use crate::rng::Stream;

use super::wasserstein::{Curve, on_one_grid};

/// What shuffled labels give (a permutation test: Fisher 1935, chapter 3).
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Null {
    /// Mean distance between the classes under shuffled labels: the error to expect of the distance itself.
    pub mean: f64,
    /// (1 + shuffles at least as far apart as the true labels) / (1 + shuffles).
    pub p_value: f64,
}

/// W1 between the barycentres of two classes of curves under `shuffles` shuffles of `is_first`, which is as long as
/// `curves`; `None` when one class is empty.
pub fn permutation_null(curves: &[Curve], is_first: &[bool], shuffles: usize, stream: &mut Stream) -> Option<Null> {
    let first = is_first.iter().filter(|&&is| is).count();
    if first == 0 || first == is_first.len() || shuffles == 0 {
        return None;
    }
    let (rows, widths) = on_one_grid(curves);
    // The difference of the two means is Σ_i s_i·row_i, s_i = 1/n_first or −1/n_other.
    let shares = [-1.0 / (is_first.len() - first) as f64, 1.0 / first as f64];
    let distance = |label: &dyn Fn(usize) -> bool| {
        let mut difference = vec![0.0; widths.len()];
        for (i, row) in rows.iter().enumerate() {
            let share = shares[usize::from(label(i))];
            difference.iter_mut().zip(row).for_each(|(sum, value)| *sum += share * value);
        }
        difference.iter().zip(&widths).map(|(height, width)| height.abs() * width).sum::<f64>()
    };
    let observed = distance(&|i| is_first[i]);
    let (mut sum, mut as_far) = (0.0, 0);
    for _ in 0..shuffles {
        let order = stream.permutation(is_first.len());
        let shuffled = distance(&|i| is_first[order[i]]);
        sum += shuffled;
        // Rounding must not make a shuffle that only swaps equals look nearer.
        as_far += usize::from(shuffled >= observed - 1e-12);
    }
    Some(Null { mean: sum / shuffles as f64, p_value: (1 + as_far) as f64 / (1 + shuffles) as f64 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Purpose;

    #[test]
    fn true_labels_stand_out_and_meaningless_ones_do_not() {
        // Twenty prompts of two shapes, and of two sizes.
        let sample = |i: usize| if i < 10 { vec![0.0, 0.0, 1.0, 1.0] } else { vec![0.0, 0.5, 1.0] };
        let curves: Vec<Curve> = (0..20).map(|i| Curve::of_sample(&sample(i))).collect();
        let mut stream = Stream::new(1, Purpose::Evaluation, 0);
        let null = |labels: &dyn Fn(usize) -> bool, stream: &mut Stream| {
            permutation_null(&curves, &(0..20).map(labels).collect::<Vec<_>>(), 100, stream)
        };
        let true_ones = null(&|i| i < 10, &mut stream).expect("two classes");
        assert!(true_ones.p_value < 0.011 && true_ones.mean < 0.05, "{true_ones:?}");
        let meaningless = null(&|i| i % 2 == 0, &mut stream).expect("two classes");
        assert!(meaningless.p_value > 0.5, "{meaningless:?}");
        assert_eq!(null(&|_| true, &mut stream), None);
    }
}
