use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufReader, Seek};

use proptest::prelude::*;

use super::lines::{Line, Lines};
use super::*;
use crate::testing::{NOW, append, contents, open};
use crate::{Labels, Matcher, MetricKind, TimeRange, stale_nan};

/// What arrives, as text.
#[derive(Default)]
struct Shown(String);

impl Sink for Shown {
    fn series(&mut self, labels: &mut LabelsBuf, timestamps: &[i64], values: &[f64]) -> Result<(), ExchangeError> {
        write!(self.0, "{}:", Labels::from_pairs(labels.iter())).unwrap();
        for (at, value) in timestamps.iter().zip(values) {
            match crate::is_stale(*value) {
                true => write!(self.0, " {at}=stale").unwrap(),
                false => write!(self.0, " {at}={value}").unwrap(),
            }
        }
        self.0.push('\n');
        Ok(())
    }

    fn metadata(&mut self, metric: &str, metadata: Metadata) -> Result<(), ExchangeError> {
        writeln!(
            self.0,
            "{metric} is {} [{}] {:?}",
            metadata.kind.as_str(),
            metadata.unit,
            metadata.help
        )
        .unwrap();
        Ok(())
    }
}

fn shown(format: Format, input: &str) -> String {
    let mut sink = Shown::default();
    let found = read(format, &mut input.as_bytes(), &mut sink).expect("a text that can be read");
    for example in &found.examples {
        writeln!(sink.0, "bad {example}").unwrap();
    }
    sink.0
}

fn check(format: Format, input: &str, expected: &[&str]) {
    assert_eq!(shown(format, input).lines().collect::<Vec<_>>(), expected, "{input}");
}

#[test]
fn json_lines_are_read_as_victoriametrics_writes_them() {
    check(
        Format::Jsonl,
        "{\"metric\":{\"__name__\":\"up\",\"job\":\"a\\\"\\u00e9\\n\"},\"values\":[1,0.1,-2e-3],\"timestamps\":[1,2,3]}\n\n\
         {\"timestamps\":[4,5,6,7],\"extra\":[{\"a\":[true,null,\"x\"]}],\"metric\":{\"__name__\":\"b\"},\
          \"values\":[null,\"NaN\",\"Infinity\",\"-Inf\"]}\r\n",
        &[
            r#"up{job="a\"é\n"}: 1=1 2=0.1 3=-0.002"#,
            "b: 4=stale 5=NaN 6=inf 7=-inf",
        ],
    );
}

#[test]
fn a_bad_json_line_is_told_and_the_others_are_read() {
    check(
        Format::Jsonl,
        "{\"metric\":{\"__name__\":\"a\"},\"values\":[1],\"timestamps\":[1]}\n\
         {\"metric\":{\"__name__\":\"a\"},\"values\":[1,2],\"timestamps\":[1]}\n\
         {\"metric\":{},\"values\":[1],\"timestamps\":[1]}\n\
         {\"metric\":{\"__name__\":\"a\"},\"values\":[1],\"timestamps\":[1.5]}\n\
         {\"metric\":{\"__name__\":\"a\n\
         {\"metric\":{\"__name__\":\"a\\é\n\
         nonsense\n\
         {\"metric\":{\"__name__\":\"z\"},\"values\":[1],\"timestamps\":[1]}",
        &[
            "a: 1=1",
            "z: 1=1",
            "bad line 2: it has 2 values and 1 timestamps",
            "bad line 3: it has no labels in `metric`",
            "bad line 4: \"1.5\" is no timestamp in milliseconds",
            "bad line 5: at byte 24: the end of a text was expected, found \"\"",
            "bad line 6: at byte 27: the end of a text was expected, found \"\"",
        ],
    );
}

#[test]
fn every_prefix_of_a_json_line_is_bad_and_none_panics() {
    let line = "{\"metric\":{\"__name__\":\"up\\\\\"},\"x\":[{\"y\":false}],\"values\":[1,null,\"NaN\"],\"timestamps\":[1,2,3]}";
    assert_eq!(shown(Format::Jsonl, line), "up\\: 1=1 2=stale 3=NaN\n");
    for (end, _) in line.char_indices().skip(1) {
        assert!(
            shown(Format::Jsonl, &line[..end]).starts_with("bad line 1"),
            "{}",
            &line[..end]
        );
    }
    let deep = format!("{{\"x\":{}", "[".repeat(100_000));
    assert!(shown(Format::Jsonl, &deep).contains("nested too deep"));
}

#[test]
fn openmetrics_is_read_as_promtool_dumps_it() {
    check(
        Format::OpenMetrics,
        "# HELP http_requests Requests \\\\ that\\ncame.\n# TYPE http_requests counter\n# UNIT x seconds\n\
         http_requests_total{code=\"200\",host=\"a\"} 1027 1795305600.123\n\
         http_requests_total{code=\"200\",host=\"a\"} 1028 1.795305615e+09 # {trace_id=\"x\"} 1\n\
         http_requests_total {code=\"5}0\\\"\\\\\",host=\"a\",} +Inf 1\n\
         {__name__=\"dumped\", host=\"b\"} NaN -0.001\n\
         {\"disk.used\",\"a.b\"=\"c\"} 1e3 0\n\
         plain 7 1\n\
         # EOF\n\
         after 1 1\n",
        &[
            r#"http_requests_total{code="200",host="a"}: 1795305600123=1027 1795305615000=1028"#,
            r#"http_requests_total{code="5}0\"\\",host="a"}: 1000=inf"#,
            r#"dumped{host="b"}: -1=NaN"#,
            r#"disk.used{a.b="c"}: 0=1000"#,
            "plain: 1000=7",
            r#"http_requests_total is counter [] "Requests \\ that\ncame.""#,
            "x is unknown [seconds] \"\"",
        ],
    );
}

#[test]
fn prometheus_text_has_milliseconds() {
    check(
        Format::Prometheus,
        "# a comment\n{__name__=\"up\", job=\"a\"} 1 1795305600123\nup 2 5\nup 3 6\n",
        &[r#"up{job="a"}: 1795305600123=1"#, "up: 5=2 6=3"],
    );
}

#[test]
fn a_bad_line_of_text_is_told_and_the_others_are_read() {
    check(
        Format::Prometheus,
        "up 1\nup{a=\"b\" 1 2\nup{a=b} 1 2\nup x 2\nup 1 1.5\nup 1 2\n",
        &[
            "up: 2=1",
            "bad line 1: it has no timestamp: this is one scrape, not an export",
            "bad line 2: its labels do not end",
            "bad line 3: the value of a label does not stand in quotes",
            "bad line 4: \"x\" is no value",
            "bad line 5: \"1.5\" is no timestamp in milliseconds",
        ],
    );
    check(
        Format::Prometheus,
        "h{a=\"b\"} {count:1, sum:2} 5\nup 1 2 3\nup{a=\"b\"c=\"d\"} 1 2\nup{\"a\n",
        &[
            "bad line 1: native histograms are not read from text",
            "bad line 2: \"3\" follows its timestamp",
            "bad line 3: a comma lacks between two labels",
            "bad line 4: its labels do not end",
        ],
    );
}

#[test]
fn csv_is_read_by_its_header() {
    check(
        Format::Csv,
        "host,timestamp,metric,value,job\na,2026-11-22T00:00:00.5Z,up,1,\na,1795305601,up,0.5,\n\"b,c\",1,up,NaN,x\nb,x,up,1,x\nb,1\n",
        &[
            r#"up{host="a"}: 1795305600500=1 1795305601000=0.5"#,
            r#"up{host="b,c",job="x"}: 1000=NaN"#,
            "bad line 5: \"x\" is no timestamp",
            "bad line 6: CSV error: record 5 (line: 6, byte: 112): found record with 2 fields, but the previous record has 5 fields",
        ],
    );
    check(
        Format::Csv,
        "__name__,timestamp_ms,value\nup,7,1\nup,7.5,1\n",
        &["up: 7=1", "bad line 3: \"7.5\" is no timestamp"],
    );
    // With both times one of them would be a label, and each row a series.
    for header in ["metric,value", "metric,timestamp,timestamp_ms,value"] {
        let text = format!("{header}\nup,1,1,1\n");
        let error = read(Format::Csv, &mut text.as_bytes(), &mut Shown::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the header line must name exactly one column `timestamp` or `timestamp_ms`"
        );
        assert!(error.hint().unwrap().contains("timestamp_ms"));
    }
}

#[test]
fn a_line_without_end_costs_no_memory_and_the_next_one_is_read() {
    let text = format!("short\n{}\nafter", "x".repeat(100));
    let mut input = text.as_bytes();
    let mut lines = Lines::up_to(&mut input, 10);
    let mut kinds = Vec::new();
    while let Some(line) = lines.next().unwrap() {
        kinds.push(match line {
            Line::Text(text) => text.to_owned(),
            Line::TooLong => "too long".to_owned(),
            Line::NotText => "no text".to_owned(),
        });
    }
    assert_eq!(kinds, ["short", "too long", "after"]);
}

/// All samples of a store, out of it in `format` and into another one.
fn there_and_back(format: Format, from: &std::sync::Arc<crate::Store>, dir: &Path) -> std::sync::Arc<crate::Store> {
    let to = open(dir);
    let mut importer = Importer::new(&to);
    let mut file = tempfile::tempfile().unwrap();
    let mut writer = Writer::new(format, file.try_clone().unwrap(), from.metadata()).unwrap();
    let all = Selection {
        sets: Vec::new(),
        range: TimeRange::ALL,
    };
    let exported = export(&from.snapshot(), &all, &mut writer, &mut |_, _| true).unwrap();
    let (_, left_out) = writer.finish().unwrap();
    file.rewind().unwrap();
    let found = match format {
        Format::Parquet => read_parquet(file, &mut importer, &mut |_, _| {}).unwrap(),
        _ => read(format, &mut BufReader::new(file), &mut importer).unwrap(),
    };
    assert_eq!((found.bad_lines, found.samples + left_out), (0, exported.samples));
    assert_eq!(importer.finish().unwrap().accepted, found.samples);
    to
}

#[test]
fn every_format_brings_back_what_it_says_it_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let from = open(&dir.path().join("from"));
    let odd = f64::from_bits(0x7ff8_dead_beef_0001);
    let month = 31 * 24 * 3_600_000;
    append(
        &from,
        &[
            ("requests_total host=a code=200", NOW - 2 * month, 0.1),
            ("requests_total host=a code=200", NOW - 1, 1e300),
            ("requests_total host=a code=200", NOW, -0.0),
            ("requests_total host=b gpu=GPU-1", NOW, f64::INFINITY),
            ("requests_total host=b gpu=GPU-1", NOW + 1, f64::NEG_INFINITY),
            ("requests_total host=b gpu=GPU-1", NOW + 2, stale_nan()),
            ("a.b c.d=e\"\\", NOW, f64::NAN),
            ("a.b c.d=e\"\\", NOW + 1, 5e-324),
            ("odd", NOW, odd),
        ],
    );
    from.set_metadata(
        "requests_total",
        Metadata {
            kind: MetricKind::Counter,
            unit: String::new(),
            help: "All \\ of\nthem.".to_owned(),
        },
    );
    from.flush().unwrap();
    append(&from, &[("requests_total host=a code=200", NOW + 60_000, 3.0)]);
    let whole = contents(&from.snapshot());
    for format in [Format::Jsonl, Format::OpenMetrics, Format::Prometheus, Format::Parquet] {
        let to = there_and_back(format, &from, &dir.path().join(format.as_str()));
        let mut expected = whole.clone();
        if format != Format::Parquet {
            // Text has one NaN.
            expected.insert(("odd".to_owned(), NOW), f64::NAN.to_bits());
        }
        if matches!(format, Format::OpenMetrics | Format::Prometheus) {
            expected.retain(|_, bits| *bits != stale_nan().to_bits());
            assert_eq!(to.metadata(), from.metadata(), "{format}");
        }
        assert_eq!(contents(&to.snapshot()), expected, "{format}");
    }
}

proptest! {
    // Each case makes three stores.
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_samples_survive_json_lines_and_parquet(
        series in proptest::collection::btree_map("[a-z\"\\\\é\n]{1,4}", proptest::collection::btree_map(-5_000_000_i64..5_000_000, any::<u64>(), 1..40), 1..6)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let from = open(&dir.path().join("from"));
        let mut batch = from.batch();
        let mut expected = BTreeMap::new();
        for (name, samples) in &series {
            let mut labels = LabelsBuf::default();
            labels.push("__name__", "m");
            labels.push("name", name);
            let id = batch.series(&mut labels).unwrap();
            let shown = Labels::from_pairs(labels.iter()).to_string();
            for (&at, &bits) in samples {
                batch.push(id, at, f64::from_bits(bits));
                expected.insert((shown.clone(), at), bits);
            }
        }
        from.append(batch).unwrap();
        let parquet = there_and_back(Format::Parquet, &from, &dir.path().join("parquet"));
        prop_assert_eq!(&contents(&parquet.snapshot()), &expected);
        for bits in expected.values_mut().filter(|bits| f64::from_bits(**bits).is_nan() && **bits != crate::STALE_NAN_BITS) {
            *bits = f64::NAN.to_bits();
        }
        let jsonl = there_and_back(Format::Jsonl, &from, &dir.path().join("jsonl"));
        prop_assert_eq!(&contents(&jsonl.snapshot()), &expected);
    }
}

#[test]
fn export_takes_the_series_and_the_time_that_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(
        &store,
        &[
            ("a host=x", 1, 1.0),
            ("a host=x", 2, 2.0),
            ("b host=x", 2, 3.0),
            ("c host=y", 2, 4.0),
        ],
    );
    let mut sink = Shown::default();
    let selection = Selection {
        // Both pick `a`, which comes once.
        sets: vec![
            vec![Matcher::eq("host", "x")],
            vec![Matcher::eq("__name__", "a")],
            vec![Matcher::eq("__name__", "c")],
        ],
        range: TimeRange::millis(2, 10),
    };
    let mut heard = Vec::new();
    let exported = export(&store.snapshot(), &selection, &mut sink, &mut |done, all| {
        heard.push((done, all));
        done < 2
    });
    assert_eq!(sink.0, "a{host=\"x\"}: 2=2\nb{host=\"x\"}: 2=3\n");
    let expected = Exported {
        series: 2,
        samples: 2,
        histogram_series: 0,
    };
    assert_eq!(exported.unwrap(), expected);
    assert_eq!(heard, [(1, 3), (2, 3)]);
}

#[test]
fn histograms_that_no_format_holds_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, &[("a", NOW, 1.0)]);
    let mut batch = store.batch();
    let id = batch.series(&mut crate::testing::labels("h host=x")).unwrap();
    batch.push_histogram(id, NOW, crate::Histogram::default()).unwrap();
    store.append(batch).unwrap();
    let all = Selection {
        sets: Vec::new(),
        range: TimeRange::ALL,
    };
    let exported = export(&store.snapshot(), &all, &mut Shown::default(), &mut |_, _| true).unwrap();
    let expected = Exported {
        series: 1,
        samples: 1,
        histogram_series: 1,
    };
    assert_eq!(exported, expected);
}

#[test]
fn what_a_metric_is_comes_back_under_its_own_name() {
    let dir = tempfile::tempdir().unwrap();
    let from = open(&dir.path().join("from"));
    append(&from, &[("switches", NOW, 1.0), ("busy_seconds_total", NOW, 1.0)]);
    let about = |unit: &str| Metadata {
        kind: MetricKind::Counter,
        unit: unit.to_owned(),
        help: "What it counts.".to_owned(),
    };
    from.set_metadata("switches", about(""));
    from.set_metadata("busy_seconds_total", about("seconds"));
    let to = there_and_back(Format::OpenMetrics, &from, &dir.path().join("to"));
    let known = to.metadata();
    assert_eq!(known.keys().collect::<Vec<_>>(), ["busy_seconds_total", "switches"]);
    assert_eq!(known["busy_seconds_total"], about("seconds"));
    // OpenMetrics has no counters of such a name.
    assert_eq!(known["switches"].kind, MetricKind::Unknown);
    assert_eq!(known["switches"].help, "What it counts.");
}

#[test]
fn history_older_than_the_out_of_order_window_is_imported() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, &[("m", NOW, 1.0)]);
    let old = NOW - 400 * 24 * 3_600_000;
    let text = format!("m 2 {old}\nm 3 {}\n", NOW + 86_400_000);
    let mut importer = Importer::new(&store);
    read(Format::Prometheus, &mut text.as_bytes(), &mut importer).unwrap();
    let taken = importer.finish().unwrap();
    assert_eq!(taken.accepted, 1);
    assert_eq!(taken.refused[0].reason, crate::RefuseReason::TooFarAhead);
    assert_eq!(
        crate::testing::shown(&store.snapshot(), "m", TimeRange::ALL),
        format!("{old}=2 {NOW}=1")
    );
    // The next batch is judged as always.
    let refused = crate::testing::try_append(&store, &[("m", old, 5.0)]).unwrap().refused;
    assert_eq!(refused[0].reason, crate::RefuseReason::TooOld);
}

#[test]
fn series_without_a_name_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut importer = Importer::new(&store);
    let text = "{\"metric\":{\"host\":\"a\"},\"values\":[1,2],\"timestamps\":[1,2]}\n\
                {\"metric\":{\"__name__\":\"a\",\"x\":\"1\",\"x\":\"2\"},\"values\":[1],\"timestamps\":[1]}";
    read(Format::Jsonl, &mut text.as_bytes(), &mut importer).unwrap();
    let taken = importer.finish().unwrap();
    assert_eq!((taken.accepted, taken.unnamed), (0, 3));
    assert_eq!(
        taken.unnamed_example.unwrap(),
        "{host=\"a\"}: it has no name (__name__)"
    );
}

#[test]
fn parquet_of_other_tools_is_read() {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
    use std::sync::Arc;
    let read_back = |columns: Vec<(&str, ArrayRef)>| {
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let mut writer =
            ::parquet::arrow::ArrowWriter::try_new(file.try_clone().unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        file.rewind().unwrap();
        let mut sink = Shown::default();
        read_parquet(file, &mut sink, &mut |_, _| {}).map(|_| sink.0)
    };
    let names: ArrayRef = Arc::new(StringArray::from(vec!["up", "up", "up"]));
    let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let hosts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("a"), None]));
    let nanos: ArrayRef =
        Arc::new(TimestampNanosecondArray::from(vec![1_000_000, 2_000_000, 3_999_999]).with_timezone("UTC"));
    let millis: ArrayRef = Arc::new(Int64Array::from(vec![7, 8, 9]));
    let wanted = |times: ArrayRef| {
        vec![
            ("__name__", Arc::clone(&names)),
            ("timestamp", times),
            ("value", Arc::clone(&values)),
            ("host", Arc::clone(&hosts)),
        ]
    };
    assert_eq!(read_back(wanted(nanos)).unwrap(), "up{host=\"a\"}: 1=1 2=2\nup: 3=3\n");
    assert_eq!(read_back(wanted(millis)).unwrap(), "up{host=\"a\"}: 7=1 8=2\nup: 9=3\n");
    let error = read_back(wanted(Arc::clone(&names))).unwrap_err();
    assert!(matches!(error, ExchangeError::Column { name: "timestamp" }), "{error}");
}

#[test]
fn the_name_of_a_file_says_its_format() {
    for (name, format) in [
        ("a.jsonl", Some(Format::Jsonl)),
        ("a.JSONL.gz", Some(Format::Jsonl)),
        ("b.parquet", Some(Format::Parquet)),
        ("c.csv.zst", Some(Format::Csv)),
        ("dump.om", Some(Format::OpenMetrics)),
        ("dump.txt", None),
    ] {
        assert_eq!(Format::of_path(Path::new(name)), format, "{name}");
    }
}
