use std::time::Duration;

use futures::stream;

use super::*;

fn small() -> Limits {
    Limits {
        body_bytes_max: 10_000,
        decoded_bytes_max: 100_000,
        json_bytes_max: 1000,
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_body_over_the_bound_gets_a_413_however_it_comes() {
    let server = Server::with(small(), StoreOptions::default());
    let announced = server.otlp(&[("content-length", "10001")], vec![0; 10_001]).await;
    assert_eq!(announced.status, StatusCode::PAYLOAD_TOO_LARGE);
    announced.problem();
    let chunks = stream::iter((0..11).map(|_| Ok::<_, std::io::Error>(vec![0_u8; 1000])));
    let headers = [("content-type", "application/x-protobuf")];
    let streamed = server
        .send(OTLP_METRICS_PATH, &headers, Body::from_stream(chunks))
        .await;
    assert_eq!(streamed.status, StatusCode::PAYLOAD_TOO_LARGE);
    let json = server
        .send(
            OTLP_METRICS_PATH,
            &[("content-type", "application/json")],
            vec![b' '; 1001],
        )
        .await;
    assert_eq!(json.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_bomb_costs_no_more_than_the_bound() {
    let server = Server::with(small(), StoreOptions::default());
    let zeros = vec![0; 5_000_000];
    for (encoding, bomb) in [
        ("gzip", gzip(&zeros)),
        ("zstd", zstd::encode_all(&zeros[..], 1).expect("compresses")),
    ] {
        assert!(bomb.len() < 10_000, "{encoding}: {}", bomb.len());
        let answer = server.otlp(&[("content-encoding", encoding)], bomb).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{encoding}");
        assert!(
            answer.problem()["detail"]
                .as_str()
                .expect("text")
                .contains("after decompression")
        );
    }
    // Snappy says its length first: here 4 GiB less one, and then 90,000 bytes in a body of seventy.
    for claim in [vec![0xff, 0xff, 0xff, 0xff, 0x0f], vec![0x90, 0xbf, 0x05]] {
        let mut bomb = claim;
        bomb.resize(70, 0);
        let answer = server.send(REMOTE_WRITE_PATH, &[], bomb).await;
        assert!(answer.status.is_client_error(), "{}", answer.status);
        answer.problem();
    }
}

#[tokio::test]
async fn a_zstd_window_beyond_the_bound_is_refused() {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.window_log(27).expect("within what zstd writes");
    std::io::Write::write_all(&mut encoder, &vec![7; 100_000]).expect("memory takes it");
    let body = encoder.finish().expect("memory takes it");
    let server = Server::new();
    let answer = server.otlp(&[("content-encoding", "zstd")], body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_body_that_breaks_off_or_stalls_ends_its_request() {
    let server = Server::with(
        Limits {
            body_time_max: Duration::ZERO,
            ..small()
        },
        StoreOptions::default(),
    );
    let headers = [("content-type", "application/x-protobuf")];
    let stalled = Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
    assert_eq!(
        server.send(OTLP_METRICS_PATH, &headers, stalled).await.status,
        StatusCode::REQUEST_TIMEOUT
    );
    let server = Server::with(small(), StoreOptions::default());
    let broken = stream::iter([Ok(vec![0_u8; 10]), Err(std::io::Error::other("gone"))]);
    let answer = server
        .send(OTLP_METRICS_PATH, &headers, Body::from_stream(broken))
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn beyond_what_memory_and_permits_allow_the_sender_is_asked_to_come_again() {
    for limits in [
        Limits {
            buffer_bytes_max: 1000,
            ..Limits::default()
        },
        Limits {
            requests_max: 0,
            ..Limits::default()
        },
    ] {
        let server = Server::with(limits, StoreOptions::default());
        let answer = server.otlp(&[], vec![0; 2000]).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers["retry-after"], "1");
        answer.problem();
    }
}

#[tokio::test]
async fn memory_is_given_back_after_each_request() {
    let server = Server::with(
        Limits {
            buffer_bytes_max: 200_000,
            ..Limits::default()
        },
        StoreOptions::default(),
    );
    for _ in 0..20 {
        let answer = server.otlp(&[("content-encoding", "gzip")], gzip(&[])).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn more_samples_than_a_request_may_hold_are_a_413() {
    let server = Server::with(
        Limits {
            samples_per_request_max: 3,
            ..Limits::default()
        },
        StoreOptions::default(),
    );
    let mut writer = wire::remote_write::write::RequestWriter::default();
    writer.series(&[("__name__", "m")], &[(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]);
    let answer = server.remote_write(&writer.finish()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(
        answer.problem()["detail"]
            .as_str()
            .expect("text")
            .contains("more than 3 samples")
    );
    assert_eq!(server.stored(), "");
}

#[tokio::test]
async fn there_are_no_more_tenants_than_may_be() {
    let server = Server::with(
        Limits {
            tenants_max: 1,
            ..Limits::default()
        },
        StoreOptions::default(),
    );
    let send = async |tenant| server.otlp(&[("x-scope-orgid", tenant)], Vec::new()).await.status;
    assert_eq!(send("one").await, StatusCode::OK);
    assert_eq!(send("two").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(send("one").await, StatusCode::OK);
}

#[tokio::test]
async fn a_panic_while_decoding_ends_that_request_alone() {
    use axum::http::HeaderMap;

    use crate::body::{Coding, Encoding};
    use crate::telemetry::Protocol;

    let server = Server::new();
    let limits = Limits {
        buffer_bytes_max: 1000,
        requests_max: 1,
        appends_max: 1,
        ..Limits::default()
    };
    let state = Arc::new(IngestState::new(Arc::clone(&server.tenants), limits));
    for _ in 0..3 {
        let headers = HeaderMap::new();
        let decode = |_: &[u8], _: &mut crate::intake::Intake<'_>| panic!("a fault of ours");
        let body = Body::from(vec![1; 600]);
        let coding = Coding {
            encoding: Encoding::Identity,
            framed: false,
            bytes_max: 1000,
        };
        let taken = Arc::clone(&state)
            .take(Protocol::Otlp, &headers, coding, body, decode)
            .await;
        let problem = taken.expect_err("it panicked");
        // Not 503: permits and memory were given back.
        assert_eq!(problem.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!(server.otlp(&[], Vec::new()).await.status, StatusCode::OK);
}
