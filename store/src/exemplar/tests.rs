use super::*;

fn exemplar(at_ms: i64, trace: &str) -> Exemplar {
    Exemplar {
        labels: Labels::from_pairs([("trace_id", trace)]),
        at_ms,
        value: 0.5,
    }
}

fn show(found: &[(SeriesId, Vec<Exemplar>)]) -> String {
    let mut out = Vec::new();
    for (id, exemplars) in found {
        for e in exemplars {
            out.push(format!(
                "{}@{}:{}",
                id.0,
                e.at_ms,
                e.labels.get("trace_id").unwrap_or("")
            ));
        }
    }
    out.join(" ")
}

/// Adds `series@ms:trace` one by one, then asks for series 0 to 9 within `range`.
fn check(max: usize, added: &str, range: TimeRange, expected: &str) {
    let exemplars = Exemplars::new(max);
    for word in added.split_whitespace() {
        let (id, rest) = word.split_once('@').expect("series@ms:trace");
        let (at, trace) = rest.split_once(':').expect("ms:trace");
        let (id, at) = (id.parse().expect("a series"), at.parse().expect("a time"));
        exemplars.add(vec![(SeriesId(id), exemplar(at, trace))]);
    }
    let ids: Vec<_> = (0..10).map(SeriesId).collect();
    assert_eq!(show(&exemplars.of(&ids, range)), expected);
}

#[test]
fn exemplars_come_back_by_series_and_time() {
    check(9, "1@10:a 2@11:b 1@12:c", TimeRange::ALL, "1@10:a 1@12:c 2@11:b");
    check(9, "1@10:a 2@11:b 1@12:c", TimeRange::millis(11, 12), "1@12:c 2@11:b");
}

#[test]
fn the_first_go_when_there_are_too_many() {
    check(2, "1@10:a 2@11:b 1@12:c", TimeRange::ALL, "1@12:c 2@11:b");
    check(2, "1@10:a 1@11:b 2@12:c 2@13:d", TimeRange::ALL, "2@12:c 2@13:d");
    check(0, "1@10:a", TimeRange::ALL, "");
}

#[test]
fn repeated_and_older_ones_are_left_out() {
    check(9, "1@10:a 1@10:a 1@9:b 1@10:c", TimeRange::ALL, "1@10:a 1@10:c");
    let exemplars = Exemplars::new(9);
    let one = || vec![(SeriesId(1), exemplar(10, "a"))];
    assert_eq!(
        (exemplars.add(one()), exemplars.add(one())),
        (1, 1),
        "sent again is not lost"
    );
    assert_eq!(exemplars.add(vec![(SeriesId(1), exemplar(9, "b"))]), 0);
}

#[test]
fn what_is_forgotten_is_gone_and_the_order_of_the_others_stays() {
    let exemplars = Exemplars::new(4);
    let add = |id, at, trace| exemplars.add(vec![(SeriesId(id), exemplar(at, trace))]);
    for (id, at, trace) in [(1, 10, "a"), (2, 11, "b"), (1, 12, "c"), (1, 14, "d")] {
        add(id, at, trace);
    }
    let ids: Vec<_> = (0..10).map(SeriesId).collect();
    exemplars.forget(&HashSet::from([SeriesId(1), SeriesId(3)]), TimeRange::millis(11, 12));
    assert_eq!(show(&exemplars.of(&ids, TimeRange::ALL)), "1@10:a 1@14:d 2@11:b");
    // There is room for one more; with the next one the first that came goes.
    add(3, 20, "e");
    assert_eq!(show(&exemplars.of(&ids, TimeRange::ALL)), "1@10:a 1@14:d 2@11:b 3@20:e");
    add(3, 21, "f");
    assert_eq!(show(&exemplars.of(&ids, TimeRange::ALL)), "1@14:d 2@11:b 3@20:e 3@21:f");
    exemplars.forget(&HashSet::from([SeriesId(1), SeriesId(2), SeriesId(3)]), TimeRange::ALL);
    assert_eq!(show(&exemplars.of(&ids, TimeRange::ALL)), "");
}
