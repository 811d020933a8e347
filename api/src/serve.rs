//! A router on a socket, with TLS or without: bounded in connections, patient with nobody, drained before it goes.
//!
//! `axum::serve` sets no time limit on headers and no bound on connections, so that a few hundred clients that send
//! nothing hold a server for good. Here a connection that has not sent a whole request in time is closed, and where there are as
//! many as there may be, those that rest make room for new ones.

mod seats;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use self::seats::Seat;
pub use self::seats::Seats;
use crate::access::Peer;
use crate::tls::Tls;

/// Bounds of the connections to one port.
#[derive(Clone, Debug)]
pub struct Connections {
    /// How many there are at once; several ports may share them.
    pub seats: Seats,
    /// From the opening of a connection, or the end of the request before, to the end of the next request's headers.
    pub header_timeout: Duration,
    /// How long running requests may take after the shutdown began.
    pub drain: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            seats: Seats::new(1024),
            header_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

/// A bound port that does not answer yet, so that its number is known before anything starts.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
}

impl Port {
    /// Binds `address`; port 0 takes any free one.
    ///
    /// # Errors
    /// What the system says, as a port in use.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self {
            listener,
            address,
            tls: None,
        })
    }

    /// The same port, speaking TLS alone.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Tls>) -> Self {
        self.tls = tls;
        self
    }

    /// The address with the number that was taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers with `router` until `shutdown` turns true; then lets running requests end within [`Connections::drain`].
    pub async fn serve(self, router: Router, connections: Connections, mut shutdown: watch::Receiver<bool>) {
        let seats = connections.seats.clone();
        loop {
            let accepted = tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => break,
                accepted = self.accept(&seats) => accepted,
            };
            match accepted {
                Ok((stream, seat)) => {
                    let tls = self.tls.as_ref().map(|tls| TlsAcceptor::from(tls.config()));
                    let (router, connections, shutdown) = (router.clone(), connections.clone(), shutdown.clone());
                    tokio::spawn(async move {
                        match tls {
                            None => answer(stream, None, router, (connections, seat), shutdown).await,
                            Some(tls) => {
                                let mut stopping = shutdown.clone();
                                let shaken = tokio::select! {
                                    _ = stopping.wait_for(|stop| *stop) => None,
                                    () = seat.asked_to_leave() => None,
                                    shaken = shake_hands(&tls, stream, connections.header_timeout) => shaken,
                                };
                                if let Some(stream) = shaken {
                                    let peer = peer(&stream);
                                    answer(stream, peer, router, (connections, seat), shutdown).await;
                                }
                            }
                        }
                    });
                }
                // Out of file descriptors, most likely: the listener is sound, so have another one close and wait for it.
                Err(error) => {
                    tracing::warn!(%error, address = %self.address, "cannot accept a connection");
                    seats.send_one_away();
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self.listener);
        if tokio::time::timeout(connections.drain, seats.empty()).await.is_err() {
            tracing::warn!(address = %self.address, "requests were cut off at shutdown");
        }
    }

    async fn accept(&self, seats: &Seats) -> io::Result<(TcpStream, Arc<Seat>)> {
        let (stream, _) = self.listener.accept().await?;
        // Answers are written in one go; waiting for more to send would only delay them.
        stream.set_nodelay(true)?;
        Ok((stream, Arc::new(seats.take().await)))
    }
}

/// What a client is told that speaks HTTP where TLS is spoken; anything shorter would leave people guessing.
const NO_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 48\r\n\
    Connection: close\r\n\r\nthis port speaks TLS: use https:// in its place\n";

/// Bytes of a request without TLS that are read over.
const UNREAD_BYTES_MAX: u64 = 1 << 20;

/// `None` when the client speaks no TLS, does not believe us, or takes longer than it may.
async fn shake_hands(
    tls: &TlsAcceptor,
    mut stream: TcpStream,
    time: Duration,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    let hands = async {
        let mut first = [0];
        stream.peek(&mut first).await?;
        // A method's first letter; TLS begins with the byte 22 (RFC 8446, section 5.1).
        if first[0].is_ascii_uppercase() {
            stream.write_all(NO_TLS).await?;
            stream.shutdown().await?;
            // What is left unread would reset the connection, and the answer with it.
            tokio::io::copy(&mut (&mut stream).take(UNREAD_BYTES_MAX), &mut tokio::io::sink()).await?;
            return Err(io::Error::other("the client speaks HTTP without TLS"));
        }
        tls.accept(stream).await
    };
    match tokio::time::timeout(time, hands).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "no TLS handshake");
            None
        }
        Err(_) => {
            tracing::debug!("connection closed: no TLS handshake in time");
            None
        }
    }
}

/// The host whose certificate the client has shown.
fn peer(stream: &tokio_rustls::server::TlsStream<TcpStream>) -> Option<Arc<Peer>> {
    let shown = stream.get_ref().1.peer_certificates()?.first()?;
    Peer::read(shown).map(Arc::new)
}

/// How long a connection that is to make room may take to end what it has begun.
const LEAVE: Duration = Duration::from_secs(1);

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Option<Arc<Peer>>,
    router: Router,
    (connections, seat): (Connections, Arc<Seat>),
    mut shutdown: watch::Receiver<bool>,
) {
    let asked = Arc::new(AtomicBool::new(false));
    let (saw_request, taken) = (Arc::clone(&asked), Arc::clone(&seat));
    let service = tower::service_fn(move |mut request: axum::http::Request<hyper::body::Incoming>| {
        saw_request.store(true, Ordering::Relaxed);
        let begun = taken.begin();
        if let Some(peer) = &peer {
            request.extensions_mut().insert(Arc::clone(peer));
        }
        let answered = router.clone().oneshot(request.map(axum::body::Body::new));
        async move {
            let response = answered.await?;
            Ok::<_, Infallible>(response.map(|body| begun.until_end_of(body)))
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(connections.header_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .keep_alive_interval(Some(Duration::from_secs(60)))
        .keep_alive_timeout(Duration::from_secs(20));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)));
    // The builder reads the first bytes to tell HTTP/1 from HTTP/2 before any of its own timers run.
    let first_request = async {
        tokio::time::sleep(connections.header_timeout).await;
        if asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let mut first_request = pin!(first_request);
    let mut until = pin!(tokio::time::sleep(LEAVE));
    let (mut stopping, mut leaving) = (false, false);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error = %error, "connection ended");
                }
                break;
            }
            () = first_request.as_mut() => {
                tracing::debug!("connection closed: no request in time");
                break;
            }
            _ = shutdown.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = seat.asked_to_leave(), if !leaving => {
                leaving = true;
                until.as_mut().reset(Instant::now() + LEAVE);
                connection.as_mut().graceful_shutdown();
            }
            () = until.as_mut(), if leaving => {
                if seat.is_resting() {
                    tracing::debug!("connection closed: it rested, and others wanted in");
                    break;
                }
                // A request came in the same moment, and is the last one.
                until.as_mut().reset(Instant::now() + LEAVE);
            }
        }
    }
}

#[cfg(test)]
mod tests;
