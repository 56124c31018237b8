//! `GET /v1/events`: what happens in the loop, as server-sent events.
//!
//! Invariant: nobody waits for a reader. One who comes back with `Last-Event-ID` gets what it missed, as far as that is
//! kept; one who is too slow is told so in a comment and let go; there are never more than `http.max_event_streams`.

use std::collections::VecDeque;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::Stream;
use metrics::counter;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use super::{ApiError, Shared};
use crate::observer::{NoReader, Reader};
use crate::telemetry::metrics::EVENT_READERS_LOST;

/// The handler.
pub(super) async fn events(shared: web::Data<Shared>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    // An id that is no number was never given here: such a reader begins anew.
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()?.trim().parse().ok());
    let reader = shared.observer.read(last, shared.http.now().max_event_streams).map_err(refused)?;
    let keep_alive = Duration::from_secs_f64(shared.http.now().keep_alive_s);
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(frames(reader, keep_alive)))
}

fn refused(why: NoReader) -> ApiError {
    match why {
        NoReader::Full(most) => {
            counter!(EVENT_READERS_LOST, "reason" => "full").increment(1);
            let message = format!(
                "{most} readers of the events are there already (http.max_event_streams); close one or try again"
            );
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_event_streams", None, message)
        }
        NoReader::Ended => {
            let message = "the daemon is shutting down: nothing happens any more; try again when it is back";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "closed", None, message)
        }
    }
}

struct State {
    reader: Reader,
    ready: VecDeque<Bytes>,
    ended: bool,
}

/// The reader's events as bytes, with a comment at the beginning and whenever nothing happened for `keep_alive`.
fn frames(mut reader: Reader, keep_alive: Duration) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    let hello = if reader.whole { ": hello\nretry: 2000\n\n" } else { ": some events were missed\nretry: 2000\n\n" };
    let missed = std::mem::take(&mut reader.missed);
    let told = missed.into_iter().map(|told| Bytes::copy_from_slice(told.frame.as_bytes()));
    let ready = std::iter::once(Bytes::from_static(hello.as_bytes())).chain(told).collect();
    futures_util::stream::unfold(State { reader, ready, ended: false }, move |mut state| async move {
        if let Some(bytes) = state.ready.pop_front() {
            return Some((Ok(bytes), state));
        }
        if state.ended {
            return None;
        }
        let bytes = match timeout(keep_alive, state.reader.events.recv()).await {
            Ok(Ok(told)) => Bytes::copy_from_slice(told.frame.as_bytes()),
            Ok(Err(RecvError::Lagged(missed))) => {
                counter!(EVENT_READERS_LOST, "reason" => "slow").increment(1);
                state.ended = true;
                Bytes::from(format!(": too slow, {missed} events were missed; come back with Last-Event-ID\n\n"))
            }
            Ok(Err(RecvError::Closed)) => return None,
            Err(_) => Bytes::from_static(b": still here\n\n"),
        };
        Some((Ok(bytes), state))
    })
}
