//! Words of a text, and the stems of those that carry its content.
//!
//! Invariant: case, punctuation and common endings make no difference.

use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Words that say nothing of a text's subject.
const STOP_WORDS: &str = "a about after again all also am an and any are as at be because been before being between both \
    but by can cannot could did do does doing don't down during each else for from further had has have having he her \
    here hers him his how however i i'm if in into is it it's its itself just let me more most my no nor not of off on \
    once one only or other our out over own same she should so some such than that that's the their them then there \
    these they this those through to too under until up upon us very was we were what what's when where whether which \
    while who whom whose why will with without would you your yours";

static STOPS: LazyLock<BTreeSet<&str>> = LazyLock::new(|| STOP_WORDS.split_whitespace().collect());

/// Lower-case words: runs of letters and digits, apostrophes inside kept.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '’'))
        .map(|word| word.trim_matches(['\'', '’']).replace('’', "'").to_lowercase())
        .filter(|word| !word.is_empty())
        .collect()
}

/// The stems of the words that are no stop words.
pub(super) fn content_stems(text: &str) -> BTreeSet<String> {
    words(text).iter().filter(|word| !STOPS.contains(word.as_str())).map(|word| stem(word)).collect()
}

/// Takes one common English ending off, as long as three letters stay. Light on purpose: "brewing", "brewed", "brews"
/// and "brew" meet; irregular words do not.
fn stem(word: &str) -> String {
    let word = word.strip_suffix("'s").unwrap_or(word);
    let cut = |ending: &str, put: &str| {
        let rest = word.strip_suffix(ending)?;
        (rest.chars().count() >= 3).then(|| format!("{rest}{put}"))
    };
    let stemmed = cut("ies", "y")
        .or_else(|| cut("sses", "ss"))
        .or_else(|| cut("ing", ""))
        .or_else(|| cut("ed", ""))
        .or_else(|| cut("es", ""))
        .or_else(|| (!word.ends_with("ss")).then(|| cut("s", "")).flatten())
        .or_else(|| cut("ly", ""))
        .unwrap_or_else(|| word.to_owned());
    // "stopped" → "stopp" → "stop", and "taste" → "tast" as from "tasting". The price: "wine" and "win" meet too.
    let letters: Vec<char> = stemmed.chars().collect();
    match letters.as_slice() {
        [rest @ .., a, b] if rest.len() >= 2 && a == b && !"aeiouls".contains(*b) => {
            stemmed[..stemmed.len() - b.len_utf8()].to_owned()
        }
        [rest @ .., 'e'] if rest.len() >= 3 => stemmed[..stemmed.len() - 1].to_owned(),
        _ => stemmed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_meet_and_others_do_not() {
        for forms in [
            ["brew", "brews", "brewed", "brewing"],
            ["taste", "tastes", "tasted", "tasting"],
            ["stop", "stops", "stopped", "stopping"],
        ] {
            let stems: BTreeSet<String> = forms.iter().map(|form| stem(form)).collect();
            assert_eq!(stems.len(), 1, "{stems:?}");
        }
        assert_eq!(stem("berries"), stem("berry"));
        assert_eq!(stem("glass"), "glass");
        assert_ne!(stem("yeast"), stem("east"));
    }

    #[test]
    fn words_ignore_case_and_punctuation_and_stop_words_carry_nothing() {
        assert_eq!(words("Don’t  panic: it's 'fine'!"), ["don't", "panic", "it's", "fine"]);
        assert!(content_stems("What is it that you would do?").is_empty());
        let stems = content_stems("How should I store opened bottles of wine?");
        assert_eq!(stems.into_iter().collect::<Vec<_>>(), ["bottl", "open", "stor", "win"]);
    }
}
