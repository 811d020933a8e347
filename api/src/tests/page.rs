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
            "/agents",
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
    let about = [("__name__", "foreshock_agent_interval_seconds"), ("host_name", evil)];
    write(&store, &about, |_| 10.0);
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
        "/agents",
        &host,
        "/explore?q=%3Cscript%3Ealert(%221%22)%3C/script%3E",
    ] {
        let page = server.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.body.contains("&lt;script&gt;"), "{path}");
        assert!(!page.body.contains("<script>alert"), "{path}");
    }
}

#[tokio::test]
async fn agents_are_listed_with_what_to_do_about_those_that_need_it() {
    let server = Server::empty();
    let store = server.tenants.get_or_create("default").expect("a store");
    for (host, skew) in [("a", 0.2), ("b", 42.0)] {
        let say = |metric: &str, value: f64| write(&store, &[("__name__", metric), ("host_name", host)], |_| value);
        say("foreshock_agent_interval_seconds", 10.0);
        say("foreshock_agent_clock_skew_seconds", skew);
        say("foreshock_agent_spool_batches", 2.0);
        say("foreshock_agent_spool_bytes", 2048.0);
        let about = [
            ("__name__", "target_info"),
            ("job", "foreshock-agent"),
            ("instance", host),
            ("host_name", host),
            ("host_arch", "x86_64"),
            ("os_version", "6.1.0"),
            ("service_version", "0.1.0"),
        ];
        write(&store, &about, |_| 1.0);
    }
    let dropped = [
        ("__name__", "foreshock_agent_dropped_batches_total"),
        ("host_name", "c"),
        ("reason", "old"),
    ];
    write(&store, &dropped, f64::from);
    write(
        &store,
        &[("__name__", "foreshock_agent_interval_seconds"), ("host_name", "c")],
        |_| 10.0,
    );
    let page = server.get("/agents").await.body;
    for text in [
        "2 of 3 agents need a look",
        "42\u{a0}s ahead",
        "in time",
        "time synchronisation",
        "6.1.0, x86_64",
        "2\u{a0}KiB",
    ] {
        assert!(page.contains(text), "{text} is not on the page: {page}");
    }
    let listed = server.get("/api/v1/agents").await.json();
    let conditions: Vec<_> = listed["agents"]
        .as_array()
        .expect("agents")
        .iter()
        .map(|agent| (agent["host"].as_str(), agent["condition"].as_str()))
        .collect();
    assert_eq!(
        conditions,
        [
            (Some("c"), Some("dropping")),
            (Some("b"), Some("skewed")),
            (Some("a"), Some("well"))
        ]
    );
    assert_eq!(
        (&listed["all"], &listed["agents"][0]["dropped_batches_in_an_hour"]),
        (&3.into(), &9.0.into())
    );
    let nobody = server
        .json("POST", "/api/v1/agents/revoke", &serde_json::json!({ "host": "a" }))
        .await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND, "it has not joined");
    let unknown = server
        .json("POST", "/api/v1/agents/revoke", &serde_json::json!({ "hosts": "a" }))
        .await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
}
