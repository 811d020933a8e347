use super::*;

/// Adds `series:ms:value` words in one request each; the answers in one line.
fn check(max: usize, added: &str, expected: &str) {
    let sums = DeltaSums::default();
    let answers: Vec<String> = added
        .split_whitespace()
        .map(|word| {
            let mut parts = word.split(':');
            let mut next = || parts.next().expect("series:ms:value");
            let id = SeriesId(next().parse().expect("a number"));
            let at_ms = next().parse().expect("a time");
            let value = next().parse().expect("a value");
            let mut changes = sums.changes(max);
            let added = changes.add(id, at_ms, value);
            changes.keep();
            match added {
                Added::Total(total) => total.to_string(),
                Added::Late => "late".to_owned(),
                Added::Full => "full".to_owned(),
            }
        })
        .collect();
    assert_eq!(answers.join(" "), expected);
}

#[test]
fn deltas_add_up_by_series() {
    check(9, "1:10:5 1:20:2.5 2:20:1 1:30:-1", "5 7.5 1 6.5");
}

#[test]
fn what_is_late_or_no_number_is_left_out() {
    check(
        9,
        "1:10:5 1:10:5 1:9:5 1:11:NaN 1:12:inf 1:13:1",
        "5 late late late late 6",
    );
}

#[test]
fn silent_series_make_room_when_it_is_needed() {
    check(2, "1:10:5 2:10:5 3:10:5 1:20:1", "5 5 full 6");
    check(2, "1:0:5 2:1000000:5 3:1000000:7 1:1000001:1", "5 5 7 full");
}

#[test]
fn a_request_that_fails_leaves_nothing_behind() {
    let sums = DeltaSums::default();
    let add = |at_ms, value, keep: bool| {
        let mut changes = sums.changes(9);
        let added = changes.add(SeriesId(1), at_ms, value);
        if keep {
            changes.keep();
        }
        added
    };
    assert_eq!(add(10, 0.1, false), Added::Total(0.1));
    assert_eq!(add(10, 0.1, true), Added::Total(0.1));
    assert_eq!(add(20, 0.2, false), Added::Total(0.1 + 0.2));
    assert_eq!(add(20, 0.3, true), Added::Total(0.1 + 0.3));
    // Another request came between.
    let mut failing = sums.changes(9);
    failing.add(SeriesId(1), 30, 8.0);
    assert_eq!(add(40, 1.0, true), Added::Total(0.1 + 0.3 + 8.0 + 1.0));
    drop(failing);
    assert!(matches!(add(50, 0.0, true), Added::Total(total) if (total - 1.4).abs() < 1e-12));
}
