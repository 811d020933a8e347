use super::*;

const SERIES: [&str; 7] = [
    "__name__=up host=a dc=x",
    "__name__=up host=b dc=x",
    "__name__=up host=c",
    "__name__=load host=a dc=y",
    "__name__=load host=bb",
    "__name__=temp.in host=a-1",
    "other=1",
];

/// Matchers as text to the numbers of the series above.
fn check(matchers: &str, expected: &str) {
    let labels: Vec<Labels> = SERIES
        .iter()
        .map(|s| Labels::from_pairs(s.split(' ').filter_map(|pair| pair.split_once('='))))
        .collect();
    let labels_of = |id: SeriesId| labels.get(id.0 as usize);
    let mut index = Index::default();
    for (id, labels) in (0..).zip(&labels) {
        index.insert(SeriesId(id), labels, labels_of);
    }
    let matchers: Vec<Matcher> = matchers.split_whitespace().map(matcher).collect();
    let found = index.select(&matchers, labels.len() as u32, labels_of);
    // The index gives what looking at every series gives.
    let slow: RoaringBitmap = (0..)
        .zip(&labels)
        .filter(|(_, l)| matchers.iter().all(|m| m.matches_labels(l)))
        .map(|(id, _)| id)
        .collect();
    assert_eq!(found, slow);
    assert_eq!(found.iter().map(|id| id.to_string()).collect::<String>(), expected);
}

fn matcher(text: &str) -> Matcher {
    for (sign, op) in [
        ("=~", MatchOp::Re),
        ("!~", MatchOp::Nre),
        ("!=", MatchOp::Ne),
        ("=", MatchOp::Eq),
    ] {
        if let Some((name, value)) = text.split_once(sign) {
            return Matcher::new(op, name, value).expect("a valid pattern");
        }
    }
    panic!("no matcher: {text}")
}

#[test]
fn equality_and_its_opposite() {
    check("__name__=up", "012");
    check("__name__=up host=a", "0");
    check("__name__=up host!=a", "12");
    check("host=nowhere", "");
    check("nothing=x", "");
    check("nothing!=x", "0123456");
}

#[test]
fn a_missing_label_is_the_empty_value() {
    check("dc=", "2456");
    check("dc!=", "013");
    check("__name__=up dc=", "2");
    check("__name__=up dc!=", "01");
    check("__name__=", "6");
    check("nothing=", "0123456");
    check("nothing!=", "");
}

#[test]
fn patterns_are_anchored_and_may_match_the_empty_value() {
    check("host=~a|b", "013");
    check("host=~b.*", "14");
    check("host=~b", "1");
    check("host!~b.*", "02356");
    check("dc=~.*", "0123456");
    check("dc=~.+", "013");
    check("dc!~.+", "2456");
    check("dc=~x|", "012456");
    check("dc=~|y", "23456");
    check("dc!~x|", "3");
    check("__name__=~temp.in", "5");
    check("host=~a-1", "5");
}

#[test]
fn no_matcher_means_all() {
    check("", "0123456");
}

#[test]
fn values_and_names_are_sorted_and_of_wanted_series_only() {
    let mut labels = ["b", "a", "c"]
        .map(|host| Labels::from_pairs([("host", host), ("zone", "z")]))
        .to_vec();
    labels.push(Labels::from_pairs([("late", "1")]));
    let labels_of = |id: SeriesId| labels.get(id.0 as usize);
    let mut index = Index::default();
    for (id, labels) in (0..).zip(&labels) {
        index.insert(SeriesId(id), labels, labels_of);
    }
    assert_eq!(index.values("host", |_| true, labels_of), ["a", "b", "c"]);
    assert_eq!(index.values("host", |id| id.0 != 1, labels_of), ["b", "c"]);
    assert_eq!(index.names(|_| true), ["host", "late", "zone"]);
    assert_eq!(index.names(|id| id.0 < 3), ["host", "zone"]);
}

#[test]
fn long_lists_become_bitmaps_and_answer_the_same() {
    let labels: Vec<Labels> = (0..300)
        .map(|i| {
            Labels::from_pairs([
                ("all", "1"),
                ("mod", ["0", "1", "2"][i % 3]),
                ("id", i.to_string().as_str()),
            ])
        })
        .collect();
    let labels_of = |id: SeriesId| labels.get(id.0 as usize);
    let mut index = Index::default();
    for (id, labels) in (0..).zip(&labels) {
        index.insert(SeriesId(id), labels, labels_of);
    }
    let select = |text: &str| {
        let matchers: Vec<Matcher> = text.split(' ').map(matcher).collect();
        index.select(&matchers, 300, labels_of).len()
    };
    assert_eq!(select("all=1"), 300);
    assert_eq!(select("mod=1 all=1"), 100);
    assert_eq!(select("mod=~0|1"), 200);
    assert_eq!(select("mod!~0|1"), 100);
    assert_eq!(select("all=1 id=~1.*"), 111);
    assert_eq!(select("id=7 all=1 mod=1"), 1);
    assert!(index.bytes() > 0);
}
