use super::*;
use crate::incident::{Incident, Incidents, Source, Verdict};

/// Incidents of host `a` as `start-end` in hours, those of `b` with the name in front, as `b:10-11`; the values of the named feature at each hour of `at`.
fn check(incidents: &str, feature: &str, at: &str, expected: &str) {
    check_of(History::Fleet, incidents, feature, at, expected);
}

fn check_of(history: History, incidents: &str, feature: &str, at: &str, expected: &str) {
    let list: Vec<Incident> = incidents
        .split_whitespace()
        .map(|span| {
            let (host, span) = span.split_once(':').unwrap_or(("a", span));
            let (start, end) = span.split_once('-').expect("start-end");
            Incident {
                id: span.to_owned(),
                host: host.to_owned(),
                device: None,
                start: start.parse::<i64>().expect("hours") * HOUR,
                end: end.parse::<i64>().ok().map(|h| h * HOUR),
                kind: "crash".to_owned(),
                source: Source::Declared,
                verdict: Verdict::Real,
                summary: String::new(),
            }
        })
        .collect();
    let incidents = Incidents::new(&list);
    let position = history.names().iter().position(|n| *n == feature).expect(feature);
    let values: Vec<String> = at
        .split_whitespace()
        .map(|hour| {
            let mut row = Vec::new();
            let at = hour.parse::<i64>().expect("hours") * HOUR;
            history.features(&incidents, "a", at, HOUR, 15 * DAY, &mut row);
            format!("{:.2}", row[position])
        })
        .collect();
    assert_eq!(values.join(" "), expected, "{feature} of {incidents:?}");
}

#[test]
fn counts_hold_what_had_started() {
    check(
        "10-11 20-21",
        "incidents_1d",
        "9 10 19 20 35",
        "0.00 0.69 0.69 1.10 0.69",
    );
    check("10-11 20-21", "incidents", "9 10 400", "0.00 0.69 1.10");
}

#[test]
fn an_end_counts_once_it_has_come() {
    check("10-34", "since_end", "12 33 34 58", "0.00 0.00 1.00 0.50");
    check("10-x", "since_end", "12 500", "0.00 0.00");
    check("10-34", "since_last", "9 10 34", "0.00 1.00 0.50");
}

#[test]
fn repeats_at_the_same_hour_fade_with_the_days() {
    // The weights of seven days are 1, 0.75, 0.5625 and so on, 3.47 in all.
    check(
        "10-11",
        "recurrence",
        "10 33 34 57 81 202",
        "0.00 0.29 0.00 0.22 0.16 0.00",
    );
    check("10-11", "recurrence_near", "32 33 34 35", "0.00 0.29 0.29 0.00");
}

#[test]
fn what_began_on_other_hosts_counts_from_its_start() {
    check(
        "10-11 b:20-21 c:20-22",
        "others_1h",
        "9 10 19 20 21",
        "0.00 0.00 0.00 1.10 0.00",
    );
    check(
        "10-11 b:20-21",
        "fleet",
        "9 10 20 33 34 44",
        "0.00 0.69 1.10 1.10 0.69 0.00",
    );
}

#[test]
fn a_fleet_is_restless_against_what_is_usual_there() {
    // Ten hosts that fail once a day each are as restless as one that does.
    let daily = |hosts: usize| -> String {
        let starts = (0..hosts).flat_map(|host| (0..10).map(move |day| format!("h{host}:{}-x ", day * 24)));
        starts.collect()
    };
    for hosts in [1, 10] {
        check_of(History::Relative, &daily(hosts), "fleet", "239", "-0.00");
    }
    check_of(History::Fleet, &daily(10), "fleet", "239", "2.40");
    // Before anything began nothing is usual, and the first that begins is no unrest.
    check_of(History::Relative, "10-11 b:20-21", "fleet", "9 10 30", "0.00 0.00 0.00");
    // ln(1 + 3) - ln(1 + 4 / 201): three at once after a week of quiet.
    check_of(
        History::Relative,
        "b:0-1 b:200-x c:201-x d:201-x",
        "others_1h",
        "199 201",
        "-0.01 1.08",
    );
}

#[test]
fn what_looks_back_further_than_training_saw_says_nothing() {
    // Training saw 15 days, so a week is within two thirds of it, and a month is not.
    check_of(History::Relative, "10-11 20-21", "incidents_7d", "9 20", "0.00 1.10");
    check_of(History::Relative, "10-11 20-21", "incidents_30d", "9 20", "0.00 0.00");
    check_of(History::Relative, "10-11 20-21", "quiet", "9 20 500", "0.00 0.00 0.00");
    check_of(History::Fleet, "10-11 20-21", "incidents_30d", "9 20", "0.00 1.10");
}

#[test]
fn a_set_of_the_host_alone_is_the_first_part_of_the_one_of_the_fleet() {
    assert_eq!(History::Long.names(), &History::Fleet.names()[..10]);
    let (mut long, mut fleet) = (Vec::new(), Vec::new());
    let none = Incidents::default();
    History::Long.features(&none, "a", HOUR, HOUR, 0, &mut long);
    History::Fleet.features(&none, "a", HOUR, HOUR, 0, &mut fleet);
    assert_eq!(long, fleet[..10]);
    assert_eq!(fleet.len(), 12);
}

#[test]
fn a_set_from_before_keeps_its_four_features() {
    let set = crate::features::FeatureSet::new(crate::window::Grid::MINUTE, Vec::new());
    let mut json = serde_json::to_value(&set).expect("json");
    json.as_object_mut().expect("an object").remove("history");
    let old: crate::features::FeatureSet = serde_json::from_value(json).expect("a set");
    assert_eq!(old.history, History::Short);
    assert_eq!(old.len() + 8, set.len());
    assert_eq!(old.names()[old.len() - 4..], SHORT.map(|n| format!("history:{n}")));
}
