//! A request's body that is still held when its answer is sent before it has been read to its end.
//!
//! Invariant: such a connection is closed, within the server's own short patience. The server below drains a body in
//! chunks that nobody holds any more for as long as it comes, so a client that drips one would keep its connection for
//! ever; a body that is still held makes it close instead. The connection's seat is busy until both bodies are over.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::HttpMessage;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::Stream;

use super::access::Line;
use super::seats::{Busy, Seat};

/// The body, for the handler and for whoever sends the answer.
#[derive(Clone)]
pub(super) struct Held {
    payload: Rc<RefCell<Payload>>,
    ended: Rc<Cell<bool>>,
    /// None where there is no connection, as in tests.
    busy: Option<Rc<Busy>>,
}

impl Held {
    /// Takes the body of `request` and gives the handler a way to read it.
    pub(super) fn of(request: &mut ServiceRequest) -> Self {
        let payload = request.take_payload();
        let ended = matches!(payload, Payload::None);
        let seat = request.request().conn_data::<Arc<Seat>>();
        let busy = seat.map(|seat| Rc::new(seat.serve(ended)));
        let held = Self { payload: Rc::new(RefCell::new(payload)), ended: Rc::new(Cell::new(ended)), busy };
        if !ended {
            request.set_payload(Payload::Stream { payload: Box::pin(held.clone()) });
        }
        held
    }

    /// The answer's body, which holds what is left of the request's until it is sent, and then writes `line`.
    pub(super) fn kept_by(self, body: BoxBody, mut line: Line) -> BoxBody {
        line.whole = matches!(body.size(), BodySize::None | BodySize::Sized(0));
        BoxBody::new(Holding { body, line, _held: self })
    }
}

/// An answer's body and what it holds.
struct Holding {
    body: BoxBody,
    line: Line,
    _held: Held,
}

impl MessageBody for Holding {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Box<dyn std::error::Error>>>> {
        let next = self.body.as_pin_mut().poll_next(context);
        match &next {
            Poll::Ready(Some(Ok(bytes))) => self.line.bytes += bytes.len() as u64,
            Poll::Ready(None) => self.line.whole = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        next
    }
}

impl Stream for Held {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut *self.payload.borrow_mut()).poll_next(context);
        if matches!(next, Poll::Ready(None)) {
            self.ended.set(true);
            if let Some(busy) = &self.busy {
                busy.heard();
            }
        }
        next
    }
}
