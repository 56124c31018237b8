//! The transformer against `transformers`, and its own promises.

use tch::{Kind, Tensor};

use super::*;
use crate::logprobs::token_logprobs;
use crate::testing::reference::{Reference, max_difference, references};
use crate::testing::{tiny_llama, tiny_model};
use crate::trunk::trunk_states;

/// `[B, T, V]` by a full pass over right-padded rows.
fn logits(reference: &Reference, trainable_layers: usize, rows: &[Vec<i64>]) -> Tensor {
    let (trunk, branch) = reference.build(trainable_layers);
    branch.logits(&branch.hidden(&trunk_states(&trunk, rows)))
}

fn expected_logits(reference: &Reference, row: usize) -> Tensor {
    Tensor::from_slice2(&reference.expected.rows[row].logits)
}

#[test]
fn fixture_logits_of_every_family_equal_transformers_alone_and_in_a_ragged_batch() {
    for reference in references() {
        let rows: Vec<Vec<i64>> = reference.expected.rows.iter().map(|row| row.tokens.clone()).collect();
        let batch = logits(&reference, 1, &rows);
        for (i, row) in rows.iter().enumerate() {
            let expected = expected_logits(&reference, i);
            let alone = logits(&reference, 1, std::slice::from_ref(row)).get(0);
            let in_batch = batch.get(i as i64).narrow(0, 0, row.len() as i64);
            // The fixtures hold six decimals of f32 logits.
            for (how, got) in [("alone", alone), ("in the batch", in_batch)] {
                let difference = max_difference(&got, &expected);
                assert!(difference < 1e-5, "{} row {i} {how}: {difference}", reference.name);
            }
        }
    }
}

#[test]
fn fixture_next_token_logprobs_of_every_family_equal_transformers() {
    for reference in references() {
        let (trunk, branch) = reference.build(2);
        for row in &reference.expected.rows {
            let hidden = branch.hidden(&trunk_states(&trunk, std::slice::from_ref(&row.tokens))).get(0);
            let n = row.tokens.len() as i64 - 1;
            let targets = Tensor::from_slice(&row.tokens[1..]);
            let got = token_logprobs(&branch, &hidden.narrow(0, 0, n), &targets, 1.0, 7).logprobs;
            let difference = max_difference(&got.to_kind(Kind::Double), &Tensor::from_slice(&row.next_logprobs));
            assert!(difference < 1e-5, "{}: {difference}", reference.name);
        }
    }
}

#[test]
fn fixture_greedy_continuation_by_full_passes_is_exact() {
    for reference in references() {
        let mut tokens = reference.expected.greedy.prompt.clone();
        for &expected in &reference.expected.greedy.continuation {
            let all = logits(&reference, 1, std::slice::from_ref(&tokens));
            let next = all.get(0).get(tokens.len() as i64 - 1).argmax(0, false).int64_value(&[]);
            assert_eq!(next, expected, "{} after {tokens:?}", reference.name);
            tokens.push(next);
        }
    }
}

#[test]
fn fixture_logits_do_not_depend_on_where_the_model_is_split() {
    for reference in references() {
        let rows = [reference.expected.rows[0].tokens.clone()];
        let whole = logits(&reference, 0, &rows);
        for layers in 1..=reference.config.num_layers {
            assert!(whole == logits(&reference, layers, &rows), "{} split at {layers}", reference.name);
        }
    }
}

#[test]
fn two_passes_give_the_same_bits() {
    let tiny = tiny_model(1);
    let rows = [vec![5, 9, 200, 31], vec![7, 7]];
    let once = || tiny.branch.logits(&tiny.branch.hidden(&trunk_states(&tiny.trunk, &rows)));
    assert!(once() == once());
}

#[test]
fn padding_does_not_reach_real_tokens() {
    let tiny = tiny_model(2);
    let row = vec![3, 250, 17];
    let alone = trunk_states(&tiny.trunk, std::slice::from_ref(&row));
    let padded = trunk_states(&tiny.trunk, &[row.clone(), (0..9).collect()]);
    let alone = tiny.branch.hidden(&alone).get(0);
    let padded = tiny.branch.hidden(&padded).get(0).narrow(0, 0, 3);
    // The sums run over more terms, all of them exact zeros: rounding order may differ.
    assert!(max_difference(&alone, &padded) < 1e-5);
}

#[test]
fn every_parameter_gets_a_gradient_equal_to_that_of_the_fused_function() {
    let tiny = tiny_model(3);
    let states = trunk_states(&tiny.trunk, &[vec![1, 2, 3, 4, 5]]);
    let loss = |branch: &Branch| branch.logits(&branch.hidden(&states)).square().mean(Kind::Float);
    let frozen = loss(&tiny.branch).double_value(&[]);
    tiny.branch.set_trainable(true);
    let value = loss(&tiny.branch);
    assert!((value.double_value(&[]) - frozen).abs() < 1e-6 * frozen.abs());
    value.backward();
    for (name, parameter) in tiny.branch.parameters() {
        let gradient = parameter.grad();
        assert!(gradient.defined() && gradient.abs().max().double_value(&[]) > 0.0, "{name}");
        // Directional derivative along the gradient's sign, by central differences.
        let sign = gradient.sign();
        let step = 1e-2 / (parameter.numel() as f64);
        let at = |t: f64| {
            let _guard = tch::no_grad_guard();
            let mut changed = parameter.shallow_clone();
            let before = changed.copy();
            let moved = &before + &sign * t;
            changed.copy_(&moved);
            let value = loss(&tiny.branch).double_value(&[]);
            changed.copy_(&before);
            value
        };
        let numeric = (at(step) - at(-step)) / (2.0 * step);
        let exact = gradient.abs().sum(Kind::Double).double_value(&[]);
        // f32 losses: the difference quotient is good to some per cent.
        assert!((numeric - exact).abs() < 0.1 * exact + 1e-3, "{name}: {numeric} against {exact}");
    }
}

#[test]
fn a_deep_copy_is_apart_and_shares_the_head() {
    let tiny = tiny_model(4);
    let copy = tiny.branch.deep_copy();
    let states = trunk_states(&tiny.trunk, &[vec![1, 2, 3]]);
    let before = copy.hidden(&states);
    {
        let _guard = tch::no_grad_guard();
        for (_, mut parameter) in tiny.branch.parameters() {
            let doubled = &parameter * 2.0;
            parameter.copy_(&doubled);
        }
    }
    assert!(before == copy.hidden(&states));
    // The fused matrices are views of the same storage: the change is seen without any call.
    assert!(before != tiny.branch.hidden(&states));
    assert_eq!(copy.head.data_ptr(), tiny.trunk.embedding.data_ptr());
}

#[test]
fn the_parameters_have_hugging_face_names_and_with_the_trunk_make_the_whole_model() {
    let tiny = tiny_model(5);
    let mut names: Vec<String> =
        tiny.trunk.tensors().into_iter().chain(tiny.branch.tensors()).map(|(name, _)| name).collect();
    names.sort();
    let expected: Vec<String> = tiny.weights.names().map(str::to_owned).collect();
    assert_eq!(names, expected);
    for (name, tensor) in tiny.trunk.tensors().into_iter().chain(tiny.branch.tensors()) {
        assert!(tensor == *tiny.weights.get(&name).unwrap(), "{name}");
    }
}

#[test]
fn a_wrong_shape_or_a_missing_tensor_or_too_many_layers_is_named() {
    let (config, mut weights) = tiny_llama(1, 40, 16, 1);
    let error = |weights: &Weights, layers| build(&config, weights, layers, Device::Cpu).unwrap_err().to_string();
    assert!(error(&weights, 2).contains("trainable_layers is 2"));
    let name = "model.layers.0.self_attn.q_proj.weight";
    weights.insert(name, Tensor::zeros([3, 3], (Kind::Float, Device::Cpu)));
    assert!(error(&weights, 1).contains(name));
    weights.remove(name);
    assert!(error(&weights, 1).contains(name));
}
