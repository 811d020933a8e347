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
    let router = Router::new().route("/", get(|| async { "hello" }));
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
        at_once: 2,
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
