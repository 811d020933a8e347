//! How evaluations go, for `/metrics`.

use std::sync::OnceLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};

use super::evaluation::RuleHealth;
use super::ledger::Changes;

struct Instruments {
    evaluations: Counter<u64>,
    transitions: Counter<u64>,
    seconds: Histogram<f64>,
}

fn instruments() -> &'static Instruments {
    static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();
    INSTRUMENTS.get_or_init(|| {
        let meter = opentelemetry::global::meter("foreshock_api");
        Instruments {
            evaluations: meter
                .u64_counter("foreshock_api_rule_evaluations")
                .with_description("Evaluations of rules, by how they went")
                .build(),
            transitions: meter
                .u64_counter("foreshock_api_alert_transitions")
                .with_description("Alerts that began to fire or ended")
                .build(),
            seconds: meter
                .f64_histogram("foreshock_api_rule_group_seconds")
                .with_description("Time that the evaluation of a group of rules took")
                .build(),
        }
    })
}

pub(super) fn count_evaluation(health: &RuleHealth) {
    instruments()
        .evaluations
        .add(1, &[KeyValue::new("outcome", health.name())]);
}

pub(super) fn count_transitions(changes: &Changes) {
    for (kind, _) in &changes.transitions {
        instruments().transitions.add(1, &[KeyValue::new("to", kind.name())]);
    }
}

pub(super) fn measure_group(seconds: f64) {
    instruments().seconds.record(seconds, &[]);
}
