use super::*;
use crate::notify::matcher;

fn route(receiver: &str, matchers: &str, routes: Vec<Route>) -> Route {
    let mut route = Route::new(
        Some(receiver.to_owned()),
        matcher::parse_list(matchers).unwrap(),
        Grouping::default(),
    );
    route.routes = routes;
    route
}

fn going_on(mut route: Route) -> Route {
    route.goes_on = true;
    route
}

fn tree() -> Routing {
    Routing::new(route(
        "root",
        "",
        vec![
            going_on(route("log", "severity=~page|warning", vec![])),
            route(
                "db",
                "team=db",
                vec![
                    route("db-page", "severity=page", vec![]),
                    route("db-page-2", "severity=page", vec![]),
                ],
            ),
            route("web", "team=web", vec![]),
            route("late", "team=web", vec![]),
        ],
    ))
}

fn check(labels: &str, expected: &str) {
    let labels = labels
        .split_whitespace()
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let tree = tree();
    let found: Vec<&str> = tree
        .of(&labels)
        .iter()
        .filter_map(|route| route.receiver.as_deref())
        .collect();
    assert_eq!(found.join(" "), expected, "{labels:?}");
}

#[test]
fn an_alert_goes_to_the_deepest_routes_that_match_it() {
    check("team=db severity=page", "log db-page");
    check("team=db severity=info", "db");
    check("team=web severity=warning", "log web");
    check("severity=page", "log");
    check("team=other", "root");
}

#[test]
fn routes_are_known_by_their_matchers_and_twins_by_their_number() {
    let tree = tree();
    let ids: Vec<&str> = tree.all().iter().map(|route| route.id()).collect();
    assert_eq!(
        ids,
        [
            "{}",
            "{}/{severity=~\"page|warning\"}",
            "{}/{team=\"db\"}",
            "{}/{team=\"db\"}/{severity=\"page\"}",
            "{}/{team=\"db\"}/{severity=\"page\"}#2",
            "{}/{team=\"web\"}",
            "{}/{team=\"web\"}#2",
        ]
    );
    assert!(ids.iter().all(|id| tree.by_id(id).unwrap().id() == *id));
    assert_eq!(tree.all()[4].key(), "{}/{team=\"db\"}/{severity=\"page\"}");
}
