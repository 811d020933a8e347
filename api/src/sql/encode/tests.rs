use arrow::array::{Float64Array, MapBuilder, StringArray};
use arrow::ipc::reader::StreamReader;
use axum::http::HeaderValue;

use super::*;

fn batch() -> RecordBatch {
    let hosts: ArrayRef = Arc::new(StringArray::from(vec![Some("a \"quoted\""), None]));
    let values: ArrayRef = Arc::new(Float64Array::from(vec![0.5, f64::NAN]));
    RecordBatch::try_from_iter_with_nullable([("host", hosts, true), ("value", values, true)]).expect("a batch")
}

fn bytes(format: Format, schema: &SchemaRef, batches: &[RecordBatch], truncated: bool) -> Vec<u8> {
    let mut encoder = Encoder::new(format, schema).expect("begun");
    let mut out = encoder.take();
    for batch in batches {
        encoder.batch(batch).expect("written");
        out.extend(encoder.take());
    }
    encoder.end(truncated).expect("ended");
    out.extend(encoder.take());
    out
}

fn text(format: Format, batches: &[RecordBatch], truncated: bool) -> String {
    String::from_utf8(bytes(format, &batch().schema(), batches, truncated)).expect("UTF-8")
}

#[test]
fn rows_are_json_with_their_columns_however_they_come() {
    let whole = r#"{"columns":[{"name":"host","type":"Utf8"},{"name":"value","type":"Float64"}],"rows":[{"host":"a \"quoted\"","value":0.5},{"host":null,"value":null}],"truncated":true}"#;
    assert_eq!(text(Format::Json, &[batch()], true), whole);
    let (first, second, none) = (batch().slice(0, 1), batch().slice(1, 1), batch().slice(0, 0));
    assert_eq!(text(Format::Json, &[first, none, second], true), whole);
}

#[test]
fn no_rows_are_an_empty_list_and_keep_their_columns() {
    let json = text(Format::Json, &[], false);
    assert!(json.ends_with(r#""rows":[],"truncated":false}"#), "{json}");
    assert_eq!(text(Format::Csv, &[], false), "host,value\n");
}

#[test]
fn rows_are_csv_with_one_line_of_names() {
    assert_eq!(
        text(Format::Csv, &[batch(), batch().slice(0, 1)], false),
        "host,value\n\"a \"\"quoted\"\"\",0.5\n,NaN\n\"a \"\"quoted\"\"\",0.5\n"
    );
}

#[test]
fn a_map_is_json_within_csv() {
    let mut labels = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    labels.keys().append_value("cpu");
    labels.values().append_value("0");
    labels.append(true).expect("a map");
    let labels: ArrayRef = Arc::new(labels.finish());
    let batch = RecordBatch::try_from_iter([("labels", labels)]).expect("a batch");
    let csv = bytes(Format::Csv, &batch.schema(), std::slice::from_ref(&batch), false);
    assert_eq!(String::from_utf8_lossy(&csv), "labels\n\"{\"\"cpu\"\":\"\"0\"\"}\"\n");
}

#[test]
fn arrow_streams_read_back_as_they_were() {
    let written = bytes(Format::Arrow, &batch().schema(), &[batch(), batch()], false);
    let reader = StreamReader::try_new(written.as_slice(), None).expect("a stream");
    let read: Vec<_> = reader.collect::<Result<_, _>>().expect("batches");
    // NaN is not equal to itself, so the bits are compared.
    assert_eq!(format!("{read:?}"), format!("{:?}", [batch(), batch()]));
}

#[test]
fn the_format_is_named_or_follows_accept() {
    let check = |named: Option<&str>, accept: &'static str, expected: Option<Format>| {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        assert_eq!(Format::of(named, &headers).ok(), expected, "{named:?} {accept}");
    };
    check(None, "", Some(Format::Json));
    check(None, "*/*", Some(Format::Json));
    check(None, "text/csv", Some(Format::Csv));
    check(None, "text/html, text/csv;q=0.9", Some(Format::Csv));
    check(None, "application/vnd.apache.arrow.stream", Some(Format::Arrow));
    check(Some("csv"), "application/json", Some(Format::Csv));
    check(Some("arrow"), "*/*", Some(Format::Arrow));
    check(Some("parquet"), "text/csv", None);
}
