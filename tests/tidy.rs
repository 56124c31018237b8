//! The tree is the architecture: rules that no compiler checks.
//!
//! Invariant: each rule reports every offender at once, by path, with the reason for the rule.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const SOURCE_FOLDERS: [&str; 7] =
    ["src", "actors/src", "learning/src", "model/src", "checkpoints/src", "tests", "examples"];
const MOST_LINES: usize = 500;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, extension: &str, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable folder").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files(&path, extension, into);
        } else if path.extension().is_some_and(|found| found == extension) {
            into.push(path);
        }
    }
}

fn rust_files(folders: &[&str]) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    folders.iter().for_each(|folder| files(&root().join(folder), "rs", &mut paths));
    paths
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).expect("UTF-8 source"))
        })
        .collect()
}

/// The offenders of a rule, or nothing.
fn check(rule: &str, offenders: Vec<String>) {
    assert!(offenders.is_empty(), "{rule}:\n  {}", offenders.join("\n  "));
}

/// The words that look like a metric's name in `text`.
fn metric_names(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in text.split("understudy_").skip(1) {
        let tail: String =
            part.chars().take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_').collect();
        found.insert(format!("understudy_{tail}"));
    }
    found
}

#[test]
fn no_source_file_is_longer_than_500_lines() {
    let long = rust_files(&SOURCE_FOLDERS)
        .into_iter()
        .filter(|(_, text)| text.lines().count() > MOST_LINES)
        .map(|(name, text)| format!("{name}: {} lines", text.lines().count()))
        .collect();
    check("one concept a file, 500 lines at most", long);
}

#[test]
fn every_module_begins_by_saying_what_it_is() {
    let silent = rust_files(&SOURCE_FOLDERS)
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(name, _)| name)
        .collect();
    check("each file starts with //! and its invariant", silent);
}

#[test]
fn the_pure_crates_see_no_clock_no_thread_and_no_runtime() {
    let forbidden = ["actix", "tokio", "sled", "std::thread", "std::time", "std::env"];
    let mut offenders = Vec::new();
    for (name, text) in rust_files(&["learning/src", "model/src"]) {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            // Tests find their fixtures through the environment.
            let words = forbidden.iter().filter(|word| line.contains(**word) && !line.contains("UNDERSTUDY_FIXTURES"));
            offenders.extend(words.map(|word| format!("{name}:{}: {word}", number + 1)));
        }
    }
    check("model/ and learning/ take time, randomness and paths as arguments", offenders);
}

#[test]
fn dependencies_between_crates_point_one_way() {
    let allowed: [(&str, &[&str]); 4] = [
        ("model", &[]),
        ("learning", &["understudy-model"]),
        ("checkpoints", &[]),
        ("actors", &["understudy-model", "understudy-learning", "understudy-checkpoints"]),
    ];
    let mut offenders = Vec::new();
    for (folder, allowed) in allowed {
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        let table: toml::Table = manifest.parse().expect("TOML");
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let names = table.get(section).and_then(|deps| deps.as_table()).into_iter().flat_map(|deps| deps.keys());
            let ours = names.filter(|name| name.starts_with("understudy") && !allowed.contains(&name.as_str()));
            offenders.extend(ours.map(|name| format!("{folder} must not depend on {name}")));
        }
        let banned = ["tch", "actix", "actix-web", "tokio"].into_iter().filter(|_| folder == "checkpoints");
        let deps = table.get("dependencies").and_then(|deps| deps.as_table());
        let banned = banned.filter(|name| deps.is_some_and(|deps| deps.contains_key(*name)));
        offenders.extend(banned.map(|name| format!("checkpoints must not depend on {name}")));
    }
    check("src → actors → {learning → model, checkpoints}", offenders);
}

#[test]
fn actors_know_links_and_messages_but_not_each_other() {
    let actors = ["policy", "feedback", "reward", "ppo", "checkpoint", "source", "annotator"];
    // The checkpoint actor asks the learners for their state over the control plane: that needs their addresses' types.
    let asks = [("checkpoint", "PpoActor"), ("checkpoint", "RewardActor")];
    let mut offenders = Vec::new();
    for actor in actors {
        let (single, folder) = (format!("actors/src/{actor}.rs"), format!("actors/src/{actor}/"));
        let own = |(name, _): &(String, String)| *name == single || name.starts_with(&folder);
        for (name, text) in rust_files(&["actors/src"]).into_iter().filter(own) {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for other in actors.iter().filter(|other| **other != actor) {
                let kind: String =
                    other.chars().take(1).flat_map(char::to_uppercase).chain(other.chars().skip(1)).collect();
                let types = [format!("{kind}Actor"), format!("{kind}Job")];
                let named = types.iter().filter(|word| code.contains(*word) && !asks.contains(&(actor, word.as_str())));
                offenders.extend(named.map(|word| format!("{name} names {word}")));
            }
        }
    }
    check("actors meet on the bus only", offenders);
}

#[test]
fn no_message_passes_the_bound_of_a_mailbox() {
    // A message sent with do_send, or through a new clone of an address each time, is never refused.
    let unbounded = [".do_send(", ".clone().try_send("];
    let mut offenders = Vec::new();
    for (name, text) in rust_files(&["src", "actors/src", "checkpoints/src"]) {
        for (number, line) in text.lines().enumerate() {
            let found = unbounded.iter().filter(|call| line.contains(**call));
            offenders.extend(found.map(|call| format!("{name}:{}: {call}…)", number + 1)));
        }
    }
    check("whoever is too busy refuses or lets wait", offenders);
}

#[test]
fn every_metric_that_is_emitted_is_documented_and_every_documented_one_exists() {
    let document = std::fs::read_to_string(root().join("docs/METRICS.md")).expect("docs/METRICS.md");
    let catalogue: BTreeSet<String> =
        understudy::telemetry::metrics::CATALOGUE.iter().map(|metric| metric.name.to_owned()).collect();
    let crates = ["understudy_actors", "understudy_checkpoints", "understudy_learning", "understudy_model"];
    let mut emitted = BTreeSet::new();
    for (_, text) in rust_files(&["src", "actors/src"]) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let quoted = code.split('"').skip(1).step_by(2).filter(|text| text.starts_with("understudy_"));
        emitted.extend(quoted.filter(|text| metric_names(text).contains(*text)).map(str::to_owned));
    }
    emitted.retain(|name| !crates.contains(&name.as_str()));
    let documented: BTreeSet<String> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split(['`', '{']).next())
        .filter(|name| name.starts_with("understudy_"))
        .map(str::to_owned)
        .collect();
    let mut offenders: Vec<String> = Vec::new();
    offenders.extend(emitted.difference(&catalogue).map(|name| format!("{name} is emitted but not in CATALOGUE")));
    offenders.extend(catalogue.difference(&documented).map(|name| format!("{name} is not in docs/METRICS.md")));
    offenders
        .extend(documented.difference(&catalogue).map(|name| format!("{name} is documented but not in CATALOGUE")));
    check("docs/METRICS.md, the catalogue and the code name the same metrics", offenders);
}

#[test]
fn alerts_and_the_dashboard_ask_for_metrics_that_there_are() {
    use understudy::telemetry::metrics::{CATALOGUE, Kind};
    let mut offenders = Vec::new();
    for file in ["deploy/alerts.yml", "deploy/grafana.json"] {
        let text = std::fs::read_to_string(root().join(file)).expect(file);
        let named = metric_names(&text);
        assert!(named.len() >= 8, "{file} asks for {named:?}");
        let exists = |name: &String| {
            CATALOGUE.iter().any(|metric| match (metric.kind, name.strip_prefix(metric.name)) {
                (Kind::Histogram, Some(part)) => ["_bucket", "_sum", "_count"].contains(&part),
                (_, part) => part == Some(""),
            })
        };
        offenders.extend(named.into_iter().filter(|name| !exists(name)).map(|name| format!("{file}: {name}")));
    }
    let dashboard = std::fs::read_to_string(root().join("deploy/grafana.json")).expect("deploy/grafana.json");
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).expect("the dashboard is JSON");
    for panel in dashboard["panels"].as_array().expect("panels") {
        let asks = panel["targets"].as_array().is_some_and(|asked| asked.iter().all(|one| one["expr"].is_string()));
        if !asks || panel["description"].as_str().is_none_or(str::is_empty) {
            offenders.push(format!("deploy/grafana.json: the panel {} asks or explains nothing", panel["title"]));
        }
    }
    check("what watches the program asks for what docs/METRICS.md has", offenders);
}

#[test]
fn every_config_key_has_its_reason_in_default_toml() {
    let text = understudy::config::DEFAULT_TOML;
    let schema = understudy::config::Schema::built_in();
    let mut offenders: Vec<String> = Vec::new();
    let mut commented = false;
    for line in text.lines() {
        let is_knob = line.split_once(" = ").is_some_and(|(key, _)| {
            let key = key.strip_prefix('#').unwrap_or(key);
            !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        });
        if is_knob && !commented {
            offenders.push(format!("no reason above: {line}"));
        }
        commented = line.starts_with("# ");
    }
    // What the program really reads, written out, must not hold a key that the file does not.
    let loaded = understudy::config::Layers::built_in().finish().expect("the defaults are valid");
    let written = toml::Table::try_from(&loaded.config).expect("plain values");
    let mut stack: Vec<(String, toml::Table)> = vec![(String::new(), written)];
    while let Some((prefix, table)) = stack.pop() {
        for (key, value) in table {
            match value {
                toml::Value::Table(inner) => stack.push((format!("{prefix}{key}."), inner)),
                _ if !schema.keys.contains_key(&format!("{prefix}{key}")) => {
                    offenders.push(format!("{prefix}{key} is read but not in config/default.toml"));
                }
                _ => {}
            }
        }
    }
    check("every knob stands in config/default.toml with one line of why", offenders);
}

#[test]
fn every_test_that_the_guarantees_name_exists() {
    let text = std::fs::read_to_string(root().join("docs/RUNTIME.md")).expect("docs/RUNTIME.md");
    let named: BTreeSet<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.matches('_').count() >= 4 && !word.starts_with("understudy_"))
        .filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
        .collect();
    assert!(named.len() > 30, "the guarantees name their tests in back quotes: {named:?}");
    let sources = rust_files(&SOURCE_FOLDERS);
    let exists = |name: &str| sources.iter().any(|(_, text)| text.contains(&format!("fn {name}(")));
    let missing = named.into_iter().filter(|name| !exists(name)).map(str::to_owned).collect();
    check("a guarantee in docs/RUNTIME.md names a test that there is", missing);
}
