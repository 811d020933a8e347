use wire::metric::{Kind, MetricDef};
use wire::otlp::response::read_export_response;
use wire::otlp::write::RequestWriter;
use wire::protobuf::{put_bytes_field, put_fixed64_field, put_varint_field};

use super::*;

const TIME: MetricDef = MetricDef {
    name: "system.cpu.time",
    unit: "s",
    kind: Kind::Counter,
    help: "Seconds by mode",
};
const UTIL: MetricDef = MetricDef {
    name: "system.memory.utilization",
    unit: "1",
    kind: Kind::Gauge,
    help: "",
};
const LATENCY: MetricDef = MetricDef {
    name: "http.server.request.duration",
    unit: "s",
    kind: Kind::Histogram,
    help: "Latency",
};

fn one_gauge(attributes: &[(&str, &str)], offset_ms: i64, value: f64) -> Vec<u8> {
    let mut writer = RequestWriter::new(&[("host.name", "a")], "test");
    writer.metric(&UTIL).point(attributes, 0, nanos(offset_ms), value);
    writer.finish()
}

fn mixed() -> Vec<u8> {
    let resource = [
        ("host.name", "a"),
        ("service.name", "agent"),
        ("service.namespace", "foreshock"),
        ("service.instance.id", "i-1"),
        ("os.type", "linux"),
    ];
    let mut writer = RequestWriter::new(&resource, "test");
    writer
        .metric(&TIME)
        .point(&[("cpu.mode", "user")], nanos(-9000), nanos(-1000), 1.5);
    writer.point(&[("cpu.mode", "user")], nanos(-9000), nanos(0), 2.5);
    writer
        .metric(&LATENCY)
        .histogram_point(&[("path", "/")], 0, nanos(0), 0.7, &[0.1, 1.0], &[3, 2, 1]);
    writer.next_resource(&[("host.name", "b")]);
    writer
        .metric(&UTIL)
        .point(&[], 0, nanos(-5), 0.25)
        .point(&[], 0, nanos(0), store::stale_nan());
    writer.finish()
}

const MIXED: &str = r#"http_server_request_duration_seconds_bucket{host_name="a",instance="i-1",job="foreshock/agent",le="+Inf",path="/"} 0=6
http_server_request_duration_seconds_bucket{host_name="a",instance="i-1",job="foreshock/agent",le="0.1",path="/"} 0=3
http_server_request_duration_seconds_bucket{host_name="a",instance="i-1",job="foreshock/agent",le="1",path="/"} 0=5
http_server_request_duration_seconds_count{host_name="a",instance="i-1",job="foreshock/agent",path="/"} 0=6
http_server_request_duration_seconds_sum{host_name="a",instance="i-1",job="foreshock/agent",path="/"} 0=0.7
system_cpu_time_seconds_total{cpu_mode="user",host_name="a",instance="i-1",job="foreshock/agent"} -1000=1.5 0=2.5
system_memory_utilization_ratio{host_name="b"} -5=0.25 0=stale
target_info{host_name="a",instance="i-1",job="foreshock/agent",os_type="linux"} -1000=1 0=1
"#;

#[tokio::test]
async fn what_is_acknowledged_is_read_back_under_prometheus_names() {
    let server = Server::new();
    let answer = server.otlp(&[], mixed()).await;
    assert_eq!(
        (answer.status, answer.body.len()),
        (StatusCode::OK, 0),
        "{}",
        answer.text()
    );
    assert_eq!(answer.headers["content-type"], "application/x-protobuf");
    assert_eq!(server.stored(), MIXED);
    let metadata = server.store("default").metadata();
    let latency = &metadata["http_server_request_duration_seconds"];
    assert_eq!(
        (latency.kind.as_str(), latency.unit.as_str(), latency.help.as_str()),
        ("histogram", "seconds", "Latency")
    );
    assert_eq!(metadata["system_cpu_time_seconds_total"].kind.as_str(), "counter");
}

#[tokio::test]
async fn every_compression_and_prometheus_own_path_are_taken() {
    let body = mixed();
    for (encoding, body) in [
        ("identity", body.clone()),
        ("gzip", gzip(&body)),
        ("zstd", zstd::encode_all(&body[..], 1).expect("compresses")),
    ] {
        let server = Server::new();
        assert_eq!(
            server.otlp(&[("content-encoding", encoding)], body).await.status,
            StatusCode::OK,
            "{encoding}"
        );
        assert_eq!(server.stored(), MIXED, "{encoding}");
    }
    let server = Server::new();
    let headers = [("content-type", "application/x-protobuf")];
    assert_eq!(
        server.send("/api/v1/otlp/v1/metrics", &headers, body).await.status,
        StatusCode::OK
    );
    assert_eq!(server.stored(), MIXED);
}

#[tokio::test]
async fn a_request_sent_again_changes_nothing() {
    let server = Server::new();
    for _ in 0..3 {
        assert_eq!(server.otlp(&[], mixed()).await.status, StatusCode::OK);
    }
    assert_eq!(server.stored(), MIXED);
    assert_eq!(server.store("default").stats().series, 8);
}

#[tokio::test]
async fn the_later_value_of_a_timestamp_wins() {
    let server = Server::new();
    server.otlp(&[], one_gauge(&[], 0, 1.0)).await;
    server.otlp(&[], one_gauge(&[], 0, 2.0)).await;
    assert_eq!(
        server.stored(),
        "system_memory_utilization_ratio{host_name=\"a\"} 0=2\n"
    );
}

#[tokio::test]
async fn tenants_are_apart() {
    let server = Server::new();
    server.otlp(&[], one_gauge(&[], 0, 1.0)).await;
    server.otlp(&[("x-scope-orgid", "fleet")], one_gauge(&[], 0, 2.0)).await;
    assert_eq!(
        server.stored(),
        "system_memory_utilization_ratio{host_name=\"a\"} 0=1\n"
    );
    assert_eq!(
        server.stored_of("fleet"),
        "system_memory_utilization_ratio{host_name=\"a\"} 0=2\n"
    );
    for bad in ["", "../x", "Fleet", "a b", &"x".repeat(65)] {
        let answer = server.otlp(&[("x-scope-orgid", bad)], one_gauge(&[], 0, 1.0)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad:?}");
        assert!(
            answer.problem()["detail"]
                .as_str()
                .expect("text")
                .contains("X-Scope-OrgID")
        );
    }
    assert_eq!(server.tenants.names(), ["default", "fleet"]);
}

#[tokio::test]
async fn a_tenant_deleted_and_made_anew_starts_from_nothing() {
    let server = Server::new();
    server.otlp(&[], one_gauge(&[("x", "1")], 0, 1.0)).await;
    server.otlp(&[], one_gauge(&[("x", "2")], 0, 2.0)).await;
    assert!(server.tenants.delete("default").expect("deletes"));
    server.otlp(&[], one_gauge(&[("x", "2")], 0, 3.0)).await;
    assert_eq!(
        server.stored(),
        "system_memory_utilization_ratio{host_name=\"a\",x=\"2\"} 0=3\n"
    );
}

#[tokio::test]
async fn what_is_refused_is_named_in_a_partial_success() {
    let server = Server::new();
    let mut writer = RequestWriter::new(&[("host.name", "a")], "test");
    writer.metric(&UTIL).point(&[("x", "ok")], 0, nanos(0), 1.0);
    writer.point(&[("x", "ahead")], 0, nanos(3_600_000), 1.0);
    writer.point(&[("x", "no time")], 0, 0, 1.0);
    writer.point(&[("", "empty key")], 0, nanos(0), 1.0);
    writer.point(&[("long", &"v".repeat(5000))], 0, nanos(0), 1.0);
    let many: Vec<_> = (0..70).map(|i| format!("l{i}")).collect();
    let many: Vec<_> = many.iter().map(|l| (l.as_str(), "v")).collect();
    writer.point(&many, 0, nanos(0), 1.0);
    writer
        .metric_named("@@", "", Kind::Gauge, "")
        .point(&[], 0, nanos(0), 1.0);
    let answer = server.otlp(&[], writer.finish()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let (rejected, message) = read_export_response(&answer.body).expect("an export response");
    assert_eq!(rejected, 6);
    for part in [
        "ahead of the server's clock",
        "timestamp is missing",
        "empty or given twice",
        "too long",
        "too many labels",
        "no name",
    ] {
        assert!(message.contains(part), "{part:?} in {message}");
    }
    assert_eq!(
        server.stored(),
        "system_memory_utilization_ratio{host_name=\"a\",x=\"ok\"} 0=1\n"
    );
}

#[tokio::test]
async fn a_request_with_nothing_to_store_in_it_is_a_bad_one() {
    let server = Server::new();
    let answer = server.otlp(&[], one_gauge(&[], 11 * 60_000, 1.0)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let problem = answer.problem();
    assert!(
        problem["detail"].as_str().expect("text").contains("too far ahead"),
        "{problem}"
    );
    assert!(problem["hint"].as_str().expect("text").contains("clock"), "{problem}");
    // An empty request is fine.
    assert_eq!(server.otlp(&[], Vec::new()).await.status, StatusCode::OK);
    assert_eq!(server.stored(), "");
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_with_what_to_do() {
    let server = Server::new();
    let point = r#"{"timeUnixNano":"1767225600000000000","asDouble":1,"count":"1"}"#;
    for (data, part) in [
        (
            format!(r#""sum":{{"dataPoints":[{point},{point}],"aggregationTemporality":0,"isMonotonic":true}}"#),
            "TEMPORALITY",
        ),
        (format!(r#""histogram":{{"dataPoints":[{point}]}}"#), "TEMPORALITY"),
        (
            format!(r#""exponentialHistogram":{{"dataPoints":[{point}],"aggregationTemporality":2}}"#),
            "SCALE",
        ),
        (
            format!(r#""exponentialHistogram":{{"dataPoints":[{point}],"aggregationTemporality":1}}"#),
            "CUMULATIVE",
        ),
        (String::from(r#""unit":"s""#), "GAUGE"),
    ] {
        let body = format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"m",{data}}}]}}]}}]}}"#);
        let answer = server
            .send(OTLP_METRICS_PATH, &[("content-type", "application/json")], body)
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let hint = answer.problem()["hint"].as_str().expect("text").to_uppercase();
        assert!(hint.contains(part), "{part} in {hint}");
    }
}

#[tokio::test]
async fn exponential_histograms_become_native_ones() {
    let server = Server::new();
    let send = async |point: &str| {
        let body = format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"http.server.request.duration","unit":"s",
            "exponentialHistogram":{{"aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":"{}",{point}}}]}}}}]}}]}}]}}"#,
            nanos(0)
        );
        server
            .send(OTLP_METRICS_PATH, &[("content-type", "application/json")], body)
            .await
    };
    // Scale 9 is finer than the finest schema: buckets -4 to -1 become -1 and 0, and 0 and 1 become 1.
    let answer = send(
        r#""count":"21","sum":7.5,"scale":9,"zeroCount":"2","positive":{"offset":-4,"bucketCounts":["1","2","3","0","5","6"]},
           "negative":{"offset":3,"bucketCounts":["0","2"]}"#,
    )
    .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let bucket = |index, count| store::Bucket { index, count };
    let stored = server.histograms("http_server_request_duration_seconds");
    let expected = store::Histogram {
        schema: 8,
        zero_threshold: 1e-128,
        zero_count: 2.0,
        count: 21.0,
        sum: 7.5,
        positive: vec![bucket(-1, 3.0), bucket(0, 3.0), bucket(1, 11.0)],
        negative: vec![bucket(3, 2.0)],
        ..store::Histogram::default()
    };
    assert_eq!((stored.len(), &*stored.values[0]), (1, &expected));

    let answer = send(r#""count":"1","scale":-5,"positive":{"bucketCounts":["1"]}"#).await;
    assert!(
        answer.problem()["detail"]
            .as_str()
            .expect("text")
            .contains("schema -5 is not one of -4 to 8")
    );
    let answer = send(r#""flags":1"#).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert!(server.histograms("http_server_request_duration_seconds").values[0].is_stale());
}

#[tokio::test]
async fn labels_of_buckets_and_quantiles_are_a_points_own_where_nothing_else_names_them() {
    let server = Server::new();
    let mut writer = RequestWriter::new(&[("host.name", "a")], "test");
    let labels = [("le", "0.5"), ("quantile", "0.9")];
    writer.metric(&UTIL).point(&labels, 0, nanos(0), 1.0);
    writer
        .metric(&LATENCY)
        .histogram_point(&labels, 0, nanos(0), 0.7, &[], &[3]);
    assert_eq!(server.otlp(&[], writer.finish()).await.status, StatusCode::OK);
    assert_eq!(
        server.stored(),
        r#"http_server_request_duration_seconds_bucket{host_name="a",le="+Inf",quantile="0.9"} 0=3
http_server_request_duration_seconds_count{host_name="a",le="0.5",quantile="0.9"} 0=3
http_server_request_duration_seconds_sum{host_name="a",le="0.5",quantile="0.9"} 0=0.7
system_memory_utilization_ratio{host_name="a",le="0.5",quantile="0.9"} 0=1
"#
    );
}

#[tokio::test]
async fn json_means_the_same_as_protobuf() {
    let server = Server::new();
    let body = r#"{"resourceMetrics":[{"resource":{"attributes":[
        {"key":"host.name","value":{"stringValue":"a"}},{"key":"cores","value":{"intValue":"8"}},
        {"key":"service.name","value":{"stringValue":"s"}}]},
      "scopeMetrics":[{"scope":{"name":"x"},"unknownMember":1,"metrics":[
        {"name":"m.a","unit":"By","gauge":{"dataPoints":[
          {"timeUnixNano":"1767225600000000000","asInt":"-7","attributes":[{"key":"b","value":{"boolValue":false}},
            {"key":"l","value":{"arrayValue":{"values":[{"doubleValue":0.5},{"stringValue":"q"},{}]}}}]},
          {"timeUnixNano":1767225599000000000,"asDouble":"Infinity"}]}},
        {"name":"m.s","summary":{"dataPoints":[{"timeUnixNano":"1767225600000000000","count":"3","sum":1.5,
          "quantileValues":[{"quantile":0.5,"value":0.4},{"quantile":1,"value":0.9}]}]}},
        {"name":"m.h","histogram":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE","dataPoints":[
          {"timeUnixNano":"1767225600000000000","count":"2","bucketCounts":["0","2"],"explicitBounds":[10]}]}}]}]}]}"#;
    let answer = server
        .send(
            OTLP_METRICS_PATH,
            &[("content-type", "application/json; charset=utf-8")],
            body,
        )
        .await;
    assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "{}"));
    assert_eq!(
        server.stored(),
        r#"m_a_bytes{host_name="a",job="s"} -1000=inf
m_a_bytes{b="false",host_name="a",job="s",l="[0.5,\"q\",null]"} 0=-7
m_h_bucket{host_name="a",job="s",le="+Inf"} 0=2
m_h_bucket{host_name="a",job="s",le="10"} 0=0
m_h_count{host_name="a",job="s"} 0=2
m_s{host_name="a",job="s",quantile="0.5"} 0=0.4
m_s{host_name="a",job="s",quantile="1"} 0=0.9
m_s_count{host_name="a",job="s"} 0=3
m_s_sum{host_name="a",job="s"} 0=1.5
target_info{cores="8",host_name="a",job="s"} -1000=1 0=1
"#
        .replace("m_a_bytes{host_name=\"a\",job=\"s\"} -1000=inf\nm_a_bytes{b=\"false\",host_name=\"a\",job=\"s\",l=\"[0.5,\\\"q\\\",null]\"} 0=-7\n",
            "m_a_bytes{b=\"false\",host_name=\"a\",job=\"s\",l=\"[0.5,\\\"q\\\",null]\"} 0=-7\nm_a_bytes{host_name=\"a\",job=\"s\"} -1000=inf\n")
    );
    for bad in [
        "",
        "[]",
        "{\"resourceMetrics\":[7]}",
        "{\"resourceMetrics\":",
        "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"name\":7}]}]}]}",
    ] {
        let answer = server
            .send(OTLP_METRICS_PATH, &[("content-type", "application/json")], bad)
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
        // OTLP over JSON wants the members of a google.rpc.Status as well.
        let problem = answer.problem();
        assert_eq!(problem["code"], 3);
        assert!(problem["message"].is_string());
    }
}

#[tokio::test]
async fn labels_are_made_as_prometheus_makes_them() {
    let server = Server::new();
    let resource = [("host.name", "a"), ("service.name", "s")];
    let mut writer = RequestWriter::new(&resource, "test");
    let attributes = [
        ("a_b", "2"),
        ("a.b", "1"),
        ("9x", "d"),
        ("_u", "u"),
        ("job", "mine"),
        ("host_name", "own"),
        ("__name__", "evil"),
        ("empty", ""),
    ];
    writer
        .metric_named("m", "", Kind::Gauge, "")
        .point(&attributes, 0, nanos(0), 1.0);
    assert_eq!(server.otlp(&[], writer.finish()).await.status, StatusCode::OK);
    let expected = "m{a_b=\"1;2\",host_name=\"own\",job=\"s\",key_9x=\"d\",key_u=\"u\"} 0=1\n";
    assert_eq!(
        server.stored().lines().next().map(|l| format!("{l}\n")),
        Some(expected.to_owned())
    );
}

#[tokio::test]
async fn every_truncation_is_refused_and_leaves_nothing_behind() {
    let server = Server::new();
    let body = one_gauge(&[("x", "y")], 0, 1.0);
    for end in 1..body.len() {
        let answer = server.otlp(&[], body[..end].to_vec()).await;
        assert_eq!(
            answer.status,
            StatusCode::BAD_REQUEST,
            "at byte {end} of {}",
            body.len()
        );
        answer.problem();
    }
    for (encoding, whole) in [
        ("gzip", gzip(&body)),
        ("zstd", zstd::encode_all(&body[..], 1).expect("compresses")),
    ] {
        for end in 1..whole.len() {
            let answer = server
                .otlp(&[("content-encoding", encoding)], whole[..end].to_vec())
                .await;
            assert_eq!(
                answer.status,
                StatusCode::BAD_REQUEST,
                "{encoding} at byte {end} of {}",
                whole.len()
            );
            answer.problem();
        }
    }
    assert_eq!(server.stored(), "");
}

#[tokio::test]
async fn what_comes_late_in_a_bad_request_does_not_save_what_came_before() {
    let server = Server::new();
    let mut body = one_gauge(&[], 0, 1.0);
    body.extend_from_slice(&[0x0a, 0x05, 0xff]);
    assert_eq!(server.otlp(&[], body).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(server.stored(), "");
}

#[tokio::test]
async fn wrong_headers_get_a_415_that_says_what_to_send() {
    let server = Server::new();
    for headers in [
        &[("content-type", "text/plain")][..],
        &[][..],
        &[("content-type", "application/grpc")],
        &[("content-type", "application/x-protobuf"), ("content-encoding", "br")],
        &[
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "snappy"),
        ],
    ] {
        let answer = server.send(OTLP_METRICS_PATH, headers, one_gauge(&[], 0, 1.0)).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{headers:?}");
        if !headers.contains(&("content-type", "application/x-protobuf")) {
            answer.problem();
        }
    }
    assert_eq!(server.stored(), "");
}

#[tokio::test]
async fn a_refusal_comes_in_the_encoding_of_the_request() {
    let server = Server::new();
    let headers = [("content-type", "application/x-protobuf")];
    let answer = server.send(OTLP_METRICS_PATH, &headers, vec![0xff]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.headers["content-type"], "application/x-protobuf");
    // google.rpc.Status { code: 3, .. }
    assert_eq!(answer.body[..2], [0x08, 3]);
}

#[tokio::test]
async fn at_the_limit_of_series_known_ones_are_still_taken() {
    let options = StoreOptions {
        max_series: 2,
        ..StoreOptions::default()
    };
    let server = Server::with(Limits::default(), options);
    for x in ["1", "2"] {
        assert_eq!(
            server.otlp(&[], one_gauge(&[("x", x)], 0, 1.0)).await.status,
            StatusCode::OK
        );
    }
    let answer = server.otlp(&[], one_gauge(&[("x", "3")], 0, 1.0)).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers["retry-after"], "1");
    assert!(
        answer.problem()["detail"]
            .as_str()
            .expect("text")
            .contains("limit is 2")
    );
    let mut writer = RequestWriter::new(&[("host.name", "a")], "test");
    writer
        .metric(&UTIL)
        .point(&[("x", "1")], 0, nanos(1), 5.0)
        .point(&[("x", "4")], 0, nanos(1), 5.0);
    let answer = server.otlp(&[], writer.finish()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(read_export_response(&answer.body).expect("a response").0, 1);
    assert!(server.stored().contains("x=\"1\"} 0=1 1=5"));
}

#[tokio::test]
async fn many_requests_at_once_are_all_stored() {
    let server = Arc::new(Server::new());
    let mut tasks = Vec::new();
    for i in 0..40_i64 {
        let server = Arc::clone(&server);
        tasks.push(tokio::spawn(async move {
            let x = (i % 4).to_string();
            server.otlp(&[], one_gauge(&[("x", &x)], -i, i as f64)).await.status
        }));
    }
    for task in tasks {
        assert_eq!(task.await.expect("no panic"), StatusCode::OK);
    }
    assert_eq!(server.stored().matches('=').count(), 4 * 2 + 40);
}

/// One metric with these points in JSON, sent to `server`; the status and what is said.
async fn send_json(server: &Server, data: &str) -> String {
    let body = format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"s"}}}},
        {{"key":"host.name","value":{{"stringValue":"a"}}}},{{"key":"k8s.pod.name","value":{{"stringValue":"p"}}}}]}},
        "scopeMetrics":[{{"scope":{{"name":"lib","version":"2","attributes":[{{"key":"x.y","value":{{"stringValue":"z"}}}}]}},
        "metrics":[{{"name":"my.requests","unit":"By",{data}}}]}}]}}]}}"#
    );
    let answer = server
        .send(OTLP_METRICS_PATH, &[("content-type", "application/json")], body)
        .await;
    format!("{} {}", answer.status.as_u16(), answer.text())
}

fn delta(offset_ms: i64, value: &str) -> String {
    format!(
        r#""sum":{{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{{"timeUnixNano":"{}",{value}}}]}}"#,
        nanos(offset_ms)
    )
}

#[tokio::test]
async fn deltas_become_cumulative() {
    let server = Server::new();
    for (at_ms, value, answer) in [
        (-3000, r#""asInt":"5""#, "200 {}"),
        (-2000, r#""asDouble":2.5"#, "200 {}"),
        (-1000, r#""asInt":"0""#, "200 {}"),
        (0, r#""flags":1"#, "200 {}"),
    ] {
        assert_eq!(send_json(&server, &delta(at_ms, value)).await, answer);
    }
    let late = send_json(&server, &delta(-1000, r#""asInt":"9""#)).await;
    assert!(
        late.contains("rejectedDataPoints\":\"1\"") && late.contains("not later than the one before"),
        "{late}"
    );
    let histogram = |at_ms, counts: &str, sum| {
        let at = nanos(at_ms);
        format!(
            r#""histogram":{{"aggregationTemporality":1,"dataPoints":[{{"timeUnixNano":"{at}","count":"3",
            "sum":{sum},"bucketCounts":[{counts}],"explicitBounds":[1]}}]}}"#
        )
    };
    for (at_ms, counts, sum) in [(-2000, "1,2", "4.5"), (-1000, "3,0", "1.5")] {
        assert_eq!(send_json(&server, &histogram(at_ms, counts, sum)).await, "200 {}");
    }
    let stored = server.stored();
    for line in [
        r#"my_requests_bytes_total{host_name="a",job="s"} -3000=5 -2000=7.5 -1000=7.5 0=stale"#,
        r#"my_requests_bytes_bucket{host_name="a",job="s",le="1"} -2000=1 -1000=4"#,
        r#"my_requests_bytes_bucket{host_name="a",job="s",le="+Inf"} -2000=3 -1000=6"#,
        r#"my_requests_bytes_sum{host_name="a",job="s"} -2000=4.5 -1000=6"#,
    ] {
        assert!(stored.lines().any(|l| l == line), "{line} in\n{stored}");
    }
}

#[tokio::test]
async fn deltas_of_one_series_are_one_sum_whatever_else_their_sender_says() {
    let server = Server::new();
    let text = |key: &str, value: &str| format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#);
    // Two collectors before the server, each of which adds an attribute that is no label of the series; and attributes in another order.
    let send = async |at_ms, collector: &str, attributes: [String; 2]| {
        let body = format!(
            r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{},{}]}},"scopeMetrics":[{{"metrics":[{{"name":"calls",{}}}]}}]}}]}}"#,
            text("service.name", "s"),
            text("collector.id", collector),
            delta(
                at_ms,
                &format!(r#""asInt":"5","attributes":[{}]"#, attributes.join(","))
            ),
        );
        let json = [("content-type", "application/json")];
        server.send(OTLP_METRICS_PATH, &json, body).await.text()
    };
    let (a, b) = (text("a", "1"), text("b", "2"));
    for (at_ms, collector, attributes) in [
        (-4000, "x", [a.clone(), b.clone()]),
        (-3000, "y", [a.clone(), b.clone()]),
        (-2000, "x", [b.clone(), a.clone()]),
        (-1000, "y", [a.clone(), b.clone()]),
    ] {
        assert_eq!(send(at_ms, collector, attributes).await, "{}");
    }
    let late = send(-1500, "x", [a, b]).await;
    assert!(late.contains("not later than the one before"), "{late}");
    let stored = server.stored();
    let line = r#"calls_total{a="1",b="2",job="s"} -4000=5 -3000=10 -2000=15 -1000=20"#;
    assert!(stored.lines().any(|l| l == line), "{line} in\n{stored}");
}

#[tokio::test]
async fn deltas_beyond_the_bound_are_refused_until_there_is_room() {
    let limits = Limits {
        delta_series_max: 1,
        ..Limits::default()
    };
    let server = Server::with(limits, StoreOptions::default());
    assert_eq!(send_json(&server, &delta(-2000, r#""asInt":"1""#)).await, "200 {}");
    let other = r#""asInt":"1","attributes":[{"key":"b","value":{"stringValue":"c"}}]"#;
    let refused = send_json(&server, &delta(-1000, other)).await;
    assert!(
        refused.contains("rejectedDataPoints\":\"1\"") && refused.contains("summed up"),
        "{refused}"
    );
    assert_eq!(send_json(&server, &delta(-1000, r#""asInt":"1""#)).await, "200 {}");
}

#[tokio::test]
async fn a_delta_too_far_ahead_moves_no_sum() {
    let limits = Limits {
        delta_series_max: 1,
        ..Limits::default()
    };
    let server = Server::with(limits, StoreOptions::default());
    let one = r#""asInt":"1""#;
    let other = r#""asInt":"1","attributes":[{"key":"b","value":{"stringValue":"c"}}]"#;
    assert_eq!(send_json(&server, &delta(-2000, one)).await, "200 {}");
    // The first would make each point of an hour late, the second would push the series out.
    for ahead in [one, other] {
        let refused = send_json(&server, &delta(3_600_000, ahead)).await;
        assert!(refused.contains("too far ahead"), "{refused}");
    }
    assert_eq!(send_json(&server, &delta(-1000, one)).await, "200 {}");
    let stored = server.stored();
    let line = r#"my_requests_bytes_total{host_name="a",job="s"} -2000=1 -1000=2"#;
    assert!(stored.lines().any(|l| l == line), "{line} in\n{stored}");
}

#[tokio::test]
async fn a_value_that_is_too_large_as_text_refuses_its_series_alone() {
    let server = Server::new();
    let key_values = |pairs: &[Vec<u8>]| -> Vec<u8> {
        let mut out = Vec::new();
        pairs.iter().for_each(|pair| put_bytes_field(&mut out, 1, pair));
        out
    };
    let pair = |key: &str, kind: u32, value: &[u8]| {
        let (mut any, mut out) = (Vec::new(), Vec::new());
        put_bytes_field(&mut any, kind, value);
        put_bytes_field(&mut out, 1, key.as_bytes());
        put_bytes_field(&mut out, 2, &any);
        out
    };
    let huge = pair("map", 6, &[0x0a, 0].repeat(200_000));
    let point = |attribute: &[u8]| {
        let mut out = Vec::new();
        put_fixed64_field(&mut out, 3, nanos(0));
        put_fixed64_field(&mut out, 4, 1.0_f64.to_bits());
        put_bytes_field(&mut out, 7, attribute);
        out
    };
    let (mut metric, mut metrics, mut resource, mut body) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    put_bytes_field(&mut metric, 1, b"m");
    put_bytes_field(&mut metric, 5, &key_values(&[point(&huge), point(&pair("x", 1, b"1"))]));
    put_bytes_field(&mut metrics, 2, &metric);
    put_bytes_field(
        &mut resource,
        1,
        &key_values(&[pair("service.name", 1, b"s"), huge.clone()]),
    );
    put_bytes_field(&mut resource, 2, &metrics);
    put_bytes_field(&mut body, 1, &resource);
    let answer = server.otlp(&[], body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let (rejected, words) = read_export_response(&answer.body).expect("a partial success");
    assert!(rejected == 2 && words.contains("too long"), "{rejected} {words}");
    assert_eq!(server.stored(), "m{job=\"s\",x=\"1\"} 0=1\n");
}

#[tokio::test]
async fn names_and_resource_are_translated_as_it_was_chosen() {
    use wire::prometheus::Translation;
    for (translation, expected) in [
        (
            Translation::UnderscoreEscapingWithSuffixes,
            r#"my_requests_bytes_total{host_name="a",job="s",k8s_pod_name="p",otel_scope_name="lib",otel_scope_version="2",otel_scope_x_y="z"} 0=1"#,
        ),
        (
            Translation::UnderscoreEscapingWithoutSuffixes,
            r#"my_requests{host_name="a",job="s",k8s_pod_name="p",otel_scope_name="lib",otel_scope_version="2",otel_scope_x_y="z"} 0=1"#,
        ),
        (
            Translation::NoUtf8EscapingWithSuffixes,
            r#"my.requests_bytes_total{host_name="a",job="s",k8s.pod.name="p",otel_scope_name="lib",otel_scope_version="2",otel_scope_x.y="z"} 0=1"#,
        ),
        (
            Translation::NoTranslation,
            r#"my.requests{host_name="a",job="s",k8s.pod.name="p",otel_scope_name="lib",otel_scope_version="2",otel_scope_x.y="z"} 0=1"#,
        ),
    ] {
        let options = OtlpOptions {
            translation,
            promote_resource_attributes: vec!["k8s.pod.name".to_owned()],
            keep_identifying_resource_attributes: true,
            promote_scope_metadata: true,
        };
        let server = Server::translating(options, Limits::default(), StoreOptions::default());
        let point = format!(
            r#""sum":{{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{{"timeUnixNano":"{}","asInt":"1"}}]}}"#,
            nanos(0)
        );
        assert_eq!(send_json(&server, &point).await, "200 {}");
        let stored = server.stored();
        assert!(stored.lines().any(|line| line == expected), "{expected} in\n{stored}");
        let info = stored
            .lines()
            .find(|line| line.contains("target_info"))
            .expect("a target_info");
        assert!(info.contains("service"), "{info}");
    }
}

#[tokio::test]
async fn an_exemplar_stands_in_the_first_bucket_that_counts_it() {
    let server = Server::new();
    let values = ["0.5", "1", "1.5", "5", "9", "\"NaN\""];
    let exemplars = values.iter().enumerate().map(|(i, value)| {
        let at = nanos(i as i64 - 9);
        format!(r#"{{"timeUnixNano":"{at}","asDouble":{value},"traceId":"0AF7"}}"#)
    });
    let exemplars = exemplars.collect::<Vec<_>>().join(",");
    let histogram = format!(
        r#""histogram":{{"aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":"{}","count":"5",
        "bucketCounts":[2,1,1,1],"explicitBounds":[1,2,5],"exemplars":[{exemplars}]}}]}}"#,
        nanos(0)
    );
    assert_eq!(send_json(&server, &histogram).await, "200 {}");
    let bucket = |le, kept: &str| {
        let kept = kept.replace('!', "{trace_id=\"0af7\"}");
        format!("my_requests_bytes_bucket{{host_name=\"a\",job=\"s\",le=\"{le}\"}}: {kept}\n")
    };
    let expected = [
        bucket("+Inf", "-5=9!"),
        bucket("1", "-9=0.5! -8=1!"),
        bucket("2", "-7=1.5!"),
        bucket("5", "-6=5!"),
    ];
    assert_eq!(server.exemplars(), expected.concat());
}

#[tokio::test]
async fn exemplars_beyond_the_bound_are_not_looked_at() {
    let limits = Limits {
        exemplars_per_request_max: 1,
        ..Limits::default()
    };
    let server = Server::with(limits, StoreOptions::default());
    let mut point = Vec::new();
    put_fixed64_field(&mut point, 3, nanos(0));
    // The attributes of the second cannot be read.
    for attributes in [&[][..], &[0xff]] {
        let mut exemplar = Vec::new();
        put_fixed64_field(&mut exemplar, 2, nanos(-1));
        put_fixed64_field(&mut exemplar, 3, 0.5_f64.to_bits());
        if !attributes.is_empty() {
            put_bytes_field(&mut exemplar, 7, attributes);
        }
        put_bytes_field(&mut point, 8, &exemplar);
    }
    let wrapped = |number, message: &[u8]| {
        let mut out = Vec::new();
        put_bytes_field(&mut out, number, message);
        out
    };
    let mut histogram = wrapped(1, &point);
    put_varint_field(&mut histogram, 2, 2);
    let mut metric = wrapped(1, b"h");
    put_bytes_field(&mut metric, 9, &histogram);
    let answer = server.otlp(&[], wrapped(1, &wrapped(2, &wrapped(2, &metric)))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(server.exemplars(), "h_bucket{le=\"+Inf\"}: -1=0.5{}\n");
}

#[tokio::test]
async fn exemplars_of_points_and_buckets_are_kept() {
    let server = Server::new();
    let exemplar = format!(
        r#""exemplars":[{{"timeUnixNano":"{}","asDouble":0.75,"traceId":"0AF7","spanId":"b7",
        "filteredAttributes":[{{"key":"user.id","value":{{"intValue":"7"}}}}]}}]"#,
        nanos(-5)
    );
    let at = nanos(0);
    let sum = format!(
        r#""sum":{{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{{"timeUnixNano":"{at}","asInt":"1",{exemplar}}}]}}"#
    );
    let histogram = format!(
        r#""histogram":{{"aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":"{at}","count":"1","sum":0.75,
        "bucketCounts":[0,1,0],"explicitBounds":[0.5,1],{exemplar}}}]}}"#
    );
    for data in [sum, histogram] {
        assert_eq!(send_json(&server, &data).await, "200 {}");
    }
    let labels = r#"{span_id="b7",trace_id="0af7",user_id="7"}"#;
    assert_eq!(
        server.exemplars(),
        format!(
            "my_requests_bytes_bucket{{host_name=\"a\",job=\"s\",le=\"1\"}}: -5=0.75{labels}\n\
             my_requests_bytes_total{{host_name=\"a\",job=\"s\"}}: -5=0.75{labels}\n"
        )
    );
}
