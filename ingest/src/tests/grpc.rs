use wire::metric::{Kind, MetricDef};
use wire::otlp::response::read_export_response;
use wire::otlp::write::RequestWriter;

use super::*;

const LOAD: MetricDef = MetricDef {
    name: "load",
    unit: "",
    kind: Kind::Gauge,
    help: "",
};

fn one(offset_ms: i64) -> Vec<u8> {
    let mut writer = RequestWriter::new(&[("host.name", "a")], "test");
    writer.metric(&LOAD).point(&[], 0, nanos(offset_ms), 0.5);
    writer.finish()
}

/// gRPC's status and message of an answer without a frame.
fn failure(answer: &Answer) -> (&str, &str) {
    assert_eq!(
        (answer.status, answer.body.len()),
        (StatusCode::OK, 0),
        "{}",
        answer.text()
    );
    let header = |name| answer.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
    assert_eq!(header("content-type"), "application/grpc");
    (header("grpc-status"), header("grpc-message"))
}

#[tokio::test]
async fn a_call_is_stored_however_it_is_compressed() {
    for (encoding, message) in [
        ("identity", one(0)),
        ("gzip", gzip(&one(0))),
        ("zstd", zstd::encode_all(&one(0)[..], 1).expect("compresses")),
    ] {
        let server = Server::new();
        let answer = server.grpc(&[("grpc-encoding", encoding)], &message).await;
        assert_eq!(answer.status, StatusCode::OK, "{encoding}");
        assert_eq!(answer.headers["content-type"], "application/grpc");
        // An empty frame; the status is in the trailers.
        assert_eq!(answer.body, [0; 5], "{encoding}");
        assert_eq!(server.stored(), "load{host_name=\"a\"} 0=0.5\n", "{encoding}");
    }
}

#[tokio::test]
async fn the_status_of_a_call_that_went_well_is_in_the_trailers() {
    use axum::body::HttpBody;
    let server = Server::new();
    let mut frame = vec![0, 0, 0, 0, one(0).len() as u8];
    frame.extend_from_slice(&one(0));
    let request = Request::post(OTLP_GRPC_PATH)
        .header("content-type", "application/grpc")
        .body(Body::from(frame))
        .expect("a valid request");
    let mut body = server.app.clone().oneshot(request).await.expect("answers").into_body();
    let mut trailers = None;
    while let Some(frame) = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await {
        trailers = frame.expect("a frame").into_trailers().ok().or(trailers);
    }
    assert_eq!(trailers.expect("trailers")["grpc-status"], "0");
}

#[tokio::test]
async fn a_part_that_is_not_taken_is_told_in_the_answer() {
    let server = Server::new();
    let mut writer = RequestWriter::new(&[("host.name", "a")], "test");
    writer
        .metric(&LOAD)
        .point(&[], 0, nanos(0), 0.5)
        .point(&[], 0, nanos(601_000), 0.5);
    let answer = server.grpc(&[], &writer.finish()).await;
    let (rejected, message) = read_export_response(&answer.body[5..]).expect("a response");
    assert!(
        rejected == 1 && message.contains("too far ahead"),
        "{rejected} {message}"
    );
}

#[tokio::test]
async fn failures_say_whether_to_come_again() {
    let server = Server::new();
    let answer = server.grpc(&[], &[0xff]).await;
    let (status, message) = failure(&answer);
    assert!(
        status == "3" && message.contains("ends inside a field"),
        "{status} {message}"
    );
    assert!(!answer.headers.contains_key("grpc-status-details-bin"), "never again");
    let answer = server.grpc(&[("grpc-encoding", "snappy")], &one(0)).await;
    assert_eq!(failure(&answer).0, "12");
    assert_eq!(answer.headers["grpc-accept-encoding"], "identity,gzip,zstd");
    assert_eq!(
        failure(&server.grpc(&[], &one(601_000)).await).0,
        "3",
        "nothing of it was stored"
    );

    let small = Limits {
        decoded_bytes_max: 10,
        ..Limits::default()
    };
    let answer = Server::with(small, StoreOptions::default()).grpc(&[], &one(0)).await;
    assert_eq!(failure(&answer).0, "8");
    assert!(
        !answer.headers.contains_key("grpc-status-details-bin"),
        "too large for ever"
    );
    let busy = Limits {
        requests_max: 0,
        ..Limits::default()
    };
    let answer = Server::with(busy, StoreOptions::default()).grpc(&[], &one(0)).await;
    assert_eq!(failure(&answer).0, "14");
    // Base64 of google.rpc.Status { code: 14, ..: its first two bytes are 8 and 14.
    let details = answer.headers["grpc-status-details-bin"].to_str().expect("text");
    assert!(details.starts_with("CA4S") && !details.ends_with('='), "{details}");
    assert_eq!(server.stored(), "");
}

#[tokio::test]
async fn what_is_no_frame_is_refused() {
    let server = Server::new();
    let headers = [("content-type", "application/grpc")];
    for body in [
        &[][..],
        &[0, 0, 0, 0],
        &[0, 0, 0, 0, 1],
        &[0, 0, 0, 0, 0, 0],
        &[1, 0, 0, 0, 1, 0],
    ] {
        let answer = server.send(OTLP_GRPC_PATH, &headers, body.to_vec()).await;
        assert_eq!(failure(&answer).0, "3", "{body:?}");
    }
    let answer = server
        .send(OTLP_GRPC_PATH, &[("content-type", "application/json")], "{}")
        .await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}
