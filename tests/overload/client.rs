//! One client: a connection that stays open, one request at a time.
//!
//! Invariant: a reply is whole, or the connection is opened anew and the reply counts as none.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::program::PATIENCE;

/// A reply that came as a whole.
#[derive(Debug)]
pub(super) struct Reply {
    /// The HTTP status.
    pub(super) status: u16,
    /// Whether it says when to come back.
    pub(super) retry_after: bool,
    /// The body: JSON, or text as it came.
    pub(super) body: Value,
}

/// A connection.
pub(super) struct Client {
    address: String,
    open: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(super) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), open: None }
    }

    pub(super) fn call(&mut self, method: &str, path: &str, body: &Value) -> std::io::Result<Reply> {
        let reply = self.try_call(method, path, body);
        if reply.is_err() {
            self.open = None;
        }
        reply
    }

    fn try_call(&mut self, method: &str, path: &str, body: &Value) -> std::io::Result<Reply> {
        if self.open.is_none() {
            let stream = TcpStream::connect(&self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            self.open = Some(BufReader::new(stream));
        }
        let stream = self.open.as_mut().expect("opened just now");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        stream.get_mut().write_all((head + &body).as_bytes())?;
        read(stream)
    }
}

fn read(stream: &mut impl BufRead) -> std::io::Result<Reply> {
    let odd = |line: &str| std::io::Error::other(format!("no HTTP: {line}"));
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| odd(&line))?;
    let (mut length, mut retry_after) = (0, false);
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().map_err(|_| odd(&line))?,
            "retry-after" => retry_after = value.parse::<u32>().is_ok(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let text = String::from_utf8_lossy(&body).into_owned();
    Ok(Reply { status, retry_after, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
}
