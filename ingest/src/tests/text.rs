use super::*;
use crate::TEXT_PATH;

/// Pushes `text` with these headers to `path`; status and what is stored then.
async fn check(path: &str, headers: &[(&str, &str)], text: &str, status: u16, stored: &str) -> Answer {
    let server = Server::new();
    let answer = server.send(path, headers, text.to_owned()).await;
    assert_eq!(answer.status.as_u16(), status, "{path} {text}: {}", answer.text());
    assert_eq!(server.stored(), stored, "{path} {text}");
    answer
}

#[tokio::test]
async fn text_is_stored_as_of_its_own_time_or_now() {
    let text = "# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 2 1767225599000\n";
    let stored = "a{x=\"1\"} 0=1\na{x=\"2\"} -1000=2\n";
    check(TEXT_PATH, &[], text, 204, stored).await;
    let path = format!("{TEXT_PATH}?timestamp=1767225598000&extra_label=host%3Da+b&extra_label=x=9");
    check(&path, &[], "a{x=\"1\"} 1\n", 204, "a{host=\"a b\",x=\"9\"} -2000=1\n").await;
    let open = [("content-type", "application/openmetrics-text; version=1.0.0")];
    check(TEXT_PATH, &open, "a 1 1767225599.5\n# EOF\n", 204, "a -500=1\n").await;
}

#[tokio::test]
async fn a_pushgateways_clients_push_here() {
    check(
        "/metrics/job/backup/instance/db-1",
        &[],
        "a{job=\"x\"} 1\n",
        204,
        "a{instance=\"db-1\",job=\"backup\"} 0=1\n",
    )
    .await;
    check(
        "/metrics/job/b/path@base64/L3Zhcg",
        &[],
        "a 1\n",
        204,
        "a{job=\"b\",path=\"/var\"} 0=1\n",
    )
    .await;
    check("/metrics/job/b/zone", &[], "a 1\n", 400, "").await;
    check("/metrics/job/b/path@base64/!", &[], "a 1\n", 400, "").await;
}

#[tokio::test]
async fn a_text_with_a_bad_line_is_refused_as_a_whole() {
    let answer = check(TEXT_PATH, &[], "a 1\nb x\n", 400, "").await;
    assert!(answer.problem()["detail"].to_string().contains("line 2"));
    check(
        TEXT_PATH,
        &[("content-type", "application/openmetrics-text")],
        "a 1\n",
        400,
        "",
    )
    .await;
    check(
        TEXT_PATH,
        &[("content-type", "application/vnd.google.protobuf")],
        "",
        415,
        "",
    )
    .await;
    check(TEXT_PATH, &[("content-encoding", "br")], "a 1\n", 415, "").await;
    check(&format!("{TEXT_PATH}?extra_label=x"), &[], "a 1\n", 400, "").await;
    check(&format!("{TEXT_PATH}?timestamp=noon"), &[], "a 1\n", 400, "").await;
    check(TEXT_PATH, &[], "a{x=\"1\",x=\"2\"} 1\nb 1\n", 400, "b 0=1\n").await;
}

#[tokio::test]
async fn at_the_limit_of_series_a_push_may_come_again() {
    let options = StoreOptions {
        max_series: 1,
        ..StoreOptions::default()
    };
    let server = Server::with(Limits::default(), options);
    for path in [TEXT_PATH, "/metrics/job/b"] {
        let answer = server.send(path, &[], "a 1\nb 1\n").await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.text());
        assert_eq!(answer.headers["retry-after"], "1");
        let problem = answer.problem();
        assert!(
            problem["detail"].as_str().is_some_and(|d| d.contains("limit is 1")),
            "{problem}"
        );
    }
    assert_eq!(server.stored(), "a 0=1\n");
}
