//! One GET request over HTTPS.
//!
//! Invariant: an answer is bounded; a request that is not answered in time is an error.

use std::io::Read;
use std::time::Duration;

use ureq::Agent;

/// Longest answer: 100 questions of 30000 characters are 3 MB.
const MOST_BYTES: u64 = 32 << 20;

/// Sends a request for a path with a query, and gives back the body.
pub trait Transport: Send {
    /// The body of the answer to `GET path`, whatever its status says; `Err` when there was none.
    fn get(&self, path: &str) -> Result<Vec<u8>, String>;
}

/// The web.
pub struct Web {
    agent: Agent,
    base: String,
}

impl Web {
    /// `base` is the URL that paths are put behind.
    pub fn new(base: &str) -> Self {
        let agent = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(30)))
            // The API tells in the body of a 400 what is wrong.
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("understudy/", env!("CARGO_PKG_VERSION"), " (a daemon that learns to answer)"))
            .build()
            .into();
        Self { agent, base: base.trim_end_matches('/').to_owned() }
    }
}

impl Transport for Web {
    fn get(&self, path: &str) -> Result<Vec<u8>, String> {
        // Errors may show the URL, and with it the key: they are told without.
        let answer = self.agent.get(format!("{}{path}", self.base)).call();
        let answer = answer.map_err(|error| format!("no answer ({})", without_query(&error.to_string())))?;
        let mut body = Vec::new();
        let mut reader = answer.into_body().into_reader().take(MOST_BYTES + 1);
        reader.read_to_end(&mut body).map_err(|error| format!("the answer broke off ({error})"))?;
        if body.len() as u64 > MOST_BYTES {
            return Err(format!("the answer is longer than {MOST_BYTES} bytes"));
        }
        Ok(body)
    }
}

fn without_query(text: &str) -> String {
    text.split_whitespace().map(|word| word.split('?').next().unwrap_or(word)).collect::<Vec<_>>().join(" ")
}
