//! Texts that are the same, or nearly, across sites: found by a hash of their words and by MinHash over five-word shingles.
//!
//! Invariant: only the texts that are asked about are remembered, 600 bytes each; what they are compared with streams past.

use std::collections::HashMap;

use understudy_learning::rng::{Purpose, Stream};
use understudy_model::hash;

/// Words of a shingle.
const SHINGLE: usize = 5;
/// Numbers of a signature.
const ROWS: usize = 64;
/// Numbers that must agree in one band: 16 bands of 4 find a pair of similarity 0.8 with probability 0.9998, and one of 0.3
/// with 0.12.
const BAND: usize = 4;
/// Share of agreeing numbers from which texts are near-duplicates; it estimates Jaccard's similarity with an error of 0.05.
const NEAR: f64 = 0.75;
/// Texts of fewer words are compared as wholes only: a shingle or two prove nothing.
const FEWEST_WORDS: usize = 12;

/// The words of a text in lower case, without punctuation.
fn words(text: &str) -> Vec<String> {
    let word =
        |part: &str| part.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    text.split_whitespace().map(word).filter(|word| !word.is_empty()).collect()
}

/// What is remembered of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Of all words in order.
    whole: u64,
    /// MinHash (Broder 1997); `None` for texts of few words.
    signature: Option<Box<[u32; ROWS]>>,
}

impl Fingerprint {
    /// Of a text; capitals, punctuation and blanks do not count.
    pub fn of(text: &str) -> Self {
        let words = words(text);
        let whole = hash::mixed(words.join(" ").bytes());
        if words.len() < FEWEST_WORDS {
            return Self { whole, signature: None };
        }
        let mut signature = Box::new([u32::MAX; ROWS]);
        for shingle in words.windows(SHINGLE) {
            let key = hash::mixed(shingle.join(" ").bytes());
            for (least, (factor, offset)) in signature.iter_mut().zip(permutations()) {
                // Multiply-shift (Dietzfelbinger et al. 1997): the upper half of an odd multiple.
                let value = (key.wrapping_mul(*factor).wrapping_add(*offset) >> 32) as u32;
                *least = value.min(*least);
            }
        }
        Self { whole, signature: Some(signature) }
    }

    /// 1 for the same words, else the estimate of Jaccard's similarity of their shingles.
    pub fn similarity(&self, other: &Self) -> f64 {
        if self.whole == other.whole {
            return 1.0;
        }
        let (Some(a), Some(b)) = (&self.signature, &other.signature) else { return 0.0 };
        a.iter().zip(b.iter()).filter(|(a, b)| a == b).count() as f64 / ROWS as f64
    }

    fn bands(&self) -> impl Iterator<Item = u64> {
        self.signature.iter().flat_map(|signature| {
            let keys = signature.chunks(BAND).enumerate();
            keys.map(|(band, rows)| {
                hash::fnv1a([band as u64].into_iter().chain(rows.iter().map(|row| u64::from(*row))))
            })
        })
    }
}

fn permutations() -> &'static [(u64, u64); ROWS] {
    static DRAWN: std::sync::OnceLock<[(u64, u64); ROWS]> = std::sync::OnceLock::new();
    DRAWN.get_or_init(|| {
        let mut stream = Stream::new(0, Purpose::Evaluation, 3);
        let mut number =
            || (stream.uniform() * 2f64.powi(53)) as u64 ^ ((stream.uniform() * 2f64.powi(53)) as u64) << 11;
        std::array::from_fn(|_| (number() | 1, number()))
    })
}

/// Texts to compare others with.
#[derive(Debug, Default)]
pub struct Index {
    texts: Vec<Fingerprint>,
    by_whole: HashMap<u64, Vec<u32>>,
    by_band: HashMap<u64, Vec<u32>>,
}

impl Index {
    /// Remembers a text; tells its number.
    pub fn add(&mut self, text: Fingerprint) -> usize {
        let number = self.texts.len();
        self.by_whole.entry(text.whole).or_default().push(number as u32);
        for band in text.bands() {
            self.by_band.entry(band).or_default().push(number as u32);
        }
        self.texts.push(text);
        number
    }

    /// Numbers of the remembered texts that `text` is the same as, or nearly, each with the similarity.
    pub fn near(&self, text: &Fingerprint) -> Vec<(usize, f64)> {
        let mut found: Vec<u32> = self.by_whole.get(&text.whole).cloned().unwrap_or_default();
        found.extend(text.bands().filter_map(|band| self.by_band.get(&band)).flatten());
        found.sort_unstable();
        found.dedup();
        let similar = |number: u32| (number as usize, self.texts[number as usize].similarity(text));
        found.into_iter().map(similar).filter(|(_, similarity)| *similarity >= NEAR).collect()
    }

    /// Remembered texts.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(from: usize, to: usize) -> String {
        (from..to).map(|i| format!("word{i}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn capitals_punctuation_and_blanks_make_no_other_text() {
        let a = Fingerprint::of("How do I  pour a *stout*?");
        assert_eq!(a, Fingerprint::of("how do i pour\na stout"));
        assert_eq!(a.similarity(&Fingerprint::of("how do i pour a porter")), 0.0, "few words are compared as wholes");
    }

    #[test]
    fn near_duplicates_are_found_and_others_are_not() {
        let mut index = Index::default();
        index.add(Fingerprint::of(&text(1000, 1100)));
        let number = index.add(Fingerprint::of(&text(0, 100)));
        assert_eq!(index.near(&Fingerprint::of(&text(0, 100).to_uppercase())), [(number, 1.0)]);
        // 96 shingles each, 5 more at either end: 91 in common of 101, 0.90.
        let (found, similarity) = index.near(&Fingerprint::of(&text(5, 105)))[0];
        // Five standard errors of sqrt(0.9 * 0.1 / 64).
        assert!(found == number && (similarity - 91.0 / 101.0).abs() < 0.19, "{similarity}");
        assert!(index.near(&Fingerprint::of(&text(50, 150))).is_empty(), "46 of 146 in common");
    }
}
