//! A reader that refuses to hand out more than so many bytes between two resets.
//!
//! Invariant: an XML reader above it cannot be made to buffer more than the limit, whatever the file holds.

use std::io::{self, BufRead, Read};

/// Counts what is read since the last [`Bounded::reset`].
#[derive(Debug)]
pub(super) struct Bounded<R> {
    inner: R,
    limit: usize,
    taken: usize,
}

impl<R> Bounded<R> {
    pub(super) fn new(inner: R, limit: usize) -> Self {
        Self { inner, limit, taken: 0 }
    }

    /// Begins to count anew: called before each XML event.
    pub(super) fn reset(&mut self) {
        self.taken = 0;
    }

    pub(super) fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(into.len());
        into[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Bounded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken > self.limit {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("one element is longer than {} bytes, which no real post is", self.limit),
            ));
        }
        let allowed = self.limit + 1 - self.taken;
        self.inner.fill_buf().map(|bytes| &bytes[..bytes.len().min(allowed)])
    }

    fn consume(&mut self, n: usize) {
        self.taken += n;
        self.inner.consume(n);
    }
}
