//! Our own API: hosts, scores, incidents, models, SQL, silences, tenants.

use predict::live::{HostScore, Round, ScoreState, Signal};
use predict::{Horizon, Probability};
use serde_json::json;

use super::*;

/// What a round says about a host.
pub(super) fn score(host: &str, state: ScoreState) -> HostScore {
    HostScore {
        host: host.to_owned(),
        device: None,
        horizon: Horizon::HOUR,
        model: "logistic-1h-1".to_owned(),
        state,
        alert: false,
        anomaly: 2.5,
        signals: vec![Signal {
            name: "memory.level".to_owned(),
            value: 0.93,
            unit: "1",
            usual: 0.4,
            peers: None,
            text: "memory in use 93 % (usually 40 %) for 20 min".to_owned(),
            since_ms: NOW - 1_200_000,
            contribution: 0.7,
            advice: "find the process that grows",
        }],
        findings: Vec::new(),
        advice: "find the process that grows".to_owned(),
    }
}

/// A round in which a is likely to fail and b has yet to be learned.
pub(super) fn round() -> Round {
    let likely = ScoreState::Scored(Probability::clamped(0.87));
    let learning = ScoreState::Learning {
        have: 3,
        need: 6,
        what: "incidents to learn from".to_owned(),
    };
    Round {
        at_ms: NOW - 5_000,
        scores: vec![score("b", learning), score("a", likely)],
        forecasts: Vec::new(),
    }
}

#[tokio::test]
async fn hosts_are_listed_the_most_urgent_first() {
    let server = Server::new();
    let before = server.get("/api/v1/hosts").await.json();
    assert_eq!(
        (&before["scored_at"], &before["hosts"][0]["scores"]),
        (&Value::Null, &json!([]))
    );
    server.board.publish_round("default", round());
    let hosts = server.get("/api/v1/hosts").await.json();
    let names: Vec<_> = hosts["hosts"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|host| host["host"].clone())
        .collect();
    assert_eq!(names, ["a", "b"]);
    let first = &hosts["hosts"][0];
    assert_eq!(
        (&first["probability"], &first["last_seen"]),
        (&0.87.into(), &"2026-01-01T00:00:00Z".into())
    );
    let one = server.get("/api/v1/hosts/b").await.json();
    assert_eq!(one["probability"], Value::Null);
    assert_eq!(
        one["scores"][0]["learning"],
        json!({ "have": 3, "need": 6, "what": "incidents to learn from" })
    );
    assert_eq!(server.get("/api/v1/hosts/c").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_agent_of_a_host_that_is_warned_of_is_asked_to_look_closer() {
    let mut server = Server::new();
    let taking = Router::new()
        .route("/v1/metrics", axum::routing::post(|| async {}))
        .route("/full", axum::routing::post(|| async { StatusCode::TOO_MANY_REQUESTS }));
    server.router = crate::closer::asking(taking, Arc::clone(&server.board));
    let mut warned = round();
    warned.scores[1].alert = true;
    server.board.publish_round("default", warned);
    server.board.publish_round("other", round());
    for (path, host, tenant, asked) in [
        ("/v1/metrics", Some("a"), None, "fast"),
        ("/v1/metrics", Some("a"), Some("default"), "fast"),
        ("/v1/metrics", Some("a"), Some("other"), ""),
        ("/v1/metrics", Some("b"), None, ""),
        ("/v1/metrics", None, None, ""),
        ("/full", Some("a"), None, ""),
    ] {
        let mut request = Request::post(path);
        for (name, value) in [("x-foreshock-host", host), ("x-scope-orgid", tenant)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let answer = server.send(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(
            answer.header("x-foreshock-sampling"),
            asked,
            "{path} {host:?} {tenant:?}"
        );
    }
    server.board.publish_round("default", round());
    assert!(!server.board.is_warned("default", "a"));
}

#[tokio::test]
async fn scores_come_with_their_signals() {
    let server = Server::new();
    assert_eq!(server.get("/api/v1/scores").await.json()["scores"], json!([]));
    server.board.publish_round("default", round());
    let scores = server.get("/api/v1/scores?host=a").await.json();
    assert_eq!(scores["scores"].as_array().map(Vec::len), Some(1));
    let score = &scores["scores"][0];
    assert_eq!(
        (&score["state"], &score["horizon"], &score["probability"]),
        (&"scored".into(), &"1h".into(), &0.87.into())
    );
    let signal = &score["signals"][0];
    assert_eq!(signal["text"], "memory in use 93 % (usually 40 %) for 20 min");
    assert_eq!(signal["since"], "2025-12-31T23:40:00Z");
}

#[tokio::test]
async fn an_incident_is_declared_judged_closed_and_forgotten() {
    let server = Server::new();
    let declared = server
        .json(
            "POST",
            "/api/v1/incidents",
            &json!({ "host": "a", "kind": "disk_full" }),
        )
        .await;
    assert_eq!(declared.status, StatusCode::CREATED, "{}", declared.body);
    let path = declared.header("location").to_owned();
    assert_eq!(path, "/api/v1/incidents/a-disk_full-1767225600");
    assert_eq!(
        declared.json(),
        json!({
            "id": "a-disk_full-1767225600", "host": "a", "device": null, "start": "2026-01-01T00:00:00Z", "end": null,
            "kind": "disk_full", "source": "declared", "verdict": "real", "summary": "",
        })
    );
    let rows = server
        .form("/api/v1/sql", "query=SELECT id, start, \"end\" FROM incidents")
        .await
        .json();
    assert_eq!(
        rows["rows"],
        json!([{ "id": "a-disk_full-1767225600", "start": "2026-01-01T00:00:00Z", "end": null }])
    );
    let changed = server
        .json("PATCH", &path, &json!({ "verdict": "mitigated", "end": "now" }))
        .await
        .json();
    assert_eq!(
        (&changed["verdict"], &changed["end"]),
        (&"mitigated".into(), &"2026-01-01T00:00:00Z".into())
    );
    assert_eq!(
        server.get("/api/v1/incidents?host=a").await.json()["incidents"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert_eq!(
        server.get("/api/v1/incidents?host=b").await.json()["incidents"],
        json!([])
    );
    let delete = || Request::delete(path.as_str()).body(Body::empty()).expect("a request");
    assert_eq!(server.send(delete()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.send(delete()).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_incident_that_is_declared_again_keeps_what_was_said_of_it() {
    let server = Server::new();
    let declare = async |body: Value| {
        let answer = server.json("POST", "/api/v1/incidents", &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        (answer.header("location").to_owned(), answer.json())
    };
    let told = json!({ "host": "a", "device": "GPU-1", "kind": "disk_full", "start": "2025-12-31T23:00:00Z", "summary": "/ is full" });
    let (path, _) = declare(told.clone()).await;
    let judged = json!({ "verdict": "noise", "end": "2025-12-31T23:30:00Z" });
    let judged = server.json("PATCH", &path, &judged).await.json();
    // The sender tries again, with and without what it does not know.
    let (again, stands) = declare(told.clone()).await;
    assert_eq!((again, &stands), (path.clone(), &judged));
    let mut null = told;
    for name in ["end", "verdict", "summary", "device"] {
        null[name] = Value::Null;
    }
    assert_eq!(declare(null).await.1, judged);
    // Only what is told changes.
    let corrected = json!({ "id": judged["id"], "host": "a", "end": "2025-12-31T23:40:00Z", "verdict": "mitigated" });
    let (_, stands) = declare(corrected).await;
    let mut expected = judged;
    expected["end"] = "2025-12-31T23:40:00Z".into();
    expected["verdict"] = "mitigated".into();
    assert_eq!(stands, expected);
    assert_eq!(server.get(&path).await.json(), expected);
}

#[tokio::test]
async fn an_incident_that_makes_no_sense_is_refused_with_a_hint() {
    let server = Server::new();
    let check = async |body: Value, status: u16, text: &str| {
        let answer = server.json("POST", "/api/v1/incidents", &body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert!(answer.body.contains(text), "{body}: {}", answer.body);
    };
    check(json!({ "kind": "x" }), 400, "missing field `host`").await;
    check(json!({ "host": "", "kind": "x" }), 400, "it has no host").await;
    check(
        json!({ "host": "a", "verdict": "maybe" }),
        400,
        "unknown variant `maybe`",
    )
    .await;
    check(json!({ "host": "a", "start": "noon" }), 400, "start noon is no time").await;
    check(
        json!({ "host": "a", "start": 20, "end": 10 }),
        400,
        "ends before it starts",
    )
    .await;
    let form = server.form("/api/v1/incidents", "host=a").await;
    assert_eq!(
        form.status,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "a form may come from any page"
    );
}

#[tokio::test]
async fn models_are_listed_and_cannot_be_promoted_out_of_nothing() {
    let server = Server::new();
    assert_eq!(server.get("/api/v1/models").await.json(), json!({ "models": [] }));
    assert_eq!(
        server.form("/api/v1/models/7/promote", "").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        server.form("/api/v1/models/rollback", "").await.status,
        StatusCode::CONFLICT
    );
    assert_eq!(
        server.form("/api/v1/models/rollback?horizon=soon", "").await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn sql_answers_rows_and_says_what_is_wrong() {
    let server = Server::new();
    let query = "SELECT host, count(*) AS n FROM samples WHERE metric = 'up' GROUP BY host ORDER BY host";
    let rows = server.json("POST", "/api/v1/sql", &json!({ "query": query })).await;
    assert_eq!(
        rows.json()["rows"],
        json!([{ "host": "a", "n": 10 }, { "host": "b", "n": 10 }]),
        "{}",
        rows.body
    );
    let path = format!("/api/v1/sql?query={}", crate::page::layout::encoded(query));
    let request = Request::get(path)
        .header("accept", "text/csv")
        .body(Body::empty())
        .expect("a request");
    assert_eq!(server.send(request).await.body, "host,n\na,10\nb,10\n");
    let check = async |query: &str, status: u16| {
        let answer = server
            .form("/api/v1/sql", &format!("query={}", crate::page::layout::encoded(query)))
            .await;
        assert_eq!(answer.status.as_u16(), status, "{query}: {}", answer.body);
        assert_eq!(answer.header("content-type"), "application/problem+json");
    };
    check("", 400).await;
    check("SELEKT", 400).await;
    check("SELECT * FROM nothing", 400).await;
    check("DROP TABLE samples", 403).await;
}

#[tokio::test]
async fn sql_answers_as_much_as_is_asked_for_in_the_format_that_is_named() {
    let server = Server::new();
    let ask = async |form: &str| server.form("/api/v1/sql", form).await;
    let cut = ask("query=SELECT value FROM samples&limit=3").await;
    assert_eq!(cut.header("x-foreshock-rows-max"), "3");
    assert_eq!(cut.header("x-foreshock-truncated"), "true");
    assert_eq!(
        (cut.json()["rows"].as_array().map(Vec::len), &cut.json()["truncated"]),
        (Some(3), &json!(true))
    );
    let csv = ask("query=SELECT labels FROM samples WHERE metric='up' LIMIT 1&format=csv").await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(
        csv.body,
        "labels\n\"{\"\"host_name\"\":\"\"a\"\",\"\"job\"\":\"\"agent\"\"}\"\n"
    );
    assert_eq!(csv.header("x-foreshock-truncated"), "");
    // More than is looked at before the answer begins, so that it comes in pieces.
    let long = ask("query=SELECT value FROM generate_series(1, 100000)&format=csv").await;
    assert_eq!(
        (long.body.lines().count(), long.body.lines().last()),
        (100_001, Some("100000"))
    );
    for (form, part) in [
        ("query=SELECT 1&format=xml", "format"),
        ("query=SELECT 1&limit=many", "limit"),
        ("query=SELECT 1&timeout=soon", "timeout"),
    ] {
        let answer = ask(form).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{form}");
        assert!(answer.body.contains(part), "{}", answer.body);
    }
    let slow = ask("query=SELECT max(value %25 7) FROM generate_series(1, 1000000000000000)&timeout=50ms").await;
    assert_eq!(slow.status, StatusCode::SERVICE_UNAVAILABLE, "{}", slow.body);
}

#[tokio::test]
async fn an_answer_of_sql_that_fails_on_its_way_is_cut_off() {
    let server = Server::new();
    let query = "SELECT 10 / (100000 - value) FROM generate_series(1, 200000)";
    let path = format!("/api/v1/sql?format=csv&query={}", crate::page::layout::encoded(query));
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let response = server.router.clone().oneshot(request).await.expect("infallible");
    assert_eq!(response.status(), StatusCode::OK, "the first rows are sound");
    let body = to_bytes(response.into_body(), 64 << 20).await;
    assert!(body.is_err(), "a body that ends well would pass for the whole answer");
}

#[tokio::test]
async fn scores_alerts_and_hosts_are_tables() {
    let server = Server::new();
    let store = server.tenants.get("default").expect("a store");
    let probability = [
        ("__name__", "foreshock_failure_probability"),
        ("host", "a"),
        ("horizon", "1h"),
        ("model", "logistic-1"),
    ];
    write(&store, &probability, |i| f64::from(i) / 10.0);
    let alert = [
        ("__name__", "ALERTS"),
        ("alertname", "Hot"),
        ("alertstate", "firing"),
        ("host", "b"),
    ];
    write(&store, &alert, |_| 1.0);
    let check = async |query: &str, expected: Value| {
        let answer = server.json("POST", "/api/v1/sql", &json!({ "query": query })).await;
        assert_eq!(answer.json()["rows"], expected, "{query}");
    };
    check(
        "SELECT host, horizon, model, max(probability) AS p FROM scores GROUP BY 1, 2, 3",
        json!([{ "host": "a", "horizon": "1h", "model": "logistic-1", "p": 0.9 }]),
    )
    .await;
    check(
        "SELECT alert, state, host, count(*) AS n FROM alerts GROUP BY 1, 2, 3",
        json!([{ "alert": "Hot", "state": "firing", "host": "b", "n": 10 }]),
    )
    .await;
    check(
        "SELECT host, series, metrics FROM hosts WHERE host = 'b'",
        json!([{ "host": "b", "series": 3, "metrics": 3 }]),
    )
    .await;
}

#[tokio::test]
async fn a_silence_is_made_listed_and_ended() {
    let server = Server::new();
    let made = server
        .json(
            "POST",
            "/api/v1/silences",
            &json!({ "host": "a", "duration": "1h", "comment": "work" }),
        )
        .await;
    assert_eq!(
        (made.status, made.json()),
        (StatusCode::CREATED, json!({ "silenceID": "1" }))
    );
    let silences = server.get("/api/v1/silences").await.json();
    assert_eq!(silences["silences"][0]["endsAt"], "2026-01-01T01:00:00Z");
    assert_eq!(
        silences["silences"][0]["matchers"][0],
        json!({ "name": "host", "value": "a", "isRegex": false, "isEqual": true })
    );
    let end = || {
        Request::delete("/api/v1/silences/1")
            .body(Body::empty())
            .expect("a request")
    };
    assert_eq!(server.send(end()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.send(end()).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.get("/api/v1/silences/1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        server.get("/api/v1/deliveries").await.json(),
        json!({ "waiting": 0, "deliveries": [] })
    );
}

#[tokio::test]
async fn the_store_is_flushed_and_tenants_come_and_go() {
    let server = Server::new();
    server.tenants.get_or_create("fleet").expect("a store");
    assert_eq!(
        server.form("/api/v1/admin/store/flush", "").await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        server.form("/api/v1/admin/store/compact", "").await.status,
        StatusCode::NO_CONTENT
    );
    let tenants = server.get("/api/v1/tenants").await.json();
    let first = &tenants["tenants"][0];
    assert_eq!(
        (&first["name"], &first["series"], &first["head_samples"]),
        (&"default".into(), &4.into(), &0.into())
    );
    let delete = |name: &str| {
        Request::delete(format!("/api/v1/tenants/{name}"))
            .body(Body::empty())
            .expect("a request")
    };
    assert_eq!(server.send(delete("fleet")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.send(delete("fleet")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.send(delete("default")).await.status, StatusCode::CONFLICT);
}
