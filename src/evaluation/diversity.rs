//! How much answers differ from each other, and how much each repeats itself.
//!
//! Invariant: pure functions of words; words are what blanks divide, in lower case.

use std::collections::HashMap;

use super::Estimate;

/// A text's words in lower case.
pub fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_lowercase).collect()
}

/// Share of distinct n-grams among all n-grams of the texts (distinct-n: Li et al. 2016, arXiv:1510.03055), with the
/// jackknife's standard error over texts (Efron and Tibshirani 1993, equation 11.5). 0 where there is no n-gram.
pub fn distinct(texts: &[Vec<String>], n: usize) -> Estimate {
    let mut all: HashMap<&[String], usize> = HashMap::new();
    texts.iter().flat_map(|text| text.windows(n)).for_each(|gram| *all.entry(gram).or_default() += 1);
    let total: usize = all.values().sum();
    let share = |distinct: usize, total: usize| if total == 0 { 0.0 } else { distinct as f64 / total as f64 };
    let without = |text: &Vec<String>| {
        let mut own: HashMap<&[String], usize> = HashMap::new();
        text.windows(n).for_each(|gram| *own.entry(gram).or_default() += 1);
        let only_here = own.iter().filter(|(gram, count)| all[*gram] == **count).count();
        share(all.len() - only_here, total - own.values().sum::<usize>())
    };
    let without: Vec<f64> = texts.iter().map(without).collect();
    let count = without.len() as f64;
    let mean = without.iter().sum::<f64>() / count.max(1.0);
    let squares: f64 = without.iter().map(|value| (value - mean).powi(2)).sum();
    let standard_error = if texts.len() < 2 { 0.0 } else { (squares * (count - 1.0) / count).sqrt() };
    Estimate { mean: share(all.len(), total), standard_error }
}

/// Longest n-gram of BLEU.
const LONGEST: usize = 4;

/// BLEU-4 of `text` against `references` (Papineni et al. 2002), with one added to counts of n-grams above words (Lin and Och
/// 2004, equation 8), so that short answers have a value: 1 for a text that is among its references, 0 without a word in
/// common.
pub fn bleu(text: &[String], references: &[&[String]]) -> f64 {
    if text.is_empty() || references.is_empty() {
        return 0.0;
    }
    let mut log = 0.0;
    for n in 1..=LONGEST {
        let mut own: HashMap<&[String], usize> = HashMap::new();
        text.windows(n).for_each(|gram| *own.entry(gram).or_default() += 1);
        let mut most: HashMap<&[String], usize> = HashMap::new();
        for reference in references {
            let mut counts: HashMap<&[String], usize> = HashMap::new();
            let known = reference.windows(n).filter(|gram| own.contains_key(gram));
            known.for_each(|gram| *counts.entry(gram).or_default() += 1);
            for (gram, count) in counts {
                let best = most.entry(gram).or_default();
                *best = count.max(*best);
            }
        }
        let matched: usize = own.iter().map(|(gram, count)| (*count).min(most.get(gram).copied().unwrap_or(0))).sum();
        let total: usize = own.values().sum();
        let added = f64::from(u8::from(n > 1));
        log += ((matched as f64 + added) / (total as f64 + added)).ln() / LONGEST as f64;
    }
    // The reference of the nearest length, the shorter of two as near.
    let nearest = references.iter().map(|reference| reference.len());
    let nearest = nearest.min_by_key(|length| (length.abs_diff(text.len()), *length)).unwrap_or(0);
    let brevity = if text.len() >= nearest { 0.0 } else { 1.0 - nearest as f64 / text.len() as f64 };
    (log + brevity).exp()
}

/// Mean BLEU-4 of each text against all others (self-BLEU: Zhu et al. 2018, arXiv:1802.01886); less is more diverse. The
/// error is that of the mean over texts, as if they were independent: it is a little too small. 0 for fewer than two.
pub fn self_bleu(texts: &[Vec<String>]) -> Estimate {
    if texts.len() < 2 {
        return Estimate::of(&[]);
    }
    let one = |place: usize| {
        let others: Vec<&[String]> =
            texts.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, text)| text.as_slice()).collect();
        bleu(&texts[place], &others)
    };
    Estimate::of(&(0..texts.len()).map(one).collect::<Vec<_>>())
}

/// Share of a text's word trigrams that stood earlier in it; 0 for fewer than three words.
pub fn repeated_trigrams(text: &[String]) -> f64 {
    let mut seen = std::collections::HashSet::new();
    let total = text.windows(3).count();
    let fresh = text.windows(3).filter(|gram| seen.insert(*gram)).count();
    if total == 0 { 0.0 } else { (total - fresh) as f64 / total as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(texts: &[&str]) -> Vec<Vec<String>> {
        texts.iter().map(|text| words(text)).collect()
    }

    #[test]
    fn distinct_n_by_hand() {
        let texts = all(&["the cat sat", "The cat ran", "a dog"]);
        // the cat sat ran a dog: 6 of 8; the-cat cat-sat cat-ran a-dog: 4 of 5; both trigrams.
        assert_eq!([1, 2, 3].map(|n| distinct(&texts, n).mean), [0.75, 0.8, 1.0]);
        // Without one text each: 5/5, 5/5, 4/6; mean 8/9, squares 2/81 + 4/81 = 2/27; times 2/3: 4/81.
        assert!((distinct(&texts, 1).standard_error - 2.0 / 9.0).abs() < 1e-12);
        assert_eq!(distinct(&[], 1), Estimate { mean: 0.0, standard_error: 0.0 });
    }

    #[test]
    fn bleu_by_hand() {
        let [a, b, c] = ["the cat sat on the mat", "the cat sat on a mat", "dogs bark"].map(words);
        assert!((bleu(&a, &[&a]) - 1.0).abs() < 1e-12);
        // 5 of 6 words; 3 of 5 pairs, 2 of 4 triples, 1 of 3 fours, each with one added.
        let wanted = (5.0 / 6.0 * 4.0 / 6.0 * 3.0 / 5.0 * 2.0 / 4.0f64).powf(0.25);
        assert!((bleu(&a, &[&b, &c]) - wanted).abs() < 1e-12);
        assert_eq!(bleu(&c, &[&a]), 0.0);
        // Half as long: exp(1 - 2).
        let half = words("the cat sat");
        assert!((bleu(&half, &[&a]) - (-1f64).exp()).abs() < 1e-12);
        // "the the the": clipped to the two of the reference, 2/3 · 1/3 · 1/2 · 1/1, brevity exp(1 - 2).
        let wanted = (2.0 / 3.0 / 3.0 / 2.0f64).powf(0.25) * (-1f64).exp();
        assert!((bleu(&words("the the the"), &[&a]) - wanted).abs() < 1e-12);
    }

    #[test]
    fn answers_that_are_all_the_same_have_a_self_bleu_of_one() {
        let same = self_bleu(&all(&["one two three four"; 3]));
        assert!((same.mean - 1.0).abs() < 1e-12 && same.standard_error < 1e-12);
        assert_eq!(self_bleu(&all(&["a b", "c d"])).mean, 0.0);
    }

    #[test]
    fn repeated_trigrams_by_hand() {
        // abc bca cab abc bcd: one of five stood before.
        assert!((repeated_trigrams(&words("a b c a b c d")) - 0.2).abs() < 1e-15);
        assert_eq!(repeated_trigrams(&words("a b")), 0.0);
    }
}
