use super::*;

fn wish(text: &str) -> Result<Silence, Problem> {
    wished(
        serde_json::from_str(text).map_err(|error| Problem::invalid(error.to_string()))?,
        1_000_000,
    )
}

#[test]
fn a_silence_covers_what_it_names_while_it_lasts() {
    let silence = wish(r#"{"host":"a","duration":"1h","comment":"disk is being replaced"}"#).expect("valid");
    let on = |host: &str| Labels::from_pairs([("alertname", "X"), ("host", host)]);
    let (on_a, on_b) = (on("a"), on("b"));
    assert!(silence.covers(&on_a, 1_000_000));
    assert!(silence.covers(&on_a, 1_000_000 + 3_599_999));
    assert!(!silence.covers(&on_a, 1_000_000 + 3_600_000));
    assert!(!silence.covers(&on_b, 1_000_000));
}

#[test]
fn a_silence_that_cannot_be_meant_is_refused() {
    let check = |text: &str, expected: &str| {
        let problem = wish(text).expect_err(text);
        assert!(problem.detail().contains(expected), "{text}: {}", problem.detail());
    };
    check(r#"{"duration":"1h"}"#, "every alert");
    check(
        r#"{"matchers":[{"name":"host","value":".*","isRegex":true}],"duration":"1h"}"#,
        "every alert",
    );
    check(
        r#"{"matchers":[{"name":"host","value":"(","isRegex":true}],"duration":"1h"}"#,
        "no valid regular expression",
    );
    check(r#"{"host":"a"}"#, "no end");
    check(r#"{"host":"a","endsAt":"1970-01-01T00:00:00Z"}"#, "has ended already");
    check(r#"{"host":"a","duration":"1h","colour":"red"}"#, "unknown field");
}
