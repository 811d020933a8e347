//! Alertmanager's API, as amtool and Prometheus servers use it.

use serde_json::json;

use super::*;
use crate::notify::{Grouping, Inhibition, Outbox, Receiver, Route, Routing, Settings};

fn settings() -> Settings {
    let matchers = |text: &str| crate::notify::matcher::parse_list(text).expect("matchers");
    let mut root = Route::new(Some("team".to_owned()), Vec::new(), Grouping::default());
    root.routes = vec![Route::new(
        Some("pager".to_owned()),
        matchers("severity=page"),
        Grouping::default(),
    )];
    let mut routing = Routing::new(root);
    routing.inhibitions = vec![Inhibition {
        source: matchers("alertname=HostSilent"),
        target: matchers("alertname=DiskRunsFull"),
        equal: vec!["host".to_owned()],
    }];
    Settings {
        receivers: vec![Receiver::webhook("team", "http://127.0.0.1:1/secret-key").expect("an address")],
        silent: vec!["pager".to_owned()],
        routing,
        ..Settings::default()
    }
}

async fn server() -> Server {
    let server = Server::telling(settings());
    let alerts = json!([
        { "labels": { "alertname": "HostSilent", "host": "a", "severity": "page", "empty": "" }, "annotations": { "summary": "gone" } },
        { "labels": { "alertname": "DiskRunsFull", "host": "a" }, "startsAt": "2025-12-31T23:00:00Z" },
        { "labels": { "alertname": "DiskRunsFull", "host": "b" }, "generatorURL": "http://prometheus.example/graph" },
    ]);
    let answer = server.json("POST", "/api/v2/alerts", &alerts).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    server
}

/// Name and host of each alert that is answered, in order of their names.
async fn listed(server: &Server, query: &str) -> Vec<String> {
    let answer = server.get(&format!("/api/v2/alerts{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let one = |alert: &Value| {
        let label = |name: &str| alert["labels"][name].as_str().unwrap_or("").to_owned();
        format!("{} {}", label("alertname"), label("host"))
    };
    let mut found: Vec<String> = answer.json().as_array().expect("a list").iter().map(one).collect();
    found.sort();
    found
}

#[tokio::test]
async fn what_was_posted_is_listed_with_all_its_fields() {
    let server = server().await;
    assert_eq!(
        listed(&server, "").await,
        ["DiskRunsFull a", "DiskRunsFull b", "HostSilent a"]
    );
    let found = server.get("/api/v2/alerts?filter=host%3D%22b%22").await.json();
    let alert = &found[0];
    assert_eq!(alert["labels"], json!({ "alertname": "DiskRunsFull", "host": "b" }));
    assert_eq!(
        (&alert["startsAt"], &alert["endsAt"], &alert["updatedAt"]),
        (
            &"2026-01-01T00:00:00Z".into(),
            &"2026-01-01T00:05:00Z".into(),
            &"2026-01-01T00:00:00Z".into()
        )
    );
    assert_eq!(alert["generatorURL"], "http://prometheus.example/graph");
    assert_eq!(alert["receivers"], json!([{ "name": "team" }]));
    assert_eq!(
        alert["status"],
        json!({ "state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": [] })
    );
    assert!(alert["fingerprint"].as_str().is_some_and(|text| text.len() == 16));
}

#[tokio::test]
async fn filters_and_flags_choose() {
    let server = server().await;
    assert_eq!(
        listed(&server, "?filter=host%3D~%22a%7Cc%22").await,
        ["DiskRunsFull a", "HostSilent a"]
    );
    assert_eq!(
        listed(&server, "?filter=host%3Da&filter=severity!%3Dpage").await,
        ["DiskRunsFull a"]
    );
    assert_eq!(
        listed(&server, "?inhibited=false").await,
        ["DiskRunsFull b", "HostSilent a"]
    );
    assert_eq!(listed(&server, "?active=false").await, ["DiskRunsFull a"]);
    assert_eq!(listed(&server, "?receiver=pa.*").await, ["HostSilent a"]);
    for bad in ["?filter=nonsense", "?active=perhaps", "?receiver=("] {
        let answer = server.get(&format!("/api/v2/alerts{bad}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
        assert!(answer.json().is_string(), "clients expect a text: {}", answer.body);
    }
}

#[tokio::test]
async fn an_alert_ends_when_it_says_so_and_one_that_nobody_knew_is_no_news() {
    let server = server().await;
    let ended = json!([
        { "labels": { "alertname": "DiskRunsFull", "host": "b" }, "endsAt": "2025-12-31T23:59:59Z" },
        { "labels": { "alertname": "Unknown" }, "endsAt": "2025-12-31T23:59:59Z" },
    ]);
    assert_eq!(
        server.json("POST", "/api/v2/alerts", &ended).await.status,
        StatusCode::OK
    );
    assert_eq!(listed(&server, "").await, ["DiskRunsFull a", "HostSilent a"]);
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_the_rest_is_taken() {
    let server = Server::telling(settings());
    let alerts = json!([
        { "labels": {} },
        { "labels": { "alertname": "Good" } },
        { "labels": { "alertname": "Late" }, "startsAt": "soon" },
        { "labels": { "alertname": "Backwards" }, "startsAt": "2026-01-02T00:00:00Z", "endsAt": "2026-01-01T00:00:00Z" },
    ]);
    let answer = server.json("POST", "/api/v2/alerts", &alerts).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    for said in [
        "alert 1: it has no labels",
        "alert 3: startsAt \"soon\" is no time",
        "alert 4: it ends before it starts",
    ] {
        assert!(answer.body.replace("\\\"", "\"").contains(said), "{}", answer.body);
    }
    assert_eq!(listed(&server, "").await, ["Good "]);
    let answer = server.json("POST", "/api/v2/alerts", &json!({ "labels": {} })).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn more_alerts_than_may_be_held_are_refused_as_a_whole() {
    let mut few = settings();
    few.alerts_max = 2;
    let server = Server::telling(few);
    let alerts: Vec<Value> = (0..3)
        .map(|i| json!({ "labels": { "alertname": "A", "i": i.to_string() } }))
        .collect();
    let answer = server.json("POST", "/api/v2/alerts", &alerts.into()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
    assert!(listed(&server, "").await.is_empty());
}

#[tokio::test]
async fn groups_name_their_receiver() {
    let server = server().await;
    let groups = server.get("/api/v2/alerts/groups").await.json();
    let shown: Vec<String> = groups
        .as_array()
        .expect("a list")
        .iter()
        .map(|group| {
            let count = group["alerts"].as_array().map_or(0, Vec::len);
            format!("{} {} {count}", group["labels"]["host"], group["receiver"]["name"])
        })
        .collect();
    assert_eq!(shown, ["\"a\" \"team\" 1", "\"b\" \"team\" 1", "\"a\" \"pager\" 1"]);
}

#[tokio::test]
async fn a_silence_lives_changes_and_ends_under_its_id() {
    let server = server().await;
    let wish = |id: &str, host: &str, comment: &str| {
        json!({
            "id": id,
            "matchers": [{ "name": "host", "value": host, "isRegex": false, "isEqual": true }],
            "startsAt": "2025-12-31T23:59:59.5Z",
            "endsAt": "2026-01-01T01:00:00Z",
            "createdBy": "me",
            "comment": comment,
        })
    };
    let posted = server.json("POST", "/api/v2/silences", &wish("", "b", "planned")).await;
    assert_eq!(posted.status, StatusCode::OK, "{}", posted.body);
    let id = posted.json()["silenceID"].as_str().expect("an id").to_owned();
    assert_eq!(id.len(), 36);
    let silenced = server.get("/api/v2/alerts?filter=host%3Db").await.json();
    assert_eq!(silenced[0]["status"]["state"], "suppressed");
    assert_eq!(silenced[0]["status"]["silencedBy"], json!([id]));
    assert_eq!(
        listed(&server, "?silenced=false").await,
        ["DiskRunsFull a", "HostSilent a"]
    );

    let changed = server.json("POST", "/api/v2/silences", &wish(&id, "b", "longer")).await;
    assert_eq!(changed.json()["silenceID"], *id, "the same matchers: the same silence");
    let moved = server
        .json("POST", "/api/v2/silences", &wish(&id, "a", "another host"))
        .await;
    let other = moved.json()["silenceID"].as_str().expect("an id").to_owned();
    assert_ne!(other, id);
    let state = |id: String| {
        let server = &server;
        async move {
            let silence = server.get(&format!("/api/v2/silence/{id}")).await.json();
            (silence["status"]["state"].clone(), silence["comment"].clone())
        }
    };
    assert_eq!(state(id.clone()).await, ("expired".into(), "longer".into()));
    assert_eq!(state(other.clone()).await, ("active".into(), "another host".into()));
    let request = Request::delete(format!("/api/v2/silence/{other}")).body(Body::empty());
    assert_eq!(server.send(request.expect("a request")).await.status, StatusCode::OK);
    assert_eq!(state(other).await.0, "expired");
    let all = server.get("/api/v2/silences?filter=host%3Db").await.json();
    assert_eq!(all.as_array().map(Vec::len), Some(1), "{all}");
}

#[tokio::test]
async fn a_silence_that_cannot_be_meant_is_refused() {
    let server = Server::telling(settings());
    let all = json!({
        "matchers": [{ "name": "host", "value": ".*", "isRegex": true }],
        "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2026-01-01T01:00:00Z", "createdBy": "me", "comment": "all",
    });
    let answer = server.json("POST", "/api/v2/silences", &all).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(
        answer
            .json()
            .as_str()
            .is_some_and(|text| text.contains("match every alert")),
        "{}",
        answer.body
    );
    for id in ["nonsense", "f0e5e0c4-0000-4000-8000-00000000002a"] {
        let answer = server.get(&format!("/api/v2/silence/{id}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}");
    }
}

#[tokio::test]
async fn status_shows_a_configuration_without_secrets() {
    let server = Server::telling(settings());
    let status = server.get("/api/v2/status").await.json();
    assert_eq!(status["cluster"]["status"], "disabled");
    assert!(status["versionInfo"]["version"].is_string() && status["uptime"].is_string());
    let original = status["config"]["original"].as_str().expect("a text");
    assert!(
        original.contains("- name: \"team\"") && !original.contains("secret-key"),
        "{original}"
    );
    assert!(
        crate::notify::load_configuration(original, std::path::Path::new("a.yml")).is_ok(),
        "{original}"
    );
    assert_eq!(
        server.get("/api/v2/receivers").await.json(),
        json!([{ "name": "team" }, { "name": "pager" }])
    );
    let nobody = Server::empty().get("/api/v2/receivers").await.json();
    assert_eq!(nobody, json!([{ "name": "nobody" }]));
}

#[tokio::test]
async fn receivers_are_listed_tested_and_their_dead_letters_sent_again() {
    let server = server().await;
    let listed = server.get("/api/v1/receivers").await.json();
    assert_eq!(
        (&listed["receivers"][0]["id"], &listed["receivers"][0]["place"]),
        (&"team".into(), &"http://127.0.0.1:1".into())
    );
    let tested = server.json("POST", "/api/v1/receivers/team/test", &json!({})).await;
    assert_eq!(
        (tested.status, &tested.json()["outcome"]),
        (StatusCode::OK, &"dead".into())
    );
    assert!(
        !tested.body.contains("secret-key") && tested.body.contains("cannot connect"),
        "{}",
        tested.body
    );
    let unknown = server.json("POST", "/api/v1/receivers/nobody/test", &json!({})).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let none = server.json("POST", "/api/v1/deliveries/dead/7/retry", &json!({})).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    let store = server.tenants.get("default").expect("a tenant");
    assert!(Outbox::dead_letters(store.state(), 9).expect("readable").is_empty());
    let page = server.get("/alerts").await.body;
    assert!(page.contains("Send a test") && page.contains("in order"), "{page}");
}
