//! `understudy promote`, `rollback`, `pin`, `unpin`: who serves people, told to a running daemon over HTTP.
//!
//! Invariant: the daemon decides; its refusal is the command's, in its own words. Nothing is changed without a daemon.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use serde_json::{Value, json};
use ureq::Agent;

use super::{Failure, Global, Outcome};

/// Longest reply that is read.
const MOST_BYTES: u64 = 1 << 20;
/// The daemon writes a version's weights before it answers.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where the daemon is, and by whose leave.
#[derive(Debug, Args)]
struct Daemon {
    /// The daemon's address, for instance http://127.0.0.1:8477; http.bind when left out
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A token with the scope admin, where the daemon asks for one
    #[arg(long, value_name = "SECRET", env = "UNDERSTUDY_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Flags of `promote` and `rollback`.
#[derive(Debug, Args)]
#[command(
    after_help = "GET /v1/stage shows who leads, who is tried, and which versions are kept: the lead, the leads before it, the
candidate and the newest published (stage.keep of each).

Examples:
  understudy promote          the candidate leads, without waiting for what people say
  understudy promote 41       this version leads, if it was measured within the bounds
  understudy rollback         the candidate goes; without one, the lead of before leads again"
)]
pub struct Optional {
    /// A version that is kept
    version: Option<u64>,
    #[command(flatten)]
    daemon: Daemon,
}

/// Flags of `pin`.
#[derive(Debug, Args)]
pub struct Pin {
    /// A version that is kept
    version: u64,
    #[command(flatten)]
    daemon: Daemon,
}

/// Flags of `unpin`.
#[derive(Debug, Args)]
pub struct Unpin {
    #[command(flatten)]
    daemon: Daemon,
}

/// Runs `understudy promote`.
pub(super) fn promote(global: &Global, flags: Optional) -> Outcome {
    tell(global, &flags.daemon, "promote", flags.version)
}

/// Runs `understudy rollback`.
pub(super) fn rollback(global: &Global, flags: Optional) -> Outcome {
    tell(global, &flags.daemon, "rollback", flags.version)
}

/// Runs `understudy pin`.
pub(super) fn pin(global: &Global, flags: Pin) -> Outcome {
    tell(global, &flags.daemon, "pin", Some(flags.version))
}

/// Runs `understudy unpin`.
pub(super) fn unpin(global: &Global, flags: Unpin) -> Outcome {
    tell(global, &flags.daemon, "unpin", None)
}

fn tell(global: &Global, daemon: &Daemon, order: &str, version: Option<u64>) -> Outcome {
    let base = match &daemon.url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}", reachable(global.load()?.config.http.bind)),
    };
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .max_redirects(0)
        .build()
        .into();
    let mut request = agent.post(format!("{base}/v1/stage/{order}")).header("content-type", "application/json");
    if let Some(token) = &daemon.token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = version.map_or_else(|| json!({}), |version| json!({"version": version}));
    let reply = request.send(body.to_string()).map_err(|error| {
        Failure::NotReady(format!("no daemon answers at {base} ({error}); start 'understudy serve', or give --url"))
    })?;
    let status = reply.status().as_u16();
    let mut text = String::new();
    let read = reply.into_body().into_reader().take(MOST_BYTES).read_to_string(&mut text);
    read.map_err(|error| anyhow!("the reply of {base} broke off ({error})"))?;
    let said: Value = serde_json::from_str(&text).unwrap_or_default();
    if status != 200 {
        let why = said["detail"].as_str().unwrap_or("it does not say why; is it an understudy of this version?");
        return Err(Failure::Failed(anyhow!("the daemon refused ({status}): {why}")));
    }
    match global.json {
        true => println!("{said}"),
        false => println!("{}", summary(&said)),
    }
    Ok(())
}

/// Where a daemon that is bound to `bind` answers on this machine.
fn reachable(bind: SocketAddr) -> SocketAddr {
    let mut address = bind;
    if bind.ip().is_unspecified() {
        address.set_ip(if bind.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    address
}

fn summary(stage: &Value) -> String {
    let pinned = if stage["pinned"] == true { ", pinned" } else { "" };
    let candidate = match &stage["candidate"]["version"] {
        Value::Null => "nobody is tried".to_owned(),
        version => format!("policy {version} is tried"),
    };
    format!("policy {} leads{pinned}; {candidate}", stage["lead"]["version"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_is_asked_where_it_can_be_reached_and_told_in_one_line() {
        let at = |bind: &str| reachable(bind.parse().unwrap()).to_string();
        assert_eq!(
            (at("0.0.0.0:8477"), at("[::]:1"), at("10.0.0.3:2")),
            ("127.0.0.1:8477".into(), "[::1]:1".into(), "10.0.0.3:2".into())
        );
        let stage = json!({"lead": {"version": 5}, "pinned": true, "candidate": null});
        assert_eq!(summary(&stage), "policy 5 leads, pinned; nobody is tried");
        let stage = json!({"lead": {"version": 5}, "pinned": false, "candidate": {"version": 9}});
        assert_eq!(summary(&stage), "policy 5 leads; policy 9 is tried");
    }
}
