//! Central finite differences against autograd in f64 (test support).

use tch::{Kind, Tensor};

/// A `[N]` f64 tensor.
pub(crate) fn f64s(values: &[f64]) -> Tensor {
    Tensor::from_slice(values)
}

/// The numbers of a tensor.
pub(crate) fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::<f64>::try_from(tensor.detach().to_kind(Kind::Double).contiguous().view([-1])).unwrap()
}

/// Elementwise |a − b| ≤ tolerance · max(1, |b|).
pub(crate) fn close(got: &Tensor, expected: &[f64], tolerance: f64) {
    let got = numbers(got);
    assert_eq!(got.len(), expected.len(), "{got:?} {expected:?}");
    for (a, b) in got.iter().zip(expected) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{got:?} is not {expected:?} within {tolerance}");
    }
}

/// The gradient of the scalar `loss` at `x`.
pub(crate) fn gradient(x: &[f64], loss: &dyn Fn(&Tensor) -> Tensor) -> Vec<f64> {
    let x = f64s(x).set_requires_grad(true);
    loss(&x).backward();
    numbers(&x.grad())
}

/// Asserts that autograd and central differences (step 1e-5: error about 1e-10 in f64) agree within 1e-6.
pub(crate) fn finite_differences(x: &[f64], loss: &dyn Fn(&Tensor) -> Tensor) {
    let step = 1e-5;
    let at = |index: usize, shift: f64| {
        let mut moved = x.to_vec();
        moved[index] += shift;
        loss(&f64s(&moved)).double_value(&[])
    };
    let numeric: Vec<f64> = (0..x.len()).map(|i| (at(i, step) - at(i, -step)) / (2.0 * step)).collect();
    close(&f64s(&gradient(x, loss)), &numeric, 1e-6);
}
