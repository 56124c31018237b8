//! Many clients, and clients that take nothing, over real sockets.
//!
//! Invariant: whoever fills the server, the next honest client is let in at the first try, or refused at once; what is
//! made for somebody who does not read it ends, and its place is free. Idle time-outs are longer here than any test may
//! last, so that only what makes room can make it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use socket2::{Domain, Socket, Type};
use understudy_actors::messages::LoopEvent;

use super::hostile_tests::{PATIENCE, Served, check, status, until_closed};
use super::tests::{CHAT, user};

const EVENTS: &str = "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Lets time pass; the server runs on threads of its own.
#[expect(clippy::disallowed_methods, reason = "no arbiter runs on a test's own thread")]
fn pass(time: std::time::Duration) {
    std::thread::sleep(time);
}

/// Waits until `done`; the test fails where it never is.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let pause = std::time::Duration::from_millis(10);
    let patience = PATIENCE.as_millis() / pause.as_millis();
    assert!(
        (0..patience).any(|_| done() || {
            pass(pause);
            false
        }),
        "{what}"
    );
}

/// A connection whose own system keeps almost nothing of what it does not read.
fn small(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A chat request as bytes.
fn chat(content: &str, stream: bool) -> Vec<u8> {
    let body = json!({"messages": user(content), "stream": stream}).to_string();
    format!("POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A request with a line more in its head.
fn with(line: &str, request: Vec<u8>) -> Vec<u8> {
    String::from_utf8(request).unwrap().replacen("\r\n", &format!("\r\n{line}"), 1).into_bytes()
}

/// The first bytes that come.
fn first(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4096];
    let length = stream.read(&mut bytes).expect("something comes in time");
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

/// Whether the server has closed it; what it said before is skipped.
fn is_closed(mut stream: TcpStream) -> bool {
    let _ = until_closed(stream.try_clone().unwrap());
    matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_))
}

/// Clients that hold their connection without a whole request, four times as many as there are seats. The eight that
/// have seats in the end have been answered, where they asked for something.
fn fill(served: &Served, bytes: &str) -> Vec<TcpStream> {
    let filled = (0..32).map(|_| {
        let mut stream = served.connect();
        let _ = stream.write_all(bytes.as_bytes());
        stream
    });
    let mut filled: Vec<TcpStream> = filled.collect();
    if bytes.contains("localhost\r\n\r\n") {
        filled[24..].iter_mut().for_each(|stream| assert_eq!(status(&first(stream)), 200));
    }
    filled
}

#[test]
fn whoever_holds_connections_without_a_whole_request_makes_room_for_the_next_honest_client() {
    let settings = [("http.max_connections", "8"), ("http.head_timeout_s", "3600"), ("http.body_timeout_s", "3600")];
    let served = Served::with(&settings);
    let rest = "Content-Length: 100\r\n\r\n{";
    for bytes in [
        String::new(),
        "GET /healthz HTTP/1.1\r\nHost: loc".to_owned(),
        format!("POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n{rest}"),
        format!("POST /v1/feedback HTTP/1.1\r\nHost: localhost\r\n{rest}"),
        // Served once, then silent or slow with the next head.
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea".to_owned(),
    ] {
        let held = fill(&served, &bytes);
        for _ in 0..8 {
            check(&served.get("/healthz"), 200);
        }
        // The eight newest may stay; the others have been closed and not forgotten.
        held.into_iter().take(24).for_each(|stream| assert!(is_closed(stream), "{bytes}"));
    }
    served.is_healthy();
}

#[test]
fn where_every_connection_is_being_answered_the_next_is_told_at_once_and_none_is_cut_off() {
    let served = Served::with(&[("http.max_connections", "4"), ("http.head_timeout_s", "3600")]);
    let mut busy: Vec<TcpStream> = (0..4).map(|_| served.connect()).collect();
    busy.iter_mut().for_each(|stream| stream.write_all(&chat("silent", true)).unwrap());
    until("four chats are being answered", || served.backend.asked.lock().unwrap().len() == 4);
    for _ in 0..20 {
        let reply = served.get("/healthz");
        check(&reply, 503);
        let head = reply.to_lowercase();
        assert!(head.contains("retry-after: 1") && head.contains("application/problem+json"), "{reply}");
        assert!(reply.contains("\"code\":\"no_room\""), "{reply}");
    }
    assert_eq!(served.backend.endless.1.load(Ordering::Relaxed), 0, "an answer under way was cut off");
    drop(busy.pop());
    until("a seat is free again", || status(&served.get("/healthz")) == 200);
    drop(busy);
    until("all have ended", || served.backend.endless.1.load(Ordering::Relaxed) == 4);
    served.is_healthy();
}

#[test]
fn who_takes_nothing_of_an_answer_makes_room_for_the_next_honest_client() {
    let served = Served::with(&[("http.max_connections", "4"), ("http.write_timeout_s", "3600")]);
    let clients: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = small(served.address);
            stream.write_all(&chat("endless", true)).unwrap();
            stream
        })
        .collect();
    until("four chats are being answered", || served.backend.asked.lock().unwrap().len() == 4);
    until("one of them makes room", || status(&served.get("/healthz")) == 200);
    drop(clients);
    until("all have ended", || served.backend.endless.1.load(Ordering::Relaxed) == 4);
    served.is_healthy();
}

#[test]
fn a_second_request_that_never_ends_is_given_up_like_a_first() {
    // The server's clock goes in half seconds: less than two would not be enough for an honest first request.
    let served = Served::with(&[("http.head_timeout_s", "2")]);
    let rests = ["", "GET /hea", "POST /v1/feedback HTTP/1.1\r\nHost: localhost\r\nX: "];
    let streams = rests.map(|rest| {
        let mut stream = served.connect();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert_eq!(status(&first(&mut stream)), 200);
        stream.write_all(rest.as_bytes()).unwrap();
        stream
    });
    streams.into_iter().for_each(|stream| drop(until_closed(stream)));
    served.is_healthy();
}

#[test]
fn an_answer_that_is_not_read_is_cancelled_and_only_so_much_of_it_is_kept() {
    let served = Served::with(&[("http.write_timeout_s", "0.5")]);
    let clients: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = small(served.address);
            stream.write_all(&chat("endless", true)).unwrap();
            stream
        })
        .collect();
    until("nobody reads, so nothing is made any more", || served.backend.endless.1.load(Ordering::Relaxed) == 8);
    let sent = served.backend.endless.0.load(Ordering::Relaxed) * 4096 / 8;
    assert!(sent < 2 << 20, "{sent} bytes were made for a client that read none");
    drop(clients);
    served.is_healthy();
}

#[test]
fn a_whole_reply_that_is_not_read_is_dropped_whether_or_not_the_connection_ends_after_it() {
    let served = Served::with(&[("http.write_timeout_s", "0.5"), ("http.head_timeout_s", "3600")]);
    for line in ["", "Connection: close\r\n"] {
        // Who begins to read after the time finds what the two systems kept and then the end. A slow machine needs longer.
        let mut pause = std::time::Duration::from_secs(1);
        until("a client that does not read is dropped", || {
            let mut stream = small(served.address);
            stream.write_all(&with(line, chat("huge", false))).unwrap();
            pass(pause);
            pause *= 2;
            assert!(pause < PATIENCE, "it is not dropped");
            let mut bytes = 0;
            let mut part = [0; 65536];
            while let Ok(length @ 1..) = stream.read(&mut part) {
                bytes += length;
                if bytes > 2 << 20 {
                    return false;
                }
            }
            bytes > 0
        });
    }
    served.is_healthy();
}

#[test]
fn who_reads_slowly_but_reads_gets_all_of_it() {
    let served = Served::with(&[("http.write_timeout_s", "2"), ("http.head_timeout_s", "2")]);
    for line in ["", "Connection: close\r\n"] {
        let mut stream = served.connect();
        stream.write_all(&with(line, chat("huge", false))).unwrap();
        let mut bytes = Vec::new();
        let mut part = [0; 8192];
        while let Ok(length @ 1..) = stream.read(&mut part) {
            bytes.extend_from_slice(&part[..length]);
            pass(std::time::Duration::from_millis(10));
        }
        assert!(bytes.len() > 2 << 20, "only {} bytes came", bytes.len());
    }
}

#[test]
fn readers_of_events_that_stop_reading_lose_their_place() {
    let settings = [("http.max_event_streams", "2"), ("http.write_timeout_s", "0.5")];
    let served = Served::with(&settings);
    let mut stuck = [small(served.address), small(served.address)];
    for stream in &mut stuck {
        stream.write_all(EVENTS.as_bytes()).unwrap();
        assert_eq!(status(&first(stream)), 200);
    }
    check(&served.send(EVENTS.as_bytes()), 429);
    let news = LoopEvent::Trouble { actor: "test", what: "x".repeat(4096) };
    let mut told = 0;
    until("a place is free again", || {
        served.observer.take(1, &news);
        told += 1;
        let mut next = served.connect();
        next.write_all(EVENTS.as_bytes()).unwrap();
        status(&first(&mut next)) == 200
    });
    assert!(told > 10, "they were dropped although there was room for what was sent: {told}");
    served.is_healthy();
}

#[test]
fn ten_thousand_who_want_the_events_are_told_when_to_come_back_and_cost_nothing() {
    const ATTEMPTS: usize = 10_000;
    let served = Served::with(&[]);
    let mut readers: Vec<TcpStream> = (0..64).map(|_| served.connect()).collect();
    for reader in &mut readers {
        reader.write_all(EVENTS.as_bytes()).unwrap();
        assert_eq!(status(&first(reader)), 200);
    }
    // Ten tries on each connection.
    let tries = [EVENTS.replace("Connection: close\r\n", "").repeat(9), EVENTS.to_owned()].concat();
    let attempts = AtomicUsize::new(0);
    let wave = |many: usize| {
        attempts.store(0, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while attempts.fetch_add(10, Ordering::Relaxed) < many {
                        let replies = served.send(tries.as_bytes()).to_lowercase();
                        let count = |what: &str| replies.matches(what).count();
                        assert_eq!((count("http/1.1 429"), count("retry-after: 1")), (10, 10), "{replies}");
                        assert_eq!(count("content-type: application/problem+json"), 10, "{replies}");
                    }
                });
            }
        });
    };
    // What a server needs once, it has after the first tenth.
    wave(ATTEMPTS / 10);
    let before = resident_kib();
    wave(ATTEMPTS - ATTEMPTS / 10);
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more after {ATTEMPTS} attempts");
    // Those who were there first still hear what happens, and their places are free when they leave.
    served.observer.take(1, &LoopEvent::Trouble { actor: "test", what: "heard".into() });
    readers.iter_mut().for_each(|reader| assert!(first(reader).contains("heard")));
    drop(readers);
    until("a place is free again", || {
        let mut next = served.connect();
        next.write_all(EVENTS.as_bytes()).unwrap();
        status(&first(&mut next)) == 200
    });
    served.is_healthy();
}

/// Memory of this process that is really there.
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap()
}
