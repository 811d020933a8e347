//! An `alertmanager.yml` with templates, from the file to what a receiver is sent; and what is wrong with one, said beforehand.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;

use crate::server::Server;

const TEMPLATES: &str = r#"{{ define "ops.title" -}}
  {{ .Status | toUpper }}: {{ .CommonLabels.alertname }} on {{ range $i, $a := .Alerts }}{{ if $i }}, {{ end }}{{ $a.Labels.host }}{{ end }}
{{- end }}
{{ define "ops.text" }}{{ range .Alerts.Firing }}{{ .Annotations.summary }} (since {{ .StartsAt.Format "15:04" }}) {{ template "__alertmanagerURL" $ }}{{ end }}{{ end }}
"#;

/// A folder with a configuration, and its templates beside it.
fn written(templates: &str, url: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("ops.tmpl"), templates).expect("written");
    let text = format!(
        "templates: ['*.tmpl']
route: {{receiver: chat, group_by: [alertname], group_wait: 10ms, group_interval: 1s}}
receivers:
- name: chat
  discord_configs: [{{webhook_url: '{url}', title: '{{{{ template \"ops.title\" . }}}}', message: '{{{{ template \"ops.text\" . }}}}'}}]
"
    );
    std::fs::write(dir.path().join("alertmanager.yml"), text).expect("written");
    dir
}

fn checked(dir: &Path) -> (bool, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_foreshock"))
        .args(["--log", "error", "alert", "check", "--alertmanager-config"])
        .arg(dir.join("alertmanager.yml"))
        .output()
        .expect("foreshock runs");
    let said = [run.stdout, run.stderr].concat();
    (run.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_receiver_gets_what_the_templates_of_its_configuration_make() {
    let (heard, hears) = mpsc::channel();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let hook = move |body: Bytes| {
        heard.send(body).expect("the test listens");
        std::future::ready(StatusCode::NO_CONTENT)
    };
    let router = Router::new().route("/hook", post(hook));
    runtime.spawn(async move { axum::serve(listener, router).await });

    let dir = written(TEMPLATES, &url);
    let (is_good, said) = checked(dir.path());
    assert!(
        is_good && said.contains("chat: discord at http://127.0.0.1:") && said.contains("in words of its own"),
        "{said}"
    );

    let config = dir.path().join("alertmanager.yml");
    let data = dir.path().join("data");
    let server = Server::start_with(&data, &["--alertmanager-config", config.to_str().expect("UTF-8")]);
    let alerts = serde_json::json!([
        { "labels": { "alertname": "Hot", "host": "a" }, "annotations": { "summary": "a burns" }, "startsAt": "2026-01-05T10:12:00Z" },
        { "labels": { "alertname": "Hot", "host": "b" }, "annotations": { "summary": "b too" }, "startsAt": "2026-01-05T10:15:00Z" },
    ]);
    let body = serde_json::to_vec(&alerts).expect("JSON");
    let answer = server.post("/api/v2/alerts", &[("Content-Type", "application/json")], &body);
    assert_eq!(answer.map(|(status, _)| status), Some(200));
    let body = hears
        .recv_timeout(std::time::Duration::from_secs(300))
        .expect("a message");
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let embed = &body["embeds"][0];
    assert_eq!(embed["title"], "FIRING: Hot on a, b");
    let text = embed["description"].as_str().expect("a text");
    assert!(text.starts_with("a burns (since 10:12) http://"), "{text}");
    assert!(
        text.contains("b too (since 10:15) http://") && text.contains("[Acknowledge]("),
        "{text}"
    );

    // The same text in a test, in the answer to who asked for it.
    let answer = server.post("/api/v1/receivers/chat/test", &[], b"");
    let (status, said) = answer.expect("an answer");
    assert_eq!(status, 200);
    let said: serde_json::Value = serde_json::from_slice(said.as_ref()).expect("JSON");
    assert_eq!(said["words"]["title"], "FIRING: ForeshockTest on ");
}

#[test]
fn a_template_with_a_mistake_is_refused_with_file_and_line() {
    for (templates, problem) in [
        (
            "{{ define \"ops.title\" }}\n{{ nosuch . }}{{ end }}",
            "ops.tmpl, line 2: unknown function nosuch",
        ),
        (
            "{{ define \"ops.title\" }}x{{ end }}",
            "there is no template \"ops.text\"",
        ),
    ] {
        let dir = written(templates, "http://127.0.0.1:9/hook");
        let (is_good, said) = checked(dir.path());
        assert!(!is_good && said.contains(problem), "{said}");
    }
}
