//! The simulated fleet through the real endpoint into a real store, and what a model trained on it foresees.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use predict::incident::{Incident, Source};
use predict::{Evaluation, TrainInput, train};
use simulate::{Fleet, FleetOptions};
use store::{Clock, StoreOptions, Tenants, TimeRange};
use tower::ServiceExt as _;

const TENANT: &str = "fleet";

#[test]
fn most_seeds_warn_of_most_failures_that_have_signs_within_the_budget() {
    let seeds: Vec<u64> = (1..=5).collect();
    let mut good = 0;
    let mut said = Vec::new();
    for seed in seeds {
        let (evaluation, foreseeable) = backtest(seed);
        assert!(evaluation.incidents > 0, "seed {seed}: {evaluation}");
        if 2 * evaluation.warned > foreseeable {
            good += 1;
        }
        assert!(
            evaluation.pr_auc > 3.0 * evaluation.base_rate,
            "seed {seed}: {evaluation}"
        );
        assert!(
            evaluation.false_alarm_rate() < 4.0 * evaluation.budget,
            "seed {seed}: {evaluation}"
        );
        said.push(format!("seed {seed}, {foreseeable} with signs: {evaluation}"));
    }
    assert!(good >= 3, "{}", said.join("\n"));
}

/// The evaluation on the newest quarter, and how many of its failures had signs.
fn backtest(seed: u64) -> (Evaluation, usize) {
    let options = FleetOptions {
        seed,
        ..FleetOptions::default()
    };
    let fleet = Fleet::new(options).expect("the default fleet");
    let end = *fleet.span().end();
    let dir = tempfile::tempdir().expect("a directory");
    let store_options = StoreOptions {
        clock: Clock::fixed(end),
        ..StoreOptions::default()
    };
    let tenants = Arc::new(Tenants::open(dir.path(), store_options).expect("an empty data directory"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let router = ingest::router(ingest::IngestState::new(
        Arc::clone(&tenants),
        ingest::Limits::default(),
    ));
    for request in fleet.requests(fleet.span(), 20_000) {
        let request = Request::post("/v1/metrics")
            .header("Content-Type", "application/x-protobuf")
            .header("X-Scope-OrgID", TENANT)
            .body(Body::from(request.body))
            .expect("a request");
        let answer = runtime.block_on(router.clone().oneshot(request)).expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let store = tenants.get(TENANT).expect("the tenant was written to");
    let snapshot = store.snapshot();
    let incidents: Vec<Incident> = fleet
        .incidents()
        .iter()
        .enumerate()
        .map(|(i, incident)| {
            let span = incident.start_ms..incident.end_ms;
            Incident::past(
                i.to_string(),
                &incident.host,
                incident.kind.name(),
                span,
                Source::Simulated,
            )
        })
        .collect();
    let range = TimeRange::millis(*fleet.span().start(), end);
    let input = TrainInput {
        challenger: false,
        seed,
        ..TrainInput::new(&snapshot, &incidents, range)
    };
    let evaluation = train(&input, &mut |_| ()).expect("a model").evaluation;
    let judged = evaluation.from..evaluation.to;
    let foreseeable: BTreeSet<_> = fleet
        .incidents()
        .iter()
        .filter(|incident| incident.foreseeable && judged.contains(&incident.start_ms))
        .map(|incident| (&incident.host, incident.start_ms))
        .collect();
    (evaluation, foreseeable.len())
}
