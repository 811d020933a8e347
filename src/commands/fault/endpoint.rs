//! A small HTTP endpoint on loopback whose answers a fault decides.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Connections served at once; those beyond are closed, as an overloaded service would.
const CONNECTIONS_MAX: usize = 64;

/// Serves on a free port for as long as the process lives. `answer` may take its time; true is a 200, false a 503.
pub(super) fn serve(answer: impl Fn() -> bool + Send + Sync + 'static) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
    let url = format!(
        "http://{}/",
        listener.local_addr().context("cannot listen on loopback")?
    );
    let answer = Arc::new(answer);
    let open = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
                open.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let (answer, open) = (Arc::clone(&answer), Arc::clone(&open));
            thread::spawn(move || {
                // A client that goes away in the middle is its own affair.
                handle(stream, answer.as_ref()).unwrap_or_default();
                open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
    Ok(url)
}

fn handle(mut stream: TcpStream, answer: &(impl Fn() -> bool + ?Sized)) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut request = Vec::new();
    let mut bytes = [0; 1024];
    // One request a connection, and its head only: this endpoint is for probes.
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < 16 << 10 {
        let n = stream.read(&mut bytes)?;
        if n == 0 {
            return Ok(());
        }
        request.extend_from_slice(&bytes[..n]);
    }
    let text = if answer() {
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\nconnection: close\r\n\r\nok\n"
    } else {
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 7\r\nconnection: close\r\n\r\nfailed\n"
    };
    stream.write_all(text.as_bytes())
}
