use store::TimeRange;

use super::*;
use crate::evaluate::{base_rate, pr_auc};
use crate::incident::{Incident, Incidents};
use crate::testing::{Fleet, GRID, fleet};
use crate::train::prepare;

/// Thousands of rows, of which 200 may be learned from.
fn input(fleet: &Fleet) -> TrainInput<'_> {
    TrainInput {
        grid: GRID,
        stride_ms: 600_000,
        rows_max: 200,
        ..TrainInput::new(
            &fleet.telemetry,
            &fleet.incidents,
            TimeRange::millis(fleet.from, fleet.to),
        )
    }
}

fn prepared(input: &TrainInput<'_>) -> Prepared {
    prepare(input, &Incidents::new(input.incidents), &mut |_| ()).expect("features")
}

#[test]
fn a_draw_near_failures_ranks_unseen_rows_and_is_the_same_each_time() {
    let fleet = fleet(8, 5, 1);
    let input = input(&fleet);
    let prepared = prepared(&input);
    let examples = &prepared.examples;
    let spoke = vec![true; examples.outcomes.len()];
    let fit = |thin| {
        fit_fold(&input, &prepared, &[Family::Logistic], 3, &spoke, thin)
            .expect("a fit")
            .expect("there are failures enough")
    };
    let fold = fit(true);
    let (estimator, raw) = &fold.soon[0];
    let (y, p): (Vec<bool>, Vec<f64>) = fold
        .rows
        .iter()
        .zip(raw)
        .filter_map(|(i, raw)| Task::Soon.answer(examples.outcomes[*i]).map(|y| (y, *raw)))
        .unzip();
    let (quality, base) = (pr_auc(&y, &p), base_rate(&y));
    assert!(quality > 8.0 * base, "{quality} where guessing gives {base}");
    assert!(*estimator == fit(true).soon[0].0, "the same draw");
    assert!(*estimator != fit(false).soon[0].0, "and not the ordinary one");
}

#[test]
fn rows_are_drawn_near_failures_only_where_these_are_rare_and_rows_many() {
    let fleet = fleet(8, 5, 1);
    let often = input(&fleet);
    let examples = prepared(&often).examples;
    let spoke = vec![true; examples.outcomes.len()];
    assert!(
        !is_thin(&examples, &spoke, 200),
        "one row of twenty is before a failure"
    );

    // The same fleet, of whose failures in the oldest quarter nobody knows.
    let later: Vec<Incident> = fleet
        .incidents
        .iter()
        .filter(|i| i.start >= fleet.from + 36 * 3_600_000)
        .cloned()
        .collect();
    let seldom = TrainInput {
        incidents: &later,
        ..input(&fleet)
    };
    let examples = prepared(&seldom).examples;
    assert!(is_thin(&examples, &spoke, 200));
    assert!(
        !is_thin(&examples, &spoke, 1_000),
        "a fifth of them may be learned from"
    );
}
