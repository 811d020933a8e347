//! What this crate tells about itself: scores by state, alerts, forecasts, trainings.

use std::sync::OnceLock;

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

use crate::live::{Round, ScoreState};

struct Instruments {
    scores: Counter<u64>,
    forecasts: Counter<u64>,
    trainings: Counter<u64>,
}

fn instruments() -> &'static Instruments {
    static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();
    INSTRUMENTS.get_or_init(|| {
        let meter = global::meter("foreshock_predict");
        Instruments {
            scores: meter
                .u64_counter("foreshock_predict_scores")
                .with_description("Hosts looked at in scoring rounds, by what came out: scored, learning, abstained")
                .build(),
            forecasts: meter
                .u64_counter("foreshock_predict_forecasts")
                .with_description("Forecasts made, by whether the resource was on its way to its limit")
                .build(),
            trainings: meter
                .u64_counter("foreshock_predict_trainings")
                .with_description("Trainings, by outcome")
                .build(),
        }
    })
}

pub(crate) fn count_round(round: &Round) {
    let state = |s: &ScoreState| match s {
        ScoreState::Scored(_) => "scored",
        ScoreState::Learning { .. } => "learning",
        ScoreState::Abstained { .. } => "abstained",
    };
    for name in ["scored", "learning", "abstained"] {
        let n = round.scores.iter().filter(|s| state(&s.state) == name).count() as u64;
        instruments().scores.add(n, &[KeyValue::new("state", name)]);
    }
    for (name, moving) in [("rising", true), ("still", false)] {
        let n = round
            .forecasts
            .iter()
            .filter(|f| f.seconds_to_limit.is_some() == moving)
            .count() as u64;
        instruments().forecasts.add(n, &[KeyValue::new("trend", name)]);
    }
}

pub(crate) fn count_training(done: bool) {
    let outcome = if done { "done" } else { "failed" };
    instruments().trainings.add(1, &[KeyValue::new("outcome", outcome)]);
}
