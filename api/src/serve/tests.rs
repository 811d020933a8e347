use std::net::{Ipv4Addr, SocketAddr};

use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

async fn start(connections: Connections) -> Running {
    let port = Port::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await
        .expect("a free port");
    let (stop, stopped) = watch::channel(false);
    let address = port.address();
    let held = || async { axum::body::Body::from_stream(futures::stream::pending::<io::Result<axum::body::Bytes>>()) };
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/held", get(held));
    Running {
        address,
        stop,
        task: tokio::spawn(port.serve(router, connections, stopped)),
    }
}

async fn ask(address: SocketAddr, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(sent).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read to the end");
    answer
}

#[tokio::test]
async fn a_request_is_answered_and_the_port_drains() {
    let running = start(Connections::default()).await;
    let answer = ask(
        running.address,
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"),
        "{answer}"
    );
    running.stop.send_replace(true);
    running.task.await.expect("ends by itself");
    assert!(TcpStream::connect(running.address).await.is_err(), "closed");
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_let_go() {
    let running = start(Connections {
        header_timeout: Duration::from_millis(20),
        ..Connections::default()
    })
    .await;
    assert_eq!(ask(running.address, b"").await, "");
    assert_eq!(ask(running.address, b"P").await, "");
    let half = ask(running.address, b"GET / HTTP/1.1\r\nhost:").await;
    assert!(!half.contains("200 OK"), "{half}");
}

#[tokio::test]
async fn silent_connections_do_not_keep_others_out_for_good() {
    let bounds = Connections {
        seats: Seats::new(2),
        header_timeout: Duration::from_millis(50),
        ..Connections::default()
    };
    let running = start(bounds).await;
    let _silent = [
        TcpStream::connect(running.address).await,
        TcpStream::connect(running.address).await,
    ];
    let answer = ask(
        running.address,
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.ends_with("hello"), "{answer}");
}

/// A connection that stays open, on which `path` was asked for and the answer's headers and this much of its body came.
async fn kept(address: SocketAddr, path: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    again(&mut stream, path, body).await;
    stream
}

async fn again(stream: &mut TcpStream, path: &str, body: &str) {
    let sent = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    stream.write_all(sent.as_bytes()).await.expect("sent");
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).ends_with(&format!("\r\n\r\n{body}")) {
        assert_ne!(stream.read_buf(&mut heard).await.expect("read"), 0, "closed");
    }
}

#[tokio::test]
async fn connections_between_two_requests_make_room_for_new_ones_and_running_requests_do_not() {
    // Nobody is closed for being slow here.
    let bounds = Connections {
        seats: Seats::new(3),
        header_timeout: Duration::from_secs(600),
        ..Connections::default()
    };
    let running = start(bounds).await;
    let busy = kept(running.address, "/held", "").await;
    let mut agent = kept(running.address, "/", "hello").await;
    let mut other = kept(running.address, "/", "hello").await;
    // From here on the other one has rested longest.
    again(&mut agent, "/", "hello").await;
    let mut new = kept(running.address, "/", "hello").await;
    assert_eq!(other.read(&mut [0; 8]).await.expect("closed in order"), 0);
    again(&mut agent, "/", "hello").await;
    again(&mut new, "/", "hello").await;
    let byte = busy.try_read(&mut [0; 8]).expect_err("neither closed nor answered");
    assert_eq!(byte.kind(), io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn where_all_connections_are_busy_the_next_one_waits_until_one_rests() {
    let bounds = Connections {
        seats: Seats::new(1),
        header_timeout: Duration::from_secs(600),
        ..Connections::default()
    };
    let running = start(bounds).await;
    let busy = kept(running.address, "/held", "").await;
    let mut waits = TcpStream::connect(running.address).await.expect("connected");
    let sent = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    waits.write_all(sent).await.expect("sent");
    drop(busy);
    let mut answer = String::new();
    waits.read_to_string(&mut answer).await.expect("read to the end");
    assert!(answer.ends_with("hello"), "{answer}");
}
