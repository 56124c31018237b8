//! A small HTTP/1.1 client: one request a connection, the body as it comes.
//!
//! Invariant: a body is read to its own end and no further, in whichever of the three ways it says where that is.

use std::io::{BufRead, BufReader, Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longest silence on a connection: beyond every deadline of the daemon's own.
const SILENCE: Duration = Duration::from_secs(180);
/// Longest line of a head.
const MOST_LINE: u64 = 64 << 10;

/// A reply whose body is still to come.
pub(super) struct Reply {
    /// The HTTP status.
    pub(super) status: u16,
    /// Seconds after which to come again, where it says so.
    pub(super) retry_after: Option<u64>,
    /// The body.
    pub(super) body: BufReader<Body<BufReader<TcpStream>>>,
}

impl Reply {
    /// The whole body as JSON; null where it is none.
    pub(super) fn json(mut self) -> Result<Value> {
        let mut text = String::new();
        self.body.read_to_string(&mut text)?;
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }
}

/// Connects; whoever holds a clone can end the conversation from outside.
pub(super) fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    Ok(stream)
}

/// Sends a request over a fresh connection and reads the reply's head.
pub(super) fn send(mut stream: TcpStream, method: &str, path: &str, body: &Value) -> Result<Reply> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes())?;
    let mut stream = BufReader::new(stream);
    let head = Head::read(&mut stream)?;
    let body = BufReader::new(Body { stream, framing: head.framing });
    Ok(Reply { status: head.status, retry_after: head.retry_after, body })
}

struct Head {
    status: u16,
    retry_after: Option<u64>,
    framing: Framing,
}

impl Head {
    fn read(stream: &mut impl BufRead) -> Result<Self> {
        let first = line(stream)?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| Error::other(format!("no HTTP: {first}")))?;
        let mut head = Self { status, retry_after: None, framing: Framing::ToTheEnd };
        loop {
            let line = line(stream)?;
            let Some((name, value)) = line.split_once(':') else { return Ok(head) };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let left = value.parse().map_err(|_| Error::other(format!("no length: {value}")))?;
                    head.framing = Framing::Length { left };
                }
                "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => {
                    head.framing = Framing::Chunked { left: 0, first: true };
                }
                "retry-after" => head.retry_after = value.parse().ok(),
                _ => {}
            }
        }
    }
}

/// Where a body ends.
#[derive(Debug, Clone, Copy)]
enum Framing {
    /// After so many bytes.
    Length { left: u64 },
    /// After the chunk of length 0.
    Chunked { left: u64, first: bool },
    /// Where the connection does.
    ToTheEnd,
}

/// A body as it comes.
pub(super) struct Body<R> {
    stream: R,
    framing: Framing,
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if let Framing::Chunked { left: 0, first } = self.framing {
            if !first {
                line(&mut self.stream)?; // the end of the chunk before
            }
            let size = line(&mut self.stream)?;
            let digits = size.split(';').next().unwrap_or_default().trim();
            let left = u64::from_str_radix(digits, 16).map_err(|_| Error::other(format!("no chunk: {size}")))?;
            self.framing = if left == 0 { Framing::Length { left } } else { Framing::Chunked { left, first: false } };
        }
        let (Framing::Length { left } | Framing::Chunked { left, .. }) = &mut self.framing else {
            return self.stream.read(into);
        };
        let most = (*left).min(into.len() as u64) as usize;
        let read = self.stream.read(&mut into[..most])?;
        if read == 0 && most > 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        *left -= read as u64;
        Ok(read)
    }
}

/// A line of a head without its end.
fn line(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    stream.take(MOST_LINE).read_line(&mut line)?;
    if !line.ends_with('\n') {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Result<String> {
        let mut stream = text.as_bytes();
        let framing = Head::read(&mut stream)?.framing;
        let mut read = String::new();
        Body { stream, framing }.read_to_string(&mut read)?;
        Ok(read)
    }

    #[test]
    fn a_body_ends_where_it_says() {
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab\ncd\r\n2;x=y\r\nef\r\n0\r\n\r\nrest";
        assert_eq!(body(chunked).unwrap(), "ab\ncdef");
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd").unwrap(), "abc");
        assert_eq!(body("HTTP/1.1 200 OK\r\n\r\nabcd").unwrap(), "abcd");
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for cut in ["5\r\nab", "5\r\nabcde\r\n", "", "x\r\n"] {
            assert!(body(&format!("{head}{cut}")).is_err(), "{cut:?}");
        }
        assert!(body("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab").is_err());
    }

    #[test]
    fn a_head_tells_status_and_when_to_come_again() {
        let mut stream = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\n\r\n".as_bytes();
        let head = Head::read(&mut stream).unwrap();
        assert_eq!((head.status, head.retry_after), (429, Some(2)));
    }
}
