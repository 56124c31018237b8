//! The configuration read again while the program runs.
//!
//! Invariant: a configuration that is wrong changes nothing. Of one that is right the keys of [`RELOADABLE`] take effect
//! at once, together; every other key that differs from what is in effect is named, this time and each time after, until
//! the program is started anew.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use metrics::counter;
use serde::Serialize;
use toml::Value;

use super::{Http, Live, Loaded};
use crate::telemetry;
use crate::telemetry::metrics::CONFIG_RELOADS;

/// The keys that take effect without a restart: what limits requests, and what is logged. The rest has become part of
/// something that is running (an open socket, a tensor's shape, a learner's state).
pub const RELOADABLE: [&str; 11] = [
    "http.body_timeout_s",
    "http.chat_timeout_s",
    "http.feedback_timeout_s",
    "http.hosts",
    "http.keep_alive_s",
    "http.max_body_bytes",
    "http.max_event_streams",
    "http.tokens_for_reads",
    "http.write_burst",
    "http.writes_per_s",
    "log.filter",
];

/// What came of it: keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// In effect now.
    pub changed: Vec<String>,
    /// Different in the configuration and not in effect: these need a restart.
    pub needs_restart: Vec<String>,
}

/// How the configuration is put together again; the text says what is wrong with it.
pub type Load = Box<dyn Fn() -> Result<Loaded, String> + Send + Sync>;

/// Reads the configuration again. One at a time.
pub struct Reloader {
    load: Load,
    http: Live<Http>,
    /// Every key with the value in effect.
    running: Mutex<BTreeMap<String, Value>>,
}

impl Reloader {
    /// Of a program that was started with `running`, whose parts read `http`.
    pub fn new(running: &Loaded, http: Live<Http>, load: Load) -> Self {
        Self { load, http, running: Mutex::new(running.values.clone()) }
    }

    /// Reads the configuration again and lets take effect what can. The error is one sentence with file, line and column,
    /// and then nothing has changed.
    pub fn reload(&self) -> Result<Reloaded, String> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = (self.load)().and_then(|loaded| self.apply(&mut running, loaded));
        match &outcome {
            Ok(Reloaded { changed, needs_restart }) if needs_restart.is_empty() => {
                tracing::info!(?changed, "the configuration was read again");
            }
            Ok(Reloaded { changed, needs_restart }) => {
                tracing::warn!(
                    ?changed,
                    ?needs_restart,
                    "the configuration was read again; some of it needs a restart"
                );
            }
            Err(error) => tracing::error!(error, "the configuration is wrong and nothing was changed"),
        }
        counter!(CONFIG_RELOADS, "outcome" => if outcome.is_ok() { "done" } else { "refused" }).increment(1);
        outcome
    }

    fn apply(&self, running: &mut BTreeMap<String, Value>, loaded: Loaded) -> Result<Reloaded, String> {
        let keys: Vec<&String> = running.keys().chain(loaded.values.keys()).collect();
        let differs = |key: &&String| running.get(*key) != loaded.values.get(*key);
        let mut different: Vec<String> = keys.into_iter().filter(differs).cloned().collect();
        different.sort();
        different.dedup();
        let (changed, needs_restart): (Vec<String>, Vec<String>) =
            different.into_iter().partition(|key| RELOADABLE.contains(&key.as_str()));
        if changed.iter().any(|key| key == "log.filter") {
            telemetry::set_log_filter(&loaded.config.log.filter)?;
        }
        self.http.set(mixed(&self.http.now(), loaded.config.http));
        for key in &changed {
            match loaded.values.get(key) {
                Some(value) => drop(running.insert(key.clone(), value.clone())),
                None => drop(running.remove(key)),
            }
        }
        Ok(Reloaded { changed, needs_restart })
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("http", &self.http).finish_non_exhaustive()
    }
}

/// `new` where a key can be reloaded, else `old`.
fn mixed(old: &Http, new: Http) -> Http {
    // Who lets somebody in, and what was given to the sockets when they were opened, stays as it was at the start.
    let Http { bind, tokens_always, head_timeout_s, write_timeout_s, max_connections, .. } = *old;
    Http { bind, tokens_always, head_timeout_s, write_timeout_s, max_connections, ..new }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::config::{DEFAULT_TOML, Layers, Schema};

    fn loaded(text: &str) -> Result<Loaded, String> {
        let mut layers = Layers::built_in();
        layers.text(Path::new("my.toml"), text).and_then(|()| layers.finish()).map_err(|error| error.to_string())
    }

    /// A reloader and the file that it reads.
    fn reloader() -> (Reloader, Live<Http>, Arc<Mutex<String>>) {
        let file = Arc::new(Mutex::new(String::new()));
        let running = loaded("").expect("the defaults are right");
        let (http, text) = (Live::new(running.config.http.clone()), file.clone());
        let load = Box::new(move || loaded(&text.lock().expect("no test panics here")));
        (Reloader::new(&running, http.clone(), load), http, file)
    }

    fn write(file: &Mutex<String>, text: &str) {
        *file.lock().expect("no test panics here") = text.to_owned();
    }

    fn keys(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_can_change_changes_and_the_rest_is_named_until_a_restart() {
        let (reloader, http, file) = reloader();
        write(&file, "[http]\nwrites_per_s = 3\nmax_connections = 7\n[ppo]\nbatch_size = 32\n");
        let told = reloader.reload().expect("it is right");
        let rest = keys(&["http.max_connections", "ppo.batch_size"]);
        assert_eq!(told, Reloaded { changed: keys(&["http.writes_per_s"]), needs_restart: rest.clone() });
        assert_eq!((http.now().writes_per_s, http.now().max_connections), (3.0, 512));
        assert_eq!(reloader.reload(), Ok(Reloaded { changed: vec![], needs_restart: rest }));
        write(&file, "");
        let told = Reloaded { changed: keys(&["http.writes_per_s"]), needs_restart: vec![] };
        assert_eq!(reloader.reload(), Ok(told), "what was taken back is as it was built in");
        assert_eq!(http.now().writes_per_s, 20.0);
    }

    #[test]
    fn a_wrong_configuration_changes_nothing_and_says_where() {
        let (reloader, http, file) = reloader();
        write(&file, "[http]\nwrites_per_s = 3\nmax_body_bytes = 1\n");
        let wanted = "my.toml, line 3, column 1: 'http.max_body_bytes' is 1; allow at least 1024 bytes";
        assert_eq!(reloader.reload(), Err(wanted.to_owned()));
        assert_eq!(http.now().writes_per_s, 20.0);
        write(&file, "[http]\nwrites_per_s = 3\nmax_body = 1\n");
        let error = reloader.reload().expect_err("an unknown key");
        assert!(error.starts_with("my.toml, line 3, column 1: unknown key 'http.max_body'"), "{error}");
        write(&file, "[http]\nwrites_per_s = 3\n");
        assert_eq!(reloader.reload().map(|told| told.changed), Ok(keys(&["http.writes_per_s"])));
    }

    #[test]
    fn the_list_says_exactly_which_keys_of_http_take_effect() {
        let schema = Schema::built_in();
        for key in RELOADABLE {
            assert!(schema.keys.contains_key(key), "{key} is no key");
        }
        for key in schema.keys.keys().filter_map(|key| key.strip_prefix("http.")) {
            let (reloader, http, file) = reloader();
            let value = match &schema.keys[&format!("http.{key}")] {
                Value::Boolean(value) => (!value).to_string(),
                Value::Integer(value) => (value + 1).to_string(),
                Value::Float(value) => (value + 1.0).to_string(),
                Value::Array(_) => "[\"rate.example\"]".to_owned(),
                _ => "\"127.0.0.1:1\"".to_owned(),
            };
            write(&file, &format!("[http]\n{key} = {value}\n"));
            let told = reloader.reload().expect(key);
            let before = toml::Table::try_from(loaded(DEFAULT_TOML).unwrap().config.http).unwrap();
            let after = toml::Table::try_from(&*http.now()).unwrap();
            let is_listed = RELOADABLE.contains(&format!("http.{key}").as_str());
            assert_eq!(before != after, is_listed, "{key}: {after}");
            assert_eq!(
                (told.changed.len(), told.needs_restart.len()),
                (usize::from(is_listed), usize::from(!is_listed))
            );
        }
    }
}
