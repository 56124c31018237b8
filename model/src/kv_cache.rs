//! Keys and values of every running sequence, kept between steps.
//!
//! Invariant: what lies past a sequence's length is finite (zero or stale) and always masked. The cache grows by doubling
//! up to the longest context, so a step allocates nothing in it.

use tch::{Device, Kind, Tensor};

use crate::layers::attention::{Attend, Heads, causal_mask, weigh};
use crate::layers::stack::Shape;

/// Positions that a fresh cache has room for.
const INITIAL_CAPACITY: i64 = 128;

/// Per layer, keys and values `[slots, kv heads, capacity, head_dim]`.
#[derive(Debug)]
pub(crate) struct KvCache {
    keys: Vec<Tensor>,
    values: Vec<Tensor>,
    heads: Heads,
    window: Option<i64>,
    slots: i64,
    capacity: i64,
    max_context: i64,
    device: Device,
}

impl KvCache {
    pub(crate) fn new(shape: &Shape, slots: usize, max_context: usize) -> Self {
        let capacity = INITIAL_CAPACITY.min(max_context as i64);
        let mut cache = Self {
            keys: Vec::new(),
            values: Vec::new(),
            heads: shape.heads,
            window: shape.window,
            slots: slots as i64,
            capacity,
            max_context: max_context as i64,
            device: shape.device,
        };
        cache.keys = (0..shape.layers).map(|_| cache.zeros()).collect();
        cache.values = (0..shape.layers).map(|_| cache.zeros()).collect();
        cache
    }

    fn zeros(&self) -> Tensor {
        let size = [self.slots, self.heads.kv, self.capacity, self.heads.dim];
        Tensor::zeros(size, (Kind::Float, self.device))
    }

    /// Makes room for sequences of `length`, at most the longest context.
    fn reserve(&mut self, length: i64) {
        assert!(length <= self.max_context, "{length} positions asked of a cache for {}", self.max_context);
        let before = self.capacity;
        while self.capacity < length {
            self.capacity = (2 * self.capacity).min(self.max_context);
        }
        if self.capacity == before {
            return;
        }
        for layer in 0..self.keys.len() {
            for values in [false, true] {
                let grown = self.zeros();
                let old = if values { &mut self.values[layer] } else { &mut self.keys[layer] };
                grown.narrow(2, 0, before).copy_(old);
                *old = grown;
            }
        }
    }

    /// Copies the first `length` positions of slot `from` into slot `to`.
    pub(crate) fn copy(&mut self, from: usize, to: usize, length: usize) {
        for tensor in self.keys.iter().chain(&self.values) {
            let part = |slot: usize| tensor.get(slot as i64).narrow(1, 0, length as i64);
            part(to).copy_(&part(from));
        }
    }

    /// A pass of one sequence over positions `start..start + time`, kept in `slot`.
    pub(crate) fn prefill(&mut self, slot: usize, start: usize, time: usize) -> Prefill<'_> {
        let (start, time) = (start as i64, time as i64);
        self.reserve(start + time);
        let mask = causal_mask(start, time, self.window, self.heads.group(), self.device);
        Prefill { cache: self, slot: slot as i64, start, time, mask }
    }

    /// A pass of one token for each of the slots `0..positions.len()`, which stand at `positions`.
    pub(crate) fn decode(&mut self, positions: &[i64]) -> Decode<'_> {
        let rows = positions.len() as i64;
        let longest = positions.iter().max().map_or(0, |p| p + 1);
        self.reserve(longest);
        let kv = self.heads.kv;
        let index: Vec<i64> = positions
            .iter()
            .enumerate()
            .flat_map(|(row, p)| (0..kv).map(move |h| (row as i64 * kv + h, *p)))
            .map(|(head, p)| head * self.capacity + p)
            .collect();
        let hidden = |row: usize, key: i64| {
            key > positions[row] || self.window.is_some_and(|window| key <= positions[row] - window)
        };
        let mask: Vec<f32> = (0..positions.len())
            .flat_map(|row| (0..kv).map(move |_| row))
            .flat_map(|row| (0..longest).map(move |key| (row, key)))
            .map(|(row, key)| if hidden(row, key) { f32::NEG_INFINITY } else { 0.0 })
            .collect();
        let mask = Tensor::from_slice(&mask).reshape([rows * kv, 1, longest]).to_device(self.device);
        let index = Tensor::from_slice(&index).to_device(self.device);
        Decode { cache: self, rows, longest, index, mask }
    }
}

/// See [`KvCache::prefill`].
pub(crate) struct Prefill<'a> {
    cache: &'a mut KvCache,
    slot: i64,
    start: i64,
    time: i64,
    mask: Tensor,
}

impl Attend for Prefill<'_> {
    fn attend(&mut self, layer: usize, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        let Heads { query, kv, dim } = self.cache.heads;
        let (start, time) = (self.start, self.time);
        let keep = |store: &Tensor, new: &Tensor| {
            let slot = store.get(self.slot);
            slot.narrow(1, start, time).copy_(&new.get(0).transpose(0, 1));
            slot.narrow(1, 0, start + time)
        };
        let keys = keep(&self.cache.keys[layer], k);
        let values = keep(&self.cache.values[layer], v);
        let q = q.get(0).transpose(0, 1).reshape([kv, query / kv * time, dim]);
        let mixed = weigh(&q, &keys, &values, &self.mask, dim);
        mixed.reshape([query, time, dim]).transpose(0, 1).reshape([1, time, query * dim])
    }
}

/// See [`KvCache::decode`].
pub(crate) struct Decode<'a> {
    cache: &'a mut KvCache,
    rows: i64,
    longest: i64,
    /// `[rows * kv]` where each new key goes in the flattened cache.
    index: Tensor,
    /// `[rows * kv, 1, longest]`
    mask: Tensor,
}

impl Attend for Decode<'_> {
    fn attend(&mut self, layer: usize, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        let Heads { query, kv, dim } = self.cache.heads;
        let (rows, longest, capacity) = (self.rows, self.longest, self.cache.capacity);
        let keep = |store: &Tensor, new: &Tensor| {
            let _same = store.view([-1, dim]).index_copy_(0, &self.index, &new.reshape([rows * kv, dim]));
            store.narrow(0, 0, rows).view([rows * kv, capacity, dim]).narrow(1, 0, longest)
        };
        let keys = keep(&self.cache.keys[layer], k);
        let values = keep(&self.cache.values[layer], v);
        let q = q.reshape([rows * kv, query / kv, dim]);
        weigh(&q, &keys, &values, &self.mask, dim).reshape([rows, 1, query * dim])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::reference::max_difference;
    use crate::testing::tiny_model;
    use crate::trunk::{Trunk, trunk_states};

    /// Trunk states of `tokens` at `start..`, kept in `slot`.
    fn prefill(trunk: &Trunk, cache: &mut KvCache, slot: usize, start: usize, tokens: &[i64]) -> Tensor {
        let _guard = tch::no_grad_guard();
        let end = (start + tokens.len()) as i64;
        let positions = Tensor::arange_start(start as i64, end, (Kind::Int64, Device::Cpu));
        let x = trunk.embed(&Tensor::from_slice(tokens).unsqueeze(0), &positions);
        let rotary = trunk.stack.shape.rotary(&positions);
        trunk.stack.step(&x, rotary.as_ref(), &mut cache.prefill(slot, start, tokens.len()))
    }

    #[test]
    fn states_piece_by_piece_across_a_growing_cache_equal_one_pass() {
        let tiny = tiny_model(21);
        let tokens: Vec<i64> = (0..300).map(|i| (i * 37) % 256).collect();
        let whole = trunk_states(&tiny.trunk, std::slice::from_ref(&tokens));
        let mut cache = KvCache::new(&tiny.trunk.stack.shape, 3, 300);
        let pieces = [0..5, 5..130, 130..131, 131..300];
        let states = pieces.map(|r| prefill(&tiny.trunk, &mut cache, 2, r.start, &tokens[r]));
        assert!(max_difference(&Tensor::cat(&states, 1), &whole) < 1e-5);
        assert_eq!(cache.capacity, 300);
    }

    #[test]
    fn a_copied_slot_goes_on_like_the_original() {
        let tiny = tiny_model(22);
        let mut cache = KvCache::new(&tiny.trunk.stack.shape, 3, 64);
        let _ = prefill(&tiny.trunk, &mut cache, 0, 0, &[1, 2, 3, 4]);
        // Slot 1 has stale keys that must not matter.
        let _ = prefill(&tiny.trunk, &mut cache, 1, 0, &[9; 20]);
        cache.copy(0, 1, 4);
        let original = prefill(&tiny.trunk, &mut cache, 0, 4, &[5, 6]);
        let copied = prefill(&tiny.trunk, &mut cache, 1, 4, &[5, 6]);
        assert!(original == copied);
    }
}
