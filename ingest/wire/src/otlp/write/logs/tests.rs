use proptest::prelude::*;

use super::*;
use crate::otlp::read::{AnyValue, logs};

/// Attributes as they are given to the writer.
type Pairs = Vec<(String, String)>;

fn borrowed(pairs: &Pairs) -> Vec<(&str, &str)> {
    pairs
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

fn read_pairs(attributes: &crate::otlp::read::Attributes<'_>) -> Pairs {
    let mut scratch = String::new();
    let mut pairs = Vec::new();
    for pair in attributes {
        let (key, value) = pair.expect("attribute");
        pairs.push((key.to_owned(), value.text(&mut scratch).expect("text").to_owned()));
    }
    pairs
}

fn pairs() -> impl Strategy<Value = Pairs> {
    proptest::collection::vec(("[a-z.]{1,9}", "\\PC{0,200}"), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_are_read_as_they_were_written(
        resource in pairs(), scope in "[a-z]{0,3}",
        records in proptest::collection::vec((any::<u64>(), any::<u64>(), 0u8..25, "\\PC{0,9}", "[a-z_]{0,9}", "\\PC{0,300}", pairs()), 0..5),
    ) {
        let mut writer = LogsWriter::new(&borrowed(&resource), &scope);
        for (time, observed, severity, level, event, body, attributes) in &records {
            writer.record(&Record {
                time_unix_nano: *time,
                observed_time_unix_nano: *observed,
                severity_number: *severity,
                severity_text: level,
                event_name: event,
                body,
                attributes: &borrowed(attributes),
            });
        }
        let body = writer.finish();
        prop_assert!(writer.finish().is_empty(), "what was finished is gone");
        let mut read = Vec::new();
        for from in logs::request(&body) {
            let from = from.expect("resource");
            prop_assert_eq!(read_pairs(&from.resource), resource.clone());
            for of in from.scopes() {
                let of = of.expect("scope");
                prop_assert_eq!(of.name, scope.as_str());
                for record in of.records() {
                    let record = record.expect("record");
                    let mut scratch = String::new();
                    let text = match record.body {
                        AnyValue::Empty => String::new(),
                        value => value.text(&mut scratch).expect("text").to_owned(),
                    };
                    read.push((
                        record.time_unix_nano,
                        record.observed_time_unix_nano,
                        u8::try_from(record.severity_number).expect("small"),
                        record.severity_text.to_owned(),
                        record.event_name.to_owned(),
                        text,
                        read_pairs(&record.attributes),
                    ));
                }
            }
        }
        prop_assert_eq!(read, records);
    }
}
