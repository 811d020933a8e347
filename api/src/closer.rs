//! Asks the agents of hosts that are warned of to look closer.
//!
//! An agent names its host with each batch of readings (`X-Foreshock-Host`); where the newest scores warn of that host, the answer says so
//! (`X-Foreshock-Sampling`), and the agent reads each second for the next minute. Telemetry is taken as before, whatever the header says.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn};

use crate::board::Board;
use crate::params::{DEFAULT_TENANT, TENANT_HEADER};

/// The host whose readings a request bears.
const HOST_HEADER: HeaderName = HeaderName::from_static("x-foreshock-host");
/// `fast` where each second counts.
const SAMPLING_HEADER: HeaderName = HeaderName::from_static("x-foreshock-sampling");

/// `router`, whose answers to agents say whether they are to look closer.
pub fn asking(router: Router, board: Arc<Board>) -> Router {
    router.layer(from_fn(move |request: Request, next: Next| {
        let is_warned = is_warned(&board, &request);
        async move {
            let mut response = next.run(request).await;
            if is_warned && response.status().is_success() {
                let fast = HeaderValue::from_static("fast");
                response.headers_mut().insert(SAMPLING_HEADER, fast);
            }
            response
        }
    }))
}

fn is_warned(board: &Board, request: &Request) -> bool {
    let named = |name: &str| request.headers().get(name)?.to_str().ok();
    let Some(host) = request.headers().get(HOST_HEADER).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    board.is_warned(named(TENANT_HEADER).unwrap_or(DEFAULT_TENANT), host)
}
