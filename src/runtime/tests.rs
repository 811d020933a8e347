use predict::registry::Registry;

use crate::config::{Config, Listen};
use crate::serve::Server;

use super::*;

const NOW_MS: i64 = 1_795_305_600_000;

/// A server that does nothing by itself for tenant `t`.
fn server(dir: &std::path::Path) -> Server {
    let config = Config {
        data: dir.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        otlp_http: Listen::Off,
        otlp_grpc: Listen::Off,
        flight_sql: Listen::Off,
        ..Config::default()
    };
    let server = Server::start(&config).unwrap();
    server.runtimes.hold("t");
    server
}

#[test]
fn a_champion_that_cannot_be_read_is_in_charge_of_nothing_and_rules_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let store = server.runtimes.tenants.get_or_create("t").unwrap();
    Registry::open(store.state()).unwrap();
    let damage = "insert into models (name, family, horizon_ms, saved_ms, trained_from_ms, trained_to_ms, body) \
                  values ('from the future', 'logistic', 3600000, 0, 0, 0, '{}');
                  insert into promotions (horizon_ms, model_id, at_ms) values (3600000, 1, 0);";
    store.state().with(|conn| conn.execute_batch(damage)).unwrap();
    assert!(Registry::open(store.state()).unwrap().champion(HORIZON).is_err());
    for minute in 0..2 {
        server.runtimes.tick("t", NOW_MS + minute * 60_000).unwrap();
    }
    let board = &server.runtimes.board;
    assert_eq!(board.round("t").unwrap().at_ms, NOW_MS + 60_000);
    assert!(
        board
            .rules("t")
            .groups
            .iter()
            .all(|group| group.last_evaluation_ms.is_some())
    );
    server.stop().unwrap();
}

#[test]
fn rules_are_looked_at_where_scoring_fails() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let store = server.runtimes.tenants.get_or_create("t").unwrap();
    Registry::open(store.state()).unwrap();
    store
        .state()
        .with(|conn| conn.execute_batch("alter table promotions rename to gone"))
        .unwrap();
    let error = server.runtimes.tick("t", NOW_MS).unwrap_err();
    assert!(format!("{error:#}").starts_with("scoring: "), "{error:#}");
    let rules = server.runtimes.board.rules("t");
    assert!(!rules.groups.is_empty());
    assert!(
        rules
            .groups
            .iter()
            .all(|group| group.last_evaluation_ms == Some(NOW_MS))
    );
    // Not again at every tick.
    server.runtimes.tick("t", NOW_MS + 1_000).unwrap();
    server.stop().unwrap();
}

#[test]
fn rounds_go_on_where_the_clock_is_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    server.runtimes.tenants.get_or_create("t").unwrap();
    let ahead_ms = NOW_MS + 2 * 3_600_000;
    server.runtimes.tick("t", ahead_ms).unwrap();
    let round = || server.runtimes.board.round("t").unwrap().at_ms;
    assert_eq!(round(), ahead_ms);
    server.runtimes.tick("t", NOW_MS).unwrap();
    assert_eq!(round(), NOW_MS);
    // Not at every tick from then on.
    server.runtimes.tick("t", NOW_MS + 1_000).unwrap();
    assert_eq!(round(), NOW_MS);
    server.stop().unwrap();
}
