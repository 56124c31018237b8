//! `understudy token`: who may write to a daemon from elsewhere.
//!
//! Invariant: safe beside a running daemon, which sees a change at its next request; the secret goes to stdout once, and
//! nowhere else.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use understudy_checkpoints::checkpoint::parse_age;

use super::{Failure, Global, Outcome};
use crate::clock;
use crate::gateway::tokens::{self, Scope, Token, TokenError, Tokens};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make one; its secret is shown this once
    Create(Create),
    /// One line a token, without secrets
    List,
    /// Make one void, from the daemon's next request on
    Revoke {
        /// Its id, as 'list' shows it
        id: String,
    },
}

/// Flags of `create`.
#[derive(Debug, Args)]
#[command(
    after_help = "Clients send it as 'Authorization: Bearer SECRET'; OpenAI's clients take it as their API key. The daemon keeps only
its SHA-256, in tokens.json in the data directory.

Examples:
  understudy token create --scope ask,rate --name 'the office' --expires 30d
  understudy token create --scope admin"
)]
pub struct Create {
    /// What it lets somebody do; admin is everything
    #[arg(long, value_delimiter = ',', required = true)]
    scope: Vec<Scope>,
    /// For whom it is
    #[arg(long, default_value = "")]
    name: String,
    /// Void after this: 90s, 30m, 36h, 7d; never when left out
    #[arg(long, value_name = "DURATION", value_parser = parse_age)]
    expires: Option<Duration>,
}

/// Runs `understudy token`.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    let dir = global.load()?.config.data.dir;
    let now = clock::now_ms();
    match command {
        Command::Create(Create { scope, name, expires }) => {
            let random = tokens::random().map_err(failed)?;
            let end = expires.map(|age| now.saturating_add(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)));
            let make = |tokens: &mut Tokens| tokens.create(random, &name, &scope, now, end);
            let (token, secret) = Tokens::change(&dir, make).map_err(failed)?;
            match global.json {
                true => println!("{}", json!({"id": token.id, "secret": secret})),
                false => {
                    eprintln!("token {} for {}; its secret, which is not shown again:", token.id, scopes(&token));
                    println!("{secret}");
                }
            }
        }
        Command::List => {
            let tokens = Tokens::read(&dir).map_err(failed)?.tokens;
            match global.json {
                true => println!("{}", json!(tokens.iter().map(public).collect::<Vec<_>>())),
                false => tokens.iter().for_each(|token| println!("{}", line(token, now))),
            }
        }
        Command::Revoke { id } => {
            let revoked = Tokens::change(&dir, |tokens| Ok(tokens.revoke(&id))).map_err(failed)?;
            if !revoked {
                return Err(Failure::Usage(format!(
                    "there is no token '{id}' in '{}'; see 'understudy token list'",
                    dir.display()
                )));
            }
            match global.json {
                true => println!("{}", json!({"id": id, "revoked": true})),
                false => println!("{id} is void"),
            }
        }
    }
    Ok(())
}

fn scopes(token: &Token) -> String {
    token.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(",")
}

fn public(token: &Token) -> serde_json::Value {
    json!({
        "id": token.id, "name": token.name, "scopes": token.scopes,
        "created_ms": token.created_ms, "expires_ms": token.expires_ms,
    })
}

fn line(token: &Token, now_ms: i64) -> String {
    let days = |ms: i64| ms as f64 / 86_400_000.0;
    let end = match token.expires_ms {
        None => "never expires".to_owned(),
        Some(end) if end <= now_ms => "has expired".to_owned(),
        Some(end) => format!("expires in {:.1} days", days(end - now_ms)),
    };
    let age = days(now_ms - token.created_ms);
    format!("{}  {:<14}  made {age:.1} days ago, {end}  {}", token.id, scopes(token), token.name)
}

fn failed(error: TokenError) -> Failure {
    match error {
        TokenError::Refused(sentence) => Failure::Usage(sentence),
        other => Failure::Failed(other.into()),
    }
}
