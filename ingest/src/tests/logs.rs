use std::io::Write as _;

use store::table::Table;
use wire::otlp::response::read_export_response;
use wire::protobuf::{put_bytes_field, put_fixed64_field, put_varint_field};

use super::*;
use crate::{OTLP_GRPC_LOGS_PATH, OTLP_LOGS_PATH};

/// A message from its fields.
fn message(fields: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    fields(&mut out);
    out
}

fn pair(key: &str, value: &str) -> Vec<u8> {
    let value = message(|out| put_bytes_field(out, 1, value.as_bytes()));
    message(|out| {
        put_bytes_field(out, 1, key.as_bytes());
        put_bytes_field(out, 2, &value);
    })
}

/// A record that says `body`, `offset_ms` from the server's clock; without a time where there is no offset.
fn record(body: &str, offset_ms: Option<i64>) -> Vec<u8> {
    let text = message(|out| put_bytes_field(out, 1, body.as_bytes()));
    message(|out| {
        if let Some(offset) = offset_ms {
            put_fixed64_field(out, 1, ((NOW_MS + offset) * 1_000_000) as u64);
        }
        put_varint_field(out, 2, 17);
        put_bytes_field(out, 3, b"ERROR");
        put_bytes_field(out, 5, &text);
        put_bytes_field(out, 6, &pair("hw.id", "GPU-1"));
        put_bytes_field(out, 9, &[0xab; 16]);
        put_bytes_field(out, 12, b"xid");
    })
}

fn request(records: &[Vec<u8>]) -> Vec<u8> {
    let resource = message(|out| {
        put_bytes_field(out, 1, &pair("host.name", "gpu-17"));
        put_bytes_field(out, 1, &pair("service.name", "kernel"));
    });
    let scope = message(|out| put_bytes_field(out, 1, b"kmsg"));
    let logs = message(|out| {
        put_bytes_field(out, 1, &scope);
        records.iter().for_each(|record| put_bytes_field(out, 2, record));
    });
    let of_resource = message(|out| {
        put_bytes_field(out, 1, &resource);
        put_bytes_field(out, 2, &logs);
    });
    message(|out| put_bytes_field(out, 1, &of_resource))
}

impl Server {
    async fn logs(&self, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        // So that refusals come as text.
        let mut all = vec![
            ("content-type", "application/x-protobuf"),
            ("accept", "application/json"),
        ];
        all.extend_from_slice(headers);
        self.send(OTLP_LOGS_PATH, &all, body).await
    }

    /// Rows of `logs` in the default tenant.
    fn log_rows(&self) -> usize {
        let snapshot = self.tenants.get("default").map(|store| store.table(Table::Logs));
        snapshot.map_or(0, |snapshot| snapshot.rows.iter().map(|batch| batch.num_rows()).sum())
    }

    /// The rows as Arrow prints them.
    fn log_text(&self) -> String {
        format!("{:?}", self.store("default").table(Table::Logs).rows)
    }
}

#[tokio::test]
async fn records_are_rows_with_what_they_are_about() {
    let server = Server::new();
    let answer = server
        .logs(&[], request(&[record("Xid 79", Some(0)), record("Xid 31", Some(-5))]))
        .await;
    assert_eq!(
        (answer.status, answer.body.len()),
        (StatusCode::OK, 0),
        "{}",
        answer.text()
    );
    assert_eq!(server.log_rows(), 2);
    let text = server.log_text();
    let trace = "abababababababababababababababab";
    for part in [
        "Xid 79",
        "Xid 31",
        "gpu-17",
        "kernel",
        "ERROR",
        "GPU-1",
        "kmsg",
        "xid",
        trace,
        "2026-01-01T00:00:00+00:00",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn compressed_bodies_and_json_are_the_same_records() {
    let server = Server::new();
    let body = request(&[record("Xid 79", Some(0))]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&body).expect("compresses");
    let answer = server
        .logs(&[("content-encoding", "gzip")], gzip.finish().expect("compresses"))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let once = server.log_text();
    let other = Server::new();
    let json = serde_json::json!({ "resourceLogs": [{
        "resource": { "attributes": [
            { "key": "host.name", "value": { "stringValue": "gpu-17" } },
            { "key": "service.name", "value": { "stringValue": "kernel" } },
        ] },
        "scopeLogs": [{ "scope": { "name": "kmsg" }, "logRecords": [{
            "timeUnixNano": (NOW_MS * 1_000_000).to_string(), "severityNumber": 17, "severityText": "ERROR",
            "body": { "stringValue": "Xid 79" }, "eventName": "xid",
            "attributes": [{ "key": "hw.id", "value": { "stringValue": "GPU-1" } }],
            "traceId": "ab".repeat(16),
        }] }],
    }] });
    let answer = other
        .send(
            OTLP_LOGS_PATH,
            &[("content-type", "application/json")],
            json.to_string(),
        )
        .await;
    assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "{}"));
    assert_eq!(other.log_text(), once);
}

#[tokio::test]
async fn what_cannot_be_taken_is_told_and_the_rest_is_stored() {
    let server = Server::new();
    let hour = 3_600_000;
    let body = request(&[
        record("good", Some(0)),
        record("timeless", None),
        record("ahead", Some(hour)),
    ]);
    let answer = server.logs(&[], body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let (rejected, words) = read_export_response(&answer.body).expect("a partial success");
    assert_eq!(rejected, 2);
    assert!(words.starts_with("records refused"), "{words}");
    assert_eq!(server.log_rows(), 1);
    let nothing = server.logs(&[], request(&[record("timeless", None)])).await;
    assert_eq!(nothing.status, StatusCode::BAD_REQUEST, "{}", nothing.text());
}

#[tokio::test]
async fn a_batch_with_an_id_counts_once() {
    let server = Server::new();
    let send = async |id: &'static str| {
        server
            .logs(&[("idempotency-key", id)], request(&[record("x", Some(0))]))
            .await
    };
    for id in ["a/1/7", "a/1/7", "a/1/8", "a/1/7"] {
        let answer = send(id).await;
        assert_eq!(
            (answer.status, answer.body.len()),
            (StatusCode::OK, 0),
            "{}",
            answer.text()
        );
    }
    assert_eq!(server.log_rows(), 2);
    let answer = server
        .logs(
            &[("idempotency-key", &"x".repeat(300))],
            request(&[record("x", Some(0))]),
        )
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(
        answer.problem()["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("256"))
    );
}

#[tokio::test]
async fn every_prefix_of_a_body_is_whole_or_refused() {
    let server = Server::new();
    let body = request(&[record("one", Some(0))]);
    for length in 1..body.len() {
        let answer = server.logs(&[], body[..length].to_vec()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{length}: {}", answer.text());
    }
    assert_eq!(server.log_rows(), 0);
    let answer = server
        .send(
            OTLP_LOGS_PATH,
            &[("content-type", "text/plain"), ("accept", "application/json")],
            "hello",
        )
        .await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(
        answer.problem()["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("ExportLogsServiceRequest"))
    );
}

#[tokio::test]
async fn a_call_over_grpc_is_the_same_records() {
    let (server, over_http) = (Server::new(), Server::new());
    let body = request(&[record("Xid 79", Some(0)), record("timeless", None)]);
    over_http.logs(&[], body.clone()).await;
    let mut frame = vec![0];
    frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
    frame.extend_from_slice(&body);
    let headers = [("content-type", "application/grpc"), ("idempotency-key", "7")];
    for _ in 0..2 {
        let answer = server.send(OTLP_GRPC_LOGS_PATH, &headers, frame.clone()).await;
        assert_eq!(answer.status, StatusCode::OK);
        let (rejected, words) = read_export_response(&answer.body[5..]).expect("a partial success");
        assert!(
            rejected == 1 && words.starts_with("records refused"),
            "{rejected} {words}"
        );
    }
    assert_eq!((server.log_rows(), server.log_text()), (1, over_http.log_text()));
    let answer = server
        .send(OTLP_GRPC_LOGS_PATH, &headers[..1], &b"\0\0\0\0\x01\xff"[..])
        .await;
    assert_eq!(answer.headers["grpc-status"], "3");
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused_alone_and_a_request_as_a_whole() {
    let server = Server::new();
    let huge = "x".repeat(1 << 20);
    let answer = server
        .logs(&[], request(&[record("good", Some(0)), record(&huge, Some(0))]))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let (rejected, words) = read_export_response(&answer.body).expect("a partial success");
    assert!(rejected == 1 && words.contains("too large"), "{rejected} {words}");
    assert_eq!(server.log_rows(), 1);

    // One resource of half a megabyte is sent once and stored with each of its records.
    let resource = message(|out| put_bytes_field(out, 1, &pair("note", &huge[..1 << 19])));
    let small = message(|out| put_fixed64_field(out, 1, (NOW_MS * 1_000_000) as u64));
    let logs = message(|out| (0..200).for_each(|_| put_bytes_field(out, 2, &small)));
    let of_resource = message(|out| {
        put_bytes_field(out, 1, &resource);
        put_bytes_field(out, 2, &logs);
    });
    let answer = server
        .logs(&[], message(|out| put_bytes_field(out, 1, &of_resource)))
        .await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", answer.text());
    assert_eq!(server.log_rows(), 1);
}

#[tokio::test]
async fn attributes_that_no_record_may_have_are_not_gathered() {
    let server = Server::new();
    // An empty attribute is two bytes of the message, and some fifty in memory.
    let empty = |key: u8| [key, 0].repeat(200_000);
    let of_resource = message(|out| {
        let logs = message(|out| (0..3).for_each(|_| put_bytes_field(out, 2, &record("of such a resource", Some(0)))));
        put_bytes_field(out, 1, &empty(0x0a));
        put_bytes_field(out, 2, &logs);
    });
    let with_many = [record("with many", Some(0)), empty(0x32)].concat();
    let map = message(|out| put_bytes_field(out, 6, &empty(0x0a)));
    let with_a_map = [record("", Some(0)), message(|out| put_bytes_field(out, 5, &map))].concat();
    let mut body = message(|out| put_bytes_field(out, 1, &of_resource));
    body.extend(request(&[record("good", Some(0)), with_many, with_a_map]));
    let answer = server.logs(&[], body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let (rejected, words) = read_export_response(&answer.body).expect("a partial success");
    assert_eq!(rejected, 5, "{words}");
    // And not how many bytes there are.
    assert!(
        words.contains("a list of attributes takes more than 1048576 bytes"),
        "{words}"
    );
    assert_eq!(server.log_rows(), 1);
    assert!(server.log_text().contains("good"));
}

#[tokio::test]
async fn many_records_are_several_batches_and_come_again_as_the_same_ones() {
    let server = Server::new();
    let text = "x".repeat(100_000);
    let records: Vec<_> = (0..100).map(|i| record(&format!("{i} {text}"), Some(-i))).collect();
    for _ in 0..2 {
        let answer = server.logs(&[("idempotency-key", "big")], request(&records)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
    assert_eq!(server.log_rows(), 100);
    assert!(server.store("default").table(Table::Logs).rows.len() > 1);
}
