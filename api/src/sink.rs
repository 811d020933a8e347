//! A webhook receiver that keeps what arrives, for the demo and for tests: somebody to send alerts to where there is nobody yet.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use tokio::sync::watch;

use crate::serve::{Connections, Port};

/// Notifications that are kept; older ones make room.
const KEPT: usize = 1024;
/// Bytes of a notification.
const BODY_BYTES: usize = 4 << 20;

/// One notification as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// The header `Idempotency-Key`: the same for repeats of one notification.
    pub idempotency_key: Option<String>,
    /// The payload.
    pub body: serde_json::Value,
}

/// A webhook receiver on a port of its own.
#[derive(Clone, Debug)]
pub struct Sink {
    address: SocketAddr,
    received: Arc<Mutex<VecDeque<Received>>>,
}

impl Sink {
    /// Listens on `address` (port 0 takes a free one) until `shutdown` turns true.
    ///
    /// # Errors
    /// What the system says, as a port in use.
    pub async fn start(address: SocketAddr, shutdown: watch::Receiver<bool>) -> io::Result<Self> {
        let port = Port::bind(address).await?;
        let sink = Self {
            address: port.address(),
            received: Arc::default(),
        };
        let router = Router::new()
            .route("/alerts", post(receive))
            .layer(DefaultBodyLimit::max(BODY_BYTES))
            .with_state(Arc::clone(&sink.received));
        tokio::spawn(port.serve(router, Connections::default(), shutdown));
        Ok(sink)
    }

    /// Where to send notifications.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/alerts", self.address)
    }

    /// What arrived since the last call, in order.
    #[must_use]
    pub fn take(&self) -> Vec<Received> {
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
            .collect()
    }
}

async fn receive(
    State(received): State<Arc<Mutex<VecDeque<Received>>>>,
    headers: HeaderMap,
    Json(body): Json<serde_json::Value>,
) -> StatusCode {
    let idempotency_key = headers
        .get("Idempotency-Key")
        .and_then(|v| v.to_str().ok())
        .map(str::to_owned);
    let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
    if received.len() == KEPT {
        received.pop_front();
    }
    received.push_back(Received { idempotency_key, body });
    StatusCode::OK
}
