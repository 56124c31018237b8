//! What the tests of every crate that owns a reader share: a target's kept files, and a seeded loop of mutations of them.
//!
//! Invariant: the same draws give the same inputs. Included by path (`#[path = "…/fuzz/smoke.rs"] mod smoke;`), because
//! the crates have no common ground below them.

use std::fs;
use std::path::{Path, PathBuf};

/// The kept files of `target`, in the order of their names.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let dir = above.find_map(|dir| Some(dir.join("fuzz/corpus")).filter(|dir| dir.is_dir())).unwrap().join(target);
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no corpus");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// One of the corpus with a few changes of the kinds that find most: bits, numbers at their limits, cuts, repeats.
/// `below(n)` draws a number below `n`.
pub(crate) fn mutated(corpus: &[Vec<u8>], below: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
    let mut bytes = corpus[below(corpus.len())].clone();
    for _ in 0..=below(4) {
        if bytes.is_empty() {
            bytes.push(below(256) as u8);
        }
        let at = below(bytes.len());
        match below(6) {
            0 => bytes[at] ^= 1 << below(8),
            1 => bytes[at] = below(256) as u8,
            2 => {
                let limits = [0, 1, 0x7f, 0xff, 0x7fff_ffff, u32::MAX, bytes.len() as u32];
                let value = limits[below(limits.len())].to_le_bytes();
                bytes.iter_mut().skip(at).zip(value).for_each(|(byte, new)| *byte = new);
            }
            3 => bytes.truncate(at),
            4 => bytes.extend_from_within(at..),
            _ => drop(bytes.drain(at..bytes.len().min(at + 1 + below(8)))),
        }
    }
    bytes
}

/// Runs the whole corpus of `target` as it is, then `rounds` mutations.
pub(crate) fn smoke(target: &str, rounds: usize, mut below: impl FnMut(usize) -> usize, run: impl Fn(&[u8])) {
    let corpus = corpus(target);
    corpus.iter().for_each(|bytes| run(bytes));
    (0..rounds).for_each(|_| run(&mutated(&corpus, &mut below)));
}
