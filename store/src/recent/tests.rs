use std::convert::Infallible;

use super::Recent;

/// The value of `text`, and whether it had to be made.
fn ask(recent: &Recent<String>, text: &str, worth: bool) -> (String, bool) {
    let mut made = false;
    let value = recent.of(
        text,
        || {
            made = true;
            Ok::<_, Infallible>(text.to_uppercase())
        },
        |_| worth,
    );
    let Ok(value) = value;
    (value.to_string(), made)
}

#[test]
fn the_text_that_was_asked_for_longest_ago_goes_first() {
    let recent = Recent::new(2);
    for (text, made) in [
        ("a", true),
        ("b", true),
        ("a", false),
        ("c", true),
        ("a", false),
        ("b", true),
    ] {
        assert_eq!(ask(&recent, text, true), (text.to_uppercase(), made), "{text}");
    }
}

#[test]
fn what_is_not_worth_it_is_made_each_time_and_takes_nobodys_place() {
    let recent = Recent::new(1);
    assert!(ask(&recent, "a", true).1);
    assert!(ask(&recent, "b", false).1);
    assert!(ask(&recent, "b", false).1);
    assert!(!ask(&recent, "a", true).1);
}

#[test]
fn a_text_that_cannot_be_read_is_not_kept() {
    let recent: Recent<i32> = Recent::new(2);
    assert!(recent.of("x", || "x".parse::<i32>(), |_| true).is_err());
    assert_eq!(*recent.of("x", || Ok::<_, Infallible>(1), |_| true).unwrap(), 1);
}
