//! What PromQL answers of a time that is rolled up.

use super::*;

const TOLD: [&str; 14] = [
    "sum_over_time(temperature_celsius[1h])",
    "avg_over_time(temperature_celsius[2h])",
    "min_over_time(temperature_celsius[3h])",
    "max_over_time(temperature_celsius[1h])",
    "count_over_time(temperature_celsius[1h])",
    "last_over_time(temperature_celsius[1h])",
    "count_over_time(requests_total[6h])",
    "temperature_celsius",
    "requests_total",
    "rate(requests_total[2h])",
    "increase(requests_total[6h])",
    "resets(requests_total[1d])",
    "sum(increase(requests_total[12h]))",
    "max_over_time(temperature_celsius[1d]) - min_over_time(temperature_celsius[1d])",
];

#[test]
fn what_buckets_and_kept_samples_tell_is_what_samples_told() {
    let kept = filled(StoreOptions::default());
    kept.store.flush().unwrap();
    let times: Vec<i64> = (1..=71).map(|hour| NOW + hour * HOUR_MS).collect();
    let ask = |kept: &Kept, expr: &str| -> Vec<Option<f64>> { times.iter().map(|at| kept.value(expr, *at)).collect() };
    let before: Vec<Vec<Option<f64>>> = TOLD.iter().map(|expr| ask(&kept, expr)).collect();
    // Two of three days become rollups, then all; then hours alone are left.
    for days in [4, 6, 40] {
        kept.days_later(days);
        let until = kept.store.snapshot().coarseness();
        assert_eq!(
            until.until_ms(),
            Some(NOW + DAY_MS * (days - 2).min(4)),
            "{days} days later"
        );
        assert_eq!(
            until.resolution_at(NOW + HOUR_MS),
            if days == 40 { HOUR_MS } else { FIVE_MINUTES_MS }
        );
        for (expr, before) in TOLD.iter().zip(&before) {
            for ((at, before), now) in times.iter().zip(before).zip(ask(&kept, expr)) {
                let hour = (at - NOW) / HOUR_MS;
                let (Some(before), Some(now)) = (*before, now) else {
                    assert!(
                        before.is_none() == now.is_none() || days == 40,
                        "{expr} at hour {hour}: {before:?}, {now:?}"
                    );
                    continue;
                };
                // Where a range begins and ends between kept samples, rates are extended from what is within.
                let extended = expr.contains("rate(") || expr.contains("increase(");
                let bound = before.abs() * if extended { 0.06 } else { 1e-9 };
                assert!(
                    (before - now).abs() <= bound,
                    "{expr} at hour {hour}, {days} days later: {before}, now {now}"
                );
            }
        }
    }
    assert_eq!(kept.store.stats().parts, 0, "all samples are rolled up");
}

#[test]
fn windows_shorter_than_a_bucket_are_given_its_share() {
    let kept = filled(StoreOptions::default());
    let at = NOW + 12 * HOUR_MS;
    kept.days_later(6);
    // From 11:55 to 12:00 the counter grew by 20.
    let short = kept.value("rate(requests_total[2m])", at).unwrap();
    assert!((short - 20.0 / 300.0).abs() < 1e-12, "{short}");
    let increase = kept.value("increase(requests_total[2m])", at).unwrap();
    assert!((increase - 120.0 * short).abs() < 1e-9, "{increase}");
    assert_eq!(kept.value("count_over_time(temperature_celsius[1m])", at), Some(1.0));
    assert_eq!(kept.value("count_over_time(temperature_celsius[5m])", at), Some(5.0));
    // Between two samples that were kept.
    assert!(kept.value("temperature_celsius", at + 3 * MINUTE).is_some());
    assert!(
        kept.value("max_over_time(temperature_celsius[1m])", at + 3 * MINUTE)
            .is_some()
    );
}

#[test]
fn a_range_query_over_the_border_is_as_the_instants_are() {
    let kept = filled(StoreOptions::default());
    kept.days_later(4);
    let snapshot = kept.store.snapshot();
    for expr in TOLD {
        let (start, step) = (NOW + HOUR_MS, 37 * MINUTE);
        let answer = Engine::default()
            .range(
                &snapshot,
                expr,
                start,
                NOW + 71 * HOUR_MS,
                step,
                &QueryOptions::default(),
            )
            .unwrap();
        let Value::Matrix(lines) = answer.value else {
            panic!("{expr}")
        };
        let points: BTreeMap<i64, f64> = lines[0].points.iter().copied().collect();
        for i in 0..110 {
            let at = start + i * step;
            assert_eq!(points.get(&at).copied(), kept.value(expr, at), "{expr}, step {i}");
        }
    }
}

#[test]
fn an_answer_that_was_kept_is_not_shown_once_its_time_is_rolled_up() {
    let kept = filled(StoreOptions::default());
    kept.store.flush().unwrap();
    let ask = |kept: &Kept| {
        let options = QueryOptions {
            reuse: true,
            ..QueryOptions::default()
        };
        let snapshot = kept.store.snapshot();
        let expr = "count_over_time(temperature_celsius[10m])";
        let range = (NOW + 10 * HOUR_MS + 7 * MINUTE, NOW + 20 * HOUR_MS);
        let answer = Engine::default()
            .range(&snapshot, expr, range.0, range.1, HOUR_MS, &options)
            .unwrap();
        let Value::Matrix(lines) = answer.value else {
            panic!("a matrix")
        };
        (lines[0].points[0].1, answer.stats.reused_steps)
    };
    assert_eq!(ask(&kept), (10.0, 0));
    assert!(ask(&kept).1 > 0);
    kept.days_later(40);
    // The hour before, of which ten minutes have a sixth.
    assert_eq!(ask(&kept), (10.0, 0));
}

#[test]
fn an_answer_says_that_rollups_tell_of_its_time() {
    let kept = filled(StoreOptions::default());
    kept.days_later(4);
    let infos = |expr: &str, at| {
        let snapshot = kept.store.snapshot();
        let answer = Engine::default()
            .instant(&snapshot, expr, at, &QueryOptions::default())
            .unwrap();
        answer.infos.join(" ")
    };
    let said = infos("temperature_celsius", NOW + HOUR_MS);
    assert!(said.contains("rollups of 5 min"), "{said}");
    assert_eq!(infos("temperature_celsius", NOW + 3 * DAY_MS), "");
    assert!(infos("avg_over_time(temperature_celsius[3d])", NOW + 3 * DAY_MS).contains("rollups"));
}

#[test]
fn effort_knows_that_rollups_are_read_by_the_chunk_and_have_fewer_values() {
    let kept = filled(StoreOptions::default());
    let snapshot = |kept: &Kept| kept.store.snapshot();
    let engine = Engine::default();
    let effort = |snapshot: &crate::Snapshot, expr: &str, start: i64, end: i64, step: i64| {
        engine
            .effort(snapshot, expr, (start, end, step), &QueryOptions::default())
            .unwrap()
    };
    let chunk = 2 * crate::codec::rollups::CHUNK_BUCKETS as u64;
    let (before, expr) = (snapshot(&kept), "max_over_time(temperature_celsius[1h])");
    assert_eq!(effort(&before, expr, NOW + DAY_MS, 0, 0), 1 + 101 + 360);
    kept.days_later(4);
    let after = snapshot(&kept);
    assert_eq!(effort(&after, expr, NOW + DAY_MS, 0, 0), 1 + 101 + 12 + chunk);
    // Of samples, and of both.
    assert_eq!(effort(&after, expr, NOW + 3 * DAY_MS, 0, 0), 1 + 101 + 360);
    assert_eq!(effort(&after, expr, NOW + 2 * DAY_MS + 1, 0, 0), 1 + 101 + 360 + chunk);
    // Nobody looks where an offset leads.
    let moved = "max_over_time(temperature_celsius[1h] offset 1d)";
    assert_eq!(effort(&after, moved, NOW + 3 * DAY_MS, 0, 0), 1 + 101 + 360 + chunk);
    let panel = |snapshot: &crate::Snapshot| effort(snapshot, "temperature_celsius", NOW, NOW + DAY_MS, 10 * MINUTE);
    assert_eq!(panel(&before), 145 + 100 + 145 + 145 * 60);
    assert_eq!(panel(&after), 145 + 100 + 145 + 145 * 2 + chunk);
}
