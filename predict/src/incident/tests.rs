use super::import::parse_time;
use super::*;

fn incident(host: &str, start: i64, end: Option<i64>, verdict: Verdict) -> Incident {
    Incident {
        id: format!("{host}-{start}"),
        host: host.into(),
        device: None,
        start,
        end,
        kind: "crash".into(),
        source: Source::Declared,
        verdict,
        summary: String::new(),
    }
}

/// Incidents as `start-end`, marked `m` for mitigated and `n` for noise; outcome of an example at `at`.
fn check(incidents: &str, at: i64, gap: i64, horizon: i64, known_until: i64, expected: Outcome) {
    let list: Vec<Incident> = incidents
        .split_whitespace()
        .map(|text| {
            let verdict = match text.chars().next() {
                Some('m') => Verdict::Mitigated,
                Some('n') => Verdict::Noise,
                _ => Verdict::Real,
            };
            let (start, end) = text.trim_start_matches(['m', 'n']).split_once('-').expect("start-end");
            incident("h", start.parse().expect("start"), end.parse().ok(), verdict)
        })
        .collect();
    let all = Incidents::new(&list);
    let empty = HostIncidents::default();
    let got = all.of("h").unwrap_or(&empty).outcome(at, gap, horizon, known_until);
    assert_eq!(got, expected, "{incidents} at {at}");
}

#[test]
fn an_example_failed_when_an_incident_starts_after_the_gap_and_within_the_horizon() {
    let failed = Outcome::Failed { incident: 0 };
    check("100-200", 40, 0, 60, 1_000, failed);
    check("100-200", 39, 0, 60, 1_000, Outcome::Survived);
    check("100-200", 99, 0, 60, 1_000, failed);
    check("100-200", 100, 0, 60, 1_000, Outcome::Inside);
    check("100-200", 199, 0, 60, 1_000, Outcome::Inside);
    check("100-200", 200, 0, 60, 1_000, Outcome::Survived);
    check("100-200", 95, 10, 60, 1_000, Outcome::Censored);
    check("100-200", 89, 10, 60, 1_000, failed);
}

#[test]
fn history_that_ends_within_the_horizon_tells_nothing() {
    check("100-200", 950, 0, 60, 1_000, Outcome::Censored);
    check("100-200", 940, 0, 60, 1_000, Outcome::Survived);
}

#[test]
fn mitigated_is_neither_and_noise_is_nothing() {
    check("m100-200", 50, 0, 60, 1_000, Outcome::Censored);
    check("n100-200", 50, 0, 60, 1_000, Outcome::Survived);
    check("n100-200", 150, 0, 60, 1_000, Outcome::Survived);
}

#[test]
fn an_open_incident_lasts() {
    check("100-", 5_000, 0, 60, 10_000, Outcome::Inside);
}

#[test]
fn an_incident_within_another_is_no_target_of_its_own() {
    let all = Incidents::new(&[
        incident("h", 100, Some(300), Verdict::Real),
        incident("h", 150, Some(200), Verdict::Real),
        incident("h", 250, Some(400), Verdict::Real),
        incident("h", 400, Some(500), Verdict::Real),
    ]);
    let nested: Vec<bool> = all.of("h").expect("host").spans().iter().map(|s| s.nested).collect();
    assert_eq!(nested, [false, true, true, false]);
    assert_eq!(all.count(), 2);
}

#[test]
fn times_are_iso_or_milliseconds() {
    assert_eq!(parse_time("1970-01-02T00:00:01Z"), Some(86_401_000));
    assert_eq!(parse_time("2026-01-05T12:48:00"), Some(1_767_617_280_000));
    assert_eq!(parse_time("2024-02-29 00:00:00.5+00:00"), Some(1_709_164_800_500));
    assert_eq!(parse_time("1767617280000"), Some(1_767_617_280_000));
    assert_eq!(parse_time("2026-01-05"), Some(1_767_571_200_000));
    for wrong in ["", "yesterday", "2026-13-01T00:00:00", "2026-01-01T25:00:00", "2026-01"] {
        assert_eq!(parse_time(wrong), None, "{wrong:?}");
    }
}

#[test]
fn an_offset_counts_wherever_it_stands_and_what_cannot_be_read_is_no_time() {
    let noon = parse_time("2026-01-31T12:00:00Z").expect("noon");
    for (text, after_noon_ms) in [
        // As Python's `isoformat` writes it.
        ("2026-01-31T14:00:00.123456+02:00", 123),
        ("2026-01-31T14:00:00+02:00", 0),
        ("2026-01-31 06:30:00.5-05:30", 500),
        ("2026-01-31T12:00:00.123456+00:00", 123),
        ("2026-01-31T12:00:00.5", 500),
        ("2026-01-31T12:00", 0),
    ] {
        assert_eq!(parse_time(text), Some(noon + after_noon_ms), "{text:?}");
    }
    for wrong in [
        "2026-01-31T12:00:00.123garbage",
        "2026-01-31T12:00:00.",
        "2026-02-31T12:00:00Z",
        "2026-02-29",
        "2026-01-31T12:00:00+99:00",
        "2026-01-31T12:00:00+02:00Z",
        "2026-01-31T12:00:00[Europe/Paris]",
    ] {
        assert_eq!(parse_time(wrong), None, "{wrong:?}");
    }
}

#[test]
fn a_csv_names_the_line_that_is_wrong() {
    let good = "incident_id,host,gpu,start,end,kind\nx-1,a,2,2026-01-05T12:48:00,,\"gpu, ecc\"\n";
    let incidents = from_csv(good).expect("good");
    assert_eq!(
        (
            incidents[0].kind.as_str(),
            incidents[0].device.as_deref(),
            incidents[0].end
        ),
        ("gpu, ecc", Some("2"), None)
    );
    let error = from_csv("host,start,kind\na,2026-01-05,crash\na,soon,crash\n")
        .expect_err("line 3")
        .to_string();
    assert_eq!(error, "line 3: start \"soon\" is no time");
    assert_eq!(
        from_csv("host,kind\n").expect_err("start").to_string(),
        "the header has no column \"start\""
    );
}

#[test]
fn json_has_the_same_fields() {
    let text =
        r#"[{"host":"a","start":"2026-01-05T12:48:00Z","end":1767617290000,"kind":"oom","verdict":"mitigated"}]"#;
    let incidents = from_json(text).expect("json");
    assert_eq!(incidents[0].end, Some(1_767_617_290_000));
    assert_eq!(incidents[0].verdict, Verdict::Mitigated);
    assert!(from_json("[{}]").is_err());
}
