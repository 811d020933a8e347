//! Remote read: what a Prometheus asks for, and the bytes that it gets.

use wire::protobuf::{put_bytes_field, put_varint_field};
use wire::remote_read::{chunk, write as answers};

use super::*;

const LABELS: [(&str, &str); 2] = [("__name__", "requests_total"), ("host_name", "a")];

/// A request for `metric` of host a in the last three minutes.
fn request(metric: &str, types: &[u64]) -> Vec<u8> {
    let matcher = |op: u64, name: &str, value: &str| {
        let mut out = Vec::new();
        put_varint_field(&mut out, 1, op);
        put_bytes_field(&mut out, 2, name.as_bytes());
        put_bytes_field(&mut out, 3, value.as_bytes());
        out
    };
    let mut query = Vec::new();
    put_varint_field(&mut query, 1, (NOW - 120_000) as u64);
    put_varint_field(&mut query, 2, NOW as u64);
    put_bytes_field(&mut query, 3, &matcher(0, "__name__", metric));
    put_bytes_field(&mut query, 3, &matcher(2, "host_name", "a|z.*"));
    let mut body = Vec::new();
    put_bytes_field(&mut body, 1, &query);
    for kind in types {
        // A zero is left out by the other function, and is said here.
        body.extend_from_slice(&[2 << 3, *kind as u8]);
    }
    body
}

async fn ask(server: &Server, body: &[u8]) -> (StatusCode, HeaderMap, Vec<u8>) {
    let packed = snap::raw::Encoder::new().compress_vec(body).expect("snappy");
    let request = Request::post("/api/v1/read")
        .header("content-encoding", "snappy")
        .body(Body::from(packed))
        .expect("a request");
    let (parts, body) = server
        .router
        .clone()
        .oneshot(request)
        .await
        .expect("infallible")
        .into_parts();
    let bytes = to_bytes(body, 16 << 20).await.expect("a body");
    (parts.status, parts.headers, bytes.to_vec())
}

fn samples() -> Vec<(i64, f64)> {
    (7..10_i32)
        .map(|i| (NOW - i64::from(9 - i) * 60_000, f64::from(i) * 60.0))
        .collect()
}

#[tokio::test]
async fn samples_are_answered_in_one_message() {
    let server = Server::new();
    let (status, headers, packed) = ask(&server, &request("requests_total", &[])).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert_eq!(headers["content-encoding"], "snappy");
    let found = snap::raw::Decoder::new().decompress_vec(&packed).expect("snappy");
    let mut result = answers::ResultWriter::default();
    result.series(&mut LABELS.into_iter(), &samples(), &[]);
    let mut expected = Vec::new();
    result.finish(&mut expected);
    assert_eq!(found, expected);
}

#[tokio::test]
async fn chunks_are_answered_in_frames() {
    let server = Server::new();
    let (status, headers, found) = ask(&server, &request("requests_total", &[1, 0])).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        headers["content-type"],
        "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
    );
    let message = answers::chunks(0, &mut LABELS.into_iter(), chunk::of_numbers(&samples()));
    let mut expected = vec![u8::try_from(message.len()).expect("a short message")];
    expected.extend_from_slice(&crc32c::crc32c(&message).to_be_bytes());
    expected.extend_from_slice(&message);
    assert_eq!(found, expected);
}

#[tokio::test]
async fn nothing_is_an_answer_too() {
    let server = Server::new();
    let (status, _, packed) = ask(&server, &request("nothing", &[0])).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        snap::raw::Decoder::new().decompress_vec(&packed).expect("snappy"),
        [10, 0]
    );
    let (status, _, frames) = ask(&server, &request("nothing", &[1])).await;
    assert_eq!((status, frames), (StatusCode::OK, Vec::new()));
}

#[tokio::test]
async fn what_cannot_be_read_is_a_problem_with_a_hint() {
    let server = Server::new();
    let check = async |body: Vec<u8>, status: u16, text: &str| {
        let (found, _, answer) = ask(&server, &body).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(found.as_u16(), status, "{answer}");
        assert!(answer.contains(text) && answer.contains("hint"), "{answer}");
    };
    check(vec![0xff; 20], 400, "no prometheus.ReadRequest").await;
    check(request("up", &[7]), 400, "accepted response types").await;
    let request = Request::post("/api/v1/read")
        .body(Body::from("no snappy"))
        .expect("a request");
    let answer = server.send(request).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body.contains("snappy"), "{}", answer.body);
    let request = Request::post("/api/v1/read").header("content-encoding", "gzip");
    let answer = server.send(request.body(Body::empty()).expect("a request")).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}
