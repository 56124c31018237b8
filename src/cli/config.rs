//! `understudy config check|show`.

use clap::Subcommand;
use serde_json::json;

use super::{Global, Outcome};
use crate::config::{Origin, Schema};

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say whether the configuration is right, without starting anything
    Check,
    /// Print every key with the value in effect
    Show {
        /// Also say where each value came from
        #[arg(long)]
        origin: bool,
    },
}

/// Runs `understudy config …`.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    let loaded = global.load()?;
    match command {
        Command::Check if global.json => println!("{}", json!({"ok": true, "keys": loaded.values.len()})),
        Command::Check => println!("the configuration is right ({} keys)", loaded.values.len()),
        Command::Show { origin } => {
            let keys = Schema::built_in().order;
            let known = keys.iter().filter_map(|key| Some((key, loaded.values.get(key)?)));
            if global.json {
                let object: serde_json::Map<String, serde_json::Value> = known
                    .map(|(key, value)| {
                        let origin = loaded.origins.get(key).unwrap_or(&Origin::BuiltIn).to_string();
                        (key.clone(), json!({"value": value, "origin": origin}))
                    })
                    .collect();
                println!("{}", serde_json::Value::Object(object));
                return Ok(());
            }
            for (key, value) in known {
                match loaded.origins.get(key).filter(|_| origin) {
                    Some(origin) => println!("{key} = {value}  # {origin}"),
                    None => println!("{key} = {value}"),
                }
            }
        }
    }
    Ok(())
}
