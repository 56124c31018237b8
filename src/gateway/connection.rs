//! A connection that is given up when what is sent is not taken.
//!
//! Invariant: an answer waits for its reader's patience no longer than `http.write_timeout_s` at a time. Then the
//! connection fails, so that whatever makes the answer is dropped with it. What waits unread is bounded: the server's
//! write buffer, one piece of the answer, and the socket's own buffer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::seats::Seat;

/// A socket, its seat, and since when it takes nothing.
pub(super) struct Connection<S = TcpStream> {
    io: S,
    seat: Arc<Seat>,
    patience: Duration,
    blocked: Option<Pin<Box<Sleep>>>,
}

impl<S> Connection<S> {
    /// `io` on a seat; it may take nothing for `patience`.
    pub(super) fn new(io: S, seat: Arc<Seat>, patience: Duration) -> Self {
        Self { io, seat, patience, blocked: None }
    }

    /// Its seat.
    pub(super) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Poll::Ready(written) = Pin::new(&mut this.io).poll_write(context, bytes) {
            this.blocked = None;
            this.seat.moved();
            return Poll::Ready(written);
        }
        let (patience, seat) = (this.patience, &this.seat);
        let blocked = this.blocked.get_or_insert_with(|| {
            seat.stuck();
            Box::pin(sleep(patience))
        });
        ready!(blocked.as_mut().poll(context));
        tracing::debug!(seconds = patience.as_secs_f64(), "a client takes nothing of what is sent; it is dropped");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was taken (http.write_timeout_s)")))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
