//! `config/default.toml` as the list of valid keys and their types.
//!
//! Invariant: a key is valid exactly if it stands in `config/default.toml`, switched on (`key = value`) or off
//! (`#key = value`).

use std::collections::BTreeMap;

use toml::{Table, Value};

/// The built-in defaults.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// The valid keys with an example value each, and the defaults.
#[derive(Debug, Clone)]
pub struct Schema {
    /// The defaults, switched-off knobs left out.
    pub defaults: Table,
    /// Dotted key → an example value that shows its type.
    pub keys: BTreeMap<String, Value>,
    /// Dotted keys in the order of the file.
    pub order: Vec<String>,
}

impl Schema {
    /// The schema of `text`, which is the program's own file: it parses or the build is wrong (a test says so).
    pub fn of(text: &str) -> Self {
        let defaults: Table = text.parse().expect("the built-in defaults are TOML; a test parses them");
        let everything: Table = switched_on(text).parse().expect("switched-off knobs are TOML; a test parses them");
        let mut keys = BTreeMap::new();
        flatten("", &everything, &mut keys);
        let order = in_file_order(text);
        Self { defaults, keys, order }
    }

    /// The schema of the built-in defaults.
    pub fn built_in() -> Self {
        Self::of(DEFAULT_TOML)
    }

    /// The valid key or section that is most like `key`, if any is near.
    pub fn nearest(&self, key: &str) -> Option<String> {
        let tail = |k: &str| k.rsplit('.').next().unwrap_or(k).to_owned();
        let score = |k: &String| distance(key, k).min(distance(&tail(key), &tail(k)) + 1);
        let sections = self.defaults.iter().filter(|(_, value)| value.is_table()).map(|(name, _)| name);
        let best = self.keys.keys().chain(sections).min_by_key(|k| (score(k), distance(key, k)))?;
        (score(best) <= 1 + tail(key).len() / 3).then(|| best.clone())
    }
}

fn is_switched_off(line: &str) -> bool {
    let Some(rest) = line.strip_prefix('#') else { return false };
    let key_length = rest.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')).unwrap_or(0);
    key_length > 0 && rest[key_length..].starts_with(" = ")
}

fn switched_on(text: &str) -> String {
    text.lines().map(|line| if is_switched_off(line) { &line[1..] } else { line }).collect::<Vec<_>>().join("\n")
}

fn in_file_order(text: &str) -> Vec<String> {
    let mut section = String::new();
    let mut order = Vec::new();
    for line in switched_on(text).lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.starts_with('#')) {
            order.push(format!("{section}{key}"));
        }
    }
    order
}

/// Dotted keys of the leaves of `table`.
pub(super) fn flatten(prefix: &str, table: &Table, into: &mut BTreeMap<String, Value>) {
    for (key, value) in table {
        let dotted = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => flatten(&dotted, inner, into),
            leaf => {
                into.insert(dotted, leaf.clone());
            }
        }
    }
}

/// Edit distance (Levenshtein): insertions, deletions and replacements that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switched_off_knob_is_a_valid_key_without_a_default() {
        let schema = Schema::of("# a comment = not a key\na = 1\n#b = 2.5\n[s]\nc = \"x\"\n#d = true\n");
        assert_eq!(schema.keys.keys().collect::<Vec<_>>(), ["a", "b", "s.c", "s.d"]);
        assert_eq!(schema.order, ["a", "b", "s.c", "s.d"]);
        assert!(!schema.defaults.contains_key("b"));
    }

    #[test]
    fn the_nearest_key_is_found_by_its_letters_and_across_sections() {
        let schema = Schema::built_in();
        let check = |key, wanted: Option<&str>| assert_eq!(schema.nearest(key).as_deref(), wanted, "{key}");
        check("generation.temprature", Some("generation.temperature"));
        check("samples_per_promt", Some("generation.samples_per_prompt"));
        check("http.port_number_of_the_thing", None);
    }

    #[test]
    fn edit_distance_of_a_hand_made_case() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
