//! Masked means, variances and whitening.
//!
//! Invariant: where the mask is false nothing is read, not even NaN, and whitened tables are 0 there.

use tch::Tensor;

/// Added to variances.
const VARIANCE_FLOOR: f64 = 1e-8;

/// `x` where `mask` is true, else 0, even where `x` is NaN. Same shape as `x`.
pub fn zero_outside(x: &Tensor, mask: &Tensor) -> Tensor {
    x.masked_fill(&mask.logical_not(), 0.0)
}

/// Sum over the true positions; a scalar.
pub fn masked_sum(x: &Tensor, mask: &Tensor) -> Tensor {
    zero_outside(x, mask).sum(x.kind())
}

/// How many positions count.
pub fn count(mask: &Tensor) -> i64 {
    mask.sum(tch::Kind::Int64).int64_value(&[])
}

/// Mean over the true positions; 0 when there are none.
pub fn masked_mean(x: &Tensor, mask: &Tensor) -> Tensor {
    masked_sum(x, mask) / count(mask).max(1)
}

/// Unbiased variance (divided by n − 1) over the true positions; 0 for fewer than two.
pub fn masked_variance(x: &Tensor, mask: &Tensor) -> Tensor {
    masked_sum(&(x - masked_mean(x, mask)).square(), mask) / (count(mask) - 1).max(1)
}

/// `(x − μ)/√(σ² + 1e-8)` over the true positions, 0 elsewhere, with the unbiased σ². Give the WHOLE batch, once:
/// whitening each micro-batch alone would make the result depend on how the batch was cut.
///
/// One value alone has no spread and is returned as it is.
pub fn whiten(x: &Tensor, mask: &Tensor) -> Tensor {
    if count(mask) < 2 {
        return zero_outside(x, mask);
    }
    let centred = x - masked_mean(x, mask);
    zero_outside(&(centred * (masked_variance(x, mask) + VARIANCE_FLOOR).rsqrt()), mask)
}

/// As [`whiten`], with the mean put back: rewards get unit spread, and their sign keeps its meaning.
pub fn whiten_keeping_mean(x: &Tensor, mask: &Tensor) -> Tensor {
    if count(mask) < 2 {
        return zero_outside(x, mask);
    }
    zero_outside(&(whiten(x, mask) + masked_mean(x, mask)), mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> (Tensor, Tensor) {
        let x = Tensor::from_slice(&[1f64, 2.0, 6.0, f64::NAN, 3.0, -1e9]).reshape([2, 3]);
        let mask = Tensor::from_slice(&[true, true, true, false, true, false]).reshape([2, 3]);
        (x, mask)
    }

    #[test]
    fn padding_does_not_count_even_when_it_is_nan() {
        let (x, mask) = table();
        // 1, 2, 6, 3: mean 3, squared deviations 4 + 1 + 9 + 0 over n − 1 = 3.
        assert!((masked_mean(&x, &mask).double_value(&[]) - 3.0).abs() < 1e-12);
        assert!((masked_variance(&x, &mask).double_value(&[]) - 14.0 / 3.0).abs() < 1e-12);
        let white = whiten(&x, &mask);
        assert!((white.double_value(&[0, 2]) - 3.0 / (14.0f64 / 3.0 + 1e-8).sqrt()).abs() < 1e-12);
        assert_eq!((white.double_value(&[1, 0]), white.double_value(&[1, 2])), (0.0, 0.0));
    }

    #[test]
    fn rewards_keep_their_mean_and_advantages_lose_it() {
        let (x, mask) = table();
        assert!(masked_mean(&whiten(&x, &mask), &mask).double_value(&[]).abs() < 1e-12);
        let kept = whiten_keeping_mean(&x, &mask);
        assert!((masked_mean(&kept, &mask).double_value(&[]) - 3.0).abs() < 1e-12);
        assert!((masked_variance(&kept, &mask).double_value(&[]) - 1.0).abs() < 1e-8);
    }

    #[test]
    fn one_value_alone_and_none_at_all_are_left_alone() {
        let x = Tensor::from_slice(&[5f64, 7.0]);
        for mask in [[true, false], [false, false]] {
            let white = whiten(&x, &Tensor::from_slice(&mask));
            assert_eq!(white.double_value(&[0]), if mask[0] { 5.0 } else { 0.0 });
        }
    }
}
