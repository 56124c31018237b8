//! Causal self-attention with grouped key and value heads.
//!
//! Invariant: keys and values are never repeated for the query heads that share them; the queries of one group are
//! stacked instead. What a query may see is the business of an [`Attend`], not of the layer.

use tch::{Device, Kind, Tensor};

use super::linear::{Fused, Linear, Named};
use super::norm::Norm;
use super::rope::Rotary;

/// Head counts and widths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heads {
    /// Query heads.
    pub(crate) query: i64,
    /// Key and value heads; divides `query`.
    pub(crate) kv: i64,
    /// Width of each.
    pub(crate) dim: i64,
}

impl Heads {
    /// Query heads for each key and value head.
    pub(crate) fn group(self) -> i64 {
        self.query / self.kv
    }
}

/// Where keys and values of a pass go and which of them its queries see.
pub(crate) trait Attend {
    /// `q` `[B, T, query, dim]`, `k` and `v` `[B, T, kv, dim]`, rotated; gives `[B, T, query * dim]`.
    fn attend(&mut self, layer: usize, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor;
}

/// Projections of one attention layer.
#[derive(Debug)]
pub(crate) struct Attention {
    pub(crate) qkv: Fused,
    pub(crate) out: Linear,
    /// Qwen3: a norm over each head of queries and keys, before the rotation.
    pub(crate) qk_norm: Option<(Norm, Norm)>,
    pub(crate) heads: Heads,
}

impl Attention {
    /// `[B, T, D]` to `[B, T, D]`.
    pub(crate) fn forward(&self, layer: usize, x: &Tensor, rotary: Option<&Rotary>, attend: &mut dyn Attend) -> Tensor {
        let Heads { query, kv, dim } = self.heads;
        let (batch, time, _) = x.size3().expect("attention input is [B, T, D]");
        let parts = self.qkv.forward(x);
        let mut q = parts[0].reshape([batch, time, query, dim]);
        let mut k = parts[1].reshape([batch, time, kv, dim]);
        let v = parts[2].reshape([batch, time, kv, dim]);
        if let Some((q_norm, k_norm)) = &self.qk_norm {
            q = q_norm.forward(&q);
            k = k_norm.forward(&k);
        }
        if let Some(rotary) = rotary {
            q = rotary.apply(&q);
            k = rotary.apply(&k);
        }
        self.out.forward(&attend.attend(layer, &q, &k, &v))
    }

    fn map(
        &self,
        fused: impl Fn(&Fused) -> Fused,
        linear: impl Fn(&Linear) -> Linear,
        norm: impl Fn(&Norm) -> Norm,
    ) -> Self {
        Self {
            qkv: fused(&self.qkv),
            out: linear(&self.out),
            qk_norm: self.qk_norm.as_ref().map(|(q, k)| (norm(q), norm(k))),
            heads: self.heads,
        }
    }

    pub(crate) fn copied(&self) -> Self {
        self.map(Fused::copied, Linear::copied, Norm::copied)
    }

    pub(crate) fn shared(&self) -> Self {
        self.map(Fused::shared, Linear::shared, Norm::shared)
    }

    pub(crate) fn detached(&self) -> Self {
        self.map(Fused::detached, Linear::detached, Norm::detached)
    }

    pub(crate) fn parameters(&self, into: &mut Named) {
        self.qkv.parameters(into);
        self.out.parameters(into);
        if let Some((q, k)) = &self.qk_norm {
            q.parameters(into);
            k.parameters(into);
        }
    }
}

/// A pass over whole sequences from position 0, without a cache.
pub(crate) struct FullPass {
    heads: Heads,
    /// `[1, group * T, T]`, 0 where a query sees a key and minus infinity elsewhere.
    mask: Tensor,
}

impl FullPass {
    pub(crate) fn new(heads: Heads, time: i64, window: Option<i64>, device: Device) -> Self {
        Self { heads, mask: causal_mask(0, time, window, heads.group(), device) }
    }
}

impl Attend for FullPass {
    fn attend(&mut self, _: usize, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        let Heads { query, kv, dim } = self.heads;
        let (batch, time) = (q.size()[0], q.size()[1]);
        let k = k.transpose(1, 2).reshape([batch * kv, time, dim]);
        let v = v.transpose(1, 2).reshape([batch * kv, time, dim]);
        let q = q.transpose(1, 2).reshape([batch * kv, self.heads.group() * time, dim]);
        let mixed = weigh(&q, &k, &v, &self.mask, dim);
        mixed.reshape([batch, query, time, dim]).transpose(1, 2).reshape([batch, time, query * dim])
    }
}

/// Softmax attention (Vaswani et al. 2017, eq. 1): `q` `[N, R, dim]`, `k` and `v` `[N, L, dim]`, `mask` added to the
/// scaled scores `[N, R, L]`.
pub(crate) fn weigh(q: &Tensor, k: &Tensor, v: &Tensor, mask: &Tensor, dim: i64) -> Tensor {
    let scale = 1.0 / (dim as f64).sqrt();
    let scores = mask.baddbmm(q, &k.transpose(1, 2), 1.0, scale);
    scores.softmax(-1, Kind::Float).bmm(v)
}

/// `[1, group * time, start + time]`: the query at position `start + i` sees the last `window` keys up to its own.
pub(crate) fn causal_mask(start: i64, time: i64, window: Option<i64>, group: i64, device: Device) -> Tensor {
    let queries = Tensor::arange_start(start, start + time, (Kind::Int64, device)).unsqueeze(1);
    let keys = Tensor::arange(start + time, (Kind::Int64, device)).unsqueeze(0);
    let mut hidden = keys.gt_tensor(&queries);
    if let Some(window) = window {
        hidden = hidden.logical_or(&keys.le_tensor(&(&queries - window)));
    }
    let mask = Tensor::zeros([time, start + time], (Kind::Float, device)).masked_fill(&hidden, f64::NEG_INFINITY);
    mask.repeat([group, 1]).unsqueeze(0)
}
