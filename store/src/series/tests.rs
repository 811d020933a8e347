use super::*;

#[test]
fn a_label_that_is_cut_ends_in_a_whole_character() {
    for (text, kept) in [("é".repeat(40_000), 65_534), ("x".repeat(70_000), 65_535)] {
        let labels = Labels::from_pairs([("long", text.as_str()), ("next", "y")]);
        assert_eq!(labels.get("long"), Some(&text[..kept]));
        assert_eq!(labels.get("next"), Some("y"));
    }
}
