//! Server-sent events as a client reads them.
//!
//! Invariant: an event is given out when its empty line has come, never before; comments are skipped.

use std::io::BufRead;

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// What follows `event:`; empty where there is none.
    pub(super) tag: String,
    /// What follows `data:`, lines joined.
    pub(super) data: String,
}

/// The events of a stream of bytes.
pub(super) struct Events<R>(pub(super) R);

impl<R: BufRead> Events<R> {
    /// The next event with data; `None` at the end of the stream.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Event>> {
        let (mut event, mut line, mut some) = (Event::default(), String::new(), false);
        loop {
            line.clear();
            if self.0.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let text = line.trim_end_matches(['\n', '\r']);
            if text.is_empty() {
                if some {
                    return Ok(Some(event));
                }
                event = Event::default();
                continue;
            }
            let (field, value) = text.split_once(':').unwrap_or((text, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => event.tag = value.to_owned(),
                "data" => {
                    if some {
                        event.data.push('\n');
                    }
                    event.data.push_str(value);
                    some = true;
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_whole_and_comments_are_none() {
        let text = ": hello\nretry: 2000\n\nid: 7\nevent: rated\ndata: {\"a\":1}\n\n: still here\n\ndata: x\ndata:y\r\n\r\ndata: cut";
        let mut events = Events(text.as_bytes());
        let event = |tag: &str, data: &str| Some(Event { tag: tag.to_owned(), data: data.to_owned() });
        assert_eq!(events.next().unwrap(), event("rated", "{\"a\":1}"));
        assert_eq!(events.next().unwrap(), event("", "x\ny"));
        assert_eq!(events.next().unwrap(), None, "what was cut off is no event");
    }
}
