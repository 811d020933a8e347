//! Pages: what they say, and that nothing in them is taken for markup.

use predict::live::{Round, ScoreState};

use super::foreshock::{round, score};
use super::*;

#[tokio::test]
async fn the_first_page_says_what_to_look_at() {
    let server = Server::new();
    server.board.publish_round("default", round());
    let page = server.get("/").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (StatusCode::OK, "text/html; charset=utf-8")
    );
    for text in [
        "1 of 2 hosts is likely to fail",
        "87\u{a0}%",
        "memory in use 93 %",
        "learning, 3 of 6",
        "a &lt;banner&gt;",
    ] {
        assert!(page.body.contains(text), "{text} is not on the page");
    }
    assert_eq!(page.header("cache-control"), "no-store");
}

#[tokio::test]
async fn every_page_is_there_also_with_nothing_to_show() {
    for server in [Server::empty(), Server::new()] {
        for path in [
            "/",
            "/alerts",
            "/models",
            "/explore",
            "/explore?language=sql&q=SELECT%201",
        ] {
            let page = server.get(path).await;
            assert_eq!(page.status, StatusCode::OK, "{path}");
            // The content security policy forbids both, so they would silently do nothing.
            assert!(
                !page.body.contains(" style=") && !page.body.contains("onclick="),
                "{path}"
            );
            assert!(page.body.contains("</html>"), "{path}");
        }
    }
    for (path, content_type) in [
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/favicon.svg", "image/svg+xml"),
    ] {
        assert_eq!(Server::empty().get(path).await.header("content-type"), content_type);
    }
}

#[tokio::test]
async fn a_host_has_a_page_with_why_and_charts() {
    let server = Server::new();
    server.board.publish_round("default", round());
    let store = server.tenants.get("default").expect("a store");
    write(
        &store,
        &[("__name__", "system_memory_utilization_ratio"), ("host_name", "a")],
        |_| 0.5,
    );
    // What this system says about the host must not be taken for what the host sent.
    for name in predict::series::WRITTEN {
        write(&store, &[("__name__", name), ("host", "a")], |_| 0.5);
    }
    let page = server.get("/hosts/a?range=24h").await.body;
    for text in [
        "87\u{a0}%",
        "find the process that grows",
        "data-title=\"Memory\"",
        "host_name=\\&quot;a\\&quot;",
        "data-range=\"86400\"",
    ] {
        assert!(page.contains(text), "{text} is not on the page");
    }
    assert!(!page.contains("data-title=\"GPU temperature\""), "it has no GPU");
    assert_eq!(server.get("/hosts/nobody").await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.get("/?tenant=nobody").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn names_are_never_markup() {
    let server = Server::empty();
    let store = server.tenants.get_or_create("default").expect("a store");
    let evil = "<script>alert(\"1\")</script>'&/";
    write(
        &store,
        &[("__name__", "up"), ("host_name", evil), ("alertname", evil)],
        |_| 1.0,
    );
    let learning = ScoreState::Learning {
        have: 0,
        need: 1,
        what: evil.to_owned(),
    };
    server.board.publish_round(
        "default",
        Round {
            at_ms: NOW,
            scores: vec![score(evil, learning)],
            forecasts: Vec::new(),
        },
    );
    let rules = "groups: [{name: g, rules: [{alert: A, expr: up, annotations: {summary: '{{ $labels.host_name }}'}}]}]";
    let groups = crate::rule::load(rules, "r.yml").expect("rules");
    let mut evaluator = crate::rule::Evaluator::new(groups, store.state()).expect("an evaluator");
    evaluator.tick(&Engine::default(), &store, NOW).expect("a tick");
    server.board.publish_rules("default", evaluator.book());
    let host = format!("/hosts/{}", crate::page::layout::encoded(evil));
    for path in [
        "/",
        "/alerts",
        &host,
        "/explore?q=%3Cscript%3Ealert(%221%22)%3C/script%3E",
    ] {
        let page = server.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.body.contains("&lt;script&gt;"), "{path}");
        assert!(!page.body.contains("<script>alert"), "{path}");
    }
}
