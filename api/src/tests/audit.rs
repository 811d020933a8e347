//! What operators did is there afterwards.

use serde_json::json;

use super::*;
use crate::access::{Access, NewToken, Scope, Tokens, guarded};

/// Columns of the table by what they are called there, but for `detail`'s.
const WHAT: &str = "action, object, outcome, status, detail['query'] AS query, detail['body'] AS body";

impl Server {
    /// The rows of `audit`, columns by `|`, by action.
    async fn audit(&self, tenant: &str) -> Vec<String> {
        self.audited(tenant, WHAT).await
    }

    pub(super) async fn audited(&self, tenant: &str, columns: &str) -> Vec<String> {
        let query = format!("SELECT {columns} FROM audit ORDER BY action, status, detail['body']");
        let request = Request::post("/api/v1/sql")
            .header("content-type", "application/json")
            .header("x-scope-orgid", tenant);
        let body = Body::from(json!({ "query": query }).to_string());
        let answer = self.send(request.body(body).expect("a request")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let rows = answer.json()["rows"].as_array().cloned().unwrap_or_default();
        let names = columns
            .split(", ")
            .map(|column| column.rsplit(' ').next().unwrap_or(column));
        let names: Vec<&str> = names.collect();
        let row = |row: &Value| names.iter().map(|name| text(&row[*name])).collect::<Vec<_>>().join("|");
        rows.iter().map(row).collect()
    }
}

#[tokio::test]
async fn what_changes_something_is_recorded_and_what_reads_is_not() {
    let server = Server::new();
    let silence = json!({ "host": "a", "duration": "1h", "comment": "disk" });
    let made = server.json("POST", "/api/v1/silences", &silence).await;
    assert!(made.status.is_success(), "{}", made.body);
    let refused = server.json("POST", "/api/v1/silences", &json!({ "host": "a" })).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let gone = server.json("DELETE", "/api/v1/silences/77", &Value::Null).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    let deleted = server
        .form(
            "/api/v1/admin/tsdb/delete_series?end=1767225600",
            "match[]=up{host_name=\"a\"}",
        )
        .await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{}", deleted.body);
    server.get("/api/v1/silences").await;
    server.form("/api/v1/query", "query=up").await;
    server.form("/api/v1/admin/store/flush", "").await;
    assert_eq!(
        server.audit("default").await,
        [
            "samples.delete|null|done|204|end=1767225600|match[]=up{host_name=\"a\"}".to_owned(),
            format!("silence.create|null|done|{}|null|{silence}", made.status.as_u16()),
            "silence.create|null|refused|400|null|{\"host\":\"a\"}".to_owned(),
            "silence.end|77|refused|404|null|null".to_owned(),
        ]
    );
}

#[tokio::test]
async fn an_action_is_recorded_with_the_tenant_that_it_is_about() {
    let server = Server::new();
    server.tenants.get_or_create("other").expect("a tenant");
    let request = Request::post("/api/v1/incidents")
        .header("content-type", "application/json")
        .header("x-scope-orgid", "other");
    let incident = json!({ "host": "a", "kind": "disk", "start": "2025-12-31T23:00:00Z" });
    let answer = server
        .send(request.body(Body::from(incident.to_string())).expect("a request"))
        .await;
    assert!(server.audit("default").await.is_empty());
    let [row] = &server.audit("other").await[..] else {
        panic!("one row")
    };
    assert!(
        row.starts_with("incident.declare|null|") && row.contains(&format!("|{}|", answer.status.as_u16())),
        "{row}"
    );
    let gone = server.json("DELETE", "/api/v1/tenants/other", &Value::Null).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.body);
    assert_eq!(
        server.audit("default").await,
        ["tenant.delete|other|done|204|null|null"]
    );
}

#[tokio::test]
async fn what_a_form_asks_of_a_tenant_is_recorded_there() {
    let server = Server::new();
    server.tenants.get_or_create("other").expect("a tenant");
    let path = "/api/v1/admin/tsdb/delete_series?tenant=default";
    for (form, status) in [("match[]=up&tenant=other", 204), ("tenant=other", 400)] {
        assert_eq!(server.form(path, form).await.status.as_u16(), status);
    }
    assert!(server.audit("default").await.is_empty());
    assert_eq!(
        server.audit("other").await,
        [
            "samples.delete|null|done|204|tenant=default|match[]=up&tenant=other",
            "samples.delete|null|refused|400|tenant=default|tenant=other",
        ]
    );
}

#[tokio::test]
async fn who_did_it_is_said_by_the_token() {
    let mut server = Server::new();
    let data = tempfile::tempdir().expect("a directory");
    let new = NewToken {
        name: "night shift",
        scope: Scope::Admin,
        tenant: None,
        host: None,
        join: None,
    };
    let secret = Tokens::of(data.path()).create(&new, NOW).expect("a token");
    let access = Access::open(data.path(), store::Clock::fixed(NOW)).expect("it opens");
    let open = server.router.clone();
    server.router = guarded(open.clone(), access, |_, _, _| None);
    let request = |path: &str| {
        let request = Request::post(path).header("content-type", "application/yaml");
        let request = request.header("authorization", format!("Bearer {secret}"));
        let group = "name: night\nrules:\n- {record: a, expr: up}\n";
        request.body(Body::from(group)).expect("a request")
    };
    let answer = server.send(request("/config/v1/rules/ours")).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
    server.router = open;
    let gone = server
        .json("DELETE", "/config/v1/rules/ours/nobody", &Value::Null)
        .await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND, "{}", gone.body);
    let id = secret.split('_').nth(1).expect("an id");
    assert_eq!(
        server.audited("default", "actor, action, object, outcome").await,
        [
            "null|rules.delete|ours/nobody|refused".to_owned(),
            format!("night shift ({id})|rules.put|ours|done"),
        ]
    );
}

#[tokio::test]
async fn a_long_body_is_passed_on_and_not_recorded() {
    let server = Server::new();
    let comment = "x".repeat(20_000);
    let silence = json!({ "host": "a", "duration": "1h", "comment": comment });
    let body = silence.to_string();
    let request = Request::post("/api/v1/silences").header("content-type", "application/json");
    let answer = server.send(request.body(Body::from(body)).expect("a request")).await;
    let rows = server.audit("default").await;
    assert_eq!(rows.len(), 1);
    assert!(
        rows[0].ends_with(&format!(
            "|{}|null|too long to be recorded, or of no known length",
            answer.status.as_u16()
        )),
        "{rows:?}"
    );
}
