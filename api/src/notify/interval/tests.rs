use super::*;

fn within(span: Span, at: &str) -> bool {
    let interval = TimeInterval {
        name: "test".to_owned(),
        spans: vec![span],
    };
    interval.contains(at.parse::<Timestamp>().unwrap().as_millisecond())
}

#[test]
fn working_hours_end_before_their_end() {
    let hours = || Span {
        times: vec![(minute("09:00").unwrap(), minute("17:00").unwrap())],
        weekdays: vec![weekdays("monday:friday").unwrap()],
        ..Span::always()
    };
    // 2026-01-05 is a Monday.
    for (at, expected) in [
        ("2026-01-05T08:59:59Z", false),
        ("2026-01-05T09:00:00Z", true),
        ("2026-01-05T16:59:59Z", true),
        ("2026-01-05T17:00:00Z", false),
        ("2026-01-10T12:00:00Z", false),
    ] {
        assert_eq!(within(hours(), at), expected, "{at}");
    }
}

#[test]
fn days_count_from_the_end_of_the_month_as_well() {
    let last = || Span {
        days: vec![days("-3:-1").unwrap()],
        ..Span::always()
    };
    assert!(within(last(), "2026-02-26T00:00:00Z") && !within(last(), "2026-02-25T23:59:59Z"));
    assert!(within(last(), "2026-01-31T00:00:00Z") && !within(last(), "2026-01-28T00:00:00Z"));
    let long = Span {
        days: vec![days("28:31").unwrap()],
        months: vec![months("february").unwrap()],
        years: vec![years("2026:2027").unwrap()],
        ..Span::always()
    };
    assert!(within(long.clone(), "2026-02-28T12:00:00Z") && !within(long, "2028-02-28T12:00:00Z"));
}

#[test]
fn what_is_no_time_says_so() {
    assert_eq!(
        weekdays("friday:monday").unwrap_err(),
        "\"friday:monday\" ends before it begins"
    );
    assert!(weekdays("feierabend").unwrap_err().contains("no day of the week"));
    assert!(minute("25:00").unwrap_err().contains("no time of day"));
    assert!(minute("9:00").is_err() && minute("24:00").is_ok() && minute("24:01").is_err());
    assert!(days("0").is_err() && days("-1:5").is_err() && days("5:-1").is_ok());
    assert!(months("13").is_err() && months("december").is_ok() && years("soon").is_err());
}
