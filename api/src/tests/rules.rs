use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;

use super::{NOW, Server, write};
use crate::rule::{Evaluator, Shelf};

const GROUP: &str = "name: mine\ninterval: 30s\nrules:\n- alert: Down\n  expr: up == 0\n  labels:\n    code: '7'\n";

async fn yaml(server: &Server, method: &str, path: &str, body: &str) -> super::Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/yaml");
    server
        .send(request.body(Body::from(body.to_owned())).expect("a request"))
        .await
}

async fn delete(server: &Server, path: &str) -> StatusCode {
    server
        .send(Request::delete(path).body(Body::empty()).expect("a request"))
        .await
        .status
}

#[tokio::test]
async fn a_group_is_made_read_replaced_and_deleted() {
    let server = Server::new();
    let store = server.tenants.get_or_create("default").expect("a store");
    assert_eq!(server.get("/config/v1/rules").await.status, StatusCode::NOT_FOUND);
    let before = Shelf::open(store.state())
        .expect("a shelf")
        .version()
        .expect("a version");

    let answer = yaml(&server, "POST", "/config/v1/rules/team", GROUP).await;
    assert_eq!(
        (answer.status, answer.json()["status"].as_str()),
        (StatusCode::ACCEPTED, Some("success"))
    );
    let answer = server.get("/config/v1/rules/team/mine").await;
    assert_eq!(
        (answer.header("content-type"), answer.body.as_str()),
        ("application/yaml", GROUP)
    );
    let listed = "team:\n- name: mine\n  interval: 30s\n  rules:\n  - alert: Down\n    expr: up == 0\n    labels:\n      code: '7'\n";
    assert_eq!(server.get("/config/v1/rules").await.body, listed);
    assert_eq!(server.get("/config/v1/rules/team").await.body, listed);
    assert_eq!(server.get("/config/v1/rules/other").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        server.get("/config/v1/rules/team/other").await.status,
        StatusCode::NOT_FOUND
    );

    let changed = GROUP.replace("30s", "1m");
    assert_eq!(
        yaml(&server, "POST", "/config/v1/rules/team", &changed).await.status,
        StatusCode::ACCEPTED
    );
    let shelf = Shelf::open(store.state()).expect("a shelf");
    let groups = shelf.groups().expect("groups");
    assert_eq!(
        (groups.len(), groups[0].interval_ms, groups[0].file.as_str()),
        (1, 60_000, "team")
    );
    assert_eq!(shelf.version().expect("a version"), before + 2);

    assert_eq!(
        delete(&server, "/config/v1/rules/team/mine").await,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        delete(&server, "/config/v1/rules/team/mine").await,
        StatusCode::NOT_FOUND
    );
    yaml(&server, "POST", "/config/v1/rules/team", GROUP).await;
    assert_eq!(delete(&server, "/config/v1/rules/team").await, StatusCode::ACCEPTED);
    assert_eq!(shelf.list().expect("groups"), []);
}

#[tokio::test]
async fn what_is_no_group_changes_nothing_and_says_why() {
    let server = Server::new();
    yaml(&server, "POST", "/config/v1/rules/team", GROUP).await;
    let refused = async |path: &str, body: &str| {
        let answer = yaml(&server, "POST", path, body).await;
        let problem = answer.json();
        assert!(
            problem["hint"].is_string() || answer.status == StatusCode::BAD_REQUEST,
            "{problem}"
        );
        format!(
            "{} {}",
            answer.status.as_u16(),
            problem["detail"].as_str().unwrap_or("")
        )
    };
    assert_eq!(
        refused("/config/v1/rules/team", &GROUP.replace("up == 0", "up =="))
            .await
            .split(" expr:")
            .next(),
        Some("400 team, group \"mine\", rule 1 \"Down\":")
    );
    assert_eq!(
        refused("/config/v1/rules/other", GROUP).await,
        "409 group \"mine\" is in namespace \"team\" already"
    );
    assert_eq!(
        refused("/config/v1/rules/team", &GROUP.replace("mine", "fixed")).await,
        "409 group \"fixed\" is loaded from fixed.yml and can only be changed there"
    );
    assert_eq!(
        refused("/config/v1/rules/team", "groups: []").await,
        "400 this is no group"
    );
    assert_eq!(refused("/config/v1/rules/team", "hello").await, "400 this is no group");
    assert!(
        refused("/config/v1/rules/team", "a: [")
            .await
            .starts_with("400 this is no YAML")
    );
    assert_eq!(
        refused(&format!("/config/v1/rules/{}", "n".repeat(257)), GROUP).await,
        "400 a namespace has 1 to 256 bytes"
    );
    let rules: String = (0..1001).map(|i| format!("- {{record: a{i}, expr: '1'}}\n")).collect();
    assert_eq!(
        refused("/config/v1/rules/team", &format!("name: many\nrules:\n{rules}")).await,
        "400 1001 rules in the group; the most is 1000"
    );
    let answer = server
        .json("POST", "/config/v1/rules/team", &json!({ "name": "mine" }))
        .await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(server.get("/config/v1/rules/team/mine").await.body, GROUP);
}

#[tokio::test]
async fn an_edited_rule_is_evaluated_and_its_alerts_outlive_the_edit() {
    let server = Server::new();
    let store = server.tenants.get_or_create("default").expect("a store");
    let engine = store::promql::Engine::default();
    write(&store, &[("__name__", "up"), ("host_name", "c")], |_| 0.0);
    yaml(&server, "POST", "/config/v1/rules/team", GROUP).await;
    let evaluator = || {
        let groups = Shelf::open(store.state()).expect("a shelf").groups().expect("groups");
        Evaluator::new(groups, store.state()).expect("an evaluator")
    };
    let fired = evaluator().tick(&engine, &store, NOW).expect("a tick");
    Evaluator::acknowledge(store.state(), &fired).expect("acknowledged");
    assert_eq!(fired.len(), 1);
    // Another text of the same alert: it goes on.
    yaml(
        &server,
        "POST",
        "/config/v1/rules/team",
        &GROUP.replace("up == 0", "up < 1"),
    )
    .await;
    let mut edited = evaluator();
    assert_eq!(edited.tick(&engine, &store, NOW + 30_000).expect("a tick"), []);
    assert_eq!(edited.alerts().count(), 1);
    // Without its rule it ends.
    assert_eq!(
        delete(&server, "/config/v1/rules/team/mine").await,
        StatusCode::ACCEPTED
    );
    let ended = evaluator().tick(&engine, &store, NOW + 60_000).expect("a tick");
    assert_eq!(
        ended
            .iter()
            .map(|transition| transition.kind.name())
            .collect::<Vec<_>>(),
        ["resolved"]
    );
}

#[tokio::test]
async fn rules_are_replayed_over_what_is_stored() {
    let server = Server::new();
    let ask = async |body: serde_json::Value| server.json("POST", "/api/v1/rules/replay", &body).await;
    let from = (NOW - 9 * 60_000) / 1000;
    // The rule of the file: both hosts are up from the first sample on, and fire after two minutes.
    let report = ask(json!({ "from": from, "to": "now" })).await.json();
    let rule = &report["rules"][0];
    assert_eq!((&rule["name"], &rule["fired"]), (&json!("Up"), &json!(2)), "{report}");
    assert_eq!(rule["firingSeconds"], json!(2.0 * 7.0 * 60.0));
    assert_eq!(rule["episodes"][0]["firedAt"], "2025-12-31T23:53:00Z");
    assert_eq!(rule["episodes"][0]["resolvedAt"], json!(null));
    assert_eq!(rule["episodes"][0]["labels"]["host_name"], "a");

    // Another one, that is evaluated nowhere.
    let rules = "groups: [{name: g, rules: [{alert: Busy, expr: 'rate(requests_total[2m]) > 1.5'}]}]";
    let report = ask(json!({ "from": from, "rules": rules })).await.json();
    assert_eq!(report["rules"][0]["fired"], 1, "{report}");
    assert_eq!(report["rules"][0]["episodes"][0]["labels"]["host_name"], "b");

    let refused = async |body: serde_json::Value| {
        let answer = ask(body).await;
        format!(
            "{} {}",
            answer.status.as_u16(),
            answer.json()["detail"].as_str().unwrap_or("")
        )
    };
    assert_eq!(refused(json!({ "from": "noon" })).await, "400 from noon is no time");
    assert_eq!(
        refused(json!({ "from": "now", "to": from })).await,
        "400 the replay ends before it begins"
    );
    assert_eq!(
        refused(json!({ "from": from, "rule": "None" })).await,
        "404 there is no such rule"
    );
    assert!(
        refused(json!({ "from": from, "rules": "groups: 1" }))
            .await
            .starts_with("400 rule file rules is not valid")
    );
    assert!(
        refused(json!({ "from": 0, "to": "now" }))
            .await
            .contains("evaluations; the most is 20000000")
    );
}
