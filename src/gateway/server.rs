//! The server: sockets, seats and the application, put together.
//!
//! Invariant: the listening socket is always read, so nobody waits in it behind others; that a connection ends never
//! depends on its client. Up to `http.max_connections` are served; as many may be on their way out.

use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{Extensions, HttpService, KeepAlive};
use actix_rt::net::TcpStream;
use actix_server::Server;
use actix_service::{IntoServiceFactory, Service, ServiceFactoryExt, apply_fn_factory, map_config};
use actix_web::dev::AppConfig;
use actix_web::http::StatusCode;
use actix_web::{App, middleware, web};
use anyhow::Context;
use futures_util::future::Either;
use metrics::counter;
use socket2::SockRef;
use tokio::io::AsyncWrite;

use super::connection::Connection;
use super::limits::Peer;
use super::seats::Seats;
use super::{ApiError, Shared, guard, observe, problem, routes};
use crate::config::Http;
use crate::telemetry::metrics::HTTP_REQUESTS;

/// Seconds that requests in flight get to finish once the server stops.
const SHUTDOWN_SECONDS: u64 = 10;
/// How long a connection may take to end once its last answer is sent.
const FAREWELL: Duration = Duration::from_secs(1);
/// Connections that may wait in the listening socket: more come at once only by intent, and a few ms later it is empty.
const BACKLOG: i32 = 1024;
/// Bytes that a socket keeps of what is not yet taken (the kernel doubles it). It would else grow to megabytes a client.
const SEND_BUFFER: usize = 128 * 1024;
/// Connections on their way out beside as many as are served.
const LEAVING: usize = 64;

/// Takes the configured address, so that a port in use is found before anything else is started.
pub fn listen(http: &Http) -> anyhow::Result<TcpListener> {
    TcpListener::bind(http.bind).with_context(|| {
        format!("cannot listen on {} (http.bind); stop what uses it or set another address", http.bind)
    })
}

/// Serves on `listener` until the returned server is stopped. Must be called within an actix system.
pub fn serve(listener: TcpListener, shared: Shared) -> anyhow::Result<Server> {
    let http = shared.http.now();
    let head_timeout = Duration::from_secs_f64(http.head_timeout_s);
    let write_timeout = Duration::from_secs_f64(http.write_timeout_s);
    let address = listener.local_addr().context("the listening socket has no address")?;
    let socket = SockRef::from(&listener);
    let set = socket.listen(BACKLOG).and_then(|()| socket.set_send_buffer_size(SEND_BUFFER));
    set.context("the listening socket cannot be set up")?;
    let seats = Seats::new(http.max_connections);
    // What is beyond the seats has been given up or refused and ends by itself.
    let accepted = http.max_connections.saturating_mul(2).saturating_add(LEAVING);
    let builder = Server::build().workers(1).max_concurrent_connections(accepted);
    let builder = builder.shutdown_timeout(SHUTDOWN_SECONDS).disable_signals();
    let ending = builder.graceful_shutdown_signal();
    let factory = move || {
        let app = App::new()
            .app_data(web::Data::new(shared.clone()))
            .wrap(middleware::from_fn(guard::guard))
            .configure(routes)
            .default_service(web::to(observe::not_found));
        let app = app.into_factory().map_err(|error: actix_web::Error| error.error_response());
        let ending = ending.clone();
        let http = HttpService::build()
            .keep_alive(KeepAlive::Timeout(head_timeout))
            .client_request_timeout(head_timeout)
            .client_disconnect_timeout(FAREWELL)
            .graceful_shutdown_signal(move || {
                let ending = ending.clone();
                async move { ending.notified().await }
            })
            .local_addr(address)
            .on_connect_ext(|connection: &Connection, data: &mut Extensions| {
                data.insert(connection.seat().clone());
            })
            .h1(map_config(app, |()| AppConfig::default()));
        let seats = seats.clone();
        apply_fn_factory(http, move |io: TcpStream, http| {
            let peer = io.peer_addr().ok();
            match seats.enter(Peer::at(peer.map(|peer| peer.ip()))) {
                Some(seated) => {
                    let connection = Connection::new(io, seated.seat.clone(), write_timeout);
                    let served = http.call((connection, peer));
                    Either::Left(async move {
                        tokio::select! {
                            served = served => served,
                            () = seated.seat.over(head_timeout + FAREWELL) => Ok(()),
                        }
                    })
                }
                None => Either::Right(turned_away(io)),
            }
        })
    };
    Ok(builder.listen("http", listener, factory).context("cannot serve on the address")?.run())
}

/// Says that there is no room, and hears what the client has to say before it hangs up, so that the reply is not lost.
async fn turned_away(mut io: TcpStream) -> Result<(), DispatchError> {
    counter!(HTTP_REQUESTS, "route" => "full", "status" => "503").increment(1);
    let said = async {
        let mut reply = no_room().into_bytes();
        while !reply.is_empty() {
            io.writable().await?;
            match io.try_write(&reply) {
                Ok(written) => drop(reply.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        poll_fn(|context| Pin::new(&mut io).poll_shutdown(context)).await?;
        let mut unheard = [0; 4096];
        loop {
            io.readable().await?;
            match io.try_read(&mut unheard) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
    };
    // Whoever does not hear it within the time, or has gone, needs no reply.
    let _ = tokio::time::timeout(FAREWELL, said).await;
    Ok(())
}

/// The reply where there is no room: the path is not known yet, so the body has both forms of an error.
fn no_room() -> String {
    let message = "every connection is in use (http.max_connections); try again in a moment";
    let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_room", None, message);
    let mut body = problem::details(&error, Some(1));
    body["error"] = error.body()["error"].take();
    let body = body.to_string();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {}\r\ncontent-length: {}\r\nretry-after: 1\r\n\
         connection: close\r\n\r\n{body}",
        problem::PROBLEM_JSON,
        body.len()
    )
}
