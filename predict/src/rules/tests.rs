use super::*;

fn check(words: &str, number: f64, expected: &str) {
    assert_eq!(say(words, number), expected);
}

#[test]
fn one_is_said_otherwise_than_many() {
    let words = "the kernel killed {} {process|processes} for lack of memory";
    check(words, 1.0, "the kernel killed 1 process for lack of memory");
    check(words, 12.0, "the kernel killed 12 processes for lack of memory");
}

#[test]
fn words_without_a_choice_stay_as_they_are() {
    check(
        "a GPU is at {} °C and slows down",
        91.4,
        "a GPU is at 91 °C and slows down",
    );
    check("memory is {} % used", 1.0, "memory is 1 % used");
    check("it is dark", 3.0, "it is dark");
}

#[test]
fn every_rule_has_its_number_in_it() {
    for (.., words) in &RULES {
        let said = say(words, 7.0);
        assert!(said.contains('7') && !said.contains(['{', '}', '|']), "{said}");
    }
}
