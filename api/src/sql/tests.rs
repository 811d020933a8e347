use arrow::array::{ArrayRef, Float64Array, StringArray};

use super::*;

fn rows(truncated: bool) -> Answer {
    let hosts: ArrayRef = Arc::new(StringArray::from(vec![Some("a \"quoted\""), None]));
    let values: ArrayRef = Arc::new(Float64Array::from(vec![0.5, f64::NAN]));
    let batch =
        RecordBatch::try_from_iter_with_nullable([("host", hosts, true), ("value", values, true)]).expect("a batch");
    Answer {
        schema: batch.schema(),
        batches: vec![batch],
        truncated,
    }
}

fn text(format: Format, rows: &Answer) -> String {
    String::from_utf8(format.write(rows).expect("written")).expect("UTF-8")
}

#[test]
fn rows_are_json_with_their_columns() {
    assert_eq!(
        text(Format::Json, &rows(true)),
        r#"{"columns":[{"name":"host","type":"Utf8"},{"name":"value","type":"Float64"}],"rows":[{"host":"a \"quoted\"","value":0.5},{"host":null,"value":null}],"truncated":true}"#
    );
}

#[test]
fn no_rows_are_an_empty_list_and_keep_their_columns() {
    let empty = Answer {
        batches: Vec::new(),
        ..rows(false)
    };
    assert!(
        text(Format::Json, &empty).ends_with(r#""rows":[],"truncated":false}"#),
        "{}",
        text(Format::Json, &empty)
    );
    assert_eq!(text(Format::Csv, &empty), "host,value\n");
}

#[test]
fn rows_are_csv_on_demand() {
    assert_eq!(
        text(Format::Csv, &rows(false)),
        "host,value\n\"a \"\"quoted\"\"\",0.5\n,NaN\n"
    );
}

#[test]
fn the_format_follows_accept() {
    let check = |accept: &'static str, expected: Format| {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        assert_eq!(Format::of(&headers), expected, "{accept}");
    };
    check("", Format::Json);
    check("*/*", Format::Json);
    check("text/csv", Format::Csv);
    check("text/html, text/csv;q=0.9", Format::Csv);
    check("application/vnd.apache.arrow.stream", Format::Arrow);
}
