use proptest::prelude::*;
use store::{Bucket, Histogram, ResetHint};
use wire::protobuf::{put_bytes_field, put_fixed64_field, put_varint_field};
use wire::remote_write::write::{NativeHistogram, RequestWriter};

use super::*;

fn two_series() -> Vec<u8> {
    let mut writer = RequestWriter::default();
    writer.series(
        &[("__name__", "up"), ("instance", "a:9100"), ("job", "node")],
        &[(NOW_MS - 15_000, 1.0), (NOW_MS, store::stale_nan())],
    );
    writer.series(&[("job", "node"), ("__name__", "load1")], &[(NOW_MS, -0.5)]);
    writer.metadata("up", "gauge", "Whether the target answers", "");
    writer.finish()
}

const TWO_SERIES: &str = "load1{job=\"node\"} 0=-0.5\nup{instance=\"a:9100\",job=\"node\"} -15000=1 0=stale\n";

#[tokio::test]
async fn what_is_acknowledged_is_read_back() {
    let server = Server::new();
    for _ in 0..2 {
        let answer = server.remote_write(&two_series()).await;
        assert_eq!(
            (answer.status, answer.body.len()),
            (StatusCode::NO_CONTENT, 0),
            "{}",
            answer.text()
        );
        assert_eq!(server.stored(), TWO_SERIES);
    }
    let metadata = server.store("default").metadata();
    assert_eq!(
        (metadata["up"].kind.as_str(), metadata["up"].help.as_str()),
        ("gauge", "Whether the target answers")
    );
}

#[tokio::test]
async fn one_invalid_series_gets_a_400_and_the_others_are_stored() {
    let long = "v".repeat(4097);
    let many: Vec<_> = (0..65).map(|i| format!("l{i:02}")).collect();
    let many: Vec<_> = std::iter::once(("__name__", "m"))
        .chain(many.iter().map(|l| (l.as_str(), "v")))
        .collect();
    for (labels, at_ms, part) in [
        (&[("job", "x")][..], NOW_MS, "no name"),
        (&[("__name__", "")], NOW_MS, "no name"),
        (&[("__name__", "m"), ("", "x")], NOW_MS, "empty or given twice"),
        (
            &[("__name__", "m"), ("a", "1"), ("a", "2")],
            NOW_MS,
            "empty or given twice",
        ),
        (&[("__name__", "m"), ("a", long.as_str())], NOW_MS, "too long"),
        (many.as_slice(), NOW_MS, "too many labels"),
        (&[("__name__", "m")], NOW_MS + 601_000, "too far ahead"),
        (&[("__name__", "m")], i64::MAX, "1970 to 9999"),
        (&[("__name__", "m")], i64::MIN, "1970 to 9999"),
        (&[("__name__", "m")], -1, "1970 to 9999"),
    ] {
        let server = Server::new();
        let mut writer = RequestWriter::default();
        writer
            .series(&[("__name__", "good")], &[(NOW_MS, 1.0)])
            .series(labels, &[(at_ms, 2.0)]);
        let answer = server.remote_write(&writer.finish()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let detail = answer.problem()["detail"].as_str().expect("text").to_owned();
        assert!(
            detail.contains(part) && detail.contains("1 samples stored"),
            "{part:?} in {detail}"
        );
        assert_eq!(server.stored(), "good 0=1\n");
    }
}

#[tokio::test]
async fn one_bad_clock_does_not_poison_a_series() {
    let server = Server::new();
    let send = async |at_ms| {
        let mut writer = RequestWriter::default();
        writer.series(&[("__name__", "m")], &[(at_ms, 1.0)]);
        server.remote_write(&writer.finish()).await.status
    };
    assert_eq!(send(NOW_MS + 10 * 365 * 86_400_000).await, StatusCode::BAD_REQUEST);
    assert_eq!(send(NOW_MS).await, StatusCode::NO_CONTENT);
    assert_eq!(server.stored(), "m 0=1\n");
}

#[tokio::test]
async fn native_histograms_are_stored_and_wrong_ones_refused_aloud() {
    let server = Server::new();
    let good = NativeHistogram {
        at_ms: NOW_MS,
        count: 9,
        sum: 4.5,
        schema: 3,
        zero_threshold: 0.001,
        zero_count: 2,
        // Buckets -2, -1 (empty) and 0, then 5: 1, 0, 3 and 2 observations.
        positive: (vec![(-2, 3), (4, 1)], vec![1, -1, 3, -1]),
        negative: (vec![(1, 1)], vec![1]),
        reset_hint: 3,
        ..NativeHistogram::default()
    };
    let custom = NativeHistogram {
        at_ms: NOW_MS - 1000,
        count: 3,
        schema: -53,
        positive: (vec![(0, 2)], vec![1, 1]),
        bounds: vec![0.5],
        ..NativeHistogram::default()
    };
    let gone = NativeHistogram {
        at_ms: NOW_MS + 1000,
        sum: store::stale_nan(),
        ..NativeHistogram::default()
    };
    let mut writer = RequestWriter::default();
    writer.native_histograms(&[("__name__", "h")], &[custom, good.clone(), gone]);
    let answer = server.remote_write(&writer.finish()).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
    let bucket = |index, count| Bucket { index, count };
    let stored = server.histograms("h");
    assert_eq!(stored.timestamps, [NOW_MS - 1000, NOW_MS, NOW_MS + 1000]);
    assert_eq!(stored.values[0].own_bounds(), [0.5]);
    assert_eq!(stored.values[0].positive, [bucket(0, 1.0), bucket(1, 2.0)]);
    assert_eq!(
        *stored.values[1],
        Histogram {
            reset: ResetHint::Gauge,
            schema: 3,
            zero_threshold: 0.001,
            zero_count: 2.0,
            count: 9.0,
            sum: 4.5,
            positive: vec![bucket(-2, 1.0), bucket(0, 3.0), bucket(5, 2.0)],
            negative: vec![bucket(1, 1.0)],
            bounds: None,
        }
    );
    assert!(stored.values[2].is_stale());

    let check = async |change: &dyn Fn(&mut NativeHistogram), expected: &str| {
        let mut wrong = good.clone();
        change(&mut wrong);
        let mut writer = RequestWriter::default();
        writer.native_histograms(&[("__name__", "h"), ("job", "x")], &[wrong]);
        let answer = server.remote_write(&writer.finish()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let detail = answer.problem()["detail"].as_str().expect("text").to_owned();
        assert!(
            detail.contains(expected) && detail.contains(r#"h{job="x"}"#),
            "{detail}"
        );
    };
    check(&|h| h.count = 8, "it counts 8 observations, its buckets hold 9").await;
    check(&|h| h.schema = 77, "schema 77 is not one of").await;
    check(&|h| h.positive.0[1].0 = -1, "do not ascend").await;
    check(
        &|h| h.positive.0[1].1 = 4_000_000_000,
        "spans name 4000000003 buckets, it has counts of 4",
    )
    .await;
    check(&|h| h.positive.1[0] = -1, "a bucket holds -2 observations").await;
}

#[tokio::test]
async fn wrong_headers_get_a_415_that_says_what_to_send() {
    let server = Server::new();
    let body = snap::raw::Encoder::new()
        .compress_vec(&two_series())
        .expect("compresses");
    for headers in [
        &[("content-type", "application/json")][..],
        &[(
            "content-type",
            "application/x-protobuf;proto=io.prometheus.write.v9.Request",
        )],
        &[
            (
                "content-type",
                "application/x-protobuf;proto=io.prometheus.write.v2.Request",
            ),
            ("x-prometheus-remote-write-version", "0.1.0"),
        ],
        &[("content-type", "application/x-protobuf"), ("content-encoding", "gzip")],
        &[
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "identity"),
        ],
        &[
            ("content-type", "application/x-protobuf"),
            ("x-prometheus-remote-write-version", "2.0.0"),
        ],
    ] {
        let answer = server.send(REMOTE_WRITE_PATH, headers, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{headers:?}");
        assert!(answer.problem()["hint"].as_str().expect("text").contains("snappy"));
    }
    // What old senders leave out is taken as what they mean.
    for headers in [
        &[][..],
        &[("content-type", "application/x-protobuf;proto=prometheus.WriteRequest")],
    ] {
        assert_eq!(
            server.send(REMOTE_WRITE_PATH, headers, body.clone()).await.status,
            StatusCode::NO_CONTENT
        );
    }
    assert_eq!(server.stored(), TWO_SERIES);
}

#[tokio::test]
async fn zstd_is_taken_as_well_as_snappy() {
    let server = Server::new();
    let body = zstd::encode_all(&two_series()[..], 1).expect("compresses");
    let headers = [("content-encoding", "zstd")];
    assert_eq!(
        server.send(REMOTE_WRITE_PATH, &headers, body).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(server.stored(), TWO_SERIES);
}

#[tokio::test]
async fn exemplars_are_kept_beside_their_samples() {
    let server = Server::new();
    let mut writer = RequestWriter::default();
    writer.series(&[("__name__", "h_bucket"), ("le", "1")], &[(NOW_MS, 4.0)]);
    let mut body = writer.finish();
    // TimeSeries.exemplars = 3: Exemplar { labels: [{trace_id, x}], value: 0.5, timestamp }
    let (mut label, mut exemplar) = (Vec::new(), Vec::new());
    put_bytes_field(&mut label, 1, b"trace_id");
    put_bytes_field(&mut label, 2, b"x");
    put_bytes_field(&mut exemplar, 1, &label);
    put_fixed64_field(&mut exemplar, 2, 0.5_f64.to_bits());
    put_varint_field(&mut exemplar, 3, NOW_MS as u64);
    // The request is one series: its key and length of two bytes, then its fields.
    let mut series = body.split_off(2);
    put_bytes_field(&mut series, 3, &exemplar);
    let mut body = Vec::new();
    put_bytes_field(&mut body, 1, &series);
    for _ in 0..2 {
        assert_eq!(server.remote_write(&body).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(server.exemplars(), "h_bucket{le=\"1\"}: 0=0.5{trace_id=\"x\"}\n");
}

#[tokio::test]
async fn every_truncation_is_refused() {
    let server = Server::new();
    let mut writer = RequestWriter::default();
    writer.series(&[("__name__", "up"), ("job", "node")], &[(NOW_MS, 1.0)]);
    let plain = writer.finish();
    for end in 1..plain.len() {
        assert_eq!(
            server.remote_write(&plain[..end]).await.status,
            StatusCode::BAD_REQUEST,
            "at byte {end}"
        );
    }
    let packed = snap::raw::Encoder::new().compress_vec(&plain).expect("compresses");
    for end in 0..packed.len() {
        let answer = server.send(REMOTE_WRITE_PATH, &[], packed[..end].to_vec()).await;
        assert_eq!(
            answer.status,
            StatusCode::BAD_REQUEST,
            "at byte {end} of the compressed body"
        );
        answer.problem();
    }
    assert_eq!(server.stored(), "");
}

#[tokio::test]
async fn other_methods_are_told_what_the_endpoint_is_for() {
    let server = Server::new();
    let request = Request::get(REMOTE_WRITE_PATH)
        .body(Body::empty())
        .expect("a valid request");
    let response = server.app.clone().oneshot(request).await.expect("answers");
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "POST");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bodies_get_an_answer_below_500(body in prop::collection::vec(any::<u8>(), 0..200), which in 0..4) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let server = Server::new();
        let answer = runtime.block_on(async {
            match which {
                0 => server.otlp(&[], body).await,
                1 => server.remote_write(&body).await,
                2 => server.remote_write_2(&[], &body).await,
                _ => server.grpc(&[], &body).await,
            }
        });
        prop_assert!(answer.status.as_u16() < 500, "{}", answer.text());
    }
}
