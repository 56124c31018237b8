//! Counter-based random streams: every draw is a function of `(seed, purpose, index, position)`.
//!
//! Invariant: nothing here is global. libtorch's own generator is process-wide and never used, so results do not depend
//! on the order in which threads run.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Infallible, Rng, SeedableRng, TryRng};

/// What a stream is for. Streams of different purposes never overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Sampling tokens; index = request and sample.
    Sampling = 1,
    /// Order of minibatches; index = update.
    Shuffle = 2,
    /// Drawing from a replay buffer; index = update.
    Replay = 3,
    /// Fresh weights; index = which head.
    Init = 4,
    /// Arrivals of questions; index = arrival.
    Arrival = 5,
    /// A simulated annotator's choices; index = annotator and task.
    Annotator = 6,
    /// Making a simulated population; index = member.
    Population = 7,
    /// Splitting and choosing evaluation questions.
    Evaluation = 8,
    /// Pauses between restarts; index = restart.
    Backoff = 9,
    /// Which task an annotator is asked, and in which order its answers stand; index = a hash of both.
    Asking = 10,
}

/// A stream of random numbers whose position is visible and can be restored.
#[derive(Debug, Clone)]
pub struct Stream(ChaCha12Rng);

impl Stream {
    /// The stream of `index` for `purpose` under the run's `seed`, at its beginning.
    pub fn new(seed: u64, purpose: Purpose, index: u64) -> Self {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
        let mut rng = ChaCha12Rng::from_seed(key);
        rng.set_stream(index);
        Self(rng)
    }

    /// Words (u32) drawn so far.
    pub fn position(&self) -> u128 {
        self.0.get_word_pos()
    }

    /// Goes to a position that [`Stream::position`] told.
    pub fn seek(&mut self, position: u128) {
        self.0.set_word_pos(position);
    }

    /// Uniform in `[0, 1)` with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (-53f64).exp2()
    }

    /// Uniform in `0..n`; `n` must be above 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "below(0) has no answer");
        // Bias at most n / 2^64: far below anything that a test could see.
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// Standard normal (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// A random order of `0..n` (Fisher and Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_key_same_numbers_and_any_other_key_others() {
        let draw = |seed, purpose, index| Stream::new(seed, purpose, index).next_u64();
        let base = draw(1, Purpose::Sampling, 2);
        assert_eq!(base, draw(1, Purpose::Sampling, 2));
        assert!(
            ![draw(2, Purpose::Sampling, 2), draw(1, Purpose::Shuffle, 2), draw(1, Purpose::Sampling, 3)]
                .contains(&base)
        );
    }

    #[test]
    fn position_restores_the_stream() {
        let mut stream = Stream::new(7, Purpose::Replay, 0);
        let _ = stream.permutation(10);
        let position = stream.position();
        let next: Vec<f64> = (0..4).map(|_| stream.uniform()).collect();
        let mut again = Stream::new(7, Purpose::Replay, 0);
        again.seek(position);
        assert_eq!(next, (0..4).map(|_| again.uniform()).collect::<Vec<_>>());
    }

    #[test]
    fn uniform_covers_the_unit_interval_evenly() {
        let mut stream = Stream::new(3, Purpose::Arrival, 0);
        let n = 20_000;
        let mean = (0..n).map(|_| stream.uniform()).sum::<f64>() / f64::from(n);
        // Standard error of the mean of U(0,1): 0.2887 / sqrt(n) = 0.00204; five of them.
        assert!((mean - 0.5).abs() < 0.0103, "{mean}");
    }

    #[test]
    fn normal_has_mean_zero_and_variance_one() {
        let mut stream = Stream::new(4, Purpose::Init, 0);
        let n = 20_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..n {
            let x = stream.normal();
            sum += x;
            squares += x * x;
        }
        // Standard errors: 1 / sqrt(n) = 0.0071 and sqrt(2 / n) = 0.01; five of each.
        assert!((sum / f64::from(n)).abs() < 0.036, "{sum}");
        assert!((squares / f64::from(n) - 1.0).abs() < 0.05, "{squares}");
    }
}
