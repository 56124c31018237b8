//! Flags that every command takes, and the configuration they lead to.

use std::path::PathBuf;

use clap::Args;
use toml::Value;

use super::Failure;
use crate::config::{Layers, Loaded, Origin};

/// Flags of every command.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Configuration file (TOML); config/default.toml in the repository shows every key
    #[arg(long, global = true, value_name = "FILE", env = "UNDERSTUDY_CONFIG")]
    pub config: Option<PathBuf>,
    /// Set one key, for instance --set generation.max_tokens=32; may be given often
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Data directory (data.dir)
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Model folder or GGUF file (model.path)
    #[arg(long, global = true, value_name = "PATH")]
    pub model: Option<String>,
    /// Write machine-readable JSON to stdout
    #[arg(long, global = true)]
    pub json: bool,
}

impl Global {
    /// The same with one more value, which a command's own flag gave.
    pub fn with(&self, key: &str, value: Option<String>) -> Self {
        let mut more = self.clone();
        more.set.extend(value.map(|value| format!("{key}={value}")));
        more
    }

    /// The configuration in effect: defaults, file, environment, flags.
    pub fn load(&self) -> Result<Loaded, Failure> {
        self.load_with("", &[])
    }

    /// As [`Global::load`], with a command's presets between the defaults and the file.
    pub fn load_with(&self, command: &'static str, presets: &[(&str, Value)]) -> Result<Loaded, Failure> {
        let mut layers = Layers::built_in();
        layers.profile(command, presets);
        if let Some(path) = &self.config {
            layers.file(path)?;
        }
        // A variable that is not UTF-8 cannot be one of ours: our keys and values are text.
        layers.environment(
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
        )?;
        let flags = [("data.dir", "--data-dir", &self.data_dir), ("model.path", "--model", &self.model)];
        for (key, flag, value) in flags {
            if let Some(value) = value {
                layers.set(key, value, Origin::Flag(flag.to_owned()))?;
            }
        }
        for pair in &self.set {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(Failure::Usage(format!("--set '{pair}' has no '='; write it as --set section.key=value")));
            };
            layers.set(key.trim(), value.trim(), Origin::Flag(format!("--set {pair}")))?;
        }
        Ok(layers.finish()?)
    }
}
