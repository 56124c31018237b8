//! Matrices: one projection, or several of the same input in one multiplication.
//!
//! Invariant: parameters carry their Hugging Face names and orientation. The fused matrix is the storage that the parts
//! are views of, so an in-place change of a part is seen by the next fused multiplication.

use tch::Tensor;

/// How the matrix is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `[out, in]`, as in every family but GPT-2.
    OutIn,
    /// `[in, out]`, GPT-2's Conv1D.
    InOut,
}

/// Named parameters in a stable order.
pub(crate) type Named = Vec<(String, Tensor)>;

/// `y = x W + b`.
#[derive(Debug)]
pub(crate) struct Linear {
    /// Hugging Face name without `.weight`.
    name: String,
    weight: Tensor,
    bias: Option<Tensor>,
    layout: Layout,
}

impl Linear {
    pub(crate) fn new(name: &str, weight: Tensor, bias: Option<Tensor>, layout: Layout) -> Self {
        Self { name: name.to_owned(), weight: weight.detach(), bias: bias.map(|b| b.detach()), layout }
    }

    /// `[.., in]` to `[.., out]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        match self.layout {
            Layout::OutIn => x.linear(&self.weight, self.bias.as_ref()),
            Layout::InOut => x.linear(&self.weight.tr(), self.bias.as_ref()),
        }
    }

    fn out_dim(&self) -> usize {
        match self.layout {
            Layout::OutIn => 0,
            Layout::InOut => 1,
        }
    }

    fn map(&self, f: &dyn Fn(&Tensor) -> Tensor) -> Self {
        Self { name: self.name.clone(), weight: f(&self.weight), bias: self.bias.as_ref().map(f), layout: self.layout }
    }

    pub(crate) fn copied(&self) -> Self {
        self.map(&fresh)
    }

    pub(crate) fn shared(&self) -> Self {
        self.map(&Tensor::shallow_clone)
    }

    pub(crate) fn detached(&self) -> Self {
        self.map(&Tensor::detach)
    }

    pub(crate) fn parameters(&self, into: &mut Named) {
        into.push((format!("{}.weight", self.name), self.weight.shallow_clone()));
        if let Some(bias) = &self.bias {
            into.push((format!("{}.bias", self.name), bias.shallow_clone()));
        }
    }
}

/// Fresh storage with the same values, outside any autograd graph.
pub(crate) fn fresh(t: &Tensor) -> Tensor {
    let _guard = tch::no_grad_guard();
    t.detach().contiguous().copy()
}

/// Several projections of one input.
///
/// While the parts are trained, each is multiplied on its own (autograd then gives each its gradient); else one
/// multiplication with the fused matrix serves all.
#[derive(Debug)]
pub(crate) struct Fused {
    parts: Vec<Linear>,
    /// Output width of each projection that comes out; more than one per part for GPT-2's `c_attn`.
    sizes: Vec<i64>,
    /// All parts in one matrix; the same tensor as the part's where there is only one.
    whole: Linear,
}

impl Fused {
    /// Copies the parts into one storage. With a single part `sizes` says how its output is cut.
    pub(crate) fn new(parts: &[Linear], sizes: Vec<i64>) -> Self {
        let _guard = tch::no_grad_guard();
        let first = parts.first().expect("a fused projection has at least one part");
        if parts.len() == 1 {
            let part = first.copied();
            return Self { whole: part.shared(), parts: vec![part], sizes };
        }
        let dim = first.out_dim();
        let weights: Vec<&Tensor> = parts.iter().map(|p| &p.weight).collect();
        let weight = Tensor::cat(&weights, dim as i64).detach();
        let biases: Option<Vec<&Tensor>> = parts.iter().map(|p| p.bias.as_ref()).collect();
        let bias = biases.map(|b| Tensor::cat(&b, 0).detach());
        let mut start = 0;
        let parts = parts
            .iter()
            .map(|p| {
                let width = p.weight.size()[dim];
                let view = weight.narrow(dim as i64, start, width);
                let bias_view = bias.as_ref().map(|b| b.narrow(0, start, width));
                start += width;
                Linear::new(&p.name, view, bias_view, p.layout)
            })
            .collect();
        Self { parts, sizes, whole: Linear::new("", weight, bias, first.layout) }
    }

    /// `[.., in]` to one `[.., size]` for each of `sizes`.
    pub(crate) fn forward(&self, x: &Tensor) -> Vec<Tensor> {
        if self.parts.len() > 1 && self.parts[0].weight.requires_grad() {
            return self.parts.iter().map(|p| p.forward(x)).collect();
        }
        self.forward_whole(x).split_with_sizes(&self.sizes, -1)
    }

    /// `[.., in]` to `[.., sum of sizes]` in one multiplication. Only for inference: the parts get no gradient from it.
    pub(crate) fn forward_whole(&self, x: &Tensor) -> Tensor {
        self.whole.forward(x)
    }

    pub(crate) fn copied(&self) -> Self {
        Self::new(&self.parts, self.sizes.clone())
    }

    pub(crate) fn shared(&self) -> Self {
        Self {
            parts: self.parts.iter().map(Linear::shared).collect(),
            sizes: self.sizes.clone(),
            whole: self.whole.shared(),
        }
    }

    pub(crate) fn detached(&self) -> Self {
        Self {
            parts: self.parts.iter().map(Linear::detached).collect(),
            sizes: self.sizes.clone(),
            whole: self.whole.detached(),
        }
    }

    pub(crate) fn parameters(&self, into: &mut Named) {
        for part in &self.parts {
            part.parameters(into);
        }
    }
}
