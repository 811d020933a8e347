//! Prometheus' API, to the letter.

use super::*;

#[tokio::test]
async fn instant_queries_answer_as_prometheus_does() {
    let server = Server::new();
    let check = async |query: &str, expected: &str| {
        let answer = server
            .form(
                "/api/v1/query",
                &format!("query={}&time=1767225600", crate::page::layout::encoded(query)),
            )
            .await;
        assert_eq!(
            answer.body,
            format!(r#"{{"status":"success","data":{expected}}}"#),
            "{query}"
        );
        assert_eq!(answer.header("content-type"), "application/json");
    };
    check("1+1", r#"{"resultType":"scalar","result":[1767225600,"2"]}"#).await;
    check("\"text\"", r#"{"resultType":"string","result":[1767225600,"text"]}"#).await;
    check("1/0", r#"{"resultType":"scalar","result":[1767225600,"+Inf"]}"#).await;
    check("nothing", r#"{"resultType":"vector","result":[]}"#).await;
    check(
        r#"up{host_name="a"}"#,
        r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","host_name":"a","job":"agent"},"value":[1767225600,"1"]}]}"#,
    )
    .await;
    check(
        r#"up{host_name="a"}[1m]"#,
        r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up","host_name":"a","job":"agent"},"values":[[1767225600,"1"]]}]}"#,
    )
    .await;
    check(
        "vector(1e-7)",
        r#"{"resultType":"vector","result":[{"metric":{},"value":[1767225600,"1e-07"]}]}"#,
    )
    .await;
}

#[tokio::test]
async fn the_health_check_of_grafana_passes() {
    let server = Server::empty();
    let answer = server.get("/api/v1/query?query=1%2B1&time=4").await;
    assert_eq!(
        answer.body,
        r#"{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}"#
    );
    let build = server.get("/api/v1/status/buildinfo").await.json();
    assert!(
        build["data"]["version"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.")),
        "{build}"
    );
    assert!(build["data"].get("features").is_none(), "it would take us for Mimir");
    let exemplars = server
        .get("/api/v1/query_exemplars?query=test&start=1767225600000&end=1767225600000")
        .await;
    assert_eq!(exemplars.body, r#"{"status":"success","data":[]}"#);
}

#[tokio::test]
async fn range_queries_answer_on_the_grid() {
    let server = Server::new();
    let path = "/api/v1/query_range?query=sum(rate(requests_total[2m]))&start=1767225540.5&end=2026-01-01T00:00:00.500Z&step=30s";
    let answer = server.get(path).await;
    assert_eq!(
        answer.body,
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1767225540.500,"3"],[1767225570.500,"3"],[1767225600.500,"3"]]}]}}"#
    );
}

#[tokio::test]
async fn a_long_answer_is_streamed_whole_and_in_order() {
    let server = Server::empty();
    let store = server.tenants.get_or_create("default").expect("a store");
    for i in 0..40 {
        write(
            &store,
            &[("__name__", "many"), ("host_name", &format!("h{i:02}"))],
            |v| f64::from(v) + 0.5,
        );
    }
    let path = |more: &str| format!("/api/v1/query_range?query=-many&start=1767225060&end=1767225600&step=1{more}");
    let answer = server.get(&path("")).await;
    assert!(answer.body.len() > crate::stream::WHOLE_BYTES, "{}", answer.body.len());
    let result = answer.json()["data"]["result"].clone();
    let lines = result.as_array().expect("a matrix");
    assert_eq!(lines.len(), 40);
    for (i, line) in lines.iter().enumerate() {
        assert_eq!(line["metric"], serde_json::json!({ "host_name": format!("h{i:02}") }));
        let values = line["values"].as_array().expect("values");
        assert_eq!(values.len(), 541);
        assert_eq!(values[540], serde_json::json!([1_767_225_600, "-9.5"]));
    }
    let cut = server.get(&path("&limit=39&stats=all&nocache=1")).await.json();
    assert_eq!(cut["data"]["result"].as_array().map(Vec::len), Some(39));
    assert_eq!(cut["warnings"], serde_json::json!(["results truncated due to limit"]));
    assert_eq!(cut["data"]["stats"]["samples"]["series"], 40);
    let whole = server.get(&path("&limit=40")).await.json();
    assert_eq!((&whole["data"]["result"], &whole["warnings"]), (&result, &Value::Null));

    let request = Request::get(path("")).header("accept-encoding", "gzip");
    let response = server
        .router
        .clone()
        .oneshot(request.body(Body::empty()).expect("a request"))
        .await;
    let (parts, body) = response.expect("infallible").into_parts();
    assert_eq!(parts.headers["content-encoding"], "gzip");
    let packed = to_bytes(body, 16 << 20).await.expect("a body");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut text).expect("gzip");
    assert_eq!(text, answer.body);
}

#[tokio::test]
async fn errors_have_their_type_and_status() {
    let server = Server::new();
    let check = async |path: &str, status: u16, kind: &str, text: &str| {
        let answer = server.get(path).await;
        let error = answer.json();
        assert_eq!(
            (answer.status.as_u16(), error["errorType"].as_str()),
            (status, Some(kind)),
            "{path}: {error}"
        );
        assert_eq!(error["status"], "error");
        assert!(
            error["error"].as_str().is_some_and(|error| error.contains(text)),
            "{path}: {error}"
        );
    };
    check(
        "/api/v1/query?query=sum(",
        400,
        "bad_data",
        "invalid parameter \"query\"",
    )
    .await;
    check("/api/v1/query", 400, "bad_data", "parse error").await;
    check(
        "/api/v1/query?query=1&time=noon",
        400,
        "bad_data",
        "cannot parse \"noon\" to a valid timestamp",
    )
    .await;
    check(
        "/api/v1/query?query=1&timeout=soon",
        400,
        "bad_data",
        "cannot parse \"soon\" to a valid duration",
    )
    .await;
    check(
        "/api/v1/query?query=up%20%2B%20on()%20up",
        422,
        "execution",
        "many-to-many",
    )
    .await;
    check(
        "/api/v1/query_range?query=up&start=0&end=20000&step=1",
        400,
        "bad_data",
        "exceeded maximum resolution of 11,000",
    )
    .await;
    check(
        "/api/v1/query_range?query=up&start=10&end=5&step=1",
        400,
        "bad_data",
        "end timestamp must not be before start",
    )
    .await;
    check(
        "/api/v1/query_range?query=up&start=0&end=5&step=0",
        400,
        "bad_data",
        "zero or negative query resolution",
    )
    .await;
    check(
        "/api/v1/query_range?query=up&end=5&step=1",
        400,
        "bad_data",
        "invalid parameter \"start\"",
    )
    .await;
    check("/api/v1/series", 400, "bad_data", "no match[] parameter provided").await;
    check(
        "/api/v1/labels?match[]=rate(up[1m])",
        400,
        "bad_data",
        "invalid parameter \"match[]\"",
    )
    .await;
    check("/api/v1/rules?type=odd", 400, "bad_data", "not supported value").await;
    check("/api/v1/query?query=up&tenant=nobody", 404, "not_found", "no tenant").await;
}

#[tokio::test]
async fn names_values_and_series_are_listed() {
    let server = Server::new();
    let check = async |path: &str, expected: &str| {
        let answer = server.get(path).await;
        assert_eq!(answer.body, format!(r#"{{"status":"success",{expected}}}"#), "{path}");
    };
    check("/api/v1/labels", r#""data":["__name__","host_name","job"]"#).await;
    check(
        "/api/v1/labels?limit=1",
        r#""data":["__name__"],"warnings":["results truncated due to limit"]"#,
    )
    .await;
    check(
        "/api/v1/labels?match[]=requests_total",
        r#""data":["__name__","host_name"]"#,
    )
    .await;
    check("/api/v1/label/__name__/values", r#""data":["requests_total","up"]"#).await;
    check(
        "/api/v1/label/host_name/values?match[]=up&match[]=requests_total",
        r#""data":["a","b"]"#,
    )
    .await;
    check("/api/v1/label/U__host__name/values", r#""data":["a","b"]"#).await;
    check("/api/v1/label/nothing/values", r#""data":[]"#).await;
    check("/api/v1/series?match[]=nothing", r#""data":[]"#).await;
    check(
        "/api/v1/series?match[]=requests_total&match[]=requests_total{host_name=%22a%22}",
        r#""data":[{"__name__":"requests_total","host_name":"a"},{"__name__":"requests_total","host_name":"b"}]"#,
    )
    .await;
    check(
        "/api/v1/metadata",
        r#""data":{"up":[{"help":"Whether it answers","type":"gauge","unit":""}]}"#,
    )
    .await;
    check("/api/v1/metadata?metric=other", r#""data":{}"#).await;
    check("/api/v1/format_query?query=foo/bar", r#""data":"foo / bar""#).await;
    check("/api/v1/rules", r#""data":{"groups":[]}"#).await;
    check("/api/v1/alerts", r#""data":{"alerts":[]}"#).await;
}

#[tokio::test]
async fn everything_else_that_grafana_asks_is_there() {
    let server = Server::new();
    let tree = server.get("/api/v1/parse_query?query=foo/bar").await.json();
    assert_eq!(
        (&tree["data"]["type"], &tree["data"]["op"]),
        (&"binaryExpr".into(), &"/".into()),
        "{tree}"
    );
    for path in [
        "status/runtimeinfo",
        "status/flags",
        "status/config",
        "status/tsdb",
        "targets",
        "targets/metadata",
        "alertmanagers",
        "notifications",
        "features",
        "scrape_pools",
    ] {
        let answer = server.get(&format!("/api/v1/{path}")).await;
        assert_eq!(
            (answer.status, &answer.json()["status"]),
            (StatusCode::OK, &"success".into()),
            "{path}"
        );
    }
    let stats = server.get("/api/v1/query?query=up&stats=all").await.json();
    assert_eq!(stats["data"]["stats"]["samples"]["series"], 2, "{stats}");
}

#[tokio::test]
async fn labels_are_counted_as_they_are() {
    let server = Server::new();
    let fleet = server.tenants.get_or_create("fleet").expect("a store");
    let empty = server.get("/api/v1/status/tsdb?tenant=fleet").await.json();
    assert_eq!(empty["data"]["headStats"]["numSeries"], 0, "{empty}");
    for (name, host) in [("up", "a"), ("up", "bcd"), ("load", "a")] {
        write(&fleet, &[("__name__", name), ("host_name", host)], |_| 1.0);
    }
    let told = server.get("/api/v1/status/tsdb?tenant=fleet").await.json();
    let counts = |member: &str| -> Vec<String> {
        let counts = told["data"][member].as_array().expect("a list").iter();
        counts
            .map(|count| format!("{} {}", count["name"].as_str().expect("a name"), count["value"]))
            .collect()
    };
    assert_eq!(counts("seriesCountByMetricName"), ["up 2", "load 1"]);
    assert_eq!(counts("labelValueCountByLabelName"), ["__name__ 2", "host_name 2"]);
    assert_eq!(counts("memoryInBytesByLabelName"), ["__name__ 6", "host_name 4"]);
    assert_eq!(
        counts("seriesCountByLabelValuePair"),
        ["__name__=up 2", "host_name=a 2", "__name__=load 1", "host_name=bcd 1"]
    );
    let head = &told["data"]["headStats"];
    assert_eq!(
        (&head["numSeries"], &head["numLabelPairs"]),
        (&3.into(), &4.into()),
        "{head}"
    );
    assert_eq!(
        (&head["minTime"], &head["maxTime"]),
        (&(NOW - 540_000).into(), &NOW.into()),
        "{head}"
    );
    let least = server.get("/api/v1/status/tsdb?tenant=fleet&limit=1").await.json();
    assert_eq!(
        least["data"]["seriesCountByLabelValuePair"],
        serde_json::json!([{ "name": "__name__=up", "value": 2 }])
    );
}

#[tokio::test]
async fn a_tenant_is_chosen_by_header_or_parameter() {
    let server = Server::new();
    let fleet = server.tenants.get_or_create("fleet").expect("a store");
    write(&fleet, &[("__name__", "up"), ("host_name", "z")], |_| 1.0);
    let by_url = server.get("/api/v1/label/host_name/values?tenant=fleet").await;
    let request = Request::get("/api/v1/label/host_name/values").header("X-Scope-OrgID", "fleet");
    let by_header = server.send(request.body(Body::empty()).expect("a request")).await;
    assert_eq!(by_url.body, r#"{"status":"success","data":["z"]}"#);
    assert_eq!(by_header.body, by_url.body);
}

#[tokio::test]
async fn rules_and_alerts_are_shown_as_prometheus_shows_them() {
    use crate::rule::{Evaluator, load};
    let server = Server::new();
    let store = server.tenants.get("default").expect("a store");
    let text = "groups: [{name: g, interval: 30s, rules: [
        {alert: HostUp, expr: 'up == 1', for: 1m, labels: {severity: info}, annotations: {summary: '{{ $labels.host_name }} is up'}},
        {record: up:sum, expr: sum(up)}]}]";
    let mut evaluator = Evaluator::new(load(text, "rules.yml").expect("rules"), store.state()).expect("an evaluator");
    for at in [NOW - 60_000, NOW] {
        evaluator.tick(&Engine::default(), &store, at).expect("a tick");
    }
    server.board.publish_rules("default", evaluator.book());

    let alerts = server.get("/api/v1/alerts").await.json();
    let first = &alerts["data"]["alerts"][0];
    assert_eq!(
        first["labels"],
        serde_json::json!({ "alertname": "HostUp", "host_name": "a", "job": "agent", "severity": "info" })
    );
    assert_eq!(first["annotations"]["summary"], "a is up");
    assert_eq!((&first["state"], &first["value"]), (&"firing".into(), &"1e+00".into()));
    assert_eq!(first["activeAt"], "2025-12-31T23:59:00Z");

    let rules = server.get("/api/v1/rules").await.json();
    let group = &rules["data"]["groups"][0];
    assert_eq!(
        (&group["name"], &group["file"], &group["interval"]),
        (&"g".into(), &"rules.yml".into(), &30.into())
    );
    let rule = &group["rules"][0];
    assert_eq!(
        (&rule["type"], &rule["state"], &rule["health"]),
        (&"alerting".into(), &"firing".into(), &"ok".into())
    );
    assert_eq!(
        (&rule["duration"], &rule["alerts"].as_array().map(Vec::len)),
        (&60.into(), &Some(2))
    );
    assert_eq!(group["rules"][1]["type"], "recording");
    let recorded = server.get("/api/v1/rules?type=record").await.json();
    assert_eq!(recorded["data"]["groups"][0]["rules"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn exemplars_come_by_the_selectors_of_a_query() {
    let server = Server::new();
    let store = server.tenants.get("default").expect("a store");
    let id = |host: &str| {
        let matchers = [
            store::Matcher::eq("__name__", "requests_total"),
            store::Matcher::eq("host_name", host),
        ];
        store
            .snapshot()
            .select(&matchers, store::TimeRange::ALL)
            .expect("selects")[0]
    };
    let exemplar = |at_ms, trace: &str| store::Exemplar {
        labels: store::Labels::from_pairs([("trace_id", trace)]),
        at_ms,
        value: 0.25,
    };
    let new = vec![
        (id("b"), exemplar(NOW - 1500, "x")),
        (id("a"), exemplar(NOW - 500, "y\"")),
        (id("a"), exemplar(NOW, "z")),
    ];
    assert_eq!(store.add_exemplars(new), 3);
    let range = "start=1767225598.5&end=1767225599.9";
    let all = server
        .get(&format!(
            "/api/v1/query_exemplars?query=sum(rate(requests_total[5m]))%2Bup&{range}"
        ))
        .await;
    assert_eq!(
        all.body,
        r#"{"status":"success","data":[{"seriesLabels":{"__name__":"requests_total","host_name":"a"},"exemplars":[{"labels":{"trace_id":"y\""},"value":"0.25","timestamp":1767225599.500}]},{"seriesLabels":{"__name__":"requests_total","host_name":"b"},"exemplars":[{"labels":{"trace_id":"x"},"value":"0.25","timestamp":1767225598.500}]}]}"#
    );
    let one = server
        .get(&format!(
            "/api/v1/query_exemplars?query=requests_total%7Bhost_name=%22b%22%7D&{range}"
        ))
        .await
        .json();
    assert_eq!(one["data"].as_array().map(Vec::len), Some(1));
    let bad = server.get("/api/v1/query_exemplars?query=sum(").await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_prometheus_can_federate_from_here() {
    let server = Server::new();
    let store = server.tenants.get("default").expect("a store");
    write(
        &store,
        &[("__name__", "odd.name"), ("a", "x\"y\\z\n"), ("instance", "i")],
        |_| f64::INFINITY,
    );
    write(&store, &[("__name__", "gone")], |i| {
        if i == 9 { store::stale_nan() } else { 1.0 }
    });
    let answer = server
        .get("/federate?match[]=up&match[]=%7Bhost_name=%22a%22%7D&match[]=%7B__name__=~%22odd.*%7Cgone%22%7D")
        .await;
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert_eq!(
        answer.body,
        "# TYPE \"odd.name\" untyped\n{\"odd.name\",a=\"x\\\"y\\\\z\\n\",instance=\"i\"} +Inf 1767225600000\n\
         # TYPE requests_total untyped\nrequests_total{host_name=\"a\",instance=\"\"} 540 1767225600000\n\
         # TYPE up gauge\nup{host_name=\"a\",job=\"agent\",instance=\"\"} 1 1767225600000\n\
         up{host_name=\"b\",job=\"agent\",instance=\"\"} 1 1767225600000\n"
    );
    let none = server.get("/federate").await;
    assert_eq!(none.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        server.get("/federate?match[]=sum(up)").await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn pages_of_configured_origins_may_query_and_nothing_else() {
    let server = Server::new();
    let send = async |method: &str, path: &str, headers: &[(&str, &str)]| {
        let mut request = axum::http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        server.send(request.body(Body::empty()).expect("a request")).await
    };
    let grafana = ("origin", "https://grafana.example");
    let preflight = [grafana, ("access-control-request-method", "POST")];
    let answer = send("OPTIONS", "/api/v1/query", &preflight).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("access-control-allow-origin")),
        (204, grafana.1)
    );
    assert!(answer.header("access-control-allow-methods").contains("POST"));
    let cross = ("sec-fetch-site", "cross-site");
    let answer = send("POST", "/api/v1/query?query=up", &[grafana, cross]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("access-control-allow-origin")),
        (200, grafana.1)
    );
    let answer = send("POST", "/api/v1/incidents", &[grafana, cross]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "no more than to ask");
    let stranger = ("origin", "https://evil.example");
    let answer = send("GET", "/api/v1/query?query=up", &[stranger]).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let answer = send("POST", "/api/v1/query?query=up", &[stranger, cross]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_deepest_queries_are_formatted_parsed_and_answered() {
    let server = Server::new();
    let chain = (0..600)
        .map(|i| format!("up{{x=\"{i}\"}}"))
        .collect::<Vec<_>>()
        .join(" or ");
    let deepest = format!("{}up", "-".repeat(1000));
    for query in [&chain, &deepest] {
        for path in ["query", "format_query", "parse_query"] {
            let body = format!("query={}", query.replace('+', "%2B"));
            let request = axum::http::Request::post(format!("/api/v1/{path}"))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from(body))
                .expect("a request");
            let answer = server.send(request).await;
            assert_eq!(
                answer.status,
                StatusCode::OK,
                "{path}: {}",
                &answer.body[..200.min(answer.body.len())]
            );
        }
    }
}

#[tokio::test]
async fn targets_are_listed_with_their_last_scrape() {
    let server = Server::empty();
    let all = server.get("/api/v1/targets").await.json();
    let active = all["data"]["activeTargets"].as_array().expect("a list");
    assert_eq!(
        active[0].to_string(),
        r#"{"discoveredLabels":{"__address__":"a:9100"},"globalUrl":"http://a:9100/metrics","health":"up","labels":{"instance":"a"},"lastError":"","lastScrape":"2026-01-01T00:00:00Z","lastScrapeDuration":0.25,"scrapeInterval":"15s","scrapePool":"node","scrapeTimeout":"10s","scrapeUrl":"http://a:9100/metrics"}"#
    );
    assert_eq!((active.len(), &active[1]["health"]), (2, &"unknown".into()));
    assert_eq!(all["data"]["droppedTargetCounts"].to_string(), r#"{"gpu":0,"node":3}"#);
    let none = server.get("/api/v1/targets?scrapePool=gpu&state=active").await;
    assert_eq!(
        none.body,
        r#"{"status":"success","data":{"activeTargets":[],"droppedTargetCounts":{},"droppedTargets":[]}}"#
    );
    assert_eq!(
        server.get("/api/v1/targets?state=x").await.status,
        StatusCode::BAD_REQUEST
    );
    let pools = server.get("/api/v1/scrape_pools").await;
    assert_eq!(
        pools.body,
        r#"{"status":"success","data":{"scrapePools":["gpu","node"]}}"#
    );
}
