//! Layers of configuration, laid over one another: built-in, profile, file, environment, flags.
//!
//! Invariant: every value remembers where it came from, so that an error can name the file, the line and the column.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::schema::flatten;
use super::{Config, ConfigError, Schema};

/// Prefix of environment variables that configure; sections and keys follow, separated by two underscores.
const ENV_PREFIX: &str = "UNDERSTUDY__";

/// Keys by which a subsection says which kind it is: with another kind come other parameters.
const TAGS: [&str; 3] = [".kind", ".rule", ".shape"];

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `config/default.toml`.
    BuiltIn,
    /// What a command presets, for instance `demo`.
    Profile(&'static str),
    /// A file's line and column, both from 1.
    File {
        /// The file as it was given.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A command-line flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => write!(f, "config/default.toml"),
            Self::Profile(name) => write!(f, "preset of '{name}'"),
            Self::File { path, line, column } => write!(f, "{}, line {line}, column {column}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A checked configuration and where each value came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Dotted key → origin.
    pub origins: BTreeMap<String, Origin>,
    /// Dotted key → value, in effect.
    pub values: BTreeMap<String, Value>,
}

/// Collects layers; later ones win.
#[derive(Debug)]
pub struct Layers {
    schema: Schema,
    table: Table,
    origins: BTreeMap<String, Origin>,
}

impl Layers {
    /// Begins with the built-in defaults.
    pub fn built_in() -> Self {
        let schema = Schema::built_in();
        let origins = schema.keys.keys().map(|key| (key.clone(), Origin::BuiltIn)).collect();
        Self { table: schema.defaults.clone(), schema, origins }
    }

    /// Lays a command's presets over what is there.
    pub fn profile(&mut self, name: &'static str, presets: &[(&str, Value)]) {
        for (key, value) in presets {
            self.put(key, value.clone(), Origin::Profile(name));
        }
    }

    /// Lays the file at `path` over what is there.
    pub fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
        self.text(path, &text)
    }

    /// Lays `text`, which stood in `path`, over what is there.
    pub fn text(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let origin = |span: Range<usize>| {
            let (line, column) = line_and_column(text, span.start);
            Origin::File { path: path.to_path_buf(), line, column }
        };
        let document = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            place: origin(error.span().unwrap_or(0..0)).to_string(),
            message: error.message().replace('\n', ", "),
        })?;
        let plain: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            place: origin(error.span().unwrap_or(0..0)).to_string(),
            message: error.message().replace('\n', ", "),
        })?;
        let mut spans = BTreeMap::new();
        key_spans("", document.get_ref(), &mut spans);
        let mut leaves = BTreeMap::new();
        flatten("", &plain, &mut leaves);
        for (key, span) in &spans {
            let is_section = self.schema.keys.keys().any(|k| k.starts_with(&format!("{key}.")));
            if leaves.contains_key(key) || is_section || self.schema.defaults.contains_key(key) {
                continue;
            }
            // A table that is no section: name it, not its first key.
            return Err(self.unknown(&origin(span.clone()), key));
        }
        // Tags first: they forget what their subsection held before.
        let (tags, others): (Vec<_>, Vec<_>) = leaves.into_iter().partition(|(key, _)| is_tag(key));
        for (key, value) in tags.into_iter().chain(others) {
            let place = origin(spans.get(&key).cloned().unwrap_or(0..0));
            let value = self.checked(&key, value, &place)?;
            self.put(&key, value, place);
        }
        Ok(())
    }

    /// Lays the variables that begin with `UNDERSTUDY__` over what is there.
    pub fn environment(&mut self, variables: impl Iterator<Item = (String, String)>) -> Result<(), ConfigError> {
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(ENV_PREFIX) else { continue };
            let key = rest.to_lowercase().replace("__", ".");
            self.set(&key, &text, Origin::Environment(name.clone()))?;
        }
        Ok(())
    }

    /// Lays one value over what is there, given as text: as TOML, or as it stands where a string is wanted.
    pub fn set(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let value = match self.schema.keys.get(key) {
            Some(Value::String(_)) => Value::String(text.to_owned()),
            _ => format!("v = {text}")
                .parse::<Table>()
                .ok()
                .and_then(|mut table| table.remove("v"))
                .unwrap_or_else(|| Value::String(text.to_owned())),
        };
        let value = self.checked(key, value, &origin)?;
        self.put(key, value, origin);
        Ok(())
    }

    /// The configuration that the layers make, checked against itself.
    pub fn finish(self) -> Result<Loaded, ConfigError> {
        let mut values = BTreeMap::new();
        flatten("", &self.table, &mut values);
        let mut config = Config::deserialize(Value::Table(self.table))
            .map_err(|error| self_explained(&error, &values, &self.origins))?;
        if !values.contains_key("ppo.temperature") {
            config.ppo.temperature = config.generation.temperature;
        }
        config.source.data.clone_from(&config.data.dir);
        let loaded = Loaded { config, origins: self.origins, values };
        super::check::check(&loaded)?;
        Ok(loaded)
    }

    fn checked(&self, key: &str, value: Value, origin: &Origin) -> Result<Value, ConfigError> {
        let Some(example) = self.schema.keys.get(key) else { return Err(self.unknown(origin, key)) };
        match (example, value) {
            (Value::Float(_), Value::Integer(whole)) => Ok(Value::Float(whole as f64)),
            (example, value) if example.same_type(&value) => Ok(value),
            (example, value) => Err(ConfigError::WrongType {
                place: origin.to_string(),
                key: key.to_owned(),
                found: type_name(&value),
                wanted: type_name(example),
            }),
        }
    }

    fn unknown(&self, origin: &Origin, key: &str) -> ConfigError {
        ConfigError::UnknownKey { place: origin.to_string(), key: key.to_owned(), nearest: self.schema.nearest(key) }
    }

    fn put(&mut self, key: &str, value: Value, origin: Origin) {
        let mut table = &mut self.table;
        let mut parts: Vec<&str> = key.split('.').collect();
        let last = parts.pop().unwrap_or(key);
        for part in parts {
            let entry = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(inner) = entry else { return };
            table = inner;
        }
        if is_tag(key) && table.get(last).is_some_and(|old| *old != value) {
            table.clear();
        }
        table.insert(last.to_owned(), value);
        self.origins.insert(key.to_owned(), origin);
    }
}

fn is_tag(key: &str) -> bool {
    key.matches('.').count() >= 2 && TAGS.iter().any(|tag| key.ends_with(tag))
}

/// Puts serde's complaint ("unknown variant … in `model.device`") into our words, with the value's origin.
fn self_explained(
    error: &toml::de::Error,
    values: &BTreeMap<String, Value>,
    origins: &BTreeMap<String, Origin>,
) -> ConfigError {
    let text = error.to_string();
    let key = text.rsplit_once("in `").and_then(|(_, rest)| rest.split('`').next()).unwrap_or_default().to_owned();
    ConfigError::Invalid {
        place: origins.get(&key).unwrap_or(&Origin::BuiltIn).to_string(),
        value: values.get(&key).map_or_else(|| "not usable".to_owned(), ToString::to_string),
        key,
        remedy: error.message().trim().replace('\n', ", "),
    }
}

fn key_spans(prefix: &str, table: &DeTable<'_>, into: &mut BTreeMap<String, Range<usize>>) {
    for (key, value) in table {
        let name: &str = key.get_ref();
        let dotted = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        let inner: &Spanned<DeValue<'_>> = value;
        if let DeValue::Table(inner) = inner.get_ref() {
            key_spans(&dotted, inner, into);
        }
        into.insert(dotted, key.span());
    }
}

fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}
