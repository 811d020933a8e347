//! Acknowledging, by API, page and the links of messages.

use std::sync::Mutex;

use axum::routing::post;
use serde_json::json;

use super::*;
use crate::notify::{Channel, Hook, Notification, Outbox, Receiver, Settings, client};
use crate::rule::Trend;

/// A server that tells a webhook, and what the webhook heard.
async fn telling() -> (Server, Settings, Arc<Mutex<Vec<Value>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let heard: Arc<Mutex<Vec<Value>>> = Arc::default();
    let hearing = Arc::clone(&heard);
    let hook = move |body: axum::Json<Value>| async move { hearing.lock().expect("a lock").push(body.0) };
    let hook = Router::new().route("/", post(hook));
    tokio::spawn(async move { axum::serve(listener, hook).await });
    let mut settings = Settings {
        receivers: vec![Receiver::webhook("oncall", &url).expect("an address")],
        external_url: "https://foreshock.example".to_owned(),
        ..Settings::default()
    };
    settings.routing.set_wait_ms(0);
    let server = Server::telling(settings.clone());
    let alert =
        |host: &str| json!({ "labels": { "alertname": "Hot", "host": host }, "endsAt": "2026-01-09T00:00:00Z" });
    let alerts = json!([alert("a"), alert("b<i>")]);
    let answer = server.json("POST", "/api/v2/alerts?tenant=team", &alerts).await;
    assert_eq!(
        answer.status,
        StatusCode::NOT_FOUND,
        "tenants come into being with samples"
    );
    server.tenants.get_or_create("team").expect("a tenant");
    let answer = server.json("POST", "/api/v2/alerts?tenant=team", &alerts).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    (server, settings, heard)
}

impl Server {
    /// The alert of this host, as Alertmanager's clients see it.
    async fn alert_of(&self, host: &str) -> Value {
        let all = self.get("/api/v2/alerts?tenant=team").await.json();
        let found = all
            .as_array()
            .expect("a list")
            .iter()
            .find(|alert| alert["labels"]["host"] == host);
        found.cloned().unwrap_or_default()
    }
}

/// The link in the message about this host, without the server that it leads to.
async fn link(server: &Server, settings: Settings, heard: &Mutex<Vec<Value>>, host: &str) -> String {
    let store = server.tenants.get("team").expect("a tenant");
    let outbox = Outbox::open(store.state(), settings)
        .expect("an outbox")
        .of_tenant("team");
    let sent = outbox
        .deliver_due(store.state(), NOW, &client().expect("a client"))
        .await;
    assert_eq!(sent.expect("sent").len(), 2);
    let heard = heard.lock().expect("a lock");
    let about = heard
        .iter()
        .find(|body| body["commonLabels"]["host"] == host)
        .expect("a message");
    let url = about["foreshock"]["answerUrl"].as_str().expect("a link");
    url.strip_prefix("https://foreshock.example")
        .expect("this server's")
        .to_owned()
}

#[tokio::test]
async fn an_alert_is_acknowledged_and_laid_down_over_the_api() {
    let (server, _, _) = telling().await;
    let alert = server.alert_of("a").await;
    assert!(alert["acknowledged"].is_null(), "{alert}");
    let path = format!(
        "/api/v1/alerts/{}/acknowledge?tenant=team",
        alert["fingerprint"].as_str().expect("a fingerprint")
    );
    let answer = server
        .json("POST", &path, &json!({ "by": "eva", "comment": "on <it>" }))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.json()["acknowledgements"][0]["by"], "eva");
    let expected = json!({ "by": "eva", "at": "2026-01-01T00:00:00Z", "comment": "on <it>" });
    assert_eq!(server.alert_of("a").await["acknowledged"], expected);
    assert!(server.alert_of("b<i>").await["acknowledged"].is_null());
    let page = server.get("/alerts?tenant=team").await.body;
    assert!(page.contains("eva has it in hand") && page.contains("on &lt;it&gt;") && page.contains("Take back"));
    let answer = server
        .send(Request::delete(&path).body(Body::empty()).expect("a request"))
        .await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert!(server.alert_of("a").await["acknowledged"].is_null());
    for (path, body, status) in [
        (
            "/api/v1/alerts/none/acknowledge?tenant=team",
            json!({}),
            StatusCode::NOT_FOUND,
        ),
        (&*path, json!({ "by": "x".repeat(201) }), StatusCode::BAD_REQUEST),
        (&*path, json!({ "for": "1h" }), StatusCode::BAD_REQUEST),
    ] {
        let answer = server.json("POST", path, &body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(
            answer.json()["hint"].is_string() || status == StatusCode::BAD_REQUEST,
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_link_answers_its_own_alerts_and_only_when_a_button_is_pressed() {
    let (server, settings, heard) = telling().await;
    let link = link(&server, settings, &heard, "b<i>").await;
    let page = server.get(&link).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    assert!(
        page.body.contains("b&lt;i&gt;") && !page.body.contains("b<i>"),
        "{}",
        page.body
    );
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(
        server.alert_of("b<i>").await["acknowledged"].is_null(),
        "to look changes nothing"
    );
    let token = link
        .split_once("?t=")
        .and_then(|(_, rest)| rest.split('&').next())
        .expect("a token");
    let press = |what: &str| {
        let form = format!("t={token}&do={what}&who=Eva+%3Cb%3E");
        let server = &server;
        async move { server.form("/answer?tenant=team", &form).await }
    };
    let answer = press("acknowledge").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert!(
        answer.body.contains("1 alert acknowledged by Eva &lt;b&gt;."),
        "{}",
        answer.body
    );
    assert_eq!(server.alert_of("b<i>").await["acknowledged"]["by"], "Eva <b>");
    assert!(
        server.alert_of("a").await["acknowledged"].is_null(),
        "the other one is none of its business"
    );
    let answer = press("silence-8h").await;
    assert!(answer.body.contains("silenced for 8 h"), "{}", answer.body);
    assert_eq!(server.alert_of("b<i>").await["status"]["state"], "suppressed");
    assert_eq!(server.alert_of("a").await["status"]["state"], "active");
    for verdict in ["noise", "mitigated"] {
        let answer = press(verdict).await;
        assert!(answer.body.contains(&format!("judged {verdict}")), "{}", answer.body);
    }
    let incidents = server.get("/api/v1/incidents?tenant=team").await.json();
    let incidents = incidents["incidents"].as_array().expect("a list");
    assert_eq!(incidents.len(), 1, "a verdict may be changed: {incidents:?}");
    assert_eq!(
        (&incidents[0]["host"], &incidents[0]["verdict"]),
        (&"b<i>".into(), &"mitigated".into())
    );
    assert_eq!(press("delete-everything").await.status, StatusCode::BAD_REQUEST);
    // Who answered stands in the audit, and the key that let in does not.
    let rows = server
        .audited("team", "actor, action, outcome, detail['said'] AS said")
        .await;
    assert_eq!(rows.len(), 5, "{rows:?}");
    let row = "Eva <b>|alert.answer|done|1 alert acknowledged by Eva <b>.";
    assert!(rows.iter().any(|found| found == row), "{rows:?}");
    let all = [
        server.audited("team", "detail").await,
        server.audited("default", "detail").await,
    ]
    .concat();
    assert!(all.len() >= 5 && all.iter().all(|row| !row.contains(token)), "{all:?}");
    // Another tenant's key, a changed one, none.
    let changed = format!("/answer?tenant=team&t={}", token.replacen(&token[..1], "_", 1));
    for (path, status) in [
        (format!("/answer?t={token}"), StatusCode::FORBIDDEN),
        (changed, StatusCode::FORBIDDEN),
        ("/answer?tenant=team".to_owned(), StatusCode::FORBIDDEN),
        // Which tenants there are is nobody's business who has no link.
        (format!("/answer?tenant=nobody&t={token}"), StatusCode::FORBIDDEN),
        (format!("/chart.png?tenant=nobody&t={token}"), StatusCode::FORBIDDEN),
        (format!("/chart.png?tenant=team&t={token}"), StatusCode::FORBIDDEN),
    ] {
        assert_eq!(server.get(&path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_link_is_good_for_three_days_and_says_when_nothing_fires_any_more() {
    let (server, settings, heard) = telling().await;
    let link = link(&server, settings.clone(), &heard, "a").await;
    let token = link
        .split_once("?t=")
        .and_then(|(_, rest)| rest.split('&').next())
        .expect("a token");
    let store = server.tenants.get("team").expect("a tenant");
    let outbox = Outbox::open(store.state(), settings).expect("an outbox");
    let day = 86_400_000;
    assert_eq!(
        outbox
            .granted(store.state(), NOW + 3 * day - 1, token)
            .expect("good")
            .1
            .len(),
        1
    );
    let error = outbox
        .granted(store.state(), NOW + 3 * day, token)
        .expect_err("too old");
    assert_eq!(error.to_string(), "this link is too old");
    let over = json!([{ "labels": { "alertname": "Hot", "host": "a" }, "endsAt": "2025-12-31T23:59:59Z" }]);
    server.json("POST", "/api/v2/alerts?tenant=team", &over).await;
    assert!(server.get(&link).await.body.contains("Nothing of this fires any more"));
    let answer = server
        .form("/answer?tenant=team", &format!("t={token}&do=acknowledge"))
        .await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.body);
}

#[tokio::test]
async fn a_chat_that_fetches_pictures_gets_the_chart_by_a_link_that_holds_it() {
    let (server, mut settings, heard) = telling().await;
    let url = format!("http://{}/", heard_at(&settings));
    let hook = Hook::at(&url).expect("an address");
    settings.receivers = vec![Receiver::new("chat", Channel::Mattermost { hook, channel: None }).expect("a receiver")];
    let store = server.tenants.get("team").expect("a tenant");
    let tell = async |settings: Settings, host: &str| {
        let outbox = Outbox::open(store.state(), settings)
            .expect("an outbox")
            .of_tenant("team");
        outbox
            .enqueue(store.state(), NOW, "g/Hot", &hot(host))
            .expect("enqueued");
        let sent = outbox
            .deliver_due(store.state(), NOW, &client().expect("a client"))
            .await;
        assert!(!sent.expect("sent").is_empty());
        let heard = heard.lock().expect("a lock");
        let about = heard
            .iter()
            .rfind(|body| body["text"].as_str().is_some_and(|text| text.contains(host)));
        about.expect("a message")["attachments"][0]["image_url"]
            .as_str()
            .map(str::to_owned)
    };
    let url = tell(settings.clone(), "rising").await.expect("a link");
    let path = url.strip_prefix("https://foreshock.example").expect("this server's");
    let answer = server.get(path).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (StatusCode::OK, "image/png"),
        "{}",
        answer.body
    );
    assert!(answer.body.contains("PNG\r\n"), "{}", answer.body);
    let token = path
        .split_once("?t=")
        .and_then(|(_, rest)| rest.split('&').next())
        .expect("a token");
    assert_eq!(
        server.get(&format!("/answer?tenant=team&t={token}")).await.status,
        StatusCode::FORBIDDEN,
        "to look is all that it allows"
    );
    let outbox = Outbox::open(store.state(), settings.clone()).expect("an outbox");
    let day = 86_400_000;
    assert!(outbox.chart(store.state(), NOW + 3 * day - 1, token).is_ok());
    let error = outbox.chart(store.state(), NOW + 3 * day, token).expect_err("too old");
    assert_eq!(error.to_string(), "this link is too old");
    for settings in [
        Settings {
            chart_links: false,
            ..settings.clone()
        },
        Settings {
            external_url: "https://10.0.0.7:9750".to_owned(),
            ..settings
        },
    ] {
        let host = settings.external_url.replace(['/', ':', '.'], "-");
        assert_eq!(tell(settings, &host).await, None);
    }
}

/// Where the webhook listens.
fn heard_at(settings: &Settings) -> String {
    let place = settings.receivers[0].place();
    place.strip_prefix("http://").expect("an address").to_owned()
}

fn hot(host: &str) -> Notification {
    let labels = [("alertname", "Rising"), ("host", host)];
    let labels: std::collections::BTreeMap<String, String> =
        labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Notification {
        fingerprint: crate::rule::fingerprint(&labels),
        labels,
        annotations: Default::default(),
        starts_ms: NOW,
        ends_ms: None,
        value: None,
        generator_url: String::new(),
        outlook: None,
        expires_ms: None,
        updated_ms: NOW,
        since_ms: None,
        trend: Some(Trend {
            start_ms: NOW - 900_000,
            step_ms: 450_000,
            values: vec![Some(0.1), Some(0.2), Some(0.71)],
            threshold: Some(0.5),
            unit: "1".to_owned(),
        }),
    }
}
