use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use simulate::Failure;

use super::*;

/// A server that takes every incident as `one`: where it listens, and what it was sent, there before it answers.
fn taking() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let (heard, hears) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            let mut reader = BufReader::new(&stream);
            let mut line = String::new();
            reader.read_line(&mut line).expect("a request line");
            let mut length = 0;
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).expect("a header");
                match header.trim_end().split_once(':') {
                    Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                        length = value.trim().parse().expect("a length");
                    }
                    Some(_) => {}
                    None => break,
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            let told: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            let path = line.rsplit_once(' ').map_or("", |(request, _)| request);
            let words = format!("{path} {} {}", told["start"], told["end"]);
            heard.send(words).expect("the test listens");
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\nconnection: close\r\n\r\n{\"id\":\"one\"}";
            (&stream).write_all(answer.as_bytes()).expect("answers");
        }
    });
    (base, hears)
}

#[test]
fn an_incident_is_told_when_it_begins_and_when_it_ends() {
    let incident = |start_s: i64, end_s: i64| SimIncident {
        host: "a".to_owned(),
        device: None,
        start_ms: start_s * 1_000,
        end_ms: end_s * 1_000,
        kind: Failure::DiskFull,
        foreseeable: true,
        precursor_start_ms: start_s * 1_000,
    };
    let (base, hears) = taking();
    // Over from the first, under way, and still to come.
    let incidents = [incident(10, 20), incident(30, 60), incident(50, 90)];
    let mut operator = Operator::new(&incidents, Client::new(&base, "fleet"));
    let mut begun = Vec::new();
    for at_s in [40, 41, 55, 60, 61] {
        operator
            .until(at_s * 1_000, |incident| begun.push((at_s, incident.start_ms / 1_000)))
            .expect("the server takes it");
    }
    assert_eq!(begun, [(40, 10), (40, 30), (55, 50)]);
    let time = |seconds: i64| format!("\"{}\"", rfc3339(seconds * 1_000));
    assert_eq!(
        hears.try_iter().collect::<Vec<_>>(),
        [
            format!("POST /api/v1/incidents {} {}", time(10), time(20)),
            format!("POST /api/v1/incidents {} null", time(30)),
            format!("POST /api/v1/incidents {} null", time(50)),
            format!("PATCH /api/v1/incidents/one null {}", time(60)),
        ]
    );
}
