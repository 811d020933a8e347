use super::*;

fn check(text: &str, expected: &str) {
    let found = match parse_list(text) {
        Ok(matchers) => shown(&matchers),
        Err(problem) => problem,
    };
    assert_eq!(found, expected, "{text}");
}

#[test]
fn matchers_are_read_as_alertmanager_reads_them() {
    check(r#"severity="page""#, r#"{severity="page"}"#);
    check("severity=page", r#"{severity="page"}"#);
    check(" severity =~ a|b ", r#"{severity=~"a|b"}"#);
    check(r#"{a!="x,y", b!~"c\"d"}"#, r#"{a!="x,y",b!~"c\"d"}"#);
    check(r#""with space"="x""#, r#"{with space="x"}"#);
    check("a=", r#"{a=""}"#);
    check("", "{}");
}

#[test]
fn a_bad_matcher_says_why() {
    for (text, why) in [
        ("severity", "there is no =, !=, =~ or !~"),
        ("=x", "the name of a label is missing"),
        (r#"a="x"#, "the value's quotes do not fit"),
        ("a=~(", "no valid regular expression"),
        ("{a=b", "one brace"),
        ("1a=b", "not valid"),
    ] {
        let problem = parse_list(text).unwrap_err();
        assert!(problem.contains(why), "{text}: {problem}");
    }
}

#[test]
fn patterns_match_whole_values_and_missing_labels_are_empty() {
    let labels = BTreeMap::from([("host".to_owned(), "db-1".to_owned())]);
    let holds = |text: &str| all_match(&parse_list(text).unwrap(), &labels);
    assert!(holds("host=~db-.") && !holds("host=~db") && holds("rack=\"\"") && !holds("rack!=\"\""));
}
